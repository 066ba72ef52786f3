"""After the ledger was restored to an earlier copy: all is stopped, and what may have happened since is found out.

Guarantees: from `stop_all` on nothing forward leaves, and no request that the copy holds as unanswered is POSTed again (it
may have left, with other bytes); no counter that may have been used is given out again; what may have been sent counts
against every anomaly-detection threshold, at its worst, until a period of it has passed; nothing forward goes on until a
person says so, and then not to a device that has not said what it runs. What the copy never knew of (a campaign that was
begun after it was made) no reconciliation can bring back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.identifiers import EUI64
from hanwave.ledger import holds, inventory, leavers, lost_use, notes, permit, stops
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import Said
from hanwave.rollout.events import Leg

JUMP = 1_000_000
"""Counters are milliseconds since 1970 at least, and run ahead of the clock only by bursts: by far less than this."""
AGAIN = timedelta(minutes=1)
"""A question whose answer was lost may be put again after this long: it changes nothing."""
ASK = "`hanwave reconcile` finds out what happened since, and tells when it may go on"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How far it is: devices of campaigns that are not over."""

    stop_id: int
    since: datetime
    asked: int
    answered: int
    """Those that have said themselves what they run, since everything was stopped."""
    silent: list[str]
    """EUI-64s of those asked that have not."""
    inventory: list[inventory.Entry]
    """What the DCC's inventory has of the silent ones: not their own word, and maybe older."""
    left: dict[str, str]
    """Those that the DCC lets us command no more, by EUI-64, and why."""
    unsent: int
    """Questions that have not left yet."""
    unrouted: int
    """Messages that have waited to be routed for longer than they should: ten seconds."""


def open_stop(connection: Connection) -> tuple[int, datetime] | None:
    """The stop of a restored ledger, the last where it was restored again, and since when; None where none is open."""
    found = _open_stops(connection)
    return found[-1] if found else None


def _open_stops(connection: Connection) -> list[tuple[int, datetime]]:
    rows = connection.execute(
        text(
            "SELECT s.id, s.at FROM stop s JOIN note n ON n.verb = 'restored' AND (n.document ->> 'stop')::bigint = s.id"
            " WHERE s.lifted_at IS NULL ORDER BY s.id"
        )
    )
    return [(row.id, row.at) for row in rows]


def is_done_since(connection: Connection, at: datetime) -> bool:
    """Whether a restored ledger was stopped at that time (aware UTC) or later, and has been reconciled."""
    statement = text(
        "SELECT 1 FROM stop s JOIN note n ON n.verb = 'reconciled' AND (n.document ->> 'stop')::bigint = s.id"
        " WHERE s.at >= :at LIMIT 1"
    )
    return connection.execute(statement, {"at": at}).first() is not None


def stop_all(connection: Connection, why: str, actor: str, now: datetime, seen: datetime | None = None) -> int:
    """Stop everything forward, give up what is unanswered, jump the counters, and count the budgets as used.

    The stop's id. Again, nothing; but what was seen (aware UTC) after the stop, and is lost, was lost in another restore.
    """
    stops.lock(connection)
    known = open_stop(connection)
    if known and (seen is None or seen <= known[1]):
        return known[0]
    reason = f"the ledger was restored to an earlier copy ({why}): {ASK}"
    stop_id = stops.stop(connection, stops.Scope("all"), "halt", reason, actor, now)
    notes.add(connection, Said(actor, "restored", "all", reason, {"stop": stop_id}), now)
    connection.execute(_FORGET, {"now": now})
    connection.execute(_START_AGAIN)
    connection.execute(_JUMP, {"now": int(now.timestamp() * 1000), "jump": JUMP})
    lost_use.exhaust(connection, now)
    return stop_id


# Each may have been sent after the copy was made, so each counts as sent; its deadline runs from its grant.
_FORGET = text(
    "UPDATE outbox SET state = 'forgotten', sends = greatest(sends, 1), sending_at = coalesce(sending_at, granted_at),"
    " answered_at = :now WHERE state IN ('granted', 'ready', 'sending', 'ambiguous')"
)

# The copy may be older than a User ID's first request: then it has no counter of it, and one was used all the same.
_JUMP = text(
    "INSERT INTO counter AS c (user_id, last)"
    " SELECT user_id, :now + :jump FROM (SELECT user_id FROM campaign UNION SELECT user_id FROM counter) AS known"
    " ON CONFLICT (user_id) DO UPDATE SET last = greatest(c.last, :now) + :jump"
)

# Temporal may be ahead of the copy: a device's workflow may have ended there, and only `recover` starts one again.
_START_AGAIN = text(
    "UPDATE campaign_device u SET started = true, picked_at = NULL FROM campaign c WHERE c.name = u.campaign"
    " AND c.closed_at IS NULL AND u.state NOT IN ('settled', 'closed')"
)


def ask_devices(connection: Connection, most: int, acb: EUI64, now: datetime) -> int:
    """Have the next devices asked for their version (11.2), and the DCC's inventory for them (8.2); how many devices.

    Once each since the stop, and again where the question or its answer was lost; 0 where all were. acb is the DCC's Access
    Control Broker, whom an 8.2 names.
    """
    _, since = _stop(connection)
    of_dcc = _unasked(connection, Leg.INVENTORY, since, now - AGAIN, most)
    themselves = _unasked(connection, Leg.READ, since, now - AGAIN, most)
    inventory.ask(connection, of_dcc, acb, now)
    for update_id in themselves:
        permit.look(connection, update_id, now)
    return len({*of_dcc, *themselves})


