"""A wave as its workflow drives it: what fell due, whose turn it is, and whether it is over.

Guarantees: deadlines are rows, not timers, so a sweep after any outage finds them all; no more devices are given their
turn than the exposure cap has room for, so nobody is woken to be told *not now*; a sweep that is repeated picks nobody
twice.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hanwave.ledger import (
    campaigns,
    control,
    judging,
    late,
    leavers,
    notes,
    outbox,
    overview,
    pacing,
    shadows,
    stops,
    urgency,
    windows,
)
from hanwave.ledger.checks import Refusals
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, Folded, lock, record, refold, standings
from hanwave.ledger.tables.campaigns import TO_START, TO_TELL
from hanwave.rollout.decide import Decision, Outcome, Step
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.route import DCC

_MOST_READS = 50  # a sweep: at some 20 a second, for so long the wave does nothing else
_UNSENT = timedelta(minutes=1)
"""An activation that was granted so long ago, and has not left, is tried again: nothing else would before its deadline."""
_MOST_AGAIN = 50
_MOST = 2000  # rows a sweep: at some 50 us a fold, a tenth of a second under locks


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found and did; the wave's workflow acts on it."""

    distribute: int = 0
    """Devices that wait for a distribution request; or, where none does, such requests that have not left."""
    wake: list[str] = field(default_factory=list)
    """EUI-64s whose turn has come: their workflows are to be woken."""
    read: list[int] = field(default_factory=list)
    """Updates whose version is to be read, at the end of their soak, or was to be and the request has not left."""
    start: list[str] = field(default_factory=list)
    """EUI-64s in an update whose workflows were not started yet."""
    ended: list[str] = field(default_factory=list)
    """EUI-64s whose updates have ended and whose workflows were not told yet."""
    open: int = 0
    next_due: datetime | None = None
    stopped: str | None = None
    """What stops the wave, or one leg of it, in a sentence."""
    funnel: dict[str, int] = field(default_factory=dict)
    route: str = DCC
    """How its devices are reached."""


def sweep(connection: Connection, campaign: str, wave: int, now: datetime, since: timedelta) -> Sweep:
    """Do what fell due in the ledger, and say what is due in the world; since: how long ago the last sweep was."""
    _pass_time(connection, campaign, wave, now)
    if campaigns.frame(connection, campaign).urgent:
        urgency.take_over(connection, campaign, now)
    if campaigns.withdrawn(connection, campaign):
        control.close_withdrawn(connection, campaign, "the campaign was withdrawn", now)
    windows.hold_back(connection, campaign, wave, now)
    frame = campaigns.frame(connection, campaign)
    if frame.shadow:
        shadows.stop_watching(connection, frame, wave, now)
    # Each leg is paused alone: images go on being sent while nothing may be activated.
    images, turns = (
        stops.blocking(connection, frame.user_id, campaign, wave, leg) for leg in (Leg.DISTRIBUTE, Leg.ACTIVATE)
    )
    due = _turns(connection, frame, wave, now, images=not images, activations=not turns) if frame.on_bench else None
    return Sweep(
        distribute=0 if images or due is not None else _to_distribute(connection, campaign, wave, now),
        wake=due if due is not None else [] if turns else _to_wake(connection, frame, wave, now, since),
        read=_reads(connection, campaign, wave, now),
        start=_euis(connection, campaign, wave, TO_START),
        ended=_euis(connection, campaign, wave, TO_TELL),
        open=_open(connection, campaign, wave),
        next_due=_next_due(connection, campaign, wave, now),
        stopped=str(turns or images) if turns or images else None,
        funnel=campaigns.funnel(connection, campaign, wave),
        route=frame.route,
    )


def _turns(
    connection: Connection, frame: campaigns.Frame, wave: int, now: datetime, *, images: bool, activations: bool
) -> list[str]:
    """Whose turn it is on a bench, where a device fetches its image by itself: each step is its own workflow's."""
    steps = {Step.DISTRIBUTE: images, Step.ACTIVATE: activations}
    return pacing.turns(connection, frame, wave, now, [step for step, may in steps.items() if may])


