"""The device state machine: a pure fold of a device's events into its standing.

Guarantees: the standing depends on the set of events only, not on the order in which they arrived (a response may be
recorded before "sent"), nor on how often one was recorded; a step is never *failed* for want of an answer (that is
*unknown*); *confirmed* needs the device's own word for the version that it runs; and a later hop is in hand from its first
grant on, which `decide` asks for only where the hop before it is confirmed (*stepped*).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hanwave.rollout.events import NO_IMAGE_HELD, Event, Kind, Leg
from hanwave.rollout.facts import Facts, same_version
from hanwave.rollout.hops import Target as Target  # noqa: PLC0414 - what a fold is asked with
from hanwave.rollout.hops import furthest, images_sent, in_hand, without_echoes
from hanwave.rollout.tries import Try, asked, date_of, latest_try


class State(StrEnum):
    """Where a device stands in its update (design: A device's life)."""

    PLANNED = "planned"
    REQUESTED = "requested"
    DELIVERED = "delivered"
    HELD = "held"
    ACTIVATING = "activating"
    SCHEDULED = "scheduled"
    ACTIVATED = "activated"
    STEPPED = "stepped"
    """Confirmed in a hop that is not the last of its path: it runs an intermediate version."""
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
        State.STEPPED,
        State.CONFIRMED,
        State.UNKNOWN,
        State.QUARANTINED,
        State.FAILED,
    }
)
"""Activated or in flight, and not settled: what a wave's exposure cap counts; in a later hop, every state that is open."""

IN_FLIGHT = {
    Leg.DISTRIBUTE: frozenset(
        {State.REQUESTED, State.DELIVERED, State.ACTIVATING, State.UNKNOWN, State.QUARANTINED},
    ),
    Leg.ACTIVATE: frozenset({State.ACTIVATING, State.SCHEDULED, State.UNKNOWN, State.QUARANTINED}),
}
"""While a device is in one of these, its home is busy with that leg (a PPMID's activation with both)."""

ENDED = frozenset({State.SETTLED, State.CLOSED})
"""Nothing more is done to the device in this update."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device's events amount to; since is when its state began."""

    state: State
    since: datetime | None
    hop: int = 1
    """The hop in hand; all that is counted by attempts is of it alone."""
    hops: int = 1
    """How many its path has."""
    images: int = 0
    """Images that were sent to it, or may have been, in all its hops."""
    reason: str = ""
    outcome: str | None = None
    """How it ended, of a closed one."""
    cause: Kind | None = None
    """The kind of the event that put the device into its state."""
    version: str | None = None
    """The version that the device last said it runs, whoever asked, and when it said so."""
    version_at: datetime | None = None
    tries: tuple[Try, ...] = ()
    asked: tuple[datetime, ...] = ()
    """When its version was asked for, each time."""
    dated: datetime | None = None
    """When its latest activation is to act, of one that was dated ahead."""
    quarantined: bool = False
    """Whether the DCC holds a request, of any attempt, that would change the device if it were released."""
    not_held: bool = False
    """Whether the device's last word is that it does not hold the image: it holds none or another, or refused it."""
    cancelled: str | None = None
    """Why a person ended the update; None where nobody did."""

    def attempt(self, leg: Leg) -> int:
        """The highest attempt granted in that leg; 0 where there was none."""
        return next((t.attempt for t in self.tries if t.leg is leg), 0)

    def spent(self, leg: Leg) -> int:
        """How many attempts of that leg count against its allowance."""
        return next((t.spent for t in self.tries if t.leg is leg), 0)

    def sent(self, leg: Leg) -> datetime | None:
        """When that leg's latest attempt was sent (granted, until a POST began); None where there was none."""
        return next((t.sent for t in self.tries if t.leg is leg), None)

    def next(self, leg: Leg) -> tuple[int, int]:
        """The hop and the attempt that a request of that leg would have now."""
        if self.state is State.STEPPED and leg is Leg.DISTRIBUTE:
            return self.hop + 1, 1
        return self.hop, self.attempt(leg) + 1

    @property
    def is_between(self) -> bool:
        """Whether it has begun a path of several hops and not come to its end: its home is not given back."""
        return self.hops > 1 and self.state not in _AT_AN_END

    @property
    def reading(self) -> bool:
        """Whether a version was asked for and neither came nor is overdue."""
        return any(t.leg is Leg.READ and not t.answered for t in self.tries)


