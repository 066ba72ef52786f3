"""The verbs that stop, resume and undo, straight on the ledger: they work with Temporal down and with no worker.

Each takes an idempotency key, under which it is done once (see notes). Halting is never gated. What a halt cannot recall is listed, so that every device that activates afterwards was named.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from hanwave.ledger import campaigns, database, notes, outbox, overview, quarantine, stops, throttle
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By, Said
from hanwave.ledger.standing import Fact, lock, record, standings
from hanwave.ledger.stops import Scope
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import ENDED, State
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.request import UNKNOWN
from hanwave.words import person


@dataclass(frozen=True, slots=True)
class BeyondRecall:
    """A device that may still activate after a halt, and why."""

    campaign: str
    eui: str
    why: str


@dataclass(frozen=True, slots=True)
class Halted:
    """A halt: when it was recorded (no forward POST begins from then on), when it was quiet, what is beyond recall.

    A future-dated activation that is listed is being cancelled: the gateway began when the stop was recorded.
    """

    stop_id: int
    recorded_at: datetime
    quiet_at: datetime | None
    beyond_recall: list[BeyondRecall]


def halt(
    ledger: Engine, scope: Scope, reason: str, actor: str, *, patience: float = 90.0, key: str | None = None
) -> Halted:
    """Stop everything forward in that scope, wait (at most patience seconds) for quiet, and list what is beyond recall.

    Again under the same key: the same stop, and the list as it is now.
    """
    said = _stopping(actor, "halt", f"{scope.kind} {scope.value}".strip(), reason, {}, key)
    with ledger.begin() as connection:
        # By the ledger's time: whoever halts may do it on a machine whose clock is wrong.
        now = database.time_of(connection)
        stop_id = _halt(connection, scope, said, now)
        marked = stops.sending(connection, now)
    # What activates while we wait is known as activated afterwards: it stands on this list all the same.
    with ledger.connect() as connection:
        before = beyond_recall(connection, scope)
    recorded = _wait(ledger, marked, stops.BEGIN_BOUND.total_seconds()) or _time(ledger)
    _give_back(ledger, scope, f"halted by {said.actor}")
    quiet = _wait(ledger, {m for m in marked if not m.transform}, patience)
    with ledger.connect() as connection:
        listed = {(b.campaign, b.eui): b for b in (*before, *beyond_recall(connection, scope))}
    return Halted(stop_id, recorded, quiet, [listed[key] for key in sorted(listed)])


def _halt(connection: Connection, scope: Scope, said: Said, now: datetime) -> int:
    """Record a halt; its stop. Nothing gates it: not another reason, nor that the key's own halt was lifted since."""
    first = notes.kept(connection, said)
    if first and stops.is_open(connection, first.document["stop"]):
        return int(first.document["stop"])
    stop_id = stops.stop(connection, scope, "halt", said.reason, said.actor, now)
    notes.add(connection, replace(said, document={"stop": stop_id}, key=None if first else said.key), now)
    return stop_id


def _wait(ledger: Engine, marked: set[stops.Marked], patience: float) -> datetime | None:
    """Wait until none of those is under way any more; when that was, or None where it was not within patience seconds.

    Requests that were marked since are of other campaigns, which go on.
    """
    deadline = time.monotonic() + patience
    while marked:
        with ledger.connect() as connection:
            marked &= stops.sending(connection, database.time_of(connection))
        if marked and time.monotonic() > deadline:
            return None
        time.sleep(0.02 if marked else 0)
    return _time(ledger)


def _time(ledger: Engine) -> datetime:
    with ledger.connect() as connection:
        return database.time_of(connection)


def _give_back(ledger: Engine, scope: Scope, reason: str) -> None:
    """What was permitted and never left shall not leave when the stop is lifted: it is asked for anew then."""
    with ledger.connect() as connection:
        unsent = outbox.unsent(connection, scope)
    for outbox_id in unsent:
        with ledger.begin() as connection:
            outbox.never_sent(connection, outbox_id, datetime.now(UTC), reason)


