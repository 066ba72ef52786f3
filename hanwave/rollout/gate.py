"""The gate after a wave: *pass*, *fail* or *not enough evidence*, from counts of how its devices stand.

Guarantees: no evidence never passes; silence alone never fails (it holds); and the verdict can be recomputed from the
counts and the policy that it was given, which are kept with it.
"""

from dataclasses import dataclass
from enum import StrEnum

from hanwave.rollout.policy import Gate


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Counts:
    """How the devices of a wave stand; excused ones (leavers, cancelled, never reached a hub) are in none of these."""

    settled: int = 0
    harmed: int = 0
    """Failed in a way that the image may have caused: failed, not verified, runs another version."""
    silent: int = 0
    """Activated or sent an image, and then not heard from."""
    open: int = 0
    """Not yet ended."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason, one sentence for a person."""

    verdict: Verdict
    reason: str


def judge(counts: Counts, gate: Gate) -> Judgement:
    """The gate's verdict on a wave. One more device harmed, silent or open never makes a verdict better."""
    evidence = counts.settled + counts.harmed
    if breaker(counts, gate):
        return Judgement(Verdict.FAIL, f"{counts.harmed} of {evidence} devices with evidence were harmed")
    if shortfall := _shortfall(counts, gate):
        return Judgement(Verdict.NOT_ENOUGH_EVIDENCE, shortfall)
    return Judgement(Verdict.PASS, f"{counts.settled} of {evidence} devices with evidence settled")


def breaker(counts: Counts, gate: Gate) -> bool:
    """Whether the breaker opens, and the gate fails: harm reached the failure share of those with evidence.

    Where fewer than the gate's minimum have ended it is the share of that minimum, so that the first mishap of a wave is
    judged neither as a hundred per cent nor not at all.
    """
    least = max(gate.minimum_evidence, counts.settled + counts.harmed)
    return counts.harmed > 0 and counts.harmed / least >= gate.failure


def _shortfall(counts: Counts, gate: Gate) -> str | None:
    """What is missing for a pass, or None. A device that has not ended is as silent as one that will never speak."""
    if counts.settled < gate.minimum_evidence:
        return f"{counts.settled} devices have settled, {gate.minimum_evidence} are needed"
    silent = counts.silent + counts.open
    if silent / (counts.settled + silent) > gate.silence:
        return f"{counts.silent} devices are silent and {counts.open} have not ended, beside {counts.settled} settled"
    evidence = counts.settled + counts.harmed
    if counts.settled / evidence < gate.success:
        return f"{counts.settled} of {evidence} devices settled, {gate.success:.1%} are needed"
    return None
