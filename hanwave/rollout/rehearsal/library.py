"""Many courses as arrays, from which a fleet is drawn: the last thing that is done a device at a time.

Questions for a version (11.2) wait for nothing, so only the asks that the permit may hold up are kept one by one; the
questions between them are kept as times after the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from hanwave.rollout.events import Leg
from hanwave.rollout.policy import DeviceType, Policy
from hanwave.rollout.rehearsal.behaviour import Behaviour, Harm
from hanwave.rollout.rehearsal.course import MARKED, Course, Mark, course

LEGS = (Leg.DISTRIBUTE, Leg.ACTIVATE)
"""The asks that a permit may hold up, by their number in the arrays."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Library:
    """Courses by row. Of ask k: its leg (its place in LEGS, -1 where there is none) and its wait after ask k - 1, seconds."""

    one_step: bool
    legs: Ints
    waits: Floats
    rest: Floats
    """From the last ask to the end, seconds."""
    ends: tuple[str, ...]
    """How a course can end, as the ledger counts it."""
    end: Ints
    """Of each course, its place in ends."""
    mark_ask: Ints
    """[course, m]: after which ask the device first counts as MARKED[m]; -1: after none."""
    mark_wait: Floats
    questions: Floats
    """[course, ask, n]: seconds after the ask at which the version is asked for; inf where there is no n-th question."""


@dataclass(slots=True)
class _Row:
    """A course whose questions were folded into the asks before them."""

    legs: list[int]
    waits: list[float]
    questions: list[list[float]]
    rest: float
    marks: dict[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Libraries:
    """Courses by the soak that they go through, which a wave may have of its own; each has as many of every region."""

    by_soak: Mapping[timedelta, Library]
    regions: tuple[str, ...]
    """Whose deadlines the courses have, in the order in which they stand in each library."""
    courses: int
    """How many there are of one region."""


def make_libraries(
    kind: DeviceType,
    policy: Policy,
    behaviour: Behaviour,
    harm: Harm | None,
    sizes: Mapping[str, Sequence[int]],
    seed: str,
) -> Libraries:
    """A library for each soak of the policy's waves; the same seed draws the same devices in all, and in every region.

    sizes: for each region whose deadlines differ, how many courses of one hop, of two, and so on: as many in each region.
    """
    soaks = {policy.of_wave(number).soak for number in range(1, len(policy.waves) + 1)}
    hops = [(region, n) for region, some in sizes.items() for n, size in enumerate(some, 1) for _ in range(size)]
    courses = len(hops) // len(sizes)
    by_soak = {}
    for soak in sorted(soaks):
        ruled = {region: policy.of_region(region).model_copy(update={"soak": soak}) for region in sizes}
        drawn = [
            course(kind, ruled[region], behaviour, harm, f"{seed}/{place % courses}", taken)
            for place, (region, taken) in enumerate(hops)
        ]
        by_soak[soak] = make_library(drawn, one_step=kind.one_step)
    return Libraries(by_soak, tuple(sizes), courses)


def make_library(courses: Sequence[Course], *, one_step: bool) -> Library:
    """Those courses, of devices of one type."""
    size = len(courses)
    rows = [_row(each) for each in courses]
    ends = tuple(sorted({each.end for each in courses}))
    width = max(len(row.legs) for row in rows)
    most = max(1, *(len(asked) for row in rows for asked in row.questions))
    questions = np.full((size, width, most), np.inf)
    for number, row in enumerate(rows):
        for place, asked in enumerate(row.questions):
            questions[number, place, : len(asked)] = asked
    return Library(
        one_step=one_step,
        legs=np.array([row.legs + [-1] * (width - len(row.legs)) for row in rows]),
        waits=np.array([row.waits + [np.inf] * (width - len(row.waits)) for row in rows]),
        rest=np.array([row.rest for row in rows]),
        ends=ends,
        end=np.array([ends.index(each.end) for each in courses]),
        mark_ask=np.array([[row.marks[m].ask if m in row.marks else -1 for m in MARKED] for row in rows]),
        mark_wait=np.array([[row.marks[m].wait if m in row.marks else np.inf for m in MARKED] for row in rows]),
        questions=questions,
    )


def _row(each: Course) -> _Row:
    row = _Row([], [], [], 0.0)
    since = 0.0
    for place, ask in enumerate(each.asks):
        since += ask.wait
        if ask.leg is Leg.READ:
            row.questions[-1].append(since)
        else:
            row.legs.append(LEGS.index(ask.leg))
            row.waits.append(since)
            row.questions.append([])
            since = 0.0
        marks = {state: mark for state, mark in each.marks.items() if mark.ask == place}
        row.marks |= {state: Mark(len(row.legs) - 1, since + mark.wait) for state, mark in marks.items()}
    row.rest = since + each.rest
    return row