def _pass_time(connection: Connection, campaign: str, wave: int, now: datetime) -> None:
    """Let time act: waits that are over, deadlines passed, soaks ended, allowances spent."""
    rows = connection.execute(
        text(
            "SELECT id FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND due_at <= :now"
            " AND step IN ('wait', 'overdue', 'settle', 'close') ORDER BY id LIMIT :most"
        ),
        {"campaign": campaign, "wave": wave, "now": now, "most": _MOST},
    )
    ids = list(rows.scalars())
    leavers.leave(connection, now, update_ids=ids)
    lock(connection, ids)
    due = standings(connection, ids, now)
    record(connection, [fact for f in due for fact in _by_time(f, now)], now)
    refold(connection, [f.update_id for f in due if not _by_time(f, now)], now)


def _by_time(device: Folded, now: datetime) -> list[Fact]:
    decision = device.decision
    if decision.step is Step.OVERDUE and decision.leg:
        attempt = device.standing.attempt(decision.leg)
        return [Fact(device.update_id, Event(Kind.OVERDUE, now, decision.leg, device.hop, attempt))]
    if decision.step is Step.SETTLE:
        return [Fact(device.update_id, Event(Kind.SETTLED, now, hop=device.hop))]
    if decision.step is Step.CLOSE:
        return [closing(device, decision, now)]
    return []


def closing(device: Folded, decision: Decision, now: datetime) -> Fact:
    """The fact that ends an update."""
    outcome = decision.outcome or Outcome.FAILED
    return Fact(device.update_id, Event(Kind.CLOSED, now, hop=device.hop, detail=outcome, reason=decision.reason))


def _reads(connection: Connection, campaign: str, wave: int, now: datetime) -> list[int]:
    rows = connection.execute(
        text(
            "SELECT id FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND due_at <= :now"
            " AND step = 'read' AND state <> 'unknown' ORDER BY due_at, id LIMIT :most"
        ),
        {"campaign": campaign, "wave": wave, "now": now, "most": _MOST_READS},
    )
    values = {"campaign": campaign, "wave": wave, "before": now - _UNSENT, "most": _MOST_AGAIN}
    return list(dict.fromkeys([*rows.scalars(), *connection.execute(_READS_STILL_HERE, values).scalars()]))


# Granted, and found no way out: its device waits for an answer that nobody asked for, until the deadline.
_READS_STILL_HERE = text(
    "SELECT update_id FROM outbox WHERE campaign = :campaign AND wave = :wave AND leg = 'read' AND state IN ('granted', 'ready')"
    " AND coalesce(sending_at, granted_at) < :before ORDER BY id LIMIT :most"
)


def _to_distribute(connection: Connection, campaign: str, wave: int, now: datetime) -> int:
    # What was granted and found no way out (the DCC was away, the gateway was killed) is nobody's step any more.
    unsent = outbox.undelivered(connection, campaign, wave, Leg.DISTRIBUTE, now)
    return _waiting(connection, campaign, wave, now) or len(unsent)


def _to_wake(connection: Connection, frame: campaigns.Frame, wave: int, now: datetime, since: timedelta) -> list[str]:
    picked = pacing.pick(connection, frame, wave, now, since)
    values = {"campaign": frame.name, "wave": wave, "before": now - _UNSENT, "most": _MOST_AGAIN}
    return sorted({*picked, *connection.execute(_STILL_HERE, values).scalars()})


# Those that were granted first come first: their permits run out first.
_STILL_HERE = text(
    "SELECT m.eui FROM outbox b JOIN outbox_device m ON m.outbox_id = b.id WHERE b.campaign = :campaign AND b.wave = :wave"
    " AND b.leg = 'activate' AND b.state IN ('granted', 'ready') AND b.granted_at < :before ORDER BY b.id LIMIT :most"
)


