"""After the ledger was restored to an earlier copy: all is stopped, and what may have happened since is found out.

Guarantees: from `stop_all` on nothing forward leaves, and no request that the copy holds as unanswered is POSTed again (it
may have left, with other bytes); no counter that may have been used is given out again; nothing forward goes on until a
person says so, and then not to a device that has not said what it runs. What the copy never knew of (a campaign that was
begun after it was made) no reconciliation can bring back.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import control, holds, permit, stops
from hanwave.ledger.database import LedgerError

JUMP = 1_000_000
"""Counters are milliseconds since 1970 at least, and run ahead of the clock only by bursts: by far less than this."""
ASK = "`hanwave reconcile` finds out what happened since, and tells when it may go on"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How far it is: devices of campaigns that are not over."""

    stop_id: int
    since: datetime
    asked: int
    answered: int
    silent: list[str]
    """EUI-64s of those asked that have not said what they run."""
    unrouted: int
    """Messages that have waited to be routed for longer than they should: ten seconds."""


def open_stop(connection: Connection) -> tuple[int, datetime] | None:
    """The stop of a restored ledger, and since when; None where none is open."""
    row = connection.execute(
        text(
            "SELECT s.id, s.at FROM stop s JOIN note n ON n.verb = 'restored' AND (n.document ->> 'stop')::bigint = s.id"
            " WHERE s.lifted_at IS NULL ORDER BY s.id LIMIT 1"
        )
    ).first()
    return (row.id, row.at) if row else None


def stop_all(connection: Connection, why: str, actor: str, now: datetime) -> int:
    """Stop everything forward, give up what is unanswered, and jump the counters; again, nothing. The stop's id."""
    stops.lock(connection)
    if known := open_stop(connection):
        return known[0]
    reason = f"the ledger was restored to an earlier copy ({why}): {ASK}"
    stop_id = stops.stop(connection, stops.Scope("all"), "halt", reason, actor, now)
    control.note(connection, actor, "restored", "all", reason, {"stop": stop_id})
    connection.execute(_FORGET, {"now": now})
    connection.execute(_START_AGAIN)
    values = {"now": int(now.timestamp() * 1000), "jump": JUMP}
    connection.execute(text("UPDATE counter SET last = greatest(last, :now) + :jump"), values)
    return stop_id


# Each may have been sent after the copy was made, so each counts as sent; its deadline runs from its grant.
_FORGET = text(
    "UPDATE outbox SET state = 'forgotten', sends = greatest(sends, 1), sending_at = coalesce(sending_at, granted_at),"
    " answered_at = :now WHERE state IN ('granted', 'ready', 'sending', 'ambiguous')"
)

# Temporal may be ahead of the copy: a device's workflow may have ended there, and only `recover` starts one again.
_START_AGAIN = text(
    "UPDATE campaign_device u SET started = true, picked_at = NULL FROM campaign c WHERE c.name = u.campaign"
    " AND c.closed_at IS NULL AND u.state NOT IN ('settled', 'closed')"
)


def ask_devices(connection: Connection, most: int, now: datetime) -> int:
    """Have the next devices asked for their version (11.2), once each since the stop; how many, 0 where all were."""
    found = open_stop(connection)
    if found is None:
        raise LedgerError("nothing is stopped because of a restored ledger: there is nothing to reconcile")
    rows = connection.execute(
        text(f"SELECT u.id {_OPEN} AND NOT EXISTS ({_ASKED}) ORDER BY u.id LIMIT :most"),
        {"since": found[1], "most": most},
    )
    ids = list(rows.scalars())
    for update_id in ids:
        permit.look(connection, update_id, now)
    return len(ids)


_OPEN_UPDATES = (
    "FROM campaign_device u JOIN campaign c ON c.name = u.campaign"
    " WHERE c.closed_at IS NULL AND u.state NOT IN ('settled', 'closed')"
)
# Of two open updates of one device the one that has its lease, or is the older, is asked.
_OPEN = f"""
    {_OPEN_UPDATES} AND u.id = coalesce(
        (SELECT l.update_id FROM lease l WHERE l.eui = u.eui),
        (SELECT min(v.id) FROM campaign_device v JOIN campaign k ON k.name = v.campaign
         WHERE v.eui = u.eui AND k.closed_at IS NULL AND v.state NOT IN ('settled', 'closed')))
"""
_ASKED = "SELECT 1 FROM outbox b WHERE b.update_id = u.id AND b.leg = 'read' AND b.granted_at >= :since"
_ANSWERED = (
    "SELECT 1 FROM device_event e WHERE e.update_id = u.id AND e.recorded_at >= :since AND e.version IS NOT NULL"
    " AND e.evidence IN ('device', 'read_back')"
)


def standing(connection: Connection) -> Reconciled:
    """How far the reconciliation is; LedgerError where the ledger was not restored."""
    found = open_stop(connection)
    if found is None:
        raise LedgerError("nothing is stopped because of a restored ledger: there is nothing to reconcile")
    stop_id, since = found
    rows = connection.execute(
        text(f"SELECT u.eui, EXISTS ({_ANSWERED}) AS answered {_OPEN} AND EXISTS ({_ASKED}) ORDER BY u.eui"),
        {"since": since},
    ).all()
    unrouted = connection.execute(
        text(
            "SELECT count(*) FROM inbox WHERE routed_at IS NULL AND verified AND received_at < now() - interval '10 seconds'"
        )
    )
    silent = [row.eui for row in rows if not row.answered]
    return Reconciled(stop_id, since, len(rows), len(rows) - len(silent), silent, unrouted.scalar_one())


def check(connection: Connection) -> Reconciled:
    """How far it is; LedgerError while devices or messages are still to be seen to."""
    found = standing(connection)
    waiting = connection.execute(
        text(f"SELECT count(*) {_OPEN} AND NOT EXISTS ({_ASKED})"), {"since": found.since}
    ).scalar_one()
    if waiting or found.unrouted:
        raise LedgerError(
            f"{waiting} devices were not asked yet and {found.unrouted} messages are not routed: {ASK}, so run it first"
        )
    return found


def go_on(connection: Connection, reason: str, actor: str, now: datetime) -> Reconciled:
    """Lift the stop and what the warden halted since, and hold each device that was silent; LedgerError as `check`."""
    found = check(connection)
    for eui in found.silent:
        why = "it has not said what it runs since the ledger was restored"
        holds.place(connection, holds.NewHold("device", eui, why, actor), now)
    # The warden found workflows that the copy did not expect to have ended: they have begun anew.
    of_warden = [s.id for s in stops.open_stops(connection) if s.actor == "warden" and s.at >= found.since]
    for stop_id in {found.stop_id, *of_warden}:
        stops.lift(connection, stop_id, reason, actor, now)
    document = {"stop": found.stop_id, "asked": found.asked, "silent": found.silent}
    control.note(connection, actor, "reconciled", "all", reason, document)
    return found
