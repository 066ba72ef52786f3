"""What many rehearsals of one campaign say together: how long, how many requests, which verdicts, how many exposed.

Intervals hold nine in ten of the runs. They say what the profile of behaviour and the rules make of a campaign: a profile
that is a guess makes a forecast that is one, and each forecast says what it was made from.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hanwave.rollout.rehearsal.behaviour import Behaviour, Harm
from hanwave.rollout.rehearsal.library import Floats, make_libraries
from hanwave.rollout.rehearsal.run import Rehearsed, Rules, rehearse_once

LOW, HIGH = 0.05, 0.95
COURSES = 4000
"""Courses that a fleet is drawn from: what befalls fewer than one device in some thousands is not seen."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Nine in ten runs lie between low and high; half of them at or below middle."""

    low: float
    """One run in twenty is below."""
    middle: float
    """Half of the runs are at or below it."""
    high: float
    """One run in twenty is above."""

    def __str__(self) -> str:
        return f"{self.middle:,.4g} ({self.low:,.4g} to {self.high:,.4g})"


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a campaign, from 0: devices settled by its end, and Service Requests by variant, in it and by its end."""

    day: int
    settled: Interval
    requests: dict[str, Interval]
    so_far: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the runs with one kind of image came to."""

    harm: float
    """The share of devices that the image harms; 0: a good one."""
    runs: int
    passed: int
    verdicts: dict[str, int]
    """How the last wave that was judged was judged, by run: "wave 2: fail"."""
    days: Interval
    """Until the last wave closed, or the campaign was held."""
    exposed: Interval
    """Devices that had been activated, or could no longer be kept from it, by then."""
    most_exposed: Interval
    ended: dict[str, Interval]
    """Devices by how they ended ("settled", "closed:quiet")."""
    requests: dict[str, Interval]
    """Service Requests in all, by variant."""
    busiest_day: dict[str, Interval]
    by_day: tuple[Day, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a campaign is expected to be, for a good image and for bad ones."""

    source: str
    """What the behaviour was taken from."""
    start: datetime
    devices: int
    scenarios: tuple[Scenario, ...]

    @property
    def good(self) -> Scenario:
        """What is expected where nothing is wrong with the image."""
        return self.scenarios[0]


def forecast(
    rules: Rules, behaviour: Behaviour, harms: Sequence[Harm], runs: int, seed: str, *, courses: int = COURSES
) -> Forecast:
    """Rehearse a campaign so many times with a good image, and with each bad one; the same seed gives the same forecast."""
    scenarios = [_scenario(rules, behaviour, harm, runs, seed, courses) for harm in (None, *harms)]
    return Forecast(behaviour.source, rules.start, sum(rules.sizes), tuple(scenarios))


def _scenario(rules: Rules, behaviour: Behaviour, harm: Harm | None, runs: int, seed: str, courses: int) -> Scenario:
    sizes = [round(share * courses) for share in rules.hops]
    libraries = make_libraries(rules.kind, rules.policy, behaviour, harm, dict.fromkeys(rules.deadlines, sizes), seed)
    found = [rehearse_once(libraries, rules, number) for number in range(runs)]
    variants = sorted({variant for run in found for variant in run.requests})
    ends = sorted({end for run in found for end in run.ended})
    return Scenario(
        harm=harm.share if harm else 0.0,
        runs=runs,
        passed=sum(run.passed for run in found),
        verdicts=dict(Counter(f"wave {len(run.verdicts)}: {run.verdicts[-1]}" for run in found).most_common()),
        days=interval(run.days for run in found),
        exposed=interval(run.exposed for run in found),
        most_exposed=interval(run.most_exposed for run in found),
        ended={end: interval(run.ended[end] for run in found) for end in ends},
        requests={v: interval(sum(_by_day(run, v).values()) for run in found) for v in variants},
        busiest_day={v: interval(max(_by_day(run, v).values(), default=0) for run in found) for v in variants},
        by_day=tuple(_days(found, variants)),
    )


def _by_day(run: Rehearsed, variant: str) -> Counter[int]:
    return run.requests.get(variant, Counter())


def _days(found: list[Rehearsed], variants: list[str]) -> Iterable[Day]:
    last = max(int(run.days) for run in found)
    settled = np.zeros(len(found))
    so_far = {variant: np.zeros(len(found)) for variant in variants}
    for day in range(last + 1):
        settled = settled + np.array([run.settled[day] for run in found])
        today = {variant: np.array([_by_day(run, variant)[day] for run in found]) for variant in variants}
        so_far = {variant: so_far[variant] + today[variant] for variant in variants}
        yield Day(day, interval(settled), _each(today), _each(so_far))


def _each(values: Mapping[str, Floats]) -> dict[str, Interval]:
    return {name: interval(some) for name, some in values.items()}


def interval(values: Iterable[float]) -> Interval:
    """The interval of some runs' values."""
    low, middle, high = np.quantile(np.fromiter(values, dtype=float), (LOW, 0.5, HIGH))
    return Interval(float(low), float(middle), float(high))