def _waiting(connection: Connection, campaign: str, wave: int, now: datetime) -> int:
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM campaign_device WHERE campaign = :campaign AND wave = :wave"
                " AND due_at <= :now AND step = 'distribute'"
            ),
            {"campaign": campaign, "wave": wave, "now": now},
        ).scalar_one()
    )


def next_batch(connection: Connection, campaign: str, wave: int, now: datetime) -> list[int]:
    """Updates for the next distribution request, at most the policy's batch; the permit decides which it grants.

    They are those whose hop is of the release that is due for longest: a request carries one image.
    """
    frame = campaigns.frame(connection, campaign)
    values = {"campaign": campaign, "wave": wave, "now": now, "most": frame.policy.batch}
    if not frame.longer:
        return list(connection.execute(_NEXT, values).scalars())
    if (first := connection.execute(_FIRST, values).one_or_none()) is None:
        return []
    hops = [(n, hop, each) for n, path in enumerate(frame.paths, 1) for hop, each in enumerate(path, 1)]
    due = next(each for n, hop, each in hops if (n, hop) == (first.path, first.hop))
    same = [(n, hop) for n, hop, each in hops if each == due]
    values |= {"paths": [n for n, _ in same], "hops": [hop for _, hop in same]}
    return list(connection.execute(_NEXT_OF, values).scalars())


_DUE = "campaign = :campaign AND wave = :wave AND due_at <= :now AND step = 'distribute'"
_HOP = "hop + CASE state WHEN 'stepped' THEN 1 ELSE 0 END"
"""The hop of the image that a device is to be sent next."""
_NEXT = text(f"SELECT id FROM campaign_device WHERE {_DUE} ORDER BY due_at, id LIMIT :most")
_FIRST = text(f"SELECT path, {_HOP} AS hop FROM campaign_device WHERE {_DUE} ORDER BY due_at, id LIMIT 1")
_NEXT_OF = text(
    f"SELECT id FROM campaign_device WHERE {_DUE} AND (path, {_HOP}) IN (SELECT * FROM"
    " unnest(CAST(:paths AS int[]), CAST(:hops AS int[]))) ORDER BY due_at, id LIMIT :most"
)


def defer(connection: Connection, campaign: str, refused: Refusals, now: datetime) -> None:
    """The permit said *not now*: ask again when it said, else after two sweeps, and show its reason until then."""
    if not refused:
        return
    leavers.leave(connection, now, update_ids=refused)
    later = now + 2 * campaigns.frame(connection, campaign).policy.sweep
    connection.execute(
        text(
            "UPDATE campaign_device d SET due_at = f.until, reason = f.reason, picked_at = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[]), CAST(:untils AS timestamptz[]))"
            " AS f(id, reason, until)"
            " WHERE d.id = f.id AND d.step IN ('distribute', 'activate', 'read')"
        ),
        {
            "ids": list(refused),
            "reasons": [each.reason for each in refused.values()],
            "untils": [each.until or later for each in refused.values()],
        },
    )


def _open(connection: Connection, campaign: str, wave: int) -> int:
    statement = text(
        "SELECT count(*) FROM campaign_device WHERE campaign = :campaign AND wave = :wave"
        " AND state NOT IN ('settled', 'closed')"
    )
    return int(connection.execute(statement, {"campaign": campaign, "wave": wave}).scalar_one())


def _euis(connection: Connection, campaign: str, wave: int, which: str) -> list[str]:
    statement = text(
        "SELECT eui FROM campaign_device WHERE campaign = :campaign AND wave = :wave"
        f" AND {which} ORDER BY id LIMIT :most"
    )
    return list(connection.execute(statement, {"campaign": campaign, "wave": wave, "most": _MOST}).scalars())


