"""The course of one device through an update, by the very rules that run: its events are folded, and `decide` is asked.

A course tells what is asked for and how long after the request before it. What holds a request up (a window, the pace, the
cap) is no part of it: deadlines run from sending, so a course that begins later is the same course.
"""

import heapq
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from hanwave.rollout.decide import Step, decide
from hanwave.rollout.device import State, Target, fold
from hanwave.rollout.events import NO_IMAGE_HELD, Event, Evidence, Kind, Leg
from hanwave.rollout.policy import ActivationMode, DeviceType, Policy
from hanwave.rollout.rehearsal.behaviour import Behaviour, Delay, Harm

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_MOST = 400  # decisions: far above what any allowance adds up to
_Z95 = 1.6449  # standard deviations up to which 95 in a hundred of a normal distribution lie
_Step = tuple[int, int]
"""The hop and the attempt of a request."""
MARKED = (State.HELD, State.CONFIRMED, State.FAILED, State.VERIFICATION_FAILED)
"""What the breaker looks at while a wave runs."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for the device, so many seconds after the one before it was granted."""

    leg: Leg
    wait: float


@dataclass(frozen=True, slots=True)
class Mark:
    """When something is first known of the device: after which request (by its place), and how many seconds after it."""

    ask: int
    wait: float


@dataclass(frozen=True, slots=True)
class Course:
    """What is asked for, in its order; how it ends, and when (seconds after the last request)."""

    asks: tuple[Ask, ...]
    end: str
    """As the ledger counts it: "settled", or "closed:" and the outcome."""
    rest: float
    marks: dict[str, Mark] = field(default_factory=dict)
    """By what the device then counts as ("confirmed", "failed", "verification_failed"), where the breaker cares."""


def course(
    kind: DeviceType, policy: Policy, behaviour: Behaviour, harm: Harm | None, seed: str, hops: int = 1
) -> Course:
    """The course of a device that is drawn by that seed, on a path of so many hops.

    harm is what the image of the last one does, None where it is good.
    """
    device = _Device(kind, policy, behaviour, harm, random.Random(seed), hops)
    return _Run(kind, policy, device, hops).to_its_end()


def _version(hop: int) -> str:
    """What a device runs after so many hops."""
    return f"{hop + 1:08X}"


def _hash(hop: int) -> str:
    return f"{hop:064X}"


class _Device:
    """A device and what lies between it and us: drawn as it goes, answering what it is sent."""

    def __init__(
        self,
        kind: DeviceType,
        policy: Policy,
        behaviour: Behaviour,
        harm: Harm | None,
        rng: random.Random,
        hops: int,
    ) -> None:
        self._kind, self._policy, self._is, self._harm, self._rng = kind, policy, behaviour, harm, rng
        self._hops = hops
        self._there = _BEGINNING
        if self._chance(behaviour.absent):
            self._there = _BEGINNING + self._delay(behaviour.returns) if behaviour.returns else _NEVER
        self._gone = _NEVER
        self._holds = False
        self._runs: list[tuple[datetime, str]] = [(_BEGINNING, _version(0))]

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _delay(self, delay: Delay) -> timedelta:
        spread = math.log(delay.most / delay.half) / _Z95
        # Beyond any deadline a delay is as good as none, and datetime has an end.
        return min(delay.half * math.exp(self._rng.gauss(0, spread)), timedelta(days=3650))

    def answers(self, leg: Leg, at: datetime, step: _Step) -> list[Event]:
        """What will be heard of a request that is sent at that time."""
        return {Leg.DISTRIBUTE: self._image, Leg.ACTIVATE: self._activation, Leg.READ: self._question}[leg](at, step)

    def _image(self, at: datetime, step: _Step) -> list[Event]:
        hub = at + self._delay(self._is.delivered)
        if self._chance(self._is.not_delivered):
            return [Event(Kind.DELIVERY_FAILED, hub, Leg.DISTRIBUTE, *step, Evidence.DCC)]
        told = [Event(Kind.DELIVERED, hub, Leg.DISTRIBUTE, *step, Evidence.DCC)]
        if self._there is _NEVER or max(hub, self._there) >= self._gone:
            return told
        held = max(hub, self._there) + self._delay(self._is.verified)
        return told + (self._passed_on(held, step) if self._kind.one_step else self._heard(self._judged(held, step)))

    def _judged(self, at: datetime, step: _Step) -> Event:
        if self._chance(self._is.not_verified):
            return Event(Kind.VERIFICATION_FAILED, at, Leg.DISTRIBUTE, *step, Evidence.DEVICE)
        self._holds = True
        return Event(Kind.VERIFIED, at, Leg.DISTRIBUTE, *step, Evidence.DEVICE, detail=_hash(step[0]))

    def _passed_on(self, at: datetime, step: _Step) -> list[Event]:
        passed = Event(Kind.TRANSFERRED, at, Leg.DISTRIBUTE, *step, Evidence.DCC)
        self._holds = True
        return [passed, *self._activates(at, Leg.DISTRIBUTE, step)]

    def _activation(self, at: datetime, step: _Step) -> list[Event]:
        if not self._there <= at < self._gone:
            return []
        if self._policy.activation is ActivationMode.IMMEDIATE:
            return self._activates(at, Leg.ACTIVATE, step)
        scheduled = Event(Kind.SCHEDULED, at + self._delay(self._is.activated), Leg.ACTIVATE, *step)
        return [*self._heard(scheduled), *self._activates(at + self._policy.lead, Leg.ACTIVATE, step)]

    def _activates(self, at: datetime, leg: Leg, step: _Step) -> list[Event]:
        said = at + self._delay(self._is.activated)
        if not self._holds:
            return self._heard(
                Event(Kind.ACTIVATION_FAILED, said, leg, *step, Evidence.DEVICE, self._runs[-1][1], NO_IMAGE_HELD)
            )
        if self._chance(self._is.not_activated):
            return self._heard(
                Event(Kind.ACTIVATION_FAILED, said, leg, *step, Evidence.DEVICE, self._runs[-1][1], "activationFailure")
            )
        self._runs.append((said, _version(step[0])))
        return [
            *self._heard(Event(Kind.ACTIVATED, said, leg, *step, Evidence.DEVICE, _version(step[0]))),
            *(self._suffers(said) if step[0] == self._hops else []),
        ]

    def _suffers(self, at: datetime) -> list[Event]:
        """What the new image does to it from then on."""
        if self._harm and self._chance(self._harm.share):
            when = at + self._delay(self._harm.after)
            if not self._harm.loud:
                self._gone = when
                return []
            self._runs.append((when, _version(0)))
            told = Event(Kind.VERSION, when, hop=self._hops, evidence=Evidence.DEVICE, version=_version(0))
            return self._heard(told)
        if self._chance(self._is.falls_silent):
            self._gone = at + self._policy.soak * self._rng.random()
        return []

    def _question(self, at: datetime, step: _Step) -> list[Event]:
        when = at + self._delay(self._is.answers)
        if not self._there <= when < self._gone or self._chance(self._is.unanswered):
            return []
        version = next(version for since, version in reversed(self._runs) if since <= when)
        return [Event(Kind.VERSION, when, Leg.READ, *step, Evidence.READ_BACK, version)]

    def _heard(self, event: Event) -> list[Event]:
        return [] if self._chance(self._is.unheard) else [event]


