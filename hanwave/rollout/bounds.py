"""Bounds on shares: exact for one sample, and for the excess of one over others.

Guarantees: each bound is one-sided at the confidence that it is asked for; one more counted never lowers a bound. The
exact ones are Clopper and Pearson's (Biometrika 26, 1934, 404-413). The excess is Newcombe's hybrid of the two samples'
own limits (Statistics in Medicine 17, 1998, 873-890, method 10), with exact limits in place of Wilson's, and with the
comparison weighted by stratum (Zou and Donner, Statistics in Medicine 27, 2008, 1693-1702).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

SLACK = 1e-9
"""What the machine's arithmetic may add to a bound that equals its limit: 1 - 0.05 is to be 0.95."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many counted, of so many."""

    counted: int = 0
    of: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.counted <= self.of:
            raise ValueError(f"a share of {self.counted} of {self.of}: it should be 0 to all of them")

    def __add__(self, other: Self) -> "Share":
        return Share(self.counted + other.counted, self.of + other.of)

    @property
    def point(self) -> float:
        """The share itself; 0 of nothing is 0."""
        return self.counted / self.of if self.of else 0.0


NOTHING = Share()


def lower(share: Share, confidence: float) -> float:
    """The true share is at least this, at that confidence (0 to 1); 0 where nothing is counted."""
    if share.counted == 0:
        return 0.0
    return _quantile(share.counted, share.of - share.counted + 1, 1 - confidence)


def upper(share: Share, confidence: float) -> float:
    """The true share is at most this, at that confidence (0 to 1); 1 where nothing is known or all are counted."""
    if share.counted == share.of:
        return 1.0
    return _quantile(share.counted + 1, share.of - share.counted, confidence)


def _quantile(a: int, b: int, probability: float) -> float:
    # Here and not above: it takes a third of a second and 27 MB, and most processes that know of gates judge none.
    from scipy.special import betaincinv  # noqa: PLC0415

    return float(betaincinv(a, b, probability))


def smallest_harm(size: int, confidence: float) -> float:
    """The least share that so many devices rule out at that confidence where all of them do well; 1 for none.

    299 devices rule out 1 % at 95 %.
    """
    return upper(Share(0, size), confidence)


def needed(harm: float, confidence: float) -> int:
    """How many devices must do well, and none badly, to rule that share out (above 0, below 1) at that confidence."""
    about = math.ceil(math.log1p(-confidence) / math.log1p(-harm))
    return next(n for n in range(max(1, about - 1), about + 2) if smallest_harm(n, confidence) <= harm + SLACK)


@dataclass(frozen=True, slots=True)
class Compared:
    """One stratum's sample, and what it is compared with; ceiling: no more of the latter counts as ordinary."""

    sample: Share
    ordinary: Share
    ceiling: float = 1.0


def excess(parts: Sequence[Compared], confidence: float) -> tuple[float, float]:
    """How much larger the samples' share is than the ordinary one, at least and at most, at that confidence each.

    The ordinary share is the strata's, each weighted by its sample. Where nothing is known of it, it is taken as 0 for
    the upper bound, and as its ceiling for the lower: what is not known excuses nothing and accuses nobody.
    """
    pooled = sum((part.sample for part in parts), NOTHING)
    if pooled.of == 0:
        return -1.0, 1.0
    ordinary = below = above = 0.0
    for part in parts:
        weight, (low, point, high) = part.sample.of / pooled.of, _ordinary(part, confidence)
        ordinary += weight * point
        below += (weight * (point - low)) ** 2
        above += (weight * (high - point)) ** 2
    p = pooled.point
    least = math.sqrt((p - lower(pooled, confidence)) ** 2 + above)
    most = math.sqrt((upper(pooled, confidence) - p) ** 2 + below)
    return p - ordinary - least, p - ordinary + most


def _ordinary(part: Compared, confidence: float) -> tuple[float, float, float]:
    share, ceiling = part.ordinary, part.ceiling
    if share.of == 0:
        return 0.0, 0.0, ceiling
    limits = lower(share, confidence), share.point, upper(share, confidence)
    low, point, high = (min(limit, ceiling) for limit in limits)
    return low, point, high
