"""The gate after a wave: *pass*, *fail* or *not enough evidence*, from two bounds that must both hold, and what must be seen.

Guarantees: no evidence never passes; silence alone never fails (it holds); one more device harmed, silent or open never
makes a verdict better; and the verdict is a pure function of the inputs and the gate that are kept with it.

How the errors are kept. *Pass* needs every bound to hold, so each is asked at the gate's whole confidence and the chance
of passing what is worse than tolerable is at most what that leaves (an intersection-union test: Berger, Technometrics 24,
1982, 295-300). *Fail* needs only one, so what the confidence leaves is shared out: half to the breaker after activations,
a quarter to the one after verifications, a quarter equally to the strata and the service checks (Bonferroni). The breaker
looks at every harm that is recorded: its k-th look may err by 6/(pi k)^2 of its part, which add up to the whole of it
(alpha spending: Lan and DeMets, Biometrika 70, 1983, 659-663), whenever it looks and however the evidence comes in.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from hanwave.rollout.bounds import NOTHING, SLACK, Compared, Share, excess, lower, needed, smallest_harm, upper
from hanwave.rollout.policy import DeviceType, Gate, Proof
from hanwave.rollout.soak import Service

ORDINARY_SILENCE = {DeviceType.ESME: 0.02, DeviceType.GSME: 0.05, DeviceType.HCALCS: 0.05, DeviceType.PPMID: 0.30}
"""The share of a type that may be silent on any day without an update: a quarter of the PPMIDs may be unplugged."""

EXPECTED: dict[DeviceType, tuple[Proof, ...]] = {
    DeviceType.ESME: (Proof.VERIFIED, Proof.ACTIVATED, Proof.READ_BACK),
    DeviceType.GSME: (Proof.VERIFIED, Proof.ACTIVATED, Proof.READ_BACK),
    # An HCALCS may send no 8F72 (domain 3.2).
    DeviceType.HCALCS: (Proof.ACTIVATED, Proof.READ_BACK),
    DeviceType.PPMID: (Proof.TRANSFERRED, Proof.ACTIVATED, Proof.READ_BACK),
}
ORDINARY_LOSS = 0.2
"""[I] No more than this share of one kind of evidence is lost by chance, device by device."""
BY_CHANCE = 0.01
"""A stratum of which one kind is missing whole holds the gate where chance would do that no more often: from 3 devices on."""

UNTELLING = 0.5
"""Where more than this share of those not updated stopped doing their job, a service check tells nothing of the update."""


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Counts:
    """How devices stand; excused ones (leavers, cancelled, never reached a hub) are in none of these."""

    settled: int = 0
    failed: int = 0
    """Activated, and the worse for it: failed, runs another version, raised an alarm."""
    refused: int = 0
    """Did not verify the image, or holds another."""
    silent: int = 0
    """Activated or sent an image, and then not heard from."""
    open: int = 0
    """Not yet ended."""
    held_out: int = 0
    """Silent, while a recorded outage explains it."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def harm(self) -> Share:
        """Those harmed, of those with evidence."""
        harmed = self.failed + self.refused
        return Share(harmed, self.settled + harmed)

    @property
    def silence(self) -> Share:
        """Those silent, of those that settled or are; a device that has not ended is as silent as one that never will."""
        silent = self.silent + self.open
        return Share(silent, self.settled + silent)


@dataclass(frozen=True, slots=True)
class Stratum:
    """One model, from one version, in one region: its counts, and how many of its devices gave each kind of evidence."""

    model: str
    version: str
    region: str
    counts: Counts
    seen: dict[Proof, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.model} from {self.version} in {self.region}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The silence of one region's devices of the type, without the update."""

    region: str
    before: Share = NOTHING
    """The wave's own devices, when it began."""
    now: Share = NOTHING
    """Those not updated, when it was judged."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a gate judges a wave by."""

    strata: tuple[Stratum, ...] = ()
    expects: tuple[Proof, ...] = ()
    ordinary: float = 0.0
    """No more silence than this counts as ordinary."""
    baselines: tuple[Baseline, ...] = ()
    services: tuple[Service, ...] = ()

    @property
    def counts(self) -> Counts:
        """Of the whole wave."""
        return sum((stratum.counts for stratum in self.strata), Counts())


@dataclass(frozen=True, slots=True)
class Finding:
    """What one of the gate's tests found. low: proven at least, high: ruled out above; limit: what is tolerable."""

    test: str
    verdict: Verdict
    reason: str
    counted: int
    of: int
    low: float | None = None
    high: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason, one sentence for a person."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What the breaker looks at while a wave runs: how its devices came through each of the two steps so far."""

    activated: int = 0
    """Ran the release when they were last heard."""
    failed: int = 0
    verified: int = 0
    """Took the image, whatever came after."""
    refused: int = 0


def judge(inputs: Inputs, gate: Gate) -> Judgement:
    """The gate's verdict on a wave: the worst of its findings, and that one's reason."""
    found = findings(inputs, gate)
    for verdict in (Verdict.FAIL, Verdict.NOT_ENOUGH_EVIDENCE):
        if worst := next((finding for finding in found if finding.verdict is verdict), None):
            return Judgement(verdict, worst.reason)
    counts = inputs.counts
    return Judgement(Verdict.PASS, f"{counts.settled} of {counts.harm.of} devices with evidence settled")