class _Run:
    """A device's update, from its first request to its end."""

    def __init__(self, kind: DeviceType, policy: Policy, device: _Device, hops: int) -> None:
        self._kind, self._policy, self._device = kind, policy, device
        self._path = [Target(_version(hop), _hash(hop), kind.one_step, hop) for hop in range(1, hops + 1)]
        self._events: list[Event] = []
        self._coming: list[tuple[datetime, int, Event]] = []
        self._order = count()
        self._asks: list[Ask] = []
        self._granted = self._now = _BEGINNING
        self._marks: dict[str, Mark] = {}

    def to_its_end(self) -> Course:
        for _ in range(_MOST):
            if end := self._step():
                return Course(tuple(self._asks), end, self._since, self._marks)
        raise AssertionError("a course has no end: the rules go round in circles")

    @property
    def _since(self) -> float:
        return (self._now - self._granted).total_seconds()

    def _step(self) -> str | None:
        """Do what the rules ask for now; how it ended, once it has."""
        standing = fold(self._events, *self._path)
        # An activation that went well counts from the first hop on, as the breaker counts it.
        state = State.CONFIRMED if standing.state is State.STEPPED else standing.state
        if state in MARKED:
            self._marks.setdefault(state, Mark(len(self._asks) - 1, self._since))
        decision = decide(standing, self._kind, self._policy, self._now)
        match decision.step:
            case Step.DISTRIBUTE | Step.ACTIVATE | Step.READ:
                leg = Leg(decision.step.value)
                self._ask(leg, standing.next(leg))
            case Step.OVERDUE:
                assert decision.leg
                attempt = standing.attempt(decision.leg)
                self._events.append(Event(Kind.OVERDUE, self._now, decision.leg, standing.hop, attempt))
            case Step.SETTLE:
                return "settled"
            case Step.CLOSE:
                return f"closed:{decision.outcome}"
            case Step.WAIT:
                return self._wait(decision.until)
        return None

    def _ask(self, leg: Leg, step: _Step) -> None:
        self._asks.append(Ask(leg, self._since))
        self._granted = self._now
        self._events += [Event(kind, self._now, leg, *step) for kind in (Kind.GRANTED, Kind.SENT)]
        for event in self._device.answers(leg, self._now, step):
            heapq.heappush(self._coming, (event.at, next(self._order), event))

    def _wait(self, until: datetime | None) -> str | None:
        if self._coming and (until is None or self._coming[0][0] <= until):
            self._now, _, event = heapq.heappop(self._coming)
            self._events.append(event)
        elif until is None:
            return "closed:unknown"
        else:
            self._now = until
        return None
