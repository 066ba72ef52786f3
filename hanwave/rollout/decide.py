"""What to do next with a device: a pure function of its standing, its type, the policy and the time.

The wave's sweep and the device's workflow ask the same function, so they cannot disagree. It never asks for a forward
step while an answer is outstanding: silence first becomes *overdue* (a fact), then a question (11.2), then a decision.
Every wait has an end, but that of a quarantined request, which a person ends.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hanwave.duis import codes
from hanwave.rollout.device import ENDED, Standing, State
from hanwave.rollout.events import WRONG_PRECOMMAND, Kind, Leg
from hanwave.rollout.incidents import Incident, deadline
from hanwave.rollout.policy import ActivationMode, Deadlines, DeviceType, Policy
from hanwave.rollout.rank import rank


class Step(StrEnum):
    """What may be done with a device."""

    DISTRIBUTE = "distribute"
    ACTIVATE = "activate"
    READ = "read"
    OVERDUE = "overdue"
    SETTLE = "settle"
    CLOSE = "close"
    WAIT = "wait"


class Outcome(StrEnum):
    """How an update ends, where it did not settle."""

    FAILED = "failed"
    REJECTED = "rejected"
    NOT_DELIVERED = "not_delivered"
    NOT_VERIFIED = "not_verified"
    QUIET = "quiet"
    """Activated, and then not heard from."""
    UNKNOWN = "unknown"
    """Nothing more can be asked of it now; a person or a later campaign must find out."""
    CUSTOMER_ACTION = "customer_action"
    """Only the customer can help: a display that is unplugged."""
    NEEDS_VISIT = "needs_visit"
    """Nothing more may be sent to it over the air: somebody must go there."""
    INSPECT = "inspect"
    """What stands between us and the device is not as it should be: a person must look, and the device is as it was."""
    NOT_STARTED = "not_started"
    LEFT = "left"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    """Its campaign was withdrawn, or rolled back, before it ended."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One step, or a wait until a time (None: until something is heard). reason says why, for a person."""

    step: Step
    until: datetime | None = None
    leg: Leg | None = None
    outcome: Outcome | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What the rule takes from beside the update's own events."""

    eui: str = ""
    """Spreads the tries of many devices that failed together; without it nothing is added to a back-off."""
    region: str = ""
    images: int = 0
    """Images that were sent to the device in its other updates."""
    on_bench: bool = False
    """It lies on a bench, and no customer has it."""


_NOTHING = About()


def decide(
    standing: Standing,
    device_type: DeviceType,
    policy: Policy,
    now: datetime,
    incidents: Sequence[Incident] = (),
    about: About = _NOTHING,
) -> Decision:
    """The next step for a device at that time (aware UTC); while an incident of its region lasts, its clocks stand still."""
    case = _Case(standing, device_type, policy, now, incidents, about)
    if standing.quarantined and standing.state not in ENDED:
        return _quarantined(case)
    if standing.cancelled and not _is_under_way(case):
        return _cancelled(case)
    return _RULES[standing.state](case)


_UNDER_WAY = frozenset({State.ACTIVATING, State.SCHEDULED, State.UNKNOWN, State.ACTIVATED, State.CONFIRMED})
"""The image was activated, or may yet be: what comes of it is waited for, and asked, whoever has cancelled the update."""


def _is_under_way(case: "_Case") -> bool:
    # A PPMID activates whatever was sent to it.
    sent = case.device_type.one_step and case.standing.state in {State.REQUESTED, State.DELIVERED}
    return sent or case.standing.state in _UNDER_WAY | ENDED


def _cancelled(case: "_Case") -> Decision:
    """Harm stays what it is: to cancel an update does not take it out of the gate's count."""
    outcome = _HARM.get(case.standing.state, Outcome.CANCELLED)
    return Decision(Step.CLOSE, outcome=outcome, reason=case.standing.cancelled or "")


_HARM = {State.VERIFICATION_FAILED: Outcome.NOT_VERIFIED, State.FAILED: Outcome.FAILED}


IN_PROGRESS = "OtherRequestInProgress"
"""The list of a warning (W110101, W110401) that has devices with another request: theirs may be tried again."""


def retryable(reason: str) -> bool:
    """Whether the same request may be tried again by itself after that refusal: by the table of response codes."""
    return reason == IN_PROGRESS or codes.classify(reason).retry is codes.Retry.BACKOFF


