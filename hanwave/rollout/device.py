"""The device state machine: a pure fold of a device's events into its standing.

Guarantees: the standing depends on the set of events only, not on the order in which they arrived (a response may be
recorded before "sent"), nor on how often one was recorded; a step is never *failed* for want of an answer (that is
*unknown*); and *confirmed* needs the device's own word for the version that it runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hanwave.rollout.events import Event, Kind, Leg


class State(StrEnum):
    """Where a device stands in its update (design: A device's life)."""

    PLANNED = "planned"
    REQUESTED = "requested"
    DELIVERED = "delivered"
    HELD = "held"
    ACTIVATING = "activating"
    SCHEDULED = "scheduled"
    ACTIVATED = "activated"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    REJECTED = "rejected"
    DELIVERY_FAILED = "delivery_failed"
    VERIFICATION_FAILED = "verification_failed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    CLOSED = "closed"


EXPOSED = frozenset(
    {
        State.ACTIVATING,
        State.SCHEDULED,
        State.ACTIVATED,
        State.CONFIRMED,
        State.UNKNOWN,
        State.QUARANTINED,
        State.FAILED,
    }
)
"""Activated or in flight, and not settled: what a wave's exposure cap counts."""

ENDED = frozenset({State.SETTLED, State.CLOSED})
"""Nothing more is done to the device in this update."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the update wants of a device: the version and the Manufacturer Image hash (upper-case hexadecimal)."""

    version: str
    image_hash: str
    one_step: bool
    """True where distribution activates by itself (PPMID, SR 11.4)."""
    hop: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device's events amount to. since is when its state began; attempts are the highest granted a leg."""

    state: State
    since: datetime | None
    reason: str = ""
    version: str | None = None
    """The version that the device last said it runs, whoever asked."""
    attempts: tuple[tuple[Leg, int], ...] = ()

    def attempt(self, leg: Leg) -> int:
        """The highest attempt granted in that leg; 0 where there was none."""
        return dict(self.attempts).get(leg, 0)


def fold(events: Iterable[Event], target: Target) -> Standing:
    """The standing of a device in target's hop, from the set of its events."""
    facts = _Facts([e for e in set(events) if e.hop == target.hop], target)
    state, event, reason = _ended(facts) or _activation(facts) or _distribution(facts)
    return Standing(
        state=state,
        since=event.at if event else None,
        reason=reason,
        version=facts.version.version if facts.version else None,
        attempts=tuple((leg, n) for leg in Leg if (n := facts.attempt(leg))),
    )


_Found = tuple[State, Event | None, str]


class _Facts:
    """The events of one hop, ordered by what they say (never by arrival), and the questions asked of them."""

    def __init__(self, events: list[Event], target: Target) -> None:
        self.target = target
        self.events = sorted(events, key=lambda e: (e.at, e.kind, e.attempt, e.detail or "", e.version or ""))
        spoken = [
            e for e in self.events if e.version and e.kind in (Kind.VERSION, Kind.ACTIVATED, Kind.ACTIVATION_FAILED)
        ]
        self.version = spoken[-1] if spoken else None

    def attempt(self, leg: Leg) -> int:
        """The highest attempt of that leg that anything is known of."""
        return max((e.attempt for e in self.events if e.leg is leg), default=0)

    def last(self, leg: Leg, *kinds: Kind, attempt: int | None = None) -> Event | None:
        """The latest of these kinds in that leg (in that attempt only, where one is given)."""
        found = [
            e for e in self.events if e.leg is leg and e.kind in kinds and (attempt is None or e.attempt == attempt)
        ]
        return found[-1] if found else None

    def runs_target_since(self, when: datetime) -> Event | None:
        """The device's latest word on its version, if that is the target's and not older than when."""
        said = self.version
        return said if said and said.version == self.target.version and said.at >= when else None


def _ended(facts: _Facts) -> _Found | None:
    for event in facts.events:
        if event.kind is Kind.CLOSED:
            return State.CLOSED, event, event.detail or ""
    for event in facts.events:
        if event.kind is Kind.SETTLED:
            return State.SETTLED, event, ""
    return None


def _activation(facts: _Facts) -> _Found | None:
    """What is known of the latest activation; None where none was begun. A PPMID's is its distribution."""
    leg = Leg.DISTRIBUTE if facts.target.one_step else Leg.ACTIVATE
    attempt = facts.attempt(leg)
    begun = facts.last(leg, Kind.GRANTED, Kind.SENT, attempt=attempt)
    success = facts.last(leg, Kind.ACTIVATED)
    if not begun and not success:
        return None
    if done := _success(facts, success, begun):
        return done
    if facts.target.one_step:
        return _one_step(facts, attempt)
    return _in_flight(facts, attempt, begun)


def _success(facts: _Facts, success: Event | None, begun: Event | None) -> _Found | None:
    """Confirmed where the device names the target version; a success that names another is not one."""
    reference = success or begun
    if reference and (said := facts.runs_target_since(reference.at)) and (success or said.kind is Kind.VERSION):
        return State.CONFIRMED, said, ""
    if success is None:
        return None
    if facts.version and facts.version.at >= success.at and facts.version.version != facts.target.version:
        return State.FAILED, facts.version, f"runs {facts.version.version} after a success, not {facts.target.version}"
    return State.ACTIVATED, success, ""


def _one_step(facts: _Facts, attempt: int) -> _Found | None:
    if failed := facts.last(Leg.DISTRIBUTE, Kind.ACTIVATION_FAILED, attempt=attempt):
        return State.FAILED, failed, failed.detail or "activation failed"
    if passed := facts.last(Leg.DISTRIBUTE, Kind.TRANSFERRED, attempt=attempt):
        overdue = facts.last(Leg.DISTRIBUTE, Kind.OVERDUE, attempt=attempt)
        if overdue:
            return State.UNKNOWN, overdue, "no word of the activation after the transfer"
        return State.ACTIVATING, passed, ""
    return None


def _in_flight(facts: _Facts, attempt: int, begun: Event | None) -> _Found:
    leg = Leg.ACTIVATE
    if held := _quarantine(facts, leg, attempt):
        return held
    if failed := facts.last(leg, Kind.ACTIVATION_FAILED, attempt=attempt):
        return State.FAILED, failed, failed.detail or "activation failed"
    if withdrawn := facts.last(leg, Kind.WITHDRAWN, Kind.DELETED, attempt=attempt):
        return State.HELD, withdrawn, "the activation was withdrawn"
    if refused := facts.last(leg, Kind.REFUSED, attempt=attempt):
        return State.HELD, refused, refused.detail or "refused"
    if silent := facts.last(leg, Kind.OVERDUE, Kind.UNREACHED, attempt=attempt):
        return State.UNKNOWN, silent, silent.detail or "no answer to the activation"
    if scheduled := facts.last(leg, Kind.SCHEDULED, attempt=attempt):
        return State.SCHEDULED, scheduled, ""
    return State.ACTIVATING, begun, ""


def _quarantine(facts: _Facts, leg: Leg, attempt: int) -> _Found | None:
    event = facts.last(leg, Kind.QUARANTINED, attempt=attempt)
    if event and not facts.last(leg, Kind.RELEASED, Kind.DELETED, attempt=attempt):
        return State.QUARANTINED, event, "the DCC holds the request in quarantine"
    return None


def _distribution(facts: _Facts) -> _Found:
    leg = Leg.DISTRIBUTE
    attempt = facts.attempt(leg)
    if attempt == 0:
        return State.PLANNED, None, ""
    if held := _quarantine(facts, leg, attempt):
        return held
    if image := _image(facts, attempt):
        return image
    if refused := facts.last(leg, Kind.REFUSED, Kind.DELETED, attempt=attempt):
        return State.REJECTED, refused, refused.detail or "refused"
    if failed := facts.last(leg, Kind.DELIVERY_FAILED, Kind.OVERDUE, attempt=attempt):
        return State.DELIVERY_FAILED, failed, failed.detail or "no word of the image"
    if delivered := facts.last(leg, Kind.DELIVERED, attempt=attempt):
        return State.DELIVERED, delivered, ""
    return State.REQUESTED, facts.last(leg, Kind.GRANTED, Kind.SENT, Kind.ACCEPTED, attempt=attempt), ""


def _image(facts: _Facts, attempt: int) -> _Found | None:
    """What the device says of the image that it holds; a hash that is not the release's forbids its activation.

    A device holds one pending image, so its latest word stands, whichever attempt brought the image.
    """
    said = facts.last(Leg.DISTRIBUTE, Kind.VERIFIED, Kind.VERIFICATION_FAILED)
    if said is None or (said.kind is Kind.VERIFICATION_FAILED and said.attempt < attempt):
        return None
    if said.kind is Kind.VERIFICATION_FAILED:
        return State.VERIFICATION_FAILED, said, "the device refused the image (8F1C)"
    if (said.detail or "").upper() != facts.target.image_hash.upper():
        return State.VERIFICATION_FAILED, said, f"the device holds another image: {said.detail}"
    return State.HELD, said, ""