def findings(inputs: Inputs, gate: Gate) -> list[Finding]:
    """Every test of the gate, in the order in which their reasons are given."""
    split = sum(1 for _ in inputs.strata) + len(inputs.services)
    return [
        _breaker(inputs.counts, gate),
        *(_harm_in(stratum, gate, split) for stratum in inputs.strata),
        *(_service(service, gate, split) for service in inputs.services),
        _minimum(inputs.counts, gate),
        _harm(inputs.counts, gate),
        *_silence(inputs, gate),
        *_unseen(inputs),
    ]


def breaker(progress: Progress, gate: Gate) -> bool:
    """Whether the breaker opens: more harm than is tolerable is proven, after the activations or after the verifications."""
    error = 1 - gate.confidence
    parts = ((progress.failed, progress.activated, error / 2), (progress.refused, progress.verified, error / 4))
    return any(
        lower(Share(harmed, harmed + well), 1 - _spent(part, harmed)) > gate.harm + SLACK
        for harmed, well, part in parts
    )


def can_see(size: int, gate: Gate) -> str | None:
    """Why a wave of so many devices is too small for its gate, in a sentence; None where it is not.

    A gate that is meant for few says so itself: with a greater `harm` and `silence`, or a lower `confidence`.
    """
    if not size:
        return "no device is left for it: have fewer waves"
    if size < gate.minimum:
        return f"a wave of {size} never settles the {gate.minimum} devices that its gate asks for: make it so many"
    seen = smallest_harm(size, gate.confidence)
    unseen = {name: limit for name in ("harm", "silence") if seen > (limit := getattr(gate, name)) + SLACK}
    if not unseen:
        return None
    least = needed(min(unseen.values()), gate.confidence)
    names = " and ".join(f"{name} {limit:.1%}" for name, limit in unseen.items())
    seen_at_least = math.ceil(seen * 1000) / 1000
    said = f", or have its gate bear {' and '.join(f'{name} {seen_at_least:.3f}' for name in unseen)}"
    return f"a wave of {size} cannot rule out {names} at {gate.confidence:.1%} confidence: make it {least}{said}"


def _spent(part: float, look: int) -> float:
    """The error that this look may make, of the part that all looks may; the look at the first harm is 1."""
    return part * 6 / (math.pi * look) ** 2 if look else 0.0


def _breaker(counts: Counts, gate: Gate) -> Finding:
    progress = Progress(counts.settled, counts.failed, counts.settled + counts.failed, counts.refused)
    opens, harm = breaker(progress, gate), counts.harm
    least = lower(harm, 1 - _spent((1 - gate.confidence) / 2, harm.counted))
    reason = f"{_of(harm)} devices with evidence were harmed, more than the {gate.harm:.1%} that is tolerable"
    verdict = Verdict.FAIL if opens else Verdict.PASS
    return Finding("breaker", verdict, reason if opens else "", harm.counted, harm.of, least, limit=gate.harm)


def _harm_in(stratum: Stratum, gate: Gate, split: int) -> Finding:
    """A stratum fails where its harm is proven beside all the others; it holds where it would be, were it alone."""
    harm = stratum.counts.harm
    least = lower(harm, 1 - (1 - gate.confidence) / 4 / split)
    alone = lower(harm, gate.confidence)
    verdict, reason = Verdict.PASS, ""
    if alone > gate.harm + SLACK:
        verdict = Verdict.FAIL if least > gate.harm + SLACK else Verdict.NOT_ENOUGH_EVIDENCE
        reason = f"{_of(harm)} devices with evidence were harmed of {stratum}"
    high = upper(harm, gate.confidence)
    return Finding(f"harm of {stratum}", verdict, reason, harm.counted, harm.of, least, high, gate.harm)


def _minimum(counts: Counts, gate: Gate) -> Finding:
    short = counts.settled < gate.minimum
    reason = f"{counts.settled} devices have settled, {gate.minimum} are needed" if short else ""
    verdict = Verdict.NOT_ENOUGH_EVIDENCE if short else Verdict.PASS
    return Finding("minimum", verdict, reason, counts.settled, gate.minimum)


def _harm(counts: Counts, gate: Gate) -> Finding:
    harm = counts.harm
    most = upper(harm, gate.confidence)
    holds = most <= gate.harm + SLACK
    reason = f"{_of(harm)} devices with evidence were harmed: up to {most:.1%} may be, {gate.harm:.1%} is tolerable"
    verdict = Verdict.PASS if holds else Verdict.NOT_ENOUGH_EVIDENCE
    least = lower(harm, gate.confidence)
    return Finding("harm", verdict, "" if holds else reason, harm.counted, harm.of, least, most, gate.harm)


