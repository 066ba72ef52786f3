"""Routing: what a stored message says becomes facts of the updates that it is about.

Guarantees: a message is matched by the request that it answers, else by the device's open update, never by guess; a
finding for another User ID, another image or an ended update becomes no fact of an open one; routing a message again
changes nothing; what is not wholly ours is left for the supplier's other systems, even where we learnt from it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple

from sqlalchemy import Connection, text

from hanwave import duis
from hanwave.firmware.terms import version_digits
from hanwave.ledger import alarms, campaigns, gains, inbox, leavers, members, regression, shadows
from hanwave.ledger.members import Member, Try
from hanwave.ledger.standing import Fact, Folded, record
from hanwave.names import Wake
from hanwave.rollout.decide import Step
from hanwave.rollout.device import ENDED, State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.evidence import TELLS_VERSION, Contradiction, Finding, addressee, findings, is_alert


class Route(StrEnum):
    """What a message was to us."""

    OURS = "ours"
    LATE = "late"
    """Of a device's update that has ended: kept, and people are told."""
    FOREIGN = "foreign"
    """Of another system on our User ID, or of general interest: to be forwarded."""
    UNREAD = "unread"
    """It could not be understood, or contradicts itself: kept, and forwarded too."""


class Waking(NamedTuple):
    """Whose workflow has a decision to take."""

    campaign: str
    eui: str
    wake: Wake
    update_id: int


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of a message."""

    route: Route
    wakes: tuple[Waking, ...] = ()


class _Late(NamedTuple):
    finding: Finding
    eui: str
    why: str = "came after the update had ended"


@dataclass(slots=True)
class _Outcome:
    """What routing a message comes to, gathered over its findings."""

    received: inbox.Received
    to: str | None
    """The User ID that the message is for, where it says so."""
    found: tuple[Finding, ...]
    unread: str | None = None
    """Why it could not be understood."""
    facts: list[Fact] = field(default_factory=list)
    late: list[_Late] = field(default_factory=list)
    ours: bool = False


def route(connection: Connection, messages: Sequence[inbox.Received], now: datetime) -> list[Routed]:
    """Record what stored, verified messages say, and mark them as routed; now is aware UTC. All of them, or none.

    A device of which several speak is folded once, and woken once: its wake is with the last of them.
    """
    outcomes = [_understand(received) for received in messages]
    _match(connection, outcomes)
    folded = record(connection, [fact for outcome in outcomes for fact in outcome.facts], now)
    if elsewhere := {str(f.eui): o.received.digest for o in outcomes for f in o.found if f.elsewhere}:
        gains.look_again(connection, elsewhere, now)
    regression.tell(connection, folded, _words(outcomes), now)
    alarms.tell(connection, _alerts(outcomes), now)
    _tell_fleet(connection, outcomes)
    _tell_people(connection, outcomes, now)
    kinds = [_kind(outcome) for outcome in outcomes]
    inbox.routed(connection, [(o.received.id, *kind) for o, kind in zip(outcomes, kinds, strict=True)], now)
    last = {fact.update_id: number for number, outcome in enumerate(outcomes) for fact in outcome.facts}
    wakes: dict[int, list[Waking]] = {}
    for waking in _wakes(f for f in folded if _is_woken(campaigns.frame(connection, f.campaign))):
        wakes.setdefault(last[waking.update_id], []).append(waking)
    return [Routed(kind, tuple(wakes.get(number, ()))) for number, (kind, _) in enumerate(kinds)]


def inventory(connection: Connection, outbox_id: int, found: duis.Inventory, raw: bytes, now: datetime) -> list[Folded]:
    """Record what the answer to an 8.2 of ours says of the device that was asked for; the DCC says it, not the device."""
    devices = {str(d.device_id): d for d in found.devices}
    rows = connection.execute(
        text("SELECT update_id, eui, hop, leg, attempt FROM outbox_device WHERE outbox_id = :id"), {"id": outbox_id}
    )
    digest = hashlib.sha256(raw).hexdigest()
    facts = []
    for row in rows:
        device = devices.get(row.eui)
        if device and device.firmware_version:
            version = version_digits(device.firmware_version)
            event = Event(Kind.VERSION, now, Leg(row.leg), row.hop, row.attempt, Evidence.DCC, version)
            facts.append(Fact(row.update_id, event, digest))
        if device and device.status:
            connection.execute(
                text("UPDATE device SET smi_status = :status, updated_at = :now WHERE eui = :eui"),
                {"eui": row.eui, "status": str(device.status), "now": now},
            )
    told = [(each, devices[eui]) for eui, some in shadows.watching(connection, devices).items() for each in some]
    for shadow, device in told:
        if device.firmware_version:
            version = version_digits(device.firmware_version)
            event = Event(Kind.VERSION, now, None, shadow.hop, 0, Evidence.DCC, version)
            facts.append(Fact(shadow.update_id, event, digest))
    folded = record(connection, facts, now)
    leavers.leave(connection, now, euis=list(devices))
    return folded


def _words(outcomes: Sequence[_Outcome]) -> Iterable[regression.Word]:
    for outcome in outcomes:
        for f in outcome.found:
            if f.eui and f.version and f.kind in TELLS_VERSION:
                own = f.evidence is not Evidence.DCC or f.kind is not Kind.VERSION
                yield regression.Word(str(f.eui), f.version, f.at, outcome.to, own)


def _alerts(outcomes: Sequence[_Outcome]) -> Iterable[alarms.Alert]:
    for outcome in outcomes:
        for f in outcome.found:
            if f.eui and f.kind is Kind.HEARD and is_alert(f.code):
                yield alarms.Alert(str(f.eui), f.code, f.at, outcome.received.digest)


def _understand(received: inbox.Received) -> _Outcome:
    """For which User ID the message is, and what it says; or why it cannot be understood."""
    try:
        message = duis.read(received.raw)
        if isinstance(message, duis.Response):
            to = addressee(message)
            # Its sender's clock may be ahead: dated to come, it would outdate what is said and read until then.
            found = tuple(replace(f, at=min(f.at, received.received_at)) for f in findings(message))
            return _Outcome(received, str(to) if to else None, found)
    except (duis.DuisError, Contradiction) as error:
        return _Outcome(received, None, (), str(error))
    return _Outcome(received, None, (), "it is a Request, and only the DCC's responses and alerts are for us")


def _kind(outcome: _Outcome) -> tuple[Route, str | None]:
    if outcome.unread is not None:
        return Route.UNREAD, outcome.unread
    if outcome.ours:
        return Route.OURS, None
    if outcome.late:
        return Route.LATE, "; ".join(f"{late.finding.kind} of {late.eui} {late.why}" for late in outcome.late[:3])
    return Route.FOREIGN, None


def _match(connection: Connection, outcomes: Sequence[_Outcome]) -> None:
    """Whom each finding is about, by the request that it answers, else by the device's open update."""
    found = [finding for outcome in outcomes for finding in outcome.found]
    asked = members.asked(
        connection, {(str(f.request_id), str(f.eui) if f.eui else None) for f in found if f.request_id}
    )
    about = {str(f.eui) for f in found if f.eui}
    open_updates, watched = members.open_updates(connection, about), shadows.watching(connection, about)
    ids = {m.update_id for some in asked.values() for m in some} | {m.update_id for m in open_updates.values()}
    tries = members.tries(connection, ids)
    for outcome in outcomes:
        for finding in outcome.found:
            if finding.request_id and (answered := asked.get(str(finding.request_id))):
                _answers(outcome, finding, answered, tries)
            elif (member := open_updates.get(str(finding.eui))) and outcome.to in (None, member.user_id):
                _observed(outcome, finding, member, tries)
            elif finding.leg and not finding.request_id and _was_updated(connection, finding, outcome.to):
                outcome.late.append(_Late(finding, str(finding.eui)))
            for shadow in watched.get(str(finding.eui), ()):
                if outcome.to in (None, shadow.user_id):
                    outcome.facts.append(shadows.fact(shadow, finding, outcome.received.digest))


