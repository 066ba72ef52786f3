"""Plan one million devices; goals: under 30 s and 1 GB (run: python -m benchmarks.plan). The last line is JSON.

The cohort is made on the way, as it comes from the database: a plan holds no list of it. CPU seconds are this process's own.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hanwave.rollout.cohort import Candidate, Wanted
from hanwave.rollout.plan import make_plan
from hanwave.rollout.policy import DeviceType, Policy, Wave

SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
AT = datetime(2026, 11, 22, tzinfo=UTC)
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
WAVES = (Wave(count=500, per_stratum=2), Wave(share=0.02, per_stratum=20), Wave(share=0.2), Wave(share=1))
REGIONS = ("North", "Central", "South", "4G North", "4G Central", "4G South")


def cohort(size: int) -> Iterator[Candidate]:
    """One device in eight is left out, one in twenty protected, some leave; strings are fresh, as from a database."""
    for number in range(size):
        octets = number.to_bytes(8, "big").hex("-").upper()
        yield Candidate(
            eui=octets,
            device_type="ESME",
            manufacturer="121D",
            model="3333" if number % 8 == 0 else "1111",
            hardware_version="1111",
            firmware_version=f"{number % 2:08X}",
            smi_status="Commissioned",
            ours=True,
            protected_class="PSR" if number % 20 == 1 else None,
            region=REGIONS[number % 6],
            hub=f"hub {number}",
            home=f"home {number}",
            area=f"{10 + number % 14}",
            last_heard=AT - timedelta(minutes=number % 100_000),
            leaves_at=AT + timedelta(days=number % 90) if number % 100 == 3 else None,
        )


def main() -> None:
    policy = Policy(waves=WAVES, exposure_cap=100_000)
    began, cpu = time.perf_counter(), time.process_time()
    drawn = make_plan(WANTED, cohort(SIZE), policy, "seed", AT)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stated = drawn.statement
    print(f"{SIZE} devices: {seconds:.1f} s ({used:.1f} s of CPU), with the cohort made on the way; peak {peak:.0f} MB")
    print(f"waves {[len(wave) for wave in drawn.waves]}, left out {len(drawn.left_out)}, {stated.homes} homes")
    figures = {"devices": SIZE, "seconds": round(seconds, 2), "cpu_seconds": round(used, 2), "peak_mb": round(peak)}
    print(json.dumps(figures | {"digest": drawn.digest[:16]}))


if __name__ == "__main__":
    main()