def _next_due(connection: Connection, campaign: str, wave: int, now: datetime) -> datetime | None:
    found: datetime | None = connection.execute(
        text("SELECT min(due_at) FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND due_at > :now"),
        {"campaign": campaign, "wave": wave, "now": now},
    ).scalar_one()
    return found


def open_wave(connection: Connection, campaign: str, wave: int, now: datetime) -> None:
    """Record that a wave began; again, nothing. LedgerError where it may not: approvals or an earlier gate's pass are missing.

    A wave's workflow can be started by hand in the Web UI: both are asked here, and not only by the campaign.
    """
    _check_approved(connection, campaign)
    held = connection.execute(
        text(
            "SELECT min(number) FROM wave WHERE campaign = :campaign AND number < :wave"
            " AND verdict IS DISTINCT FROM 'pass' AND passed_by IS NULL"
        ),
        {"campaign": campaign, "wave": wave},
    ).scalar_one()
    if held is not None:
        raise LedgerError(f"wave {wave} of {campaign} may not begin: the gate of wave {held} has not passed")
    late.join(connection, campaign, wave, now)
    opened = connection.execute(
        text("UPDATE wave SET opened_at = :now WHERE campaign = :campaign AND number = :wave AND opened_at IS NULL"),
        {"campaign": campaign, "wave": wave, "now": now},
    )
    judging.remember_heard(connection, campaign, wave)
    if opened.rowcount:
        notes.add(connection, notes.Said("hanwave", "open wave", f"campaign/{campaign}/wave/{wave}"), now)
    connection.execute(
        text("UPDATE campaign SET status = 'running' WHERE name = :name AND status = 'planned'"), {"name": campaign}
    )


def _check_approved(connection: Connection, campaign: str) -> None:
    view = overview.known(connection, campaign)
    if len(view.approvers) < view.approvals:
        raise LedgerError(
            f"campaign {campaign!r} may not begin: {len(view.approvers)} of {view.approvals} approvals of its plan"
            f" {view.digest[:16]} are there"
        )


def mark_started(connection: Connection, campaign: str, euis: list[str]) -> None:
    """Record that those devices' workflows were started."""
    _mark(connection, "started", campaign, euis)


def mark_told(connection: Connection, campaign: str, euis: list[str]) -> None:
    """Record that those devices' workflows know that their updates have ended."""
    _mark(connection, "told", campaign, euis)


def _mark(connection: Connection, column: str, campaign: str, euis: list[str]) -> None:
    statement = text(f"UPDATE campaign_device SET {column} = true WHERE campaign = :campaign AND eui = ANY(:euis)")
    connection.execute(statement, {"campaign": campaign, "euis": euis})


@dataclass(frozen=True, slots=True)
class StartFact:
    """What starting or waking a device's workflow needs."""

    eui: str
    update_id: int
    wave: int
    device_type: str
    state: str
    due_at: datetime | None
    model: str
    """As a stop names it: manufacturer/model."""
    region: str
    supplier: str
    version: str
    """The version that the update is to."""
    outcome: str | None
    route: str = DCC
    reason: str = ""
    """Why it stands so, or why it ended so."""


START_FACTS = """
    SELECT u.eui, u.id AS update_id, u.wave, u.device_type, u.state, u.due_at, d.manufacturer || '/' || d.model AS model,
        d.region, c.user_id AS supplier, r.firmware_version AS version, u.outcome, c.route, u.reason
    FROM campaign_device u JOIN device d ON d.eui = u.eui JOIN campaign c ON c.name = u.campaign
    JOIN release r ON r.name = c.release WHERE u.campaign = :campaign
"""
"""The facts of a campaign's devices; a condition may follow."""


def start_facts(connection: Connection, campaign: str, euis: list[str]) -> list[StartFact]:
    """The facts of those devices, in the order of their updates."""
    rows = connection.execute(
        text(f"{START_FACTS} AND u.eui = ANY(:euis) ORDER BY u.id"),
        {"campaign": campaign, "euis": euis},
    )
    return [StartFact(*row) for row in rows]