_AT_AN_END = ENDED | {State.PLANNED, State.CONFIRMED}


def fold(events: Collection[Event], *path: Target) -> Standing:
    """The standing of a device on its path, hop by hop in order, from the set of its events."""
    number = in_hand(events, path)
    target = path[number]
    facts = Facts(without_echoes(events, path[:number]), target.hop)
    hop, said = furthest(facts, path[number:])
    found = (
        _ended(facts)
        or _alarmed(facts, path[: number + 1])
        or (said and (State.CONFIRMED if hop is path[-1] else State.STEPPED, said, ""))
        or _gone_back(facts, path[: number + 1])
        or _activation(facts, target)
        or _distribution(facts, target)
    )
    state, event, reason = found
    tries = tuple(t for leg in facts.legs() if (t := latest_try(facts, leg)))
    return Standing(
        state=state,
        since=event.at if event else None,
        hop=hop.hop,
        hops=len(path),
        images=images_sent(events) if len(path) > 1 else sum(t.spent for t in tries if t.leg is Leg.DISTRIBUTE),
        reason=reason,
        outcome=event.detail if event and event.kind is Kind.CLOSED else None,
        cause=event.kind if event else None,
        version=facts.word.version if facts.word else None,
        version_at=facts.word.at if facts.word else None,
        tries=tries,
        asked=asked(facts),
        dated=date_of(facts, facts.latest(Leg.ACTIVATE)),
        quarantined=bool(facts.quarantined),
        not_held=_not_held(facts, target),
        cancelled=(facts.cancelled.reason or "cancelled") if facts.cancelled else None,
    )


_Found = tuple[State, Event | None, str]
_Rules = tuple[tuple[State, str, tuple[Kind, ...]], ...]


def _first(facts: Facts, leg: Leg, attempt: int, rules: _Rules) -> _Found | None:
    """The first row of which an event is known: a table of rules goes from the most telling evidence to the least."""
    for state, reason, kinds in rules:
        if event := facts.last(leg, *kinds, attempt=attempt):
            return state, event, event.detail or reason
    return None


def _ended(facts: Facts) -> _Found | None:
    for kind, state in ((Kind.CLOSED, State.CLOSED), (Kind.SETTLED, State.SETTLED)):
        if event := next((e for e in facts.events if e.kind is kind), None):
            return state, event, event.reason or ""
    return None


def _gone_back(facts: Facts, path: Sequence[Target]) -> _Found | None:
    """In a later hop: the device says that it runs neither what the hop before it brought nor what this one brings."""
    word = facts.word
    if len(path) == 1 or word is None or word.at < facts.began:
        return None
    if any(same_version(word.version or "", target.version) for target in path[-2:]):
        return None
    return State.FAILED, word, f"runs {word.version} after {path[-2].version} was confirmed"


def _alarmed(facts: Facts, path: Sequence[Target]) -> _Found | None:
    """Whatever version a device says that it runs, it is the worse for it where it raises an alarm from then on.

    In a later hop the version between acts already.
    """
    target = path[-1]
    since = facts.began if len(path) > 1 else _acts_from(facts, target)
    raised = (e for e in facts.events if e.kind is Kind.HEARD and e.detail in target.alarms and since and e.at >= since)
    alarm = next(raised, None)
    return (State.FAILED, alarm, f"raised the alert {alarm.detail} after its activation") if alarm else None


def _acts_from(facts: Facts, target: Target) -> datetime | None:
    """From when on the image may act: an 11.3's sending or its date, a PPMID's transfer; None where it cannot yet."""
    if target.one_step:
        passed = facts.first(Leg.DISTRIBUTE, Kind.TRANSFERRED, Kind.ACTIVATED)
        return passed.at if passed else None
    begun = facts.first(Leg.ACTIVATE, Kind.SENT)
    return (date_of(facts, begun.attempt) or begun.at) if begun else None