def _answers(
    outcome: _Outcome,
    finding: Finding,
    answered: Sequence[Member],
    tries: Mapping[int, list[Try]],
) -> None:
    """A finding that names a request of ours: of one of its devices, or of all."""
    eui = str(finding.eui) if finding.eui else None
    about = [m for m in answered if eui is None or m.eui == eui]
    for member in about:
        if member.open:
            outcome.facts.append(_fact(member, _event(finding, member, tries), outcome.received))
        else:
            outcome.late.append(_Late(finding, member.eui))
    outcome.ours |= any(m.open for m in about)


def _event(finding: Finding, member: Member, tries: Mapping[int, list[Try]]) -> Event:
    """What an answer to that member's request means: of the request's leg and attempt."""
    leg, attempt, kind = member.leg, member.attempt, finding.kind
    if leg is Leg.WITHDRAW and kind is Kind.SCHEDULED:
        held = [t for t in tries.get(member.update_id, []) if t.hop == member.hop]
        _, withdrawn = _step(held, Leg.ACTIVATE, member.granted_at, member.hop)
        if any(t.at and t.at <= finding.at for t in held if (t.leg, t.attempt) == (Leg.ACTIVATE, withdrawn)):
            # Its date had come before the cancel was answered: whether it acted is not known by this.
            return _as_event(finding, Kind.HEARD, leg, member.hop, attempt)
        # "Command accepted" to the cancelling date: what was held until now is dropped (domain 1.3).
        kind, leg, attempt = Kind.WITHDRAWN, Leg.ACTIVATE, withdrawn
    return _as_event(finding, kind, leg, member.hop, attempt)


