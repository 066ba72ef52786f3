"""How fast a campaign activates: over all, in a region and behind a hub; slower where devices cannot be reached. Pure.

A region's rate follows the answers of its devices: after each sample it rises by a step, or is halved where too many of them
were communication failures (additive increase, multiplicative decrease). Guarantee: it stays between the floor and what the
policy allows, and is a function of recent answers alone, so that nothing need remember it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from hanwave.rollout.terms import Duration, Strict

STEPS = 10
"""Good samples that bring a region from its floor to what the policy allows."""

Rate = Annotated[float, Field(strict=True, gt=0, le=1_000_000)]
"""There are a hundred million devices in Great Britain: more is no rate, and far more overflows what is counted with it."""


class Pace(Strict):
    """Rates are activations a second, of one campaign."""

    overall: Rate = 20.0
    """The most, over all of its devices."""
    region: Rate | None = None
    """The most in one region; None: as many as over all."""
    hub_gap: Duration | None = None
    """The least time between two activations behind one Communications Hub; None: only one after the other in a home."""
    floor: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.01
    """The share of what it may have, below which a region is not slowed down."""
    unreached: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.2
    """The share of communication failures (E20, E21, E30, E31) among a sample, above which a region's rate is halved."""
    sample: Annotated[int, Field(strict=True, ge=1)] = 20
    """Answers by which a region is judged once."""

    @property
    def most(self) -> float:
        """What one region may have when all is well."""
        return min(self.overall, self.region or self.overall)

    @property
    def least(self) -> float:
        """What one region keeps, whatever fails."""
        return self.most * self.floor


@dataclass(frozen=True, slots=True)
class Answers:
    """What a region's devices, or the DCC for them, answered in some span: so many, and of them so many not reached."""

    total: int
    unreached: int


def rate(pace: Pace, answers: Iterable[Answers]) -> float:
    """A region's activations a second, after those answers in the order of their times; a part of a sample waits."""
    now, total, unreached = pace.most, 0, 0
    for some in answers:
        total, unreached = total + some.total, unreached + some.unreached
        if total < pace.sample:
            continue
        bad = unreached > pace.unreached * total
        now = max(pace.least, now / 2) if bad else min(pace.most, now + pace.most / STEPS)
        total = unreached = 0
    return now


def allowance(per_second: float, since: timedelta, now: datetime) -> int:
    """How many fall due at that rate in the span before now (aware UTC): whole ones, which over many spans add up."""
    at = now.timestamp()
    return math.floor(per_second * at) - math.floor(per_second * (at - since.total_seconds()))
