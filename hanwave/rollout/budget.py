"""How many Service Requests fit under the supplier's anomaly-detection thresholds. Pure; what was used is an argument.

The DCC counts a User ID's requests by Service Reference Variant and holds what exceeds a threshold in quarantine (domain
5.1). Whether it counts a rolling period or one of the calendar is not known [M?], so every span of the period's length is
kept under the limit, which keeps both. Guarantees: what is granted never exceeds a limit, others' use counted; a forward
request never takes what is kept for the withdrawing and observing ones; shares are fair whatever the order of asking.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from hanwave.rollout.events import Leg
from hanwave.rollout.policy import Device
from hanwave.rollout.terms import Duration, Strict

VARIANTS = ("8.2", "11.1", "11.2", "11.3", "11.4")
"""The Service Reference Variants that hanwave sends."""
OBSERVING = frozenset({"8.2", "11.2"})
_OF_MANY = frozenset({"11.1", "11.4"})
"""The variants of which one request may be for many devices; any other is for one."""
REPEAT_COUNTS = 1
"""[I] A request that is POSTed again counts again: it is not known that the DCC looks for duplicates first. The question
to the Transform Service (CV4) is believed not to count; the signed pre-command that follows does."""
_DAY = timedelta(days=1)


class PermitClass(StrEnum):
    """What a request is for: to change a device, to take a change back, or to look."""

    FORWARD = "forward"
    WITHDRAW = "withdraw"
    OBSERVE = "observe"


def _variant(value: Any) -> str:
    # YAML reads an unquoted 11.3 as a number.
    if (text := str(value)) not in VARIANTS:
        raise ValueError(f"{text[:20]!r} should be a variant that hanwave sends: {', '.join(VARIANTS)}")
    return text


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a whole number")  # noqa: TRY004 - pydantic's
    return value


Variant = Annotated[str, BeforeValidator(_variant)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0, le=10**9)]


_CLASSES = {Leg.READ: PermitClass.OBSERVE, Leg.INVENTORY: PermitClass.OBSERVE, Leg.WITHDRAW: PermitClass.WITHDRAW}


def class_of(leg: Leg) -> PermitClass:
    """What the requests of a leg are for."""
    return _CLASSES.get(leg, PermitClass.FORWARD)


class Threshold(Strict):
    """One anomaly-detection threshold, and what of it hanwave may use."""

    user_id: Device
    variant: Variant
    period: Duration
    limit: Annotated[Count, Field(ge=1)]
    """Requests in a period; one more and the DCC holds it."""
    reserve: Count
    """What forward requests leave: for cancelling what is future-dated, and for looking."""
    others: Count = 0
    """What is left to the supplier's other systems, as long as their own figures are not above it."""
    per_device: bool = True
    """[I] Whether an 11.1 or 11.4 counts once for each of its devices (the careful assumption), or once."""
    warn: Annotated[float, Field(gt=0, le=1)] = 0.8
    """From which share of the limit on people are told."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.reserve + self.others >= self.limit:
            raise ValueError(
                f"reserve {self.reserve} and others {self.others} leave nothing of the limit {self.limit}: make them smaller"
            )
        return self

    @property
    def each_counts(self) -> bool:
        """Whether each device counts: by the table, or since it has a request of its own."""
        return self.per_device or self.variant not in _OF_MANY

    def fitting(self, devices: int, room: int) -> int:
        """For how many of those devices at once there is that room."""
        return min(devices, room) if self.each_counts else devices * (room >= 1)


@dataclass(frozen=True, slots=True)
class Used:
    """What counts against a threshold now: sent within the period, or granted and not yet sent."""

    forward: int = 0
    withdraw: int = 0
    observe: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.forward + self.withdraw + self.observe + self.others


def ceiling(threshold: Threshold, used: Used, asking: PermitClass) -> int:
    """The most that the requests of a class may come to, with what the other classes and systems use or are left."""
    others = max(threshold.others, used.others)
    match asking:
        case PermitClass.FORWARD:
            return max(0, threshold.limit - others - max(threshold.reserve, used.withdraw + used.observe))
        case PermitClass.OBSERVE:
            return max(0, threshold.limit - others - used.forward - used.withdraw)
        case PermitClass.WITHDRAW:
            # A cancel takes all that there is: what it prevents is worse than another system's wait.
            return max(0, threshold.limit - used.others - used.forward - used.observe)


def room(threshold: Threshold, used: Used, asking: PermitClass) -> int:
    """How many more units a class may be granted now."""
    own = {
        PermitClass.FORWARD: used.forward,
        PermitClass.OBSERVE: used.observe,
        PermitClass.WITHDRAW: used.withdraw,
    }
    return max(0, ceiling(threshold, used, asking) - own[asking])


@dataclass(frozen=True, slots=True)
class Use:
    """Units that were sent at a time (aware UTC)."""

    at: datetime
    units: int


def turns(uses: Iterable[Use], period: timedelta, lack: int) -> datetime | None:
    """When so many units of those have left the period, at the earliest; None where they never do (not yet sent)."""
    left = lack
    for use in sorted(uses, key=lambda use: use.at):
        left -= use.units
        if left <= 0:
            return use.at + period
    return None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a campaign has used of a threshold in the period, and what it would use now; in units."""

    campaign: str
    used: int
    due: int
    urgent: bool = False


def fair_shares(most: int, claims: Sequence[Claim]) -> dict[str, int]:
    """How much of that much each campaign may come to: max-min fair, the urgent ones first; in whole units.

    Nobody gets more than it claims, and what one leaves goes to the others; what does not divide goes to the largest.
    """
    shares: dict[str, int] = {}
    left = max(0, most)
    for urgent in (True, False):
        wanted = sorted((c.used + c.due, c.campaign) for c in claims if c.urgent is urgent)
        for place, (units, campaign) in enumerate(wanted):
            shares[campaign] = min(units, left // (len(wanted) - place))
            left -= shares[campaign]
    return shares


@dataclass(frozen=True, slots=True)
class Demand:
    """What a plan sends of one variant: so many requests, for so many devices in all."""

    requests: int
    devices: int


def days_needed(demands: Mapping[str, Demand], thresholds: Iterable[Threshold]) -> float:
    """The fewest days in which a plan's requests fit under the thresholds, nobody else sending; 0 where none applies."""
    return max((_days(demands, threshold) for threshold in thresholds), default=0.0)


def _days(demands: Mapping[str, Demand], threshold: Threshold) -> float:
    demand = demands.get(threshold.variant, Demand(0, 0))
    units = demand.devices if threshold.per_device else demand.requests
    asking = PermitClass.OBSERVE if threshold.variant in OBSERVING else PermitClass.FORWARD
    # The first period's worth may go at once, so n periods' worth takes n - 1 of them.
    return max(0, math.ceil(units / ceiling(threshold, Used(), asking)) - 1) * (threshold.period / _DAY)


def refuses(demands: Mapping[str, Demand], thresholds: Iterable[Threshold], days: float) -> str | None:
    """Why a plan that is to be over within so many days must exceed a threshold, in a sentence; None where it need not."""
    slowest = max(thresholds, key=lambda threshold: _days(demands, threshold), default=None)
    if slowest is None or (needed := _days(demands, slowest)) <= days:
        return None
    demand = demands[slowest.variant]
    units = demand.devices if slowest.per_device else demand.requests
    return (
        f"{units} requests of SR {slowest.variant} need {needed:.3g} days under the threshold of {slowest.limit} in"
        f" {slowest.period}, and the plan has {days:.3g}: take fewer devices, or a slower plan"
    )