_BEYOND = text(
    f"""
    SELECT u.campaign, u.eui, CASE
        WHEN q.held THEN 'its request is in quarantine and may be released'
        WHEN u.state = 'scheduled' THEN 'it holds a future-dated activation that is not yet cancelled'
        WHEN u.state = 'closed' THEN 'its request was accepted, and its update was closed without a last word of it'
        WHEN u.device_type = 'PPMID' THEN 'its 11.4 may be accepted: it activates by itself'
        ELSE 'its activation was sent and has no outcome'
    END AS why
    FROM campaign_device u JOIN campaign c ON c.name = u.campaign LEFT JOIN device d ON d.eui = u.eui
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM ({quarantine.HELD}) h
        WHERE h.update_id = u.id AND h.leg IN ('distribute', 'activate')) AS held) q
    WHERE (q.held OR u.state IN ('activating', 'scheduled', 'unknown')
           OR (u.state = 'closed' AND u.outcome IN ('unknown', 'left'))
           OR (u.device_type = 'PPMID' AND (u.state IN ('requested', 'delivered', 'delivery_failed')
               OR (u.state = 'closed' AND u.outcome IN ('not_delivered', 'customer_action', 'superseded', 'cancelled')))))
    AND (q.held OR EXISTS (SELECT 1 FROM device_event e WHERE e.update_id = u.id AND e.evidence = 'imported'
        AND (e.leg = 'activate' OR u.device_type = 'PPMID')) OR EXISTS (SELECT 1 FROM outbox_device o JOIN outbox b ON b.id = o.outbox_id
        WHERE o.update_id = u.id AND b.sends > 0 AND (o.leg = 'activate' OR (o.leg = 'distribute' AND u.device_type = 'PPMID'))))
    -- A later update that ended well has taken the place of this one's image.
    AND NOT (u.state = 'closed' AND EXISTS (SELECT 1 FROM campaign_device n
        WHERE n.eui = u.eui AND n.id > u.id AND n.state IN ('confirmed', 'settled')))
    AND (:kind = 'all' OR (:kind = 'user' AND c.user_id = :value) OR (:kind = 'campaign' AND u.campaign = :value)
         OR (:kind = 'wave' AND u.campaign || '/' || u.wave = :value)
         OR (:kind = 'model' AND d.manufacturer || '/' || d.model = :value))
    ORDER BY u.campaign, u.eui
    """
)


def beyond_recall(connection: Connection, scope: Scope) -> list[BeyondRecall]:
    """The devices of a scope that may yet activate, whatever is stopped."""
    rows = connection.execute(_BEYOND, {"kind": scope.kind, "value": scope.value})
    return [BeyondRecall(row.campaign, row.eui, row.why) for row in rows]


def pause(ledger: Engine, campaign: str, leg: Leg | None, reason: str, actor: str, *, key: str | None = None) -> int:
    """Stop one leg of a campaign (or all its forward legs) for a while; the stop's id."""
    said = _stopping(actor, "pause", f"campaign/{campaign}", reason, {"leg": leg}, key)
    scope = Scope("campaign", campaign, _pausable(leg))
    with ledger.begin() as connection:
        campaigns.frame(connection, campaign)
        now = datetime.now(UTC)
        first = notes.once(connection, said, lambda: _pause(connection, scope, said, now), now)
        if stops.is_open(connection, first):
            return first
        # The key's own pause was lifted since. Whoever asks for a stop gets one.
        return notes.once(connection, replace(said, key=None), lambda: _pause(connection, scope, said, now), now)


def _pause(connection: Connection, scope: Scope, said: Said, now: datetime) -> int:
    return stops.stop(connection, scope, "pause", said.reason, said.actor, now)


def _stopping(actor: str, verb: str, subject: str, reason: str, document: dict[str, Any], key: str | None) -> Said:
    """Whoever stops something may leave out who and why."""
    said = Said(actor, verb, subject, reason, document, key)
    return replace(said, actor=said.actor or UNKNOWN, reason=said.reason or "no reason given")


def _pausable(leg: Leg | None) -> Leg | None:
    if leg is not None and leg not in _FORWARD:
        raise LedgerError(
            f"{leg} is no leg that is paused or resumed: it should be {' or '.join(_FORWARD)}, or none: both"
        )
    return leg


_FORWARD = {Leg.DISTRIBUTE: Leg.ACTIVATE, Leg.ACTIVATE: Leg.DISTRIBUTE}
"""The legs that are paused apart, and each one's other."""


def resume(ledger: Engine, campaign: str, by: By, leg: Leg | None = None) -> list[str]:
    """Lift every stop that names the campaign or one of its waves (of a leg: its pauses alone); what was lifted.

    LedgerError where nothing is to be lifted, no reason is given, or the digest is another plan's.
    """
    said = _widening(by, "resume", campaign, {"leg": _pausable(leg)})
    with ledger.begin() as connection:
        now = datetime.now(UTC)
        return notes.once(connection, said, lambda: _resume(connection, campaign, said, leg, now), now)