def _activation(facts: Facts, target: Target) -> _Found | None:
    """What is known of the latest activation; None where none was begun. A PPMID's is its distribution."""
    leg = Leg.DISTRIBUTE if target.one_step else Leg.ACTIVATE
    attempt = facts.latest(leg)
    if success := facts.last(leg, Kind.ACTIVATED) or _ran(facts, leg, target):
        return _success(facts, success, target)
    if attempt == 0:
        return None
    if target.one_step:
        return _one_step(facts, attempt)
    # An image that was sent again after the activation (noImageHeld) begins the update anew.
    again = facts.granted(Leg.DISTRIBUTE) > facts.granted(Leg.ACTIVATE)
    return None if again else _two_step(facts, attempt, target)


def _not_held(facts: Facts, target: Target) -> bool:
    said, dropped = facts.of_image(), facts.dropped
    missing = dropped is not None and dropped.at > facts.granted(Leg.DISTRIBUTE)
    return _fault(said, target) is not None if said else missing


def _ran(facts: Facts, leg: Leg, target: Target) -> Event | None:
    """The device's word that it ran the target after an activation, whose own answer may have been lost."""
    begun = facts.first(leg)
    said = (e for e in reversed(facts.said) if begun and e.at >= begun.at)
    return next((e for e in said if same_version(e.version or "", target.version)), None)


def _success(facts: Facts, success: Event, target: Target) -> _Found:
    """A success is not *confirmed* until the device names the target version; if it names another, it is none."""
    word = facts.word
    if word and (word is success or word.at > success.at):
        return State.FAILED, word, f"runs {word.version} after a success, not {target.version}"
    return State.ACTIVATED, success, ""


_AFTER_TRANSFER: _Rules = (
    (State.FAILED, "activation failed", (Kind.ACTIVATION_FAILED,)),
    (State.UNKNOWN, "no word of the activation after the transfer", (Kind.OVERDUE,)),
    (State.ACTIVATING, "", (Kind.TRANSFERRED,)),
)


def _one_step(facts: Facts, attempt: int) -> _Found | None:
    """A PPMID after its hub passed the image on: it activates by itself, and says so or does not."""
    if not facts.last(Leg.DISTRIBUTE, Kind.TRANSFERRED, attempt=attempt):
        return _first(facts, Leg.DISTRIBUTE, attempt, _AFTER_TRANSFER[:1])
    found = _first(facts, Leg.DISTRIBUTE, attempt, _AFTER_TRANSFER)
    return _still_runs(facts, found, State.DELIVERY_FAILED) or found


def _still_runs(facts: Facts, found: _Found | None, then: State) -> _Found | None:
    """What becomes of an unknown activation once the device says that it runs something else."""
    word = facts.word
    if found and found[0] is State.UNKNOWN and found[1] and word and word.at > found[1].at:
        return then, word, f"did not activate: still runs {word.version}"
    return None


_ENDS_A_DISTRIBUTION = (
    *(Kind.VERIFIED, Kind.VERIFICATION_FAILED, Kind.REFUSED, Kind.DELETED, Kind.ABANDONED),
    *(Kind.DELIVERY_FAILED, Kind.UNREACHED, Kind.OVERDUE),
)
_AFTER_ACTIVATION: _Rules = (
    (State.FAILED, "activation failed", (Kind.ACTIVATION_FAILED,)),
    (State.HELD, "the activation was withdrawn", (Kind.WITHDRAWN, Kind.DELETED)),
    (State.HELD, "refused", (Kind.REFUSED,)),
    (State.HELD, "the request never left", (Kind.ABANDONED,)),
    (State.UNKNOWN, "no answer to the activation", (Kind.OVERDUE, Kind.UNREACHED)),
    (State.SCHEDULED, "", (Kind.SCHEDULED,)),
)