def _as_event(finding: Finding, kind: Kind, leg: Leg | None, hop: int, attempt: int) -> Event:
    return Event(kind, finding.at, leg, hop, attempt, finding.evidence, finding.version, finding.detail)


def _fact(member: Member, event: Event, received: inbox.Received) -> Fact:
    return Fact(member.update_id, event, received.digest)


_NAMES_IMAGE = frozenset({Kind.DELIVERED, Kind.DELIVERY_FAILED, Kind.TRANSFERRED})
"""Findings whose version is that of the image that travels."""


def _observed(
    outcome: _Outcome,
    finding: Finding,
    member: Member,
    tries: Mapping[int, list[Try]],
) -> None:
    """A finding of a device in an open update that names no request of ours."""
    if finding.request_id is not None:
        # Another system's request: of it we only learn which version the device runs.
        if finding.kind in TELLS_VERSION:
            seen = replace(finding, evidence=Evidence.DEVICE, detail=None)
            outcome.facts.append(_fact(member, _as_event(seen, Kind.VERSION, None, member.hop, 0), outcome.received))
        return
    if finding.kind in _NAMES_IMAGE and finding.version != member.version:
        outcome.late.append(_Late(finding, member.eui, f"is about another image, of version {finding.version}"))
        return
    hop, attempt = _step(tries.get(member.update_id, []), finding.leg, finding.at, member.hop)
    outcome.facts.append(_fact(member, _as_event(finding, finding.kind, finding.leg, hop, attempt), outcome.received))
    outcome.ours |= finding.kind is not Kind.HEARD


def _step(tries: Iterable[Try], leg: Leg | None, at: datetime | None, hop: int) -> tuple[int, int]:
    """The hop and the attempt that evidence of that time is of: the latest granted by then, else the latest.

    The hop in hand and 0 where there is none.
    """
    of_leg = [t for t in tries if t.leg is leg]
    by_then = [t for t in of_leg if at is None or t.granted_at <= at]
    return max(((t.hop, t.attempt) for t in by_then or of_leg), default=(hop, 0))


def _was_updated(connection: Connection, finding: Finding, to: str | None) -> bool:
    """Whether we ever sent that device a request of that leg, for the User ID that the message is for."""
    row = connection.execute(
        text(
            "SELECT 1 FROM campaign_device u JOIN outbox_device m ON m.update_id = u.id AND m.leg = :leg"
            " JOIN campaign c ON c.name = u.campaign"
            " WHERE u.eui = :eui AND (CAST(:to AS text) IS NULL OR c.user_id = :to) LIMIT 1"
        ),
        {"eui": str(finding.eui), "leg": finding.leg, "to": to},
    )
    return row.first() is not None