_CODE = re.compile(r"[EW][0-9]{1,8}", re.ASCII)


def unexplained(reason: str) -> bool:
    """Whether that is a response code that a person must look up before anything is tried again."""
    return bool(_CODE.fullmatch(reason)) and codes.classify(reason).retry is codes.Retry.INSPECT


_ANY = 1_000_000
_JITTER = 0.5
"""At most this share is added to a back-off: devices that failed together do not all come back together."""
ENDS: dict[tuple[DeviceType, Outcome], tuple[Outcome, str]] = {
    (DeviceType.PPMID, Outcome.NOT_DELIVERED): (Outcome.CUSTOMER_ACTION, "ask the customer to plug the display in"),
    (DeviceType.GSME, Outcome.NOT_DELIVERED): (Outcome.NEEDS_VISIT, "no more images may be sent: its battery"),
}
"""Whom it takes, where the allowance of a type is spent and nothing shows harm; and what to tell them."""


@dataclass(frozen=True, slots=True)
class _Case:
    standing: Standing
    device_type: DeviceType
    policy: Policy
    now: datetime
    incidents: Sequence[Incident] = ()
    about: About = _NOTHING

    @property
    def deadlines(self) -> Deadlines:
        return self.policy.deadlines_in(self.about.region, self.device_type)

    @property
    def since(self) -> datetime:
        return self.standing.since or self.now

    @property
    def fires(self) -> datetime:
        """From when on the version tells whether the activation took place: a future-dated one waits for its date."""
        if self.standing.dated:
            return self.standing.dated
        ahead = self.policy.activation is ActivationMode.FUTURE_DATED or self.standing.state is State.SCHEDULED
        return self.sent(Leg.ACTIVATE) + (self.policy.lead if ahead else timedelta(0))

    def sent(self, leg: Leg) -> datetime:
        return self.standing.sent(leg) or self.since

    def at(self, when: datetime, then: Decision, why: str) -> Decision:
        """That decision once it is time; until then a wait that says why."""
        return then if self.now >= when else Decision(Step.WAIT, until=when, reason=why)

    def end(self, leg: Leg, since: datetime, allowed: timedelta) -> datetime:
        """When a wait of that leg is over: no incident that takes away what it needs counts."""
        if not self.incidents:
            return since + allowed
        return deadline(since, allowed, [i for i in self.incidents if i.takes(leg)], self.now)

    def overdue(self, leg: Leg, end: datetime) -> Decision:
        due = Decision(Step.OVERDUE, leg=leg, reason=f"nothing heard of the {leg} request")
        return self.at(end, due, f"waits for word of the {leg} request")

    @property
    def images_left(self) -> int:
        """How many more images this hop may send: of a GSME's life, one is left to each hop after it."""
        left = self.policy.attempts.distribute - self.standing.spent(Leg.DISTRIBUTE)
        return min(left, self.battery - (self.standing.hops - self.standing.hop))

    @property
    def battery(self) -> int:
        """How many more images its battery may take, in this hop and all after it; a device without one takes any number."""
        if self.device_type is not DeviceType.GSME:
            return _ANY
        return self.policy.attempts.gsme_images - self.standing.images - self.about.images

    @property
    def exhausted(self) -> str | None:
        """Why nothing more is asked of the device in this update, whatever the leg."""
        spent, most = sum(t.spent for t in self.standing.tries), self.policy.attempts.requests
        return f"the allowance of {most} requests to one device is spent" if spent >= most else None

    def back_off(self, leg: Leg) -> timedelta:
        """The policy's, and by hash up to half as much again."""
        key = f"{leg}/{self.standing.attempt(leg)}"
        return self.policy.attempts.back_off * (1 + _JITTER * rank(key, self.about.eui) * bool(self.about.eui))

    def again(self, step: Step, leg: Leg, left: int, outcome: Outcome) -> Decision:
        """Another attempt after the back-off, while the allowance lasts; else the end."""
        reason = self.standing.reason or f"the allowance of {self.standing.spent(leg)} {leg} requests is spent"
        if left <= 0 or self.exhausted:
            return self.give_up(outcome, self.standing.reason or self.exhausted or reason)
        when = self.since + self.back_off(leg)
        return self.at(when, Decision(step, leg=leg, reason=self.standing.reason), f"tries again: {reason}")

    def give_up(self, outcome: Outcome, reason: str) -> Decision:
        """The end of what ran out of tries, and whom it takes now."""
        then, advice = (outcome, "") if self.about.on_bench else ENDS.get((self.device_type, outcome), (outcome, ""))
        return Decision(Step.CLOSE, outcome=then, reason=f"{reason}; {advice}" if advice else reason)

    def resend(self, outcome: Outcome) -> Decision:
        return self.again(Step.DISTRIBUTE, Leg.DISTRIBUTE, self.images_left, outcome)

    def read(self, outcome: Outcome, since: datetime) -> Decision:
        """Ask for the version as it is from since on; a question has its own deadline, and an allowance of its own."""
        if self.standing.reading:
            return self.overdue(Leg.READ, self.end(Leg.READ, self.sent(Leg.READ), self.deadlines.read))
        attempts, reason = self.policy.attempts, self.standing.reason or "the device does not answer"
        asked = [when for when in self.standing.asked if when >= since]
        if len(asked) >= attempts.read or self.exhausted:
            return self.give_up(outcome, reason)
        ask = Decision(Step.READ, leg=Leg.READ, reason=self.standing.reason)
        return self.at(asked[-1] + self.back_off(Leg.READ) if asked else since, ask, "asks for its version")


