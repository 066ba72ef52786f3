"""What takes part of the DCC's network away for a time: maintenance, known before, and incidents, of which nobody knows the end.

Guarantees: while one lasts, nothing that needs the service counts as late: the clock of what is in flight there stands still,
and goes on from where it stood.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from hanwave.rollout.events import Leg


class Service(StrEnum):
    """What an incident takes away."""

    ALL = "all"
    DISTRIBUTION = "distribution"
    """Service References 11.1 and 11.4."""
    ACTIVATION = "activation"
    """Service Reference 11.3."""


_LEGS = {Service.ALL: frozenset(Leg), Service.DISTRIBUTION: {Leg.DISTRIBUTE}, Service.ACTIVATION: {Leg.ACTIVATE}}


@dataclass(frozen=True, slots=True)
class Incident:
    """A time without a service, from start to end (aware UTC; end excluded, None while nobody knows it)."""

    reference: str
    service: Service
    start: datetime
    end: datetime | None = None

    def takes(self, leg: Leg) -> bool:
        """Whether requests of that leg need what it takes away."""
        return leg in _LEGS[self.service]

    def why(self, at: datetime) -> str | None:
        """Why nothing can be done at that time; None where it can."""
        if at < self.start or (self.end is not None and at >= self.end):
            return None
        return f"DCC incident {self.reference}" + ("" if self.end else ", of which no end is known")

    def edges(self, day: date) -> tuple[datetime, ...]:
        """When, in that UTC day, what it takes away comes back."""
        return (self.end,) if self.end is not None and self.end.astimezone(UTC).date() == day else ()


def deadline(sent: datetime, allowed: timedelta, incidents: Iterable[Incident], now: datetime) -> datetime:
    """When so much time will have passed since sent in which no incident lasted; one without an end counts until now."""
    left, at = allowed, sent
    lasting = ((i.start, i.end if i.end is not None else max(now, i.start)) for i in incidents)
    for start, end in sorted(lasting):
        if start >= at + left:
            break
        left -= max(timedelta(0), start - at)
        at = max(at, end)
    return at + left
