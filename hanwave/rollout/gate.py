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
    """The gate's verdict on a wave."""
    evidence = counts.settled + counts.harmed
    if evidence and counts.harmed / evidence >= gate.failure and counts.harmed:
        return Judgement(Verdict.FAIL, f"{counts.harmed} of {evidence} devices with evidence were harmed")
    if evidence < gate.minimum_evidence:
        needed = f"{evidence} devices have ended with evidence, {gate.minimum_evidence} are needed"
        return Judgement(Verdict.NOT_ENOUGH_EVIDENCE, needed)
    if counts.silent > gate.silence * (evidence + counts.silent):
        quiet = f"{counts.silent} of {evidence + counts.silent} devices are silent"
        return Judgement(Verdict.NOT_ENOUGH_EVIDENCE, quiet)
    if counts.settled / evidence < gate.success:
        short = f"{counts.settled} of {evidence} devices settled, {gate.success:.1%} are needed"
        return Judgement(Verdict.NOT_ENOUGH_EVIDENCE, short)
    return Judgement(Verdict.PASS, f"{counts.settled} of {evidence} devices with evidence settled")


def breaker(counts: Counts, gate: Gate) -> bool:
    """Whether the breaker opens: harm reached the failure share of the least evidence that the gate would judge."""
    least = max(gate.minimum_evidence, counts.settled + counts.harmed)
    return counts.harmed > 0 and counts.harmed / least >= gate.failure
