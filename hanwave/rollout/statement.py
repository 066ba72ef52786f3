"""What a plan will do, as a person reads it before approving: to how many, how fast, what its gates see, what can be undone.

Guarantee: a pure function of the members, the release, its fallbacks and the policy, in days from the start; so it stands in
the plan's digest, and drawing the same plan tomorrow states the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hanwave.rollout.bounds import smallest_harm
from hanwave.rollout.budget import Demand
from hanwave.rollout.cohort import DORMANT, Kind, PlanError, Wanted, unsuited, versions_on
from hanwave.rollout.gate import can_see
from hanwave.rollout.policy import DeviceType, OnHarm, Policy
from hanwave.rollout.strata import Traits
from hanwave.rollout.timetable import Days, Run, by_day, timetable

MONTH = 30
"""Days: a plan's months are counted from its start, which nobody knows before it is approved."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some devices of a wave: one model, from one version, in one region, of one protected class (None: of none)."""

    model: str
    """As manufacturer/model."""
    version: str
    """What they run now."""
    region: str
    """The communications provider's."""
    protected_class: str | None
    """A code, and never the reason; null: of none."""
    devices: int
    """How many."""


@dataclass(frozen=True, slots=True)
class WaveStatement:
    """One wave, and what its gate is worth."""

    number: int
    """From 1 on."""
    devices: int
    """How many."""
    homes: int
    """Their homes."""
    parts: tuple[Part, ...]
    """By model, version, region and protected class."""
    begins: float
    """Days from the start, at the soonest."""
    ends: Days
    """Days from the start."""
    smallest_harm: float
    """The least share harmed that it would show at its gate's confidence, if every device has evidence."""
    tolerable_harm: float
    """The largest share harmed that its gate lets pass."""
    confidence: float
    """Of its gate."""
    most_hurt: int
    """Devices that could be hurt before a stop, beyond what its gate bears: what its exposure cap lets be activated and not
    settled."""


@dataclass(frozen=True, slots=True)
class Load:
    """Service Requests of one variant if nothing goes wrong; 8.2 at most."""

    variant: str
    """By its reference: "11.3"."""
    requests: int
    """In all."""
    devices: int
    """For how many devices, added up over the requests."""
    a_day: int
    """The most on one day (of devices, where the DCC may count an 11.1 once for each), at the soonest course."""
    by_month: tuple[int, ...]
    """By month of 30 days from the start."""


@dataclass(frozen=True, slots=True)
class Way:
    """The releases that some members install, in order."""

    releases: tuple[str, ...]
    """By their names."""
    devices: int
    """How many members."""


@dataclass(frozen=True, slots=True)
class Undo:
    """Whether a rollback takes a model back: by which fallback release, or why by none."""

    model: str
    """As manufacturer/model."""
    hardware: str
    """Its hardware version."""
    version: str
    """What it then runs: the wanted version, or one on its way there."""
    devices: int
    """How many members."""
    release: str | None
    """The fallback that takes them back; null: none does."""
    why_not: str | None
    """In a sentence; null where one does."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Activations that may cut the power of homes for a moment, in one network operator's area; days from the start."""

    area: str
    """The network operator's."""
    wave: int
    """From 1 on."""
    devices: int
    """How many of it are there."""
    first_day: int
    """The soonest."""
    last_day: int
    """The latest."""
    by_day: tuple[int, ...]
    """How many on each day from the first to the last, spread evenly."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person approves, beside the policy."""

    devices: int
    """Members in all."""
    homes: int
    """Their homes."""
    suspended: int
    """Members that are off the CPL, which the release is to rescue."""
    dormant: int
    """Left out, in the lane of those unheard for long."""
    ways: tuple[Way, ...]
    """The distinct paths, the most used first."""
    waves: tuple[WaveStatement, ...]
    """In their order."""
    loads: tuple[Load, ...]
    """By variant."""
    ends: Days
    """When the last wave's devices have settled, in days from the start."""
    undo: tuple[Undo, ...]
    """By model and version: what a rollback could do."""
    undo_days: Days
    """How long a rollback of all that it takes back would be under way."""
    notices: tuple[Notice, ...]
    """For those who answer for the supply of an area."""