def _planned(case: _Case) -> Decision:
    if case.images_left <= 0:
        reason = f"{case.about.images} images were sent to it in earlier updates: no more may be, for its battery"
        return Decision(Step.CLOSE, outcome=Outcome.NEEDS_VISIT, reason=reason)
    return Decision(Step.DISTRIBUTE, leg=Leg.DISTRIBUTE)


def _stepped(case: _Case) -> Decision:
    """The next hop, once the device has run the version between for a while: nobody sends an image on top of a bad one."""
    hop, hops = case.standing.next(Leg.DISTRIBUTE)[0], case.standing.hops
    if case.battery <= hops - hop:
        sent = case.standing.images + case.about.images
        reason = f"{sent} images were sent to it: hop {hop} of {hops} may not be, for its battery"
        return Decision(Step.CLOSE, outcome=Outcome.NEEDS_VISIT, reason=reason)
    begin = Decision(Step.DISTRIBUTE, leg=Leg.DISTRIBUTE, reason=f"begins hop {hop} of {hops}")
    return case.at(case.since + case.policy.hop_soak, begin, f"soaks before hop {hop} of {hops}")


def _requested(case: _Case) -> Decision:
    return case.overdue(Leg.DISTRIBUTE, case.end(Leg.DISTRIBUTE, case.sent(Leg.DISTRIBUTE), case.deadlines.distribute))


def _delivered(case: _Case) -> Decision:
    """The hub's word stands for the device's where the policy says so, and the device has said nothing to the contrary."""
    patience = case.deadlines.activate_unverified_after
    if case.device_type.one_step or patience is None or case.standing.not_held or _spent(case):
        return _requested(case)
    activate = Decision(Step.ACTIVATE, leg=Leg.ACTIVATE, reason="the hub's word stands for the device's (policy)")
    return case.at(case.end(Leg.DISTRIBUTE, case.since, patience), activate, "waits for the device to verify the image")


def _spent(case: _Case) -> bool:
    return case.standing.spent(Leg.ACTIVATE) >= case.policy.attempts.activate


_BY_THE_DEVICE = frozenset({Kind.VERSION, Kind.ACTIVATION_FAILED})


def _not_delivered(case: _Case) -> Decision:
    """Send the image again. The device itself may have caused it: it runs something else, or holds no image."""
    if case.standing.cause is Kind.OVERDUE:
        return _no_word(case)
    return case.resend(Outcome.FAILED if case.standing.cause in _BY_THE_DEVICE else Outcome.NOT_DELIVERED)


def _no_word(case: _Case) -> Decision:
    """Silence alone. A PPMID may have activated all the same, so it is asked once before the image goes out again.

    In a later hop it is a silence after an activation: the version between may have done it.
    """
    outcome = Outcome.QUIET if case.standing.hop > 1 else Outcome.NOT_DELIVERED
    if case.device_type is DeviceType.GSME:
        reason = "no word of the image, and a GSME is not sent an image again for a missing alert alone"
        return Decision(Step.CLOSE, outcome=outcome, reason=reason)
    asked = any(when >= case.since for when in case.standing.asked)
    if case.device_type.one_step and (case.standing.reading or not asked):
        return case.read(outcome, case.since)
    return case.resend(outcome)


