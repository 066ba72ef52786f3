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

IN_FLIGHT = {
    Leg.DISTRIBUTE: frozenset({State.REQUESTED, State.DELIVERED, State.QUARANTINED}),
    Leg.ACTIVATE: frozenset({State.ACTIVATING, State.SCHEDULED, State.UNKNOWN, State.QUARANTINED}),
}
"""While a device is in one of these, its home is busy with that leg (a PPMID's activation with both)."""

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
class Try:
    """The latest attempt of a leg: when it was sent, and whether anything ended its wait."""

    leg: Leg
    attempt: int
    sent: datetime
    answered: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device's events amount to; since is when its state began."""

    state: State
    since: datetime | None
    reason: str = ""
    outcome: str | None = None
    """How it ended, of a closed one."""
    cause: Kind | None = None
    """The kind of the event that put the device into its state."""
    version: str | None = None
    """The version that the device last said it runs, whoever asked, and when it said so."""
    version_at: datetime | None = None
    tries: tuple[Try, ...] = ()

    def attempt(self, leg: Leg) -> int:
        """The highest attempt granted in that leg; 0 where there was none."""
        return next((t.attempt for t in self.tries if t.leg is leg), 0)

    def sent(self, leg: Leg) -> datetime | None:
        """When that leg's latest attempt was sent (granted, until a POST began); None where there was none."""
        return next((t.sent for t in self.tries if t.leg is leg), None)

    @property
    def reading(self) -> bool:
        """Whether a version was asked for and neither came nor is overdue."""
        return any(t.leg is Leg.READ and not t.answered for t in self.tries)


def fold(events: Iterable[Event], target: Target) -> Standing:
    """The standing of a device in target's hop, from the set of its events."""
    facts = _Facts([e for e in set(events) if e.hop == target.hop], target)
    state, event, reason = _ended(facts) or _activation(facts) or _distribution(facts)
    return Standing(
        state=state,
        since=event.at if event else None,
        reason=reason,
        outcome=event.detail if event and event.kind is Kind.CLOSED else None,
        cause=event.kind if event else None,
        version=facts.version.version if facts.version else None,
        version_at=facts.version.at if facts.version else None,
        tries=tuple(t for leg in Leg if (t := facts.latest_try(leg))),
    )


_Found = tuple[State, Event | None, str]
_TELLS_VERSION = (Kind.VERSION, Kind.ACTIVATED, Kind.ACTIVATION_FAILED)
_ENDS_A_WAIT = (Kind.VERSION, Kind.REFUSED, Kind.OVERDUE, Kind.UNREACHED, Kind.DELETED, Kind.WITHDRAWN, Kind.ABANDONED)


class _Facts:
    """The events of one hop, ordered by what they say (never by arrival), and the questions asked of them."""

    def __init__(self, events: list[Event], target: Target) -> None:
        self.target = target
        self.events = sorted(events, key=lambda e: (e.at, e.kind, e.attempt, e.detail or "", e.version or ""))
        self.spoken = [e for e in self.events if e.version and e.kind in _TELLS_VERSION]
        self.version = self.spoken[-1] if self.spoken else None

    def attempt(self, leg: Leg) -> int:
        """The highest attempt of that leg that anything is known of."""
        return max((e.attempt for e in self.events if e.leg is leg), default=0)

    def last(self, leg: Leg, *kinds: Kind, attempt: int | None = None) -> Event | None:
        """The latest of these kinds in that leg (in that attempt only, where one is given)."""
        found = [
            e for e in self.events if e.leg is leg and e.kind in kinds and (attempt is None or e.attempt == attempt)
        ]
        return found[-1] if found else None

    def latest_try(self, leg: Leg) -> Try | None:
        """The latest attempt of that leg, by what is known of it."""
        attempt = self.attempt(leg)
        begun = self.last(leg, Kind.SENT, attempt=attempt) or self.last(leg, Kind.GRANTED, attempt=attempt)
        if begun is None:
            return None
        return Try(leg, attempt, begun.at, answered=bool(self.last(leg, *_ENDS_A_WAIT, attempt=attempt)))

    def runs_target_since(self, when: datetime) -> Event | None:
        """When the device first said that it runs the target, from then on; None if its latest word is another."""
        if self.version is None or self.version.version != self.target.version:
            return None
        return next((e for e in self.spoken if e.version == self.target.version and e.at >= when), None)


