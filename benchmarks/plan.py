"""Plan one million devices; goals: under 30 s and 1 GB (run: python -m benchmarks.plan). The last line is JSON."""

import json
import resource
import sys
import time
from collections.abc import Iterator

from hanwave.rollout.plan import Candidate, Wanted, make_plan
from hanwave.rollout.policy import DeviceType, Policy, Wave

SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
WANTED = Wanted(
    release="r2",
    device_type=DeviceType.ESME,
    manufacturer="121D",
    models=frozenset({"1111", "2222"}),
    hardware=(0x1111, 0x1211),
    version="00000002",
    predecessors=frozenset({"00000001", "00000000"}),
    may_downgrade=False,
)
POLICY = Policy(waves=(Wave(count=100), Wave(share=0.02), Wave(share=0.2), Wave(share=1)))


def cohort(size: int) -> Iterator[Candidate]:
    """One device in eight is left out, one in twenty is protected; strings are fresh, as they come from a database."""
    for number in range(size):
        octets = number.to_bytes(8, "big").hex("-").upper()
        model = "3333" if number % 8 == 0 else "1111"
        version = f"{number % 2:08X}"
        yield Candidate(
            octets, "ESME", "121D", model, "1111", version, "Commissioned", ours=True, protected=number % 20 == 1
        )


def main() -> None:
    began = time.perf_counter()
    drawn = make_plan(WANTED, cohort(SIZE), POLICY, "seed")
    streamed = time.perf_counter() - began
    whole = list(cohort(SIZE))
    began = time.perf_counter()
    again = make_plan(WANTED, whole, POLICY, "seed")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{SIZE} devices: {seconds:.1f} s from a list, {streamed:.1f} s with the cohort made on the way")
    print(f"waves {[len(wave) for wave in drawn.waves]}, left out {len(drawn.left_out)}, peak {peak:.0f} MB in all")
    figures = {"devices": SIZE, "seconds": round(seconds, 2), "seconds_streamed": round(streamed, 2)}
    print(json.dumps(figures | {"peak_mb": round(peak), "same": drawn.digest == again.digest}))


if __name__ == "__main__":
    main()