def _silence(inputs: Inputs, gate: Gate) -> Iterable[Finding]:
    """Silence beyond the ordinary: as it was before, and as it is beside; of the wave, and of each region."""
    regions = _by_region(inputs.strata)
    known = {baseline.region: baseline for baseline in inputs.baselines}
    for name in ("before", "now"):
        compared = {
            region: Compared(c.silence, getattr(known.get(region, Baseline(region)), name), inputs.ordinary)
            for region, c in regions.items()
        }
        yield _excess("silence", name, list(compared.values()), inputs.counts, gate)
        for region, part in compared.items():
            yield _excess_in(region, name, part, gate)
    for region, counts in regions.items():
        if counts.held_out and not counts.settled:
            reason = (
                f"an outage explains the silence of {counts.held_out} devices in {region}, and none has settled there"
            )
            yield Finding(f"outage in {region}", Verdict.NOT_ENOUGH_EVIDENCE, reason, counts.held_out, counts.held_out)


_THAN = {"before": "than before the update", "now": "than of those not updated"}


def _excess(test: str, name: str, parts: list[Compared], counts: Counts, gate: Gate) -> Finding:
    low, high = excess(parts, gate.confidence)
    share = counts.silence
    holds = high <= gate.silence + SLACK
    reason = (
        f"{counts.silent} devices are silent and {counts.open} have not ended, beside {counts.settled} settled: up to"
        f" {high:.1%} more {_THAN[name]}, {gate.silence:.1%} is tolerable"
    )
    verdict = Verdict.PASS if holds else Verdict.NOT_ENOUGH_EVIDENCE
    said = "" if holds else reason
    return Finding(f"{test}, {_THAN[name]}", verdict, said, share.counted, share.of, low, high, gate.silence)


def _excess_in(region: str, name: str, part: Compared, gate: Gate) -> Finding:
    low, high = excess([part], gate.confidence)
    holds = low <= gate.silence + SLACK
    reason = f"{_of(part.sample)} devices in {region} are silent: at least {low:.1%} more {_THAN[name]}"
    verdict, said = (Verdict.PASS, "") if holds else (Verdict.NOT_ENOUGH_EVIDENCE, reason)
    share = part.sample
    return Finding(
        f"silence in {region}, {_THAN[name]}", verdict, said, share.counted, share.of, low, high, gate.silence
    )


def _by_region(strata: Iterable[Stratum]) -> dict[str, Counts]:
    regions: dict[str, Counts] = {}
    for stratum in strata:
        regions[stratum.region] = regions.get(stratum.region, Counts()) + stratum.counts
    return regions


def _unseen(inputs: Inputs) -> Iterable[Finding]:
    """A kind of evidence that is missing whole: of the wave, or of a stratum too large to have lost it by chance."""
    settled = inputs.counts.settled
    for proof in inputs.expects:
        seen = sum(stratum.seen.get(proof, 0) for stratum in inputs.strata)
        yield _seen(proof, "the wave", seen, settled, unseen=settled > 0 and seen == 0)
        for stratum in inputs.strata:
            seen, n = stratum.seen.get(proof, 0), stratum.counts.settled
            unseen = seen == 0 and n > 0 and ORDINARY_LOSS**n < BY_CHANCE
            yield _seen(proof, str(stratum), seen, n, unseen=unseen)


def _seen(proof: Proof, where: str, seen: int, settled: int, *, unseen: bool) -> Finding:
    reason = f"evidence of the kind {proof.value!r} came from none of the {settled} settled devices of {where}"
    verdict, said = (Verdict.NOT_ENOUGH_EVIDENCE, reason) if unseen else (Verdict.PASS, "")
    return Finding(f"evidence {proof.value!r} of {where}", verdict, said, seen, settled)


def _service(service: Service, gate: Gate, split: int) -> Finding:
    """A job that is done worse than before, beyond what befell those not updated: proven is *fail*, not ruled out holds."""
    test = f"service {service.name}"
    parts = [Compared(region.updated, region.others) for region in service.regions]
    share = sum((part.sample for part in parts), NOTHING)
    others = sum((part.ordinary for part in parts), NOTHING)
    if why := service.problem or _untelling(share, others):
        return Finding(test, Verdict.NOT_ENOUGH_EVIDENCE, f"{test}: {why}", share.counted, share.of)
    low, high = excess(parts, 1 - (1 - gate.confidence) / 4 / split)[0], excess(parts, gate.confidence)[1]
    reason = (
        f"{test}: {_of(share)} devices stopped doing their job: {low:.1%} to {high:.1%} more than of those not updated,"
        f" {service.tolerable:.1%} is tolerable"
    )
    verdict = Verdict.PASS
    if high > service.tolerable + SLACK:
        verdict = Verdict.FAIL if low > service.tolerable + SLACK else Verdict.NOT_ENOUGH_EVIDENCE
    said = "" if verdict is Verdict.PASS else reason
    return Finding(test, verdict, said, share.counted, share.of, low, high, service.tolerable)


def _untelling(updated: Share, others: Share) -> str:
    if updated.of == 0:
        return "none of the wave's devices is known to have done its job before"
    if others.point > UNTELLING:
        return f"{_of(others)} devices that were not updated stopped doing their job too: the check tells nothing"
    return ""


def _of(share: Share) -> str:
    return f"{share.counted} of {share.of}"
