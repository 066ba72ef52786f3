"""One campaign in virtual time: waves, batches, pace, cap, windows, budget, breaker and gates over devices from a library.

Time goes in ticks; within one, everything that fell due is done at once, first come first served. What is decided is
decided by the functions that run in production: this only counts who is where, in arrays.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from hanwave.rollout.bounds import Share
from hanwave.rollout.budget import PermitClass, Threshold, Used, room
from hanwave.rollout.events import Leg
from hanwave.rollout.gate import Verdict
from hanwave.rollout.incidents import Incident
from hanwave.rollout.policy import Deadlines, DeviceType, Policy
from hanwave.rollout.rehearsal.agenda import Agenda, Line
from hanwave.rollout.rehearsal.course import MARKED
from hanwave.rollout.rehearsal.gates import WaveGate
from hanwave.rollout.rehearsal.library import LEGS, Ints, Libraries
from hanwave.rollout.windows import Place, Rule, closed

_DAY = 86_400.0
_WHOLE = 1e-9  # what a whole number of devices may lack after a division


@dataclass(frozen=True, slots=True)
class Rules:
    """What one campaign is run by."""

    kind: DeviceType
    policy: Policy
    sizes: tuple[int, ...]
    """Devices by wave."""
    start: datetime
    ordinary: Share
    """The silence of devices of the type without an update."""
    strata: tuple[float, ...] = (1.0,)
    """The share of each stratum (model, from-version and region) in every wave."""
    thresholds: Sequence[Threshold] = ()
    place: Place = field(default_factory=Place)
    hops: tuple[float, ...] = (1.0,)
    """The share of devices whose paths have one hop, two, and so on."""
    regions: tuple[str, ...] = ()
    """Where each stratum is; without them all are in one region."""
    incidents: Mapping[str | None, Sequence[Incident]] = field(default_factory=dict)
    """The DCC's, known or supposed, by region (None: of all): while one lasts, what needs its service is not sent there.
    What is in flight goes on as it was drawn."""

    @property
    def tick(self) -> float:
        """Seconds: no shorter than the waves' own sweep, and a hundredth of the shortest soak."""
        shortest = min(self.policy.of_wave(number).soak for number in range(1, len(self.policy.waves) + 1))
        return max(self.policy.sweep.total_seconds(), shortest.total_seconds() / 100)

    @property
    def deadlines(self) -> tuple[str, ...]:
        """For each stratum, the first of the regions that have the same deadlines as its own."""
        first: dict[Deadlines, str] = {}
        regions = self.regions or ("",) * len(self.strata)
        return tuple(first.setdefault(self.policy.deadlines_in(each, self.kind), each) for each in regions)

    @property
    def places(self) -> tuple[str, ...]:
        """The region of each stratum, where it makes a difference in which one is."""
        apart = self.regions and (self.policy.pace.region or self.incidents)
        return self.regions if apart else ("",) * len(self.strata)

    def incidents_in(self, region: str, leg: Leg) -> tuple[Incident, ...]:
        """Those that take away what that leg needs there."""
        found = (*self.incidents.get(None, ()), *(self.incidents.get(region, ()) if region else ()))
        return tuple(incident for incident in found if incident.takes(leg))


@dataclass(slots=True)
class Rehearsed:
    """How one run went; days count from the start."""

    verdicts: list[str] = field(default_factory=list)
    """Of each wave that closed, or whose breaker opened ("breaker")."""
    days: float = 0.0
    """Until the last wave closed, or the campaign was held."""
    exposed: int = 0
    """Devices that had been, or could no longer be kept from being, activated by then."""
    ended: Counter[str] = field(default_factory=Counter)
    requests: dict[str, Counter[int]] = field(default_factory=dict)
    """Service Requests by variant and day."""
    settled: Counter[int] = field(default_factory=Counter)
    """Devices settled, by day."""
    most_exposed: int = 0
    """Devices activated and not yet settled, at the worst moment."""

    @property
    def passed(self) -> bool:
        """Whether every wave passed."""
        return bool(self.verdicts) and all(verdict == Verdict.PASS for verdict in self.verdicts)