@dataclass(frozen=True, slots=True)
class Members:
    """Who is in which wave, with what the statement is about."""

    waves: tuple[tuple[str, ...], ...]
    traits: Mapping[str, Traits]
    homes: Mapping[str, str]


def state(
    wanted: Wanted, members: Members, left_out: Iterable[str], policy: Policy, fallbacks: Sequence[Wanted]
) -> Statement:
    """The statement of a plan; PlanError where it cannot be run at all. left_out: the reasons."""
    counted = [Counter(map(members.traits.__getitem__, wave)) for wave in members.waves]
    regions = {traits.region for counts in counted for traits in counts}
    runs = timetable([_hops(counts) for counts in counted], wanted.device_type, policy, regions)
    homes = [{members.homes[eui] for eui in wave} for wave in members.waves]
    whole = sum(counted, Counter[Traits]())
    undo = _undo(wanted, whole, fallbacks)
    if policy.on_harm is OnHarm.ROLL_BACK and not any(each.release for each in undo):
        raise PlanError(
            "on_harm is roll_back, and no fallback takes any device back: name one that does, or leave it at hold"
        )
    back = sum(each.devices for each in undo if each.release and each.version == wanted.version)
    return Statement(
        devices=whole.total(),
        homes=len(set().union(*homes)),
        suspended=sum(n for traits, n in whole.items() if traits.suspended),
        dormant=sum(reason == DORMANT for reason in left_out),
        waves=tuple(
            _wave(number, counts, len(home), run, policy)
            for number, (counts, home, run) in enumerate(zip(counted, homes, runs, strict=True), 1)
        ),
        ways=_ways(whole),
        # A bench asks nothing of the DCC.
        loads=() if wanted.on_bench else _loads(wanted.device_type, counted, runs, policy),
        ends=runs[-1].ends,
        undo=undo,
        undo_days=timetable([{1: back} if back else {}], wanted.device_type, policy.for_rollback(), regions)[0].ends,
        # A bench cuts nobody's power.
        notices=_notices(counted, runs) if wanted.device_type is DeviceType.ESME and not wanted.on_bench else (),
    )


def _wave(number: int, counts: Counter[Traits], homes: int, run: Run, policy: Policy) -> WaveStatement:
    rules, devices = policy.of_wave(number), counts.total()
    parts: Counter[tuple[str, str, str, str | None]] = Counter()
    for traits, n in counts.items():
        parts[(traits.model, traits.version, traits.region, traits.protected_class)] += n
    return WaveStatement(
        number=number,
        devices=devices,
        homes=homes,
        parts=tuple(Part(*key, n) for key, n in sorted(parts.items(), key=lambda item: (-item[1], _texts(item[0])))),
        begins=run.begins,
        ends=run.ends,
        smallest_harm=round(smallest_harm(devices, rules.gate.confidence), 6),
        tolerable_harm=rules.gate.harm,
        confidence=rules.gate.confidence,
        most_hurt=min(devices, rules.exposure_cap),
    )


