"""Whether updated devices still do their job: each compared with its own past, and with the not-yet-updated beside it.

A service check answers, for a device, yes or no: its readings arrive, its switch is where its calendar has it. Only
devices that did their job before can stop doing it, so only they are compared; that the others of the region stopped too
is what would have happened anyway. Guarantees: an updated device that the check no longer tells of has stopped; one that
was not updated is then left out, so a check that answers for nobody accuses and excuses nobody.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hanwave.rollout.bounds import NOTHING, Share


@dataclass(frozen=True, slots=True)
class ServiceShares:
    """One region of a service check: devices that did their job before and do not now, of those that did."""

    region: str
    updated: Share
    others: Share = NOTHING


@dataclass(frozen=True, slots=True)
class Service:
    """One service check as it was answered; problem: why it was not."""

    name: str
    tolerable: float
    """The share that may do its job worse, beyond those not updated, and the gate still passes."""
    regions: tuple[ServiceShares, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check says of one device, before its update and at judging; None: nothing."""

    region: str
    updated: bool
    before: bool | None
    now: bool | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a check told, at judging, of an updated device that did its job before."""

    eui: str
    check: str
    works: bool

    def __str__(self) -> str:
        return f"{self.check}: it {'still does' if self.works else 'stopped doing'} its job"


def compare(name: str, tolerable: float, answers: Iterable[Answer]) -> Service:
    """A service check's answers as shares by region, of the devices that did their job before."""
    counted: Counter[tuple[str, bool]] = Counter()
    of: Counter[tuple[str, bool]] = Counter()
    for answer in answers:
        if answer.before and (answer.updated or answer.now is not None):
            key = answer.region, answer.updated
            of[key] += 1
            counted[key] += not answer.now
    regions = sorted({region for region, _ in of})
    shares = (
        ServiceShares(region, *(Share(counted[region, which], of[region, which]) for which in (True, False)))
        for region in regions
    )
    return Service(name, tolerable, tuple(shares))
