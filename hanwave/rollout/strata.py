"""Which device is in which wave: by a hash of the seed and its EUI-64, every stratum early, the protected late.

What adding devices does to those that a plan had placed. A wave given as a share: none moves, as long as it promises nothing
to strata. With `per_stratum`, a device may only move from a wave in which it was to make up its stratum's number, to the
wave that its own share gives it; none is moved to an earlier wave. A count takes the lowest draws, so that a new device may
take the place of another, as in any list of the first hundred.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

from hanwave.rollout.cohort import PlanError
from hanwave.rollout.policy import Policy, Wave
from hanwave.rollout.rank import draws


class Traits(NamedTuple):
    """What of a member its place and the statement depend on, beside its EUI-64; equal ones are one object."""

    model: str
    """As in "121D/1111"."""
    version: str
    """What it runs."""
    region: str
    hub: str
    """Empty where the policy's strata are by region."""
    protected_class: str | None
    hardware: str
    area: str
    """The network operator's, or else the region."""
    suspended: bool
    path: tuple[str, ...]
    """The releases that it installs, in order."""

    @property
    def stratum(self) -> tuple[str, str, str, str]:
        """Its stratum."""
        return self[:4]


_Key = tuple[bool, float, str]


@dataclass(frozen=True, slots=True)
class Draws:
    """Each device's rank, by which the shares take them, and the draw by which the counts do.

    Were it the same one, the first count would leave the next share nobody. Two mappings of floats, which the garbage
    collector passes over, where a million pairs would cost it seconds.
    """

    ranks: dict[str, float]
    counts: dict[str, float]


def drawn(euis: Iterable[str], seed: str) -> Draws:
    """The draws of those devices."""
    found = Draws({}, {})
    for eui in euis:
        found.ranks[eui], found.counts[eui] = draws(seed, eui)
    return found


@dataclass(slots=True)
class _Left:
    """Those not yet in a wave, as keys; and what decides for each."""

    euis: dict[str, None]
    traits: Mapping[str, Traits]
    draws: Draws
    named: frozenset[str]

    def free(self, *, protected: bool) -> list[str]:
        """Whom a wave may draw: nobody that a list names, the protected only where it may have them."""
        traits, named = self.traits, self.named
        return [eui for eui in self.euis if eui not in named and (protected or traits[eui].protected_class is None)]

    def key(self, eui: str) -> _Key:
        """The order within a wave."""
        return self.traits[eui].protected_class is not None, self.draws.ranks[eui], eui

    def count_key(self, eui: str) -> _Key:
        """The order in which a count takes them."""
        return self.traits[eui].protected_class is not None, self.draws.counts[eui], eui


def place(traits: Mapping[str, Traits], policy: Policy, draws: Draws) -> tuple[tuple[str, ...], ...]:
    """The members of each wave, in their order; PlanError where a count cannot hold what it promises to strata.

    Each takes, from those not yet placed: its named devices, its count, or the share with the lowest ranks.
    """
    named = frozenset(eui for wave in policy.waves for eui in wave.devices)
    left = _Left(dict.fromkeys(traits), traits, draws, named)
    waves: list[tuple[str, ...]] = []
    high = 0.0
    for number, wave in enumerate(policy.waves, 1):
        high = 1.0 if wave.share == 1 else high + (1 - high) * (wave.share or 0)
        chosen = sorted(_choose(number, wave, left, policy, high), key=left.key)
        waves.append(tuple(chosen))
        for eui in chosen:
            del left.euis[eui]
    return tuple(waves)


def _choose(number: int, wave: Wave, left: _Left, policy: Policy, high: float) -> Iterable[str]:
    if wave.devices:
        return [eui for eui in wave.devices if eui in left.euis]
    free = left.free(protected=number >= policy.first_protected)
    if wave.count is not None:
        return _counted(number, wave, wave.count, left, free)
    chosen = [eui for eui in free if left.draws.ranks[eui] < high]
    return chosen if len(chosen) == len(free) else [*chosen, *_missing(wave.per_stratum, left, free, high)]


def _missing(least: int, left: _Left, free: list[str], high: float) -> list[str]:
    """The next of each stratum that the share gives fewer than so many."""
    if not least:
        return []
    given: Counter[tuple[str, ...]] = Counter()
    others: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for eui in free:
        stratum = left.traits[eui].stratum
        if left.draws.ranks[eui] < high:
            given[stratum] += 1
        else:
            others[stratum].append(eui)
    short = ((least - given[stratum], euis) for stratum, euis in others.items() if given[stratum] < least)
    return [eui for n, euis in short for eui in nsmallest(n, euis, key=left.key)]


def _counted(number: int, wave: Wave, count: int, left: _Left, free: list[str]) -> list[str]:
    """The lowest draws of each stratum that are promised, and then of all."""
    if not wave.per_stratum:
        return nsmallest(count, free, key=left.count_key)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for eui in free:
        strata[left.traits[eui].stratum].append(eui)
    promised = [eui for euis in strata.values() for eui in nsmallest(wave.per_stratum, euis, key=left.count_key)]
    if len(promised) > count:
        raise PlanError(
            f"wave {number} holds count {count} and per_stratum {wave.per_stratum}, which its {len(strata)} strata need"
            f" {len(promised)} devices for: make the count {len(promised)} or the promise smaller"
        )
    taken = set(promised)
    return promised + nsmallest(count - len(promised), (eui for eui in free if eui not in taken), key=left.count_key)