def _unasked(connection: Connection, leg: Leg, since: datetime, lost: datetime, most: int | None = None) -> list[int]:
    """The first that were not asked since, by id; an answer that was lost before that time counts as none."""
    statement = text(f"SELECT u.id {_OPEN} AND NOT EXISTS ({_ASKED}) ORDER BY u.id LIMIT :most")
    return list(connection.execute(statement, {"leg": leg, "since": since, "lost": lost, "most": most}).scalars())


def _stop(connection: Connection) -> tuple[int, datetime]:
    found = open_stop(connection)
    if found is None:
        raise LedgerError("nothing is stopped because of a restored ledger: there is nothing to reconcile")
    return found


# Of two open updates of one device the one that has its lease, or is the older, is asked. On a bench each update asks its
# device itself where it stands, before it goes on.
_OPEN = """
    FROM campaign_device u JOIN campaign c ON c.name = u.campaign JOIN device d ON d.eui = u.eui
    WHERE c.route = 'dcc' AND c.closed_at IS NULL AND u.state NOT IN ('settled', 'closed') AND u.id = coalesce(
        (SELECT l.update_id FROM lease l WHERE l.eui = u.eui),
        (SELECT min(v.id) FROM campaign_device v JOIN campaign k ON k.name = v.campaign
         WHERE v.eui = u.eui AND k.closed_at IS NULL AND v.state NOT IN ('settled', 'closed')))
"""
# An abandoned question never left: its permit ran out while no gateway was there to send it. One that is being sent for
# long was in the hands of a gateway that is gone.
_ASKED = """
    SELECT 1 FROM outbox_device m JOIN outbox b ON b.id = m.outbox_id
    WHERE m.update_id = u.id AND m.leg = :leg AND b.granted_at >= :since AND b.state <> 'abandoned'
    AND (b.state NOT IN ('ambiguous', 'sending') OR b.granted_at >= :lost)
"""
_ANSWERED = """
    SELECT 1 FROM device_event e WHERE e.update_id = u.id AND e.recorded_at >= :since AND e.version IS NOT NULL
    AND e.evidence IN ('device', 'read_back')
"""
_REFUSED = """
    SELECT detail FROM device_event e WHERE e.update_id = u.id AND e.recorded_at >= :since AND e.kind = 'refused'
    AND e.leg IN ('read', 'inventory') AND e.detail = ANY(:codes) ORDER BY e.id DESC LIMIT 1
"""


def standing(connection: Connection) -> Reconciled:
    """How far the reconciliation is; LedgerError where the ledger was not restored."""
    stop_id, since = _stop(connection)
    rows = connection.execute(
        text(
            f"SELECT u.id, u.eui, EXISTS ({_ANSWERED}) AS answered, d.smi_status, ({_REFUSED}) AS refused"
            f" {_OPEN} AND EXISTS ({_ASKED}) ORDER BY u.eui"
        ),
        {"since": since, "lost": since, "leg": Leg.READ, "codes": list(leavers.GONE)},
    ).all()
    gone = {row.eui: row.reason for row in connection.execute(_LEFT, {"since": since})}
    left = gone | {row.eui: why for row in rows if (why := _why_left(row))}
    silent = {row.id: row.eui for row in rows if not row.answered and row.eui not in left}
    return Reconciled(
        stop_id,
        since,
        asked=len(rows),
        answered=sum(row.answered for row in rows),
        silent=list(silent.values()),
        inventory=inventory.entries(connection, list(silent)),
        left=left,
        unsent=connection.execute(_UNSENT, {"since": since}).scalar_one(),
        unrouted=connection.execute(_UNROUTED).scalar_one(),
    )


_LEFT = text("SELECT eui, reason FROM campaign_device WHERE outcome = 'left' AND changed_at >= :since ORDER BY eui")
_UNSENT = text(
    "SELECT count(*) FROM outbox WHERE permit_class = 'observe' AND state IN ('granted', 'ready') AND granted_at >= :since"
)
_UNROUTED = text(
    "SELECT count(*) FROM inbox WHERE routed_at IS NULL AND verified AND received_at < now() - interval '10 seconds'"
)


def _why_left(row: Row[Any]) -> str | None:
    """Why the DCC lets us command that device no more, of one that no sweep has closed for it yet; None where it does."""
    if row.refused:
        return leavers.GONE[row.refused]
    return None if row.smi_status in inventory.COMMANDED else f"its status in the DCC's inventory is {row.smi_status}"


def check(connection: Connection) -> Reconciled:
    """How far it is; LedgerError while devices or messages are still to be seen to."""
    found = standing(connection)
    legs = (Leg.INVENTORY, Leg.READ)
    waiting = {each for leg in legs for each in _unasked(connection, leg, found.since, lost=found.since)}
    if waiting or found.unsent or found.unrouted:
        raise LedgerError(
            f"{len(waiting)} devices were not asked yet, {found.unsent} questions have not left and {found.unrouted}"
            f" messages are not routed: {ASK}, so run it first"
        )
    return found


def go_on(connection: Connection, reason: str, actor: str, now: datetime) -> Reconciled:
    """Lift the stop and what the warden halted since, and hold who was silent or has left; LedgerError as `check`."""
    found = check(connection)
    for eui, why in {**dict.fromkeys(found.silent, _SILENT), **found.left}.items():
        holds.place(connection, holds.NewHold("device", eui, why, actor), now)
    # The warden found workflows that the copy did not expect to have ended: they have begun anew.
    of_warden = [s.id for s in stops.open_stops(connection) if s.actor == "warden" and s.at >= found.since]
    for stop_id in {*(stop_id for stop_id, _ in _open_stops(connection)), *of_warden}:
        stops.lift(connection, stop_id, reason, actor, now)
    document = {"stop": found.stop_id, "asked": found.asked, "silent": found.silent, "left": found.left}
    notes.add(connection, Said(actor, "reconciled", "all", reason, document), now)
    return found


_SILENT = "it has not said what it runs since the ledger was restored"