def _two_step(facts: Facts, attempt: int, target: Target) -> _Found | None:
    """An activation without a success; None where the image is no more what it was, and its distribution tells more."""
    leg = Leg.ACTIVATE
    if (target.hop, leg, attempt) in facts.quarantined:
        return _in_quarantine(facts, leg, attempt)
    found = _first(facts, leg, attempt, _AFTER_ACTIVATION)
    if found is None:
        return State.ACTIVATING, facts.begun(leg, attempt), ""
    found = _still_runs(facts, found, State.HELD) or found
    state, event, reason = found
    if state is State.HELD and (said := facts.of_image()) and _fault(said, target):
        return None
    if state is State.FAILED and reason == NO_IMAGE_HELD:
        return None if _on_its_way(facts) else (State.DELIVERY_FAILED, event, reason)
    return found


def _on_its_way(facts: Facts) -> bool:
    """Whether the latest image sent may still come: a device that holds none is not to be sent yet another."""
    leg, attempt = Leg.DISTRIBUTE, facts.latest(Leg.DISTRIBUTE)
    return facts.last(leg, *_ENDS_A_DISTRIBUTION, attempt=attempt) is None


def _in_quarantine(facts: Facts, leg: Leg, attempt: int) -> _Found:
    event = facts.last(leg, Kind.QUARANTINED, attempt=attempt)
    return State.QUARANTINED, event, "the DCC holds the request in quarantine"


def _distribution(facts: Facts, target: Target) -> _Found:
    leg = Leg.DISTRIBUTE
    attempt = facts.latest(leg)
    if attempt == 0:
        return State.PLANNED, None, ""
    if (target.hop, leg, attempt) in facts.quarantined:
        return _in_quarantine(facts, leg, attempt)
    found = _image(facts, attempt, target) or _hub(facts, attempt) or _first(facts, leg, attempt, _AFTER_REQUEST)
    return found or (State.REQUESTED, facts.begun(leg, attempt), "")


def _image(facts: Facts, attempt: int, target: Target) -> _Found | None:
    """What the device says of the image that it holds, whichever attempt brought it."""
    said = facts.of_image()
    if said is None:
        return None
    fault = _fault(said, target)
    if fault is None:
        return State.HELD, said, ""
    # Another image is on its way since.
    return None if said.attempt < attempt else (State.VERIFICATION_FAILED, said, fault)


def _fault(said: Event, target: Target) -> str | None:
    """Why the image that the device tells of may not be activated; None where it is the release's."""
    if said.kind is Kind.VERIFICATION_FAILED:
        return said.reason or "the device refused the image (8F1C)"
    if (said.detail or "").upper() != target.image_hash.upper():
        return f"the device holds another image: {said.detail}"
    return None


_HUB_SAYS = (Kind.DELIVERED, Kind.TRANSFERRED, Kind.DELIVERY_FAILED, Kind.UNREACHED)
_ON_ITS_WAY = {
    Kind.DELIVERED: "on the Communications Hub",
    Kind.TRANSFERRED: "on the device, not yet verified",
}


def _hub(facts: Facts, attempt: int) -> _Found | None:
    """The hub's last word, which a passed deadline outranks where it was good: the device has said nothing since."""
    leg = Leg.DISTRIBUTE
    said = facts.last(leg, *_HUB_SAYS, attempt=attempt)
    if said is None:
        return None
    if said.kind not in _ON_ITS_WAY:
        return State.DELIVERY_FAILED, said, said.detail or "the image was not delivered"
    overdue = facts.last(leg, Kind.OVERDUE, attempt=attempt)
    return (
        (State.DELIVERY_FAILED, overdue, "no word of the image")
        if overdue
        else (State.DELIVERED, said, _ON_ITS_WAY[said.kind])
    )


_AFTER_REQUEST: _Rules = (
    (State.REJECTED, "refused", (Kind.REFUSED, Kind.DELETED)),
    (State.DELIVERY_FAILED, "the request never left", (Kind.ABANDONED,)),
    (State.DELIVERY_FAILED, "no word of the image", (Kind.OVERDUE,)),
)