def rehearse_once(libraries: Libraries, rules: Rules, seed: int) -> Rehearsed:
    """One run of a campaign, drawn by that seed, over courses of each wave's soak; it ends where a gate or the breaker holds it."""
    return _Run(libraries, rules, seed).to_its_end()


class _Run:
    def __init__(self, libraries: Libraries, rules: Rules, seed: int) -> None:
        self._libraries, self._rules, self._policy = libraries, rules, rules.policy
        self._library = libraries.by_soak[rules.policy.of_wave(1).soak]
        size = sum(rules.sizes)
        rng = np.random.default_rng(seed)
        self._course: Ints = rng.integers(libraries.courses, size=size)
        self._ask = np.zeros(size, dtype=np.int64)
        self._is_exposed = np.zeros(size, dtype=bool)
        self._agenda = Agenda(rules.tick)
        self._places = sorted(set(rules.places))
        self._lines, self._again = ({leg: [Line() for _ in self._places] for leg in LEGS} for _ in range(2))
        self._budgets = [_Budget(threshold, rules.policy.batch) for threshold in rules.thresholds]
        self._found = Rehearsed()
        self._now = 0
        self._wave = 0
        self._stratum: Ints = rng.choice(len(rules.strata), size=size, p=np.array(rules.strata) / sum(rules.strata))
        self._course += (
            libraries.courses * np.array([libraries.regions.index(r) for r in rules.deadlines])[self._stratum]
        )
        self._place: Ints = np.array([self._places.index(place) for place in rules.places])[self._stratum]
        self._open = self._exposed = 0
        self._gate = WaveGate(rules.policy.gate, rules.kind, rules.ordinary, len(rules.strata))
        self._cap = rules.policy.exposure_cap
        self._over = False

    def to_its_end(self) -> Rehearsed:
        self._begin_wave()
        while not self._over and (tick := self._next()) is not None:
            self._now = tick
            *marked, ended, due = self._agenda.take(tick, *MARKED, "end", "ask")
            self._mark(marked)
            self._queue(due)
            self._end(ended)
            for leg in LEGS:
                self._serve(leg)
        if not self._over:
            why = (
                "its cap is full of silent devices"
                if self._gate.lost
                else "its windows or its budget let nothing through"
            )
            self._hold(f"never ends: {why}")
        return self._found

    @property
    def _seconds(self) -> float:
        return self._now * self._rules.tick

    @property
    def _day(self) -> int:
        return int(self._seconds // _DAY)

    @property
    def _at(self) -> datetime:
        return self._rules.start + timedelta(seconds=self._seconds)

    def _begin_wave(self) -> None:
        self._wave = next(number for number, size in enumerate(self._rules.sizes, 1) if number > self._wave and size)
        first, size = sum(self._rules.sizes[: self._wave - 1]), self._rules.sizes[self._wave - 1]
        self._open, self._exposed = size, 0
        ruled = self._policy.of_wave(self._wave)
        self._gate, self._cap = self._gate.anew(ruled.gate), ruled.exposure_cap
        self._library = self._libraries.by_soak[ruled.soak]
        self._join(self._lines[Leg.DISTRIBUTE], np.arange(first, first + size))

    def _join(self, lines: Sequence[Line], devices: Ints) -> None:
        """Go to the end of the line of one's region."""
        for place, line in enumerate(lines):
            line.join(devices[self._place[devices] == place] if len(lines) > 1 else devices)

    def _next(self) -> int | None:
        """The next tick in which anything can happen."""
        waiting = [
            self._opens(leg, place)
            for leg in LEGS
            for place in range(len(self._places))
            if self._waits(leg, [place]) and self._room(leg, [place]) >= 1
        ]
        ticks = [tick for tick in (self._agenda.next(), *waiting, *self._turns()) if tick is not None]
        return max(self._now + 1, min(ticks)) if ticks else None

    def _opens(self, leg: Leg, place: int) -> int | None:
        """The first tick from the next on at which the leg's windows are open there, and no incident lasts."""
        found = closed(self._windows(leg, place), self._at + timedelta(seconds=self._rules.tick))
        if found is None:
            return self._now + 1
        return self._tick_of(found.until) if found.until else None

    def _tick_of(self, when: datetime) -> int:
        return math.ceil((when - self._rules.start).total_seconds() / self._rules.tick)

    def _turns(self) -> list[int]:
        """When budgets that are spent have room again, where anybody waits."""
        if not any(self._waits(leg, range(len(self._places))) for leg in LEGS):
            return []
        return [math.ceil(turn / self._rules.tick) for b in self._budgets if (turn := b.turns()) is not None]

    def _windows(self, leg: Leg, region: int) -> tuple[Rule, ...]:
        windows, place = self._policy.windows, self._rules.place
        lasting = self._rules.incidents_in(self._places[region], leg)
        if leg is Leg.ACTIVATE:
            return windows.acting(place) + lasting
        return windows.sending(place) + (windows.acting(place) if self._library.one_step else ()) + lasting

    def _exposes(self, leg: Leg) -> bool:
        return leg is Leg.ACTIVATE or self._library.one_step

    def _variant(self, leg: Leg) -> str:
        if leg is Leg.ACTIVATE:
            return "11.3"
        return "11.4" if self._library.one_step else "11.1"

    def _room(self, leg: Leg, places: Sequence[int]) -> float:
        """For how many devices there the permit has room in this tick: cap, pace and budget. Who is exposed fits the cap."""
        waiting, again = (sum(lines[leg][place].length for place in places) for lines in (self._lines, self._again))
        rooms = [float(waiting + again)]
        if self._exposes(leg):
            free = max(0, self._cap - self._exposed - self._gate.lost)
            rooms += [min(free, waiting) + again, math.ceil(self._policy.pace.overall * self._rules.tick)]
        of_variant = [budget for budget in self._budgets if budget.variant == self._variant(leg)]
        return min(rooms + [budget.fitting(waiting + again, self._seconds) for budget in of_variant])

    def _serve(self, leg: Leg) -> None:
        places = [place for place in range(len(self._places)) if not self._over and self._waits(leg, [place])]
        places = [place for place in places if not closed(self._windows(leg, place), self._at)]
        if not places:
            return
        room = self._room(leg, places)
        most = self._most(leg)
        again = self._share(self._again[leg], places, [most] * len(places), room)
        left = [most - len(served) for served in again]
        new = self._share(self._lines[leg], places, left, room - sum(map(len, again)))
        devices = np.concatenate((*again, *new))
        if len(devices):
            self._grant(leg, devices)

    def _most(self, leg: Leg) -> float:
        """How many devices of one region may be served in a tick."""
        return math.ceil(self._policy.pace.most * self._rules.tick) if self._exposes(leg) else math.inf

    @staticmethod
    def _share(lines: Sequence[Line], places: Sequence[int], most: Sequence[float], room: float) -> list[Ints]:
        """Serve the lines of those regions, none more than its most, each by its part of what is asked for."""
        wants = [min(lines[place].length, limit) for place, limit in zip(places, most, strict=True)]
        part = min(1.0, max(0.0, room) / sum(wants)) if any(wants) else 0.0
        upto = [math.floor(sum(wants[:n]) * part + _WHOLE) for n in range(len(wants) + 1)]
        return [lines[place].serve(upto[n + 1] - upto[n]) for n, place in enumerate(places)]

    def _waits(self, leg: Leg, places: Iterable[int]) -> int:
        return sum(self._lines[leg][place].length + self._again[leg][place].length for place in places)

    def _grant(self, leg: Leg, devices: Ints) -> None:
        courses, asks, now = self._course[devices], self._ask[devices], self._seconds
        self._count_requests(leg, devices)
        self._count_questions(courses, asks)
        if self._exposes(leg):
            self._expose(devices)
        following = asks + 1
        more = (following < self._library.legs.shape[1]) & (
            self._library.legs[courses, np.minimum(following, self._library.legs.shape[1] - 1)] >= 0
        )
        self._ask[devices] = following
        waits = self._library.waits[courses[more], following[more]]
        self._agenda.add("ask", devices[more], now + waits, self._now)
        self._agenda.add("end", devices[~more], now + self._library.rest[courses[~more]], self._now)
        for number, state in enumerate(MARKED):
            marked = self._library.mark_ask[courses, number] == asks
            when = now + self._library.mark_wait[courses[marked], number]
            self._agenda.add(state, devices[marked], when, self._now)

    def _count_requests(self, leg: Leg, devices: Ints) -> None:
        batches = len(devices) if leg is Leg.ACTIVATE else math.ceil(len(devices) / self._policy.batch)
        self._found.requests.setdefault(self._variant(leg), Counter())[self._day] += batches
        for budget in self._budgets:
            if budget.variant == self._variant(leg):
                budget.use(len(devices), self._seconds)

    def _count_questions(self, courses: Ints, asks: Ints) -> None:
        when = self._library.questions[courses, asks].ravel()
        days = ((when[np.isfinite(when)] + self._seconds) // _DAY).astype(np.int64)
        counted = self._found.requests.setdefault("11.2", Counter())
        for day, n in zip(*np.unique(days, return_counts=True), strict=True):
            counted[int(day)] += int(n)

    def _expose(self, devices: Ints) -> None:
        new = devices[~self._is_exposed[devices]]
        self._is_exposed[new] = True
        self._exposed += len(new)
        self._found.exposed += len(new)
        self._found.most_exposed = max(self._found.most_exposed, self._exposed)

    def _queue(self, devices: Ints) -> None:
        legs = self._library.legs[self._course[devices], self._ask[devices]]
        for number, leg in enumerate(LEGS):
            asked, exposed = devices[legs == number], self._is_exposed[devices[legs == number]]
            self._join(self._lines[leg], asked[~exposed])
            self._join(self._again[leg], asked[exposed])

    def _mark(self, marked: Sequence[Ints]) -> None:
        for state, devices in zip(MARKED, marked, strict=True):
            self._gate.saw(state, len(devices))
        if self._gate.breaks():
            self._hold("breaker")

    def _end(self, devices: Ints) -> None:
        if self._over or not len(devices):
            return
        codes, strata = self._library.end[self._course[devices]], self._stratum[devices]
        for (code, stratum), n in _counted(codes, strata):
            end = self._library.ends[code]
            self._gate.ended(stratum, end, n)
            self._found.ended[end] += n
            if end == "settled":
                self._found.settled[self._day] += n
        self._exposed -= int(self._is_exposed[devices].sum())
        self._open -= len(devices)
        if self._open == 0:
            self._close_wave()

    def _close_wave(self) -> None:
        verdict = self._gate.judge().verdict
        if verdict is not Verdict.PASS:
            self._hold(verdict)
            return
        self._found.verdicts.append(verdict)
        self._found.days = self._seconds / _DAY
        if not any(self._rules.sizes[self._wave :]):
            self._over = True
        else:
            self._begin_wave()

    def _hold(self, verdict: str) -> None:
        self._found.verdicts.append(verdict)
        self._found.days = self._seconds / _DAY
        self._over = True


def _counted(codes: Ints, strata: Ints) -> Iterable[tuple[tuple[int, int], int]]:
    pairs, numbers = np.unique(np.stack((codes, strata)), axis=1, return_counts=True)
    for code, stratum, n in zip(*pairs.tolist(), numbers.tolist(), strict=True):
        yield (code, stratum), n


class _Budget:
    """What a campaign that is alone on its User ID uses of a threshold; batch: devices of one request, at most."""

    def __init__(self, threshold: Threshold, batch: int) -> None:
        self._threshold = threshold
        self._batch = 1 if threshold.each_counts else batch
        self._period = threshold.period.total_seconds()
        self._sent: deque[tuple[float, int]] = deque()
        self._used = 0
        self.variant = threshold.variant

    def fitting(self, devices: int, now: float) -> float:
        """How many of those devices fit, the old requests having left the period."""
        while self._sent and self._sent[0][0] + self._period <= now:
            self._used -= self._sent.popleft()[1]
        return min(devices, self._batch * room(self._threshold, Used(forward=self._used), PermitClass.FORWARD))

    def use(self, devices: int, now: float) -> None:
        """Count what was sent."""
        units = math.ceil(devices / self._batch)
        self._sent.append((now, units))
        self._used += units

    def turns(self) -> float | None:
        """When the oldest of what was sent leaves the period (seconds)."""
        return self._sent[0][0] + self._period if self._sent else None