def _widening(by: By, verb: str, campaign: str, document: dict[str, Any]) -> Said:
    return Said(by.actor, verb, f"campaign/{campaign}", by.reason, {"digest": by.digest, **document}, by.key)


def _resume(connection: Connection, campaign: str, said: Said, leg: Leg | None, now: datetime) -> list[str]:
    overview.expect(connection, campaign, said.document["digest"])
    found = [s for s in stops.open_stops(connection, campaign) if s.scope.kind in ("campaign", "wave")]
    if not found:
        raise LedgerError(f"nothing stops campaign {campaign!r} itself, so there is nothing to resume")
    lifted = [s for s in found if leg is None or (s.kind == "pause" and s.scope.leg in (None, leg))]
    if not lifted:
        raise LedgerError(f"no pause of {leg} stops {campaign!r}, but {found[0]!s:.90}: resume it without a leg")
    for stop in lifted:
        stops.lift(connection, stop.id, said.reason, said.actor, now)
        if leg and stop.scope.leg is None:
            rest = replace(stop.scope, leg=_FORWARD[leg])
            stops.stop(connection, rest, "pause", stop.reason, stop.actor, now)
    return [str(stop) for stop in lifted]


def approve(
    ledger: Engine, campaign: str, digest: str, actor: str, reason: str = "approved", *, key: str | None = None
) -> int:
    """Approve a campaign's plan, by its digest; the number of approvers. Its author cannot; another digest is refused."""
    said = Said(actor, "approve", f"campaign/{campaign}", reason, {"digest": digest}, key)
    with ledger.begin() as connection:
        return notes.once(connection, said, lambda: _approvers(connection, campaign, said), datetime.now(UTC))


def _approvers(connection: Connection, campaign: str, said: Said) -> int:
    found = overview.known(connection, campaign)
    if person(said.actor) == person(found.author):
        raise LedgerError(f"{said.actor} is the author of campaign {campaign!r}, and cannot approve it: another should")
    if (digest := said.document["digest"]) != found.digest:
        raise LedgerError(f"the plan's digest is {found.digest}, not {digest[:64]}: read it again")
    return len({person(each) for each in (*found.approvers, said.actor)})


def go_on(ledger: Engine, campaign: str, by: By) -> int:
    """Let the next wave begin although the gate of the last closed one did not pass; that one's number."""
    said = _widening(by, "go on", campaign, {})
    with ledger.begin() as connection:
        return notes.once(connection, said, lambda: _pass_gate(connection, campaign, said), datetime.now(UTC))


def _pass_gate(connection: Connection, campaign: str, said: Said) -> int:
    found = overview.expect(connection, campaign, said.document["digest"])
    held = [w for w in found.waves if w.closed and not w.passed]
    if not held:
        raise LedgerError(
            f"no gate of campaign {campaign!r} waits for a person: `hanwave campaign status` shows what it waits for"
        )
    connection.execute(
        text("UPDATE wave SET passed_by = :actor WHERE campaign = :name AND number = :number"),
        {"actor": said.actor, "name": campaign, "number": held[0].number},
    )
    return held[0].number


def change_pace(ledger: Engine, campaign: str, per_second: float, by: By) -> float:
    """Set how many activations a second, over all, a campaign may have from its next sweep on; what it had before.

    LedgerError where that is more than its plan's, where it is over, or where the digest is another plan's.
    """
    said = _widening(by, "change pace", campaign, {"per_second": per_second})
    with ledger.begin() as connection:
        return notes.once(connection, said, lambda: _set_pace(connection, campaign, said), datetime.now(UTC))


def _set_pace(connection: Connection, campaign: str, said: Said) -> float:
    overview.expect(connection, campaign, said.document["digest"])
    if overview.closed(connection, [campaign]):
        raise LedgerError(f"campaign {campaign!r} is over: it has no pace to change")
    per_second, most = said.document["per_second"], throttle.planned(connection, campaign)
    if not 0 < per_second <= most:
        raise LedgerError(
            f"the pace of {campaign!r} should be above 0 and at most its approved plan's {most:g} a second, not"
            f" {per_second:g}: pause it to stop it, plan anew to go faster"
        )
    before = throttle.pace(connection, campaign)
    throttle.set_pace(connection, campaign, per_second)
    return before