def _texts(key: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(text or "" for text in key)


def _hops(counts: Counter[Traits]) -> Counter[int]:
    """Devices by the number of their hops."""
    hops: Counter[int] = Counter()
    for traits, n in counts.items():
        hops[len(traits.path)] += n
    return hops


def _ways(counts: Counter[Traits]) -> tuple[Way, ...]:
    ways: Counter[tuple[str, ...]] = Counter()
    for traits, n in counts.items():
        ways[traits.path] += n
    return tuple(Way(path, n) for path, n in sorted(ways.items(), key=lambda item: (-item[1], item[0])))


def _images(counts: Counter[Traits]) -> Counter[tuple[int, str]]:
    """Devices by hop and release: each such group is sent its image by requests of its own."""
    images: Counter[tuple[int, str]] = Counter()
    for traits, n in counts.items():
        for hop in enumerate(traits.path, 1):
            images[hop] += n
    return images


def _loads(
    kind: DeviceType, counted: Sequence[Counter[Traits]], runs: Sequence[Run], policy: Policy
) -> tuple[Load, ...]:
    """In each hop a batch of images at a time, and an activation each where that is not one already; what is read of each."""
    images = [_images(counts) for counts in counted]
    hops, sizes = [of_wave.total() for of_wave in images], [counts.total() for counts in counted]
    batches = [sum(-(-n // policy.batch) for n in of_wave.values()) for of_wave in images]
    send = "11.4" if kind.one_step else "11.1"
    activations = [(run.begins, run.activates) for run in runs]
    loads = [_load(send, batches, hops, activations)]
    if not kind.one_step:
        loads += [_load(variant, hops, hops, activations) for variant in ("8.2", "11.3")]
    if policy.soak_check:
        soaked = [
            (run.ends.soonest - run.activates if size else run.begins, run.activates)
            for run, size in zip(runs, sizes, strict=True)
        ]
        loads.append(_load("11.2", sizes, sizes, soaked))
    return tuple(sorted(loads, key=lambda load: load.variant))


def _load(variant: str, requests: Sequence[int], devices: Sequence[int], when: Sequence[tuple[float, float]]) -> Load:
    days: Counter[int] = Counter()
    months: Counter[int] = Counter()
    for asked, reached, (begins, over) in zip(requests, devices, when, strict=True):
        days.update(by_day(reached, begins, over))
        for day, n in by_day(asked, begins, over).items():
            months[day // MONTH] += n
    by_month = tuple(months[n] for n in range(max(months, default=-1) + 1))
    return Load(variant, sum(requests), sum(devices), max(days.values(), default=0), by_month)


def _undo(wanted: Wanted, members: Counter[Traits], fallbacks: Sequence[Wanted]) -> tuple[Undo, ...]:
    """By model, hardware and the version that it comes to run: the first fallback that takes such a device."""
    boards: Counter[tuple[str, str, str]] = Counter()
    for traits, n in members.items():
        for version in versions_on(wanted, traits.path):
            boards[(traits.model, traits.hardware, version)] += n
    found = []
    for (model, hardware, version), n in sorted(boards.items()):
        manufacturer, identifier = model.split("/")
        kind = Kind(wanted.device_type, manufacturer, identifier, hardware, version)
        why = {fallback.release: unsuited(fallback, kind) for fallback in fallbacks}
        taken = next((release for release, reason in why.items() if reason is None), None)
        reasons = "; ".join(f"{release}: {reason}" for release, reason in why.items()) or "no fallback release is named"
        found.append(Undo(model, hardware, version, n, taken, None if taken else reasons))
    return tuple(found)


def _notices(counted: Sequence[Counter[Traits]], runs: Sequence[Run]) -> tuple[Notice, ...]:
    """An ESME's activation may cut the power of its home for a moment (domain 5.6): its network operator is told."""
    notices = []
    for number, (counts, run) in enumerate(zip(counted, runs, strict=True), 1):
        areas: Counter[str] = Counter()
        for traits, n in counts.items():
            areas[traits.area] += n
        notices += [_notice(area, number, n, run) for area, n in sorted(areas.items())]
    return tuple(notices)


def _notice(area: str, wave: int, devices: int, run: Run) -> Notice:
    first, last = int(run.begins), int(run.begins + run.activates)
    days = by_day(devices, run.begins, run.activates)
    return Notice(area, wave, devices, first, last, tuple(days.get(day, 0) for day in range(first, last + 1)))


def demands(statement: Statement) -> dict[str, Demand]:
    """What the plan sends, as the budget's rules ask for it."""
    return {load.variant: Demand(load.requests, load.devices) for load in statement.loads}


def check_sight(statement: Statement, policy: Policy) -> None:
    """Refuse (PlanError) a wave that is too small to show the harm that its gate is meant to catch."""
    for wave in statement.waves:
        if why := can_see(wave.devices, policy.of_wave(wave.number).gate):
            raise PlanError(f"wave {wave.number}: {why}")


@dataclass(frozen=True, slots=True)
class Over:
    """A month, counted from 1, in which the plan sends more of a variant than the forecast that the DCC was given."""

    variant: str
    month: int
    requests: int
    forecast: int


def over_forecast(statement: Statement, forecast: Mapping[str, Sequence[int]]) -> list[Over]:
    """Where the plan exceeds a demand forecast (requests by variant and month from the start); a month not given has 0."""
    return [
        Over(load.variant, month, n, given)
        for load in statement.loads
        for month, n in enumerate(load.by_month, 1)
        if n > (given := _of(forecast.get(load.variant, ()), month))
    ]


def _of(months: Sequence[int], month: int) -> int:
    return months[month - 1] if month <= len(months) else 0