_HELD_STILL = {
    Kind.REFUSED: Outcome.REJECTED,
    Kind.WITHDRAWN: Outcome.CANCELLED,
    Kind.DELETED: Outcome.CANCELLED,
}
"""How an update ends whose last activation came to nothing for no fault of the device."""


def _held(case: _Case) -> Decision:
    cause, reason = case.standing.cause, case.standing.reason
    if case.standing.attempt(Leg.ACTIVATE) == 0:
        return Decision(Step.ACTIVATE, leg=Leg.ACTIVATE)
    if cause is Kind.REFUSED and not retryable(reason):
        return Decision(Step.CLOSE, outcome=Outcome.REJECTED, reason=reason)
    if cause is Kind.VERSION and case.since < case.fires:
        # It still runs the old version because its date has not come: that says nothing yet.
        return case.read(Outcome.UNKNOWN, case.fires)
    outcome = _HELD_STILL.get(cause, Outcome.FAILED) if cause else Outcome.FAILED
    if reason == WRONG_PRECOMMAND:
        outcome = Outcome.INSPECT
    left = case.policy.attempts.activate - case.standing.spent(Leg.ACTIVATE)
    return case.again(Step.ACTIVATE, Leg.ACTIVATE, left, outcome)


def _activating(case: _Case) -> Decision:
    if not case.device_type.one_step:
        return case.overdue(Leg.ACTIVATE, case.end(Leg.ACTIVATE, case.fires, case.deadlines.activate))
    # A transfer at the last minute still leaves the time for an activation.
    arrival = case.end(Leg.DISTRIBUTE, case.sent(Leg.DISTRIBUTE), case.deadlines.distribute)
    return case.overdue(Leg.DISTRIBUTE, max(arrival, case.end(Leg.DISTRIBUTE, case.since, case.deadlines.activate)))


def _unknown(case: _Case) -> Decision:
    since = case.since if case.device_type.one_step else max(case.since, case.fires)
    return case.read(Outcome.UNKNOWN, since)


def _activated(case: _Case) -> Decision:
    return case.read(Outcome.UNKNOWN, case.since)


def _confirmed(case: _Case) -> Decision:
    end = case.since + case.policy.soak
    settle = Decision(Step.SETTLE, reason="the soak is over")
    if case.now < end or not case.policy.soak_check:
        return case.at(end, settle, "soaks")
    heard = case.standing.version_at
    return settle if heard and heard >= end else case.read(Outcome.QUIET, end)


def _rejected(case: _Case) -> Decision:
    if retryable(case.standing.reason):
        return case.resend(Outcome.REJECTED)
    return Decision(Step.CLOSE, outcome=Outcome.REJECTED, reason=case.standing.reason)


def _failed(case: _Case) -> Decision:
    return Decision(Step.CLOSE, outcome=Outcome.FAILED, reason=case.standing.reason)


def _quarantined(_: _Case) -> Decision:
    reason = "the DCC holds a request in quarantine: a person must record whether it was released or deleted"
    return Decision(Step.WAIT, reason=reason)


def _ended(_: _Case) -> Decision:
    return Decision(Step.WAIT, reason="the update has ended")


_RULES: dict[State, Callable[[_Case], Decision]] = {
    State.PLANNED: _planned,
    State.REQUESTED: _requested,
    State.DELIVERED: _delivered,
    State.HELD: _held,
    State.ACTIVATING: _activating,
    State.SCHEDULED: _activating,
    State.ACTIVATED: _activated,
    State.STEPPED: _stepped,
    State.CONFIRMED: _confirmed,
    State.SETTLED: _ended,
    State.REJECTED: _rejected,
    State.DELIVERY_FAILED: _not_delivered,
    State.VERIFICATION_FAILED: lambda case: case.resend(Outcome.NOT_VERIFIED),
    State.FAILED: _failed,
    State.UNKNOWN: _unknown,
    State.QUARANTINED: _quarantined,
    State.CLOSED: _ended,
}
