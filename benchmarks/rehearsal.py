"""Rehearse campaigns; goals: a million devices, or 200 runs of 10,000, in under two minutes on one core.

Run: python -m benchmarks.rehearsal. The last line is JSON; seconds are of one processor, the library of courses included.
"""

import json
import resource
import time
from datetime import UTC, datetime

from hanwave.rollout.bounds import Share
from hanwave.rollout.policy import DeviceType, Policy
from hanwave.rollout.rehearsal.behaviour import default_profile
from hanwave.rollout.rehearsal.forecast import Forecast, forecast
from hanwave.rollout.rehearsal.run import Rules

START = datetime(2026, 11, 23, tzinfo=UTC)


def rehearse(kind: DeviceType, devices: int, runs: int) -> tuple[float, Forecast]:
    """The processor's seconds, and what came out."""
    behaviour = default_profile()[kind]
    policy = Policy(exposure_cap=max(2000, devices // 10))
    sizes = (devices // 20, devices // 5, devices - devices // 20 - devices // 5)
    ordinary = Share(round(behaviour.absent * devices), devices)
    began = time.process_time()
    found = forecast(Rules(kind, policy, sizes, START, ordinary, (5, 3, 2)), behaviour, (), runs, "benchmark")
    return time.process_time() - began, found


def main() -> None:
    figures: dict[str, float] = {}
    for kind in (DeviceType.ESME, DeviceType.PPMID):
        for devices, runs in ((1_000_000, 1), (10_000, 200)):
            seconds, found = rehearse(kind, devices, runs)
            print(
                f"{kind} {devices} devices, {runs} runs: {seconds:.1f} s; days {found.good.days}; {found.good.verdicts}"
            )
            figures[f"{kind.lower()}_{runs}x{devices}"] = round(seconds, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures | {"peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
