"""What devices count as, for the gate and the breaker: by state, and the closed ones by outcome too ("closed:quiet")."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hanwave.rollout.gate import Counts, Progress

FAILED = ("failed", "closed:failed")
REFUSED = ("verification_failed", "closed:not_verified")
SILENT = ("closed:quiet", "closed:unknown", "unknown")
EXCUSED = (
    "closed:left",
    "closed:cancelled",
    "closed:rejected",
    "closed:not_delivered",
    "closed:customer_action",
    "closed:needs_visit",
    "closed:inspect",
    "closed:not_started",
    "closed:superseded",
)
ACTIVATED = ("activated", "stepped", "confirmed", "settled")
VERIFIED = ("held", "scheduled", *ACTIVATED, *FAILED)


def progress(funnel: Mapping[str, int], further: Mapping[str, int] = MappingProxyType({})) -> Progress:
    """What the breaker looks at, of so many devices by state; further: those of them that are open and in a later hop.

    They verified an image and activated it, whatever they do now: that one of them failed is one of as many.
    """
    activated, failed, verified, refused = (_sum(funnel, group) for group in (ACTIVATED, FAILED, VERIFIED, REFUSED))
    activated += sum(n for state, n in further.items() if state not in (*ACTIVATED, *FAILED, *REFUSED))
    verified += sum(n for state, n in further.items() if state not in (*VERIFIED, *REFUSED))
    return Progress(activated, failed, verified, refused)


def counts(funnel: Mapping[str, int]) -> Counts:
    """What the gate judges, of so many devices by state; those that it excuses count nowhere."""
    settled, failed, refused, silent, excused = (
        _sum(funnel, group) for group in (("settled",), FAILED, REFUSED, SILENT, EXCUSED)
    )
    left = sum(funnel.values()) - settled - failed - refused - silent - excused
    return Counts(settled, failed, refused, silent, left)


def _sum(funnel: Mapping[str, int], states: Iterable[str]) -> int:
    return sum(funnel.get(state, 0) for state in states)