def _ended(facts: _Facts) -> _Found | None:
    for event in facts.events:
        if event.kind is Kind.CLOSED:
            return State.CLOSED, event, event.reason or ""
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
    if reference and (said := facts.runs_target_since(reference.at)):
        return State.CONFIRMED, said, ""
    if success is None:
        return None
    if facts.version and facts.version.at >= success.at and facts.version.version != facts.target.version:
        return State.FAILED, facts.version, f"runs {facts.version.version} after a success, not {facts.target.version}"
    return State.ACTIVATED, success, ""


def _one_step(facts: _Facts, attempt: int) -> _Found | None:
    """A PPMID after its hub passed the image on: it activates by itself, and says so or does not."""
    if not facts.last(Leg.DISTRIBUTE, Kind.TRANSFERRED, attempt=attempt):
        return _first(facts, Leg.DISTRIBUTE, attempt, _AFTER_TRANSFER[:1])
    return _first(facts, Leg.DISTRIBUTE, attempt, _AFTER_TRANSFER)


def _in_flight(facts: _Facts, attempt: int, begun: Event | None) -> _Found:
    """An activation without a success, whose answers are read from the most telling to the least."""
    leg = Leg.ACTIVATE
    found = _quarantine(facts, leg, attempt) or _first(facts, leg, attempt, _AFTER_ACTIVATION)
    if found is None:
        return State.ACTIVATING, begun, ""
    state, event, _ = found
    if state is State.UNKNOWN and event and facts.version and facts.version.at > event.at:
        return State.HELD, facts.version, f"did not activate: still runs {facts.version.version}"
    return found


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
    found = _quarantine(facts, leg, attempt) or _image(facts, attempt) or _first(facts, leg, attempt, _AFTER_REQUEST)
    return found or (State.REQUESTED, facts.last(leg, Kind.GRANTED, Kind.SENT, Kind.ACCEPTED, attempt=attempt), "")


_Rules = tuple[tuple[State, str, tuple[Kind, ...]], ...]

# Each row: the state, the reason where the event has none of its own, and the kinds that lead there. The first row of
# which an event is known decides, so the order is from the most telling evidence to the least.
_AFTER_TRANSFER: _Rules = (
    (State.FAILED, "activation failed", (Kind.ACTIVATION_FAILED,)),
    (State.UNKNOWN, "no word of the activation after the transfer", (Kind.OVERDUE,)),
    (State.ACTIVATING, "", (Kind.TRANSFERRED,)),
)
_AFTER_ACTIVATION: _Rules = (
    (State.FAILED, "activation failed", (Kind.ACTIVATION_FAILED,)),
    (State.HELD, "the activation was withdrawn", (Kind.WITHDRAWN, Kind.DELETED)),
    (State.HELD, "refused", (Kind.REFUSED,)),
    (State.HELD, "the request never left", (Kind.ABANDONED,)),
    (State.UNKNOWN, "no answer to the activation", (Kind.OVERDUE, Kind.UNREACHED)),
    (State.SCHEDULED, "", (Kind.SCHEDULED,)),
)
_AFTER_REQUEST: _Rules = (
    (State.REJECTED, "refused", (Kind.REFUSED, Kind.DELETED)),
    (State.DELIVERY_FAILED, "the image was not delivered", (Kind.DELIVERY_FAILED, Kind.UNREACHED)),
    (State.DELIVERED, "on the device, not yet verified", (Kind.TRANSFERRED,)),
    (State.DELIVERED, "on the Communications Hub", (Kind.DELIVERED,)),
    (State.DELIVERY_FAILED, "the request never left", (Kind.ABANDONED,)),
    (State.DELIVERY_FAILED, "no word of the image", (Kind.OVERDUE,)),
)


def _first(facts: _Facts, leg: Leg, attempt: int, rules: _Rules) -> _Found | None:
    for state, reason, kinds in rules:
        if event := facts.last(leg, *kinds, attempt=attempt):
            return state, event, event.detail or reason
    return None


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
