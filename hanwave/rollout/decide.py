"""What to do next with a device: a pure function of its standing, its type, the policy and the time.

The wave's sweep and the device's workflow ask the same function, so they cannot disagree. It never asks for a forward
step while an answer is outstanding: silence first becomes *overdue* (a fact), then a question (11.2), then a decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hanwave.rollout.device import Standing, State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import Deadlines, DeviceType, Policy

NO_IMAGE_HELD = "noImageHeld"
"""What a device answers to an activation of an image that it does not hold (GBCS CS06 activateImageResponseCode 1)."""


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


def decide(standing: Standing, device_type: DeviceType, policy: Policy, now: datetime) -> Decision:
    """The next step for a device at that time (aware UTC)."""
    return _RULES[standing.state](_Case(standing, device_type, policy, now))


RETRYABLE = frozenset({"OtherRequestInProgress", "E20", "E21", "E30", "E31"})
"""Refusals after which the same request may be tried again (domain 2.5: communications, and another in progress)."""


@dataclass(frozen=True, slots=True)
class _Case:
    standing: Standing
    device_type: DeviceType
    policy: Policy
    now: datetime

    @property
    def deadlines(self) -> Deadlines:
        return self.policy.deadlines[self.device_type]

    def sent(self, leg: Leg) -> datetime:
        return self.standing.sent(leg) or self.standing.since or self.now

    def at(self, when: datetime, then: Decision, why: str) -> Decision:
        """That decision once it is time; until then a wait that says why."""
        return then if self.now >= when else Decision(Step.WAIT, until=when, reason=why)

    def overdue(self, leg: Leg, after: timedelta) -> Decision:
        due = Decision(Step.OVERDUE, leg=leg, reason=f"nothing heard of the {leg} request")
        return self.at(self.sent(leg) + after, due, f"waits for word of the {leg} request")

    def again(self, step: Step, leg: Leg, most: int, outcome: Outcome) -> Decision:
        """Another attempt after the back-off, while the allowance lasts; else the end."""
        if self.standing.attempt(leg) >= most:
            return Decision(Step.CLOSE, outcome=outcome, reason=self.standing.reason)
        when = (self.standing.since or self.now) + self.policy.attempts.back_off
        return self.at(
            when, Decision(step, leg=leg, reason=self.standing.reason), f"tries again: {self.standing.reason}"
        )

    def resend(self, outcome: Outcome) -> Decision:
        attempts = self.policy.attempts
        gsme = self.device_type is DeviceType.GSME
        most = min(attempts.distribute, attempts.gsme_images) if gsme else attempts.distribute
        return self.again(Step.DISTRIBUTE, Leg.DISTRIBUTE, most, outcome)


def _planned(_: _Case) -> Decision:
    return Decision(Step.DISTRIBUTE, leg=Leg.DISTRIBUTE)


def _requested(case: _Case) -> Decision:
    return case.overdue(Leg.DISTRIBUTE, case.deadlines.distribute)


def _delivered(case: _Case) -> Decision:
    patience = case.deadlines.activate_unverified_after
    if case.device_type.one_step or patience is None or case.standing.since is None:
        return _requested(case)
    activate = Decision(Step.ACTIVATE, leg=Leg.ACTIVATE, reason="the hub's word stands for the device's (policy)")
    return case.at(case.standing.since + patience, activate, "waits for the device to verify the image")


def _not_delivered(case: _Case) -> Decision:
    if case.device_type is DeviceType.GSME and case.standing.cause is Kind.OVERDUE:
        reason = "no word of the image, and a GSME is not sent an image again for a missing alert alone"
        return Decision(Step.CLOSE, outcome=Outcome.NOT_DELIVERED, reason=reason)
    return case.resend(Outcome.NOT_DELIVERED)


def _held(case: _Case) -> Decision:
    if case.standing.attempt(Leg.ACTIVATE) == 0:
        return Decision(Step.ACTIVATE, leg=Leg.ACTIVATE)
    if case.standing.cause is Kind.REFUSED and case.standing.reason not in RETRYABLE:
        return Decision(Step.CLOSE, outcome=Outcome.REJECTED, reason=case.standing.reason)
    return case.again(Step.ACTIVATE, Leg.ACTIVATE, case.policy.attempts.activate, Outcome.FAILED)


def _activating(case: _Case) -> Decision:
    if case.device_type.one_step:
        return _requested(case)
    return case.overdue(Leg.ACTIVATE, case.deadlines.activate)


def _scheduled(case: _Case) -> Decision:
    return case.overdue(Leg.ACTIVATE, case.policy.lead + case.deadlines.activate)


def _unknown(case: _Case) -> Decision:
    return _read(case, Outcome.UNKNOWN)


def _read(case: _Case, outcome: Outcome) -> Decision:
    """Ask for the version; a question has its own deadline, and an allowance of its own."""
    attempts, asked = case.policy.attempts, case.standing.attempt(Leg.READ)
    if case.standing.reading:
        return case.overdue(Leg.READ, case.deadlines.read)
    ask = Decision(Step.READ, leg=Leg.READ, reason=case.standing.reason)
    last = case.standing.sent(Leg.READ)
    if last is None or (case.standing.since and last < case.standing.since):
        return ask
    if asked >= attempts.read:
        return Decision(Step.CLOSE, outcome=outcome, reason=case.standing.reason or "the device does not answer")
    return case.at(last + attempts.back_off, ask, "asks for its version again")


def _confirmed(case: _Case) -> Decision:
    began = case.standing.since or case.now
    end = began + case.policy.soak
    settle = Decision(Step.SETTLE, reason="the soak is over")
    if case.now < end or not case.policy.soak_check:
        return case.at(end, settle, "soaks")
    heard = case.standing.version_at
    return settle if heard and heard >= end else _read(case, Outcome.QUIET)


def _failed(case: _Case) -> Decision:
    if case.standing.reason == NO_IMAGE_HELD:
        return case.resend(Outcome.FAILED)
    return Decision(Step.CLOSE, outcome=Outcome.FAILED, reason=case.standing.reason)


def _rejected(case: _Case) -> Decision:
    if case.standing.reason in RETRYABLE:
        return case.resend(Outcome.REJECTED)
    return Decision(Step.CLOSE, outcome=Outcome.REJECTED, reason=case.standing.reason)


def _quarantined(case: _Case) -> Decision:
    return Decision(
        Step.WAIT, reason=f"{case.standing.reason}: a person must record whether it was released or deleted"
    )


def _ended(_: _Case) -> Decision:
    return Decision(Step.WAIT, reason="the update has ended")


_RULES: dict[State, Callable[[_Case], Decision]] = {
    State.PLANNED: _planned,
    State.REQUESTED: _requested,
    State.DELIVERED: _delivered,
    State.HELD: _held,
    State.ACTIVATING: _activating,
    State.SCHEDULED: _scheduled,
    State.ACTIVATED: _unknown,
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