_FLEET = text(
    """
    UPDATE device d SET
        firmware_version = CASE WHEN f.version IS NOT NULL AND coalesce(d.last_heard <= f.at, true)
            THEN f.version ELSE d.firmware_version END,
        last_heard = CASE WHEN f.spoken THEN greatest(d.last_heard, f.at) ELSE d.last_heard END,
        smi_status = CASE WHEN d.updated_at <= f.at THEN coalesce(f.smi_status, d.smi_status) ELSE d.smi_status END
    FROM unnest(CAST(:euis AS text[]), CAST(:versions AS text[]), CAST(:statuses AS text[]),
                CAST(:ats AS timestamptz[]), CAST(:spokens AS bool[]), CAST(:tos AS text[]))
         AS f(eui, version, smi_status, at, spoken, addressee)
    WHERE d.eui = f.eui AND (f.addressee IS NULL OR f.addressee IN (d.import_supplier, d.gas_supplier))
    """
)


def _tell_fleet(connection: Connection, outcomes: Sequence[_Outcome]) -> None:
    """Keep what the devices said of themselves; older news than the fleet has change nothing."""
    news: dict[str, list[tuple[Finding, str | None]]] = {}
    for outcome in outcomes:
        for finding in outcome.found:
            if finding.eui and (finding.spoken or finding.smi_status):
                news.setdefault(str(finding.eui), []).append((finding, outcome.to))
    # A statement changes a row once: what a device said first goes first, and so on. In the order of the devices,
    # so that two routers do not wait for one another.
    for together in zip_longest(*(news[eui] for eui in sorted(news))):
        told = [each for each in together if each]
        values = {
            "euis": [str(f.eui) for f, _ in told],
            "versions": [f.version if f.kind in TELLS_VERSION else None for f, _ in told],
            "statuses": [f.smi_status for f, _ in told],
            "ats": [f.at for f, _ in told],
            "spokens": [f.spoken for f, _ in told],
            "tos": [to for _, to in told],
        }
        connection.execute(_FLEET, values)


def _tell_people(connection: Connection, outcomes: Sequence[_Outcome], now: datetime) -> None:
    """A note for each late finding and each alarm, once a message and device."""
    notes = [
        {
            "now": now,
            "verb": verb,
            "subject": f"device/{eui}",
            "reason": reason,
            "key": f"{verb}/{outcome.received.digest}/{eui}",
            "document": json.dumps({"message": outcome.received.digest, "at": f.at.isoformat(), "version": f.version}),
        }
        for outcome in outcomes
        for verb, eui, f, reason in _notes(outcome)
    ]
    if notes:
        connection.execute(
            text(
                "INSERT INTO note (at, actor, verb, subject, reason, key, document)"
                " VALUES (:now, 'hanwave', :verb, :subject, :reason, :key, CAST(:document AS jsonb))"
                " ON CONFLICT DO NOTHING"
            ),
            notes,
        )


def _notes(outcome: _Outcome) -> Iterable[tuple[str, str, Finding, str]]:
    yield from (("late", eui, f, f"{f.kind} ({f.code}) {why}") for f, eui, why in outcome.late)
    told = (f for f in outcome.found if f.alarm or f.elsewhere)
    yield from (("alarm" if f.alarm else "elsewhere", str(f.eui), f, f.detail or f.code) for f in told)


_DECIDES = frozenset({State.ACTIVATED, State.CONFIRMED, State.FAILED, State.UNKNOWN, *ENDED})


def _is_woken(frame: campaigns.Frame) -> bool:
    """A shadow's devices do nothing, and those on a bench are woken by their wave alone."""
    return not frame.shadow and not frame.on_bench


def _wakes(folded: Iterable[Folded]) -> Iterable[Waking]:
    """Those whose workflows have something to decide now; distribution is the wave's affair, and wakes nobody."""
    for f in folded:
        state = f.standing.state
        decides = state in _DECIDES or (state is State.HELD and f.standing.attempt(Leg.ACTIVATE) > 0)
        if decides and (state is not f.was or f.decision.step is not Step.WAIT):
            yield Waking(f.campaign, f.eui, Wake(str(state), ended=state in ENDED), f.update_id)
