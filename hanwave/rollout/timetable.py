"""When a plan's waves would run, from pace, windows, exposure cap, soak and the regions' deadlines alone; days from its start.

Guarantees: no wave begins before the one before it could have ended; `soonest` supposes that every device answers at once,
`latest` that every attempt is used up to its deadline. Neither counts what nobody can know: the people whom a gate waits
for, incidents, bank holidays and blackouts. The rehearsal refines it by behaviour that was measured.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hanwave.rollout.cohort import PlanError
from hanwave.rollout.policy import DeviceType, Policy
from hanwave.rollout.windows import Window

_DAY = timedelta(days=1)
_WEEK_BEGINS = datetime(2026, 5, 11)  # noqa: DTZ001 - any Monday, as a wall clock shows it
_QUARTERS = tuple(_WEEK_BEGINS + timedelta(minutes=15 * n) for n in range(7 * 24 * 4))
LONGEST = 3650.0
"""Days: a plan that takes longer is a mistake in its pace."""


@dataclass(frozen=True, slots=True)
class Days:
    """A span that is not known better, in days."""

    soonest: float
    """If nothing has to be tried again."""
    latest: float
    """If everything takes as long as it may."""


@dataclass(frozen=True, slots=True)
class Run:
    """One wave's course: it begins, activates devices over some days, and ends; in days from the start."""

    begins: float
    activates: float
    """How many days its activations take, at the soonest."""
    ends: Days


def timetable(
    sizes: Sequence[Mapping[int, int]], kind: DeviceType, policy: Policy, regions: Collection[str] = ("",)
) -> tuple[Run, ...]:
    """Each wave's course, over devices of those regions; sizes: its devices by the number of their hops.

    PlanError where no window is ever open, or the plan would take ten years.
    """
    share = _open_share(kind, policy)
    runs: list[Run] = []
    ends = Days(0.0, 0.0)
    for number, size in enumerate(sizes, 1):
        rules, longest = policy.of_wave(number), max(size, default=0)
        begins, activates = ends.soonest, _activates(size, share, rules)
        soak = (rules.soak + (longest - 1) * rules.hop_soak) / _DAY
        soonest = activates + soak if size else 0.0
        slack = longest * _slack(kind, rules, regions)
        ends = Days(round(begins + soonest, 3), round(ends.latest + soonest + slack, 3))
        if ends.soonest > LONGEST:
            raise PlanError(
                f"wave {number} would end after {ends.soonest:.0f} days: raise the pace, or widen the windows"
            )
        runs.append(Run(round(begins, 3), round(activates, 3), ends))
    return tuple(runs)


def _activates(size: Mapping[int, int], share: float, policy: Policy) -> float:
    """The pace leaves so many, and so does the cap: what it holds is free again only after the soak."""
    paced = sum(hops * n for hops, n in size.items()) / policy.pace.overall / 86400 / share
    rounds = max(0, -(-sum(size.values()) // policy.exposure_cap) - 1)
    return max(paced, rounds * (policy.soak / _DAY))


def _slack(kind: DeviceType, policy: Policy, regions: Collection[str]) -> float:
    """How much longer it takes where every attempt is used, each to its deadline, in the region where that is longest."""
    attempts = policy.attempts
    distribute = min(attempts.distribute, attempts.gsme_images) if kind is DeviceType.GSME else attempts.distribute
    activate = 0 if kind.one_step else attempts.activate
    read = attempts.read if policy.soak_check else 0
    found = (policy.deadlines_in(region, kind) for region in regions or ("",))
    return max(distribute * d.distribute + activate * d.activate + read * d.read for d in found) / _DAY


def _open_share(kind: DeviceType, policy: Policy) -> float:
    windows = policy.windows
    both = (*windows.distribute, *windows.activate) if kind.one_step else windows.activate
    if not (share := open_share(both)):
        raise PlanError(f"the {len(both)} activation windows of the policy are never open together: widen one")
    return share


def open_share(windows: Sequence[Window]) -> float:
    """Which share of an ordinary week those windows are all open, to the quarter of an hour."""
    return sum(all(window.includes(wall) for window in windows) for wall in _QUARTERS) / len(_QUARTERS)


def by_day(total: int, begins: float, over: float) -> dict[int, int]:
    """So many, spread evenly over that many days from that time on, by day (the first is 0); they add up to the total."""
    end = begins + max(over, 1e-6)
    found: dict[int, int] = {}
    done = 0
    for day in range(int(begins), int(end) + 1):
        upto = round(total * min(1.0, (day + 1 - begins) / (end - begins)))
        if upto > done:
            found[day], done = upto - done, upto
    return found
