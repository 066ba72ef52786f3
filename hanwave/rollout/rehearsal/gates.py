"""A wave's gate and breaker in a rehearsal: the functions that run in production, over counts of devices by how they end."""

from collections import Counter

from hanwave.rollout import tallies
from hanwave.rollout.bounds import Share
from hanwave.rollout.device import State
from hanwave.rollout.gate import (
    EXPECTED,
    ORDINARY_SILENCE,
    Baseline,
    Inputs,
    Judgement,
    Progress,
    Stratum,
    breaker,
    judge,
)
from hanwave.rollout.policy import DeviceType, Gate

_REGION = "all"


class WaveGate:
    """What one wave's gate and breaker have seen."""

    def __init__(self, gate: Gate, kind: DeviceType, ordinary: Share, strata: int) -> None:
        """Begin with nothing; ordinary: the silence of devices without the update."""
        self._gate, self._kind, self._ordinary = gate, kind, ordinary
        self._strata: list[Counter[str]] = [Counter() for _ in range(strata)]
        self._ended: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._looked = 0

    def anew(self, gate: Gate) -> "WaveGate":
        """The gate of the next wave, that has seen nothing yet."""
        return WaveGate(gate, self._kind, self._ordinary, len(self._strata))

    def saw(self, state: str, devices: int) -> None:
        """So many more devices first count as that while the wave runs."""
        self._seen[state] += devices

    def ended(self, stratum: int, end: str, devices: int) -> None:
        """So many of a stratum ended in that way."""
        self._strata[stratum][end] += devices
        self._ended[end] += devices

    @property
    def lost(self) -> int:
        """How many keep their places under the cap though they ended."""
        return tallies.lost(self._ended, self._gate, self._kind)

    def breaks(self) -> bool:
        """Whether the breaker opens, harm having been seen since it was last asked."""
        failed, refused = self._seen[State.FAILED], self._seen[State.VERIFICATION_FAILED]
        if failed + refused == self._looked:
            return False
        self._looked = failed + refused
        activated = max(0, self._seen[State.CONFIRMED] - failed)
        verified = max(self._seen[State.HELD], activated + failed)
        return breaker(Progress(activated, failed, verified, refused), self._gate)

    def judge(self) -> Judgement:
        """The gate's verdict; every kind of evidence came, as far as a rehearsal knows."""
        strata = [
            Stratum(f"stratum {number}", "any", _REGION, each, dict.fromkeys(EXPECTED[self._kind], each.settled))
            for number, each in enumerate(map(tallies.counts, self._strata), 1)
        ]
        limit = self._gate.ordinary
        return judge(
            Inputs(
                strata=tuple(strata),
                expects=self._gate.expects or EXPECTED[self._kind],
                ordinary=ORDINARY_SILENCE[self._kind] if limit is None else limit,
                baselines=(Baseline(_REGION, self._ordinary, self._ordinary),),
            ),
            self._gate,
        )
