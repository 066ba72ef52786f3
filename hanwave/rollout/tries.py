"""What is known of the attempts of a hop's legs: when each was sent, and whether anything ended its wait."""

from dataclasses import dataclass
from datetime import datetime

from hanwave.rollout.events import WRONG_PRECOMMAND, Event, Kind, Leg
from hanwave.rollout.facts import Facts


@dataclass(frozen=True, slots=True)
class Try:
    """The latest attempt of a leg: when it was sent (or let out of quarantine), and whether anything ended its wait."""

    leg: Leg
    attempt: int
    sent: datetime
    answered: bool
    spent: int = 1
    """Attempts of the leg whose request may have left: those that were given back unsent cost nothing."""


_ENDS_A_WAIT = (Kind.VERSION, Kind.REFUSED, Kind.OVERDUE, Kind.UNREACHED, Kind.DELETED, Kind.WITHDRAWN, Kind.ABANDONED)


def latest_try(facts: Facts, leg: Leg) -> Try | None:
    """The latest attempt of that leg, by what is known of it."""
    attempts = facts.attempts(leg)
    attempt = max(attempts, default=0)
    if (begun := facts.begun(leg, attempt)) is None:
        return None
    unsent = {a for a in attempts if _cost_nothing(facts.last(leg, Kind.ABANDONED, attempt=a))}
    answered = facts.last(leg, *_ENDS_A_WAIT, attempt=attempt) is not None
    return Try(leg, attempt, begun.at, answered, len(attempts - unsent))


def _cost_nothing(abandoned: Event | None) -> bool:
    return abandoned is not None and abandoned.detail != WRONG_PRECOMMAND


def asked(facts: Facts) -> tuple[datetime, ...]:
    """When the version was asked for, each time."""
    begun = (facts.begun(Leg.READ, attempt) for attempt in sorted(facts.attempts(Leg.READ)))
    return tuple(event.at for event in begun if event)


def date_of(facts: Facts, attempt: int) -> datetime | None:
    """When that activation is to act, where it was dated ahead."""
    granted = facts.last(Leg.ACTIVATE, Kind.GRANTED, attempt=attempt)
    try:
        date = datetime.fromisoformat(granted.detail) if granted and granted.detail else None
    except ValueError:  # an import of other records may have put anything there
        return None
    return date if date and date.tzinfo else None