_STILL_IN_FLIGHT = frozenset({State.ACTIVATING, State.SCHEDULED, State.UNKNOWN, State.QUARANTINED})


def withdraw_campaign(ledger: Engine, campaign: str, reason: str, actor: str, *, key: str | None = None) -> int:
    """End a campaign for good: nothing more is sent, and each update is closed once nothing of it is in flight.

    Returns how many are still in flight; the waves' sweeps close those when their answers are in or overdue.
    """
    said = Said(actor, "withdraw", f"campaign/{campaign}", reason, key=key)
    with ledger.begin() as connection:
        now = datetime.now(UTC)
        notes.once(connection, said, lambda: _withdraw(connection, campaign, said, now), now)
    # Not in one transaction: while the stop rows are locked nobody sends and no halt is recorded, and to close a hundred
    # thousand updates takes a minute. Killed in between, the sweeps do it, or whoever asks again.
    return _close_all(ledger, campaign, reason)


def _withdraw(connection: Connection, campaign: str, said: Said, now: datetime) -> int:
    stop_id = stops.stop(connection, Scope("campaign", campaign), "halt", said.reason, said.actor, now)
    connection.execute(
        text("UPDATE campaign SET status = 'withdrawn' WHERE name = :name AND status <> 'withdrawn'"),
        {"name": campaign},
    )
    return stop_id


_CLOSED_AT_ONCE = 2000


def _close_all(ledger: Engine, campaign: str, reason: str) -> int:
    """Close what is not in flight of a withdrawn campaign, some at a time; the number that is."""
    with ledger.connect() as connection:
        unsent, ids = _unsent(connection, campaign), _open(connection, campaign)
    for outbox_id in unsent:
        with ledger.begin() as connection:
            outbox.never_sent(connection, outbox_id, datetime.now(UTC), reason)
    in_flight = 0
    for first in range(0, len(ids), _CLOSED_AT_ONCE):
        with ledger.begin() as connection:
            in_flight += _close(connection, ids[first : first + _CLOSED_AT_ONCE], reason, datetime.now(UTC))
    return in_flight


def close_withdrawn(connection: Connection, campaign: str, reason: str, now: datetime) -> None:
    """Close what is not in flight any more of a withdrawn campaign; what somebody else has in hand is left to the next sweep."""
    for outbox_id in _unsent(connection, campaign, _NOT_IN_HAND):
        outbox.never_sent(connection, outbox_id, now, reason)
    _close(connection, _open(connection, campaign, _NOT_IN_HAND), reason, now)


# A sweep that waited here, with rows of its own locked, could wait for whoever waits for those.
_NOT_IN_HAND = "FOR UPDATE SKIP LOCKED"


def _unsent(connection: Connection, campaign: str, which: str = "") -> list[int]:
    statement = f"SELECT id FROM outbox WHERE campaign = :name AND state IN ('granted', 'ready') AND sends = 0 {which}"
    return list(connection.execute(text(statement), {"name": campaign}).scalars())


def _open(connection: Connection, campaign: str, which: str = "") -> list[int]:
    statement = (
        "SELECT id FROM campaign_device WHERE campaign = :name AND state NOT IN ('settled', 'closed')"
        f" ORDER BY id {which}"
    )
    return list(connection.execute(text(statement), {"name": campaign}).scalars())


# What was harmed was so before the campaign was withdrawn, and is counted as what it is.
_HARMED = {State.FAILED: Outcome.FAILED, State.VERIFICATION_FAILED: Outcome.NOT_VERIFIED}


def _close(connection: Connection, ids: list[int], reason: str, now: datetime) -> int:
    """Close those updates but what is in flight, or has ended in the meantime; how many are in flight."""
    lock(connection, ids)
    found = [f for f in standings(connection, ids, now) if f.standing.state not in ENDED]
    # A PPMID in flight is closed too: its rollback re-sends 11.4, which needs the device. Not so a quarantined one.
    idle = [
        f
        for f in found
        if not f.standing.quarantined and (f.device_type.one_step or f.standing.state not in _STILL_IN_FLIGHT)
    ]
    ends = [(f, _HARMED.get(f.standing.state, Outcome.SUPERSEDED)) for f in idle]
    facts = [Fact(f.update_id, Event(Kind.CLOSED, now, hop=f.hop, detail=end, reason=reason)) for f, end in ends]
    record(connection, facts, now)
    return len(found) - len(idle)
