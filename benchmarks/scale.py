"""What a device costs by the size of its campaign, end to end: `python -m benchmarks.scale [--devices 1000 10000]`.

One embedded stack, and on it one campaign after another, each over devices of its own: planned, approved, a tenth of them
in a first wave, the rest in a second, each device soaked and read back, each wave judged, all settled. Real processes and
signatures, no faults, and devices that answer at once, so that what hanwave does is the bound, not waiting.
`--type mix` runs two campaigns at once, of half the devices each. With --history a number of devices' worth of ended
updates, with their events, requests and messages, is put into the ledger after the first campaign, by copying that one's
rows: the next is run over a ledger with a past.

Prints for each size the time, devices a second, core-milliseconds a device by process, the most memory that each held (of
its largest process: VmHWM; of all its processes together: Pss, looked at each five seconds) and what the files of
PostgreSQL and Temporal grew by; then the cost of the last size to that of the first, and the emulator's books against
the ledger. The last line is one JSON object. Ends 0 if every device settled and the books agree.

The driver looks at the ledger each second, and its share is left out of the cost, as the emulator's is.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.happy import RELEASES, device_row, instant, load, started, write_fleet
from benchmarks.history import age
from benchmarks.measured import Measured, measure, processes, say, watch_memory
from benchmarks.usage import file_megabytes, forget_peaks, resident_peaks
from hanwave import settings
from hanwave.client import Client
from hanwave.ledger import database
from infra.demo.books import disagreements
from infra.stack.declared import ONLOOKERS, without
from infra.stack.stack import Stack

_POLICY: dict[str, Any] = {
    "waves": [{"share": 0.1}, {"share": 1}],
    # Nine devices are enough for such a gate: the first wave of 200 has as many.
    "gate": {"harm": 0.3, "silence": 0.3},
    "sweep": "2s",
    "pace": {"overall": 1000.0},
    "exposure_cap": 50_000,
    "soak": "5s",
}
_KINDS = {"ESME": ("ESME",), "PPMID": ("PPMID",), "mix": ("ESME", "PPMID")}
_OUTSIDE = ("emulator", "driver")
_FILES = ("postgres", "temporal")


class Fleet:
    """The devices, of which each campaign takes the next."""

    def __init__(self, kinds: tuple[str, ...], sizes: list[int]) -> None:
        self.kinds = kinds
        self.sizes = {kind: sum(size // len(kinds) for size in sizes) for kind in kinds}
        self._used = dict.fromkeys(kinds, 0)

    def take(self, kind: str, size: int) -> list[str]:
        """The EUI-64s of the next so many."""
        first = self._used[kind]
        self._used[kind] += size
        return [device_row(kind, number)["eui"] for number in range(first, first + size)]


async def run_size(stack: Stack, ledger: Engine, client: Client, fleet: Fleet, size: int) -> Measured:
    """One campaign of that size (of each kind), from its start to its end."""
    each = size // len(fleet.kinds)
    cohorts = {kind: fleet.take(kind, each) for kind in fleet.kinds}

    async def work() -> None:
        await asyncio.gather(*(_campaign(ledger, client, kind, euis) for kind, euis in cohorts.items()))

    pids, before = processes(stack), {name: file_megabytes(stack.folder / name) for name in _FILES}
    forget_peaks(pids)
    most: dict[str, float] = {}
    watching = asyncio.create_task(watch_memory(stack, most))
    found = await measure(stack, each * len(fleet.kinds), work)
    watching.cancel()
    found.more |= {f"rss_{name}_mb": peak for name, peak in resident_peaks(pids).items()}
    found.more |= {f"pss_{name}_mb": peak for name, peak in most.items()}
    grown = {name: file_megabytes(stack.folder / name) - was for name, was in before.items()}
    found.more |= {f"files_{name}_mb": mb for name, mb in grown.items()}
    return found


async def _campaign(ledger: Engine, client: Client, kind: str, euis: list[str]) -> None:
    name = f"{kind.lower()}-{len(euis)}-{euis[0][-8:].lower()}"
    request = {
        "release": RELEASES[kind],
        "author": "ann",
        "approvals": 1,
        "cohort": {"devices": euis},
        "policy": _POLICY,
    }
    campaign = await client.start(name, request)
    await campaign.approve(digest=(await campaign.status()).digest, actor="bob")
    closed = text("SELECT closed_at FROM campaign WHERE name = :name")
    while _value(ledger, closed, name) is None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(1)
    settled = text("SELECT count(*) FROM campaign_device WHERE campaign = :name AND state = 'settled'")
    if (n := _value(ledger, settled, name)) != len(euis):
        raise SystemExit(f"{len(euis) - n} of {len(euis)} devices of {name} did not settle")


def _value(ledger: Engine, statement: Any, name: str) -> Any:
    with ledger.connect() as connection:
        return connection.execute(statement, {"name": name}).scalar_one()


def show(found: Measured) -> None:
    """Print one size."""
    shares = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(found.cpu.items(), key=lambda each: -each[1]))
    say(
        f"{found.devices} devices in {found.seconds:.0f} s: {found.rate:.2f}/s ({found.own_rate:.2f}/s without the emulator)\n"
        f"    core-ms a device: {cost(found):.1f} without emulator and driver; {shares}"
    )
    for prefix, what in (("rss", "largest process"), ("pss", "all its processes"), ("files", "files grew by")):
        sizes = {name: size for name, size in found.more.items() if name.startswith(f"{prefix}_")}
        say(f"    {what}, MB: " + ", ".join(f"{name[len(prefix) + 1 : -3]} {size:.0f}" for name, size in sizes.items()))


def cost(found: Measured) -> float:
    """Core-milliseconds a device of hanwave, Temporal and PostgreSQL."""
    return sum(ms for name, ms in found.cpu.items() if name not in _OUTSIDE)


def _numbers(found: Measured) -> dict[str, Any]:
    uncounted = ("events", "actions")  # histories are benchmarks.engine's affair
    numbers = {name: value for name, value in found.to_dict().items() if name not in uncounted}
    return numbers | {"core_ms_a_device": round(cost(found), 2)}


async def run(folder: Path, told: argparse.Namespace) -> tuple[list[Measured], list[str]]:
    """The stack, loaded, its campaigns, and what the books deny."""
    fleet = Fleet(_KINDS[told.type], told.devices)
    write_fleet(folder / "samples", fleet.sizes)
    found = []
    table, told_of = without(*ONLOOKERS)
    with started(folder, tuple(instant(each) for each in table), told_of) as stack:
        os.environ["HANWAVE_CONFIG"] = str(folder / "hanwave.toml")
        ledger = database.engine(settings.needed(settings.load().postgres, "postgres").dsn.get_secret_value())
        load(ledger, folder / "samples")
        async with Client.connect() as client:
            for size in told.devices:
                found.append(await run_size(stack, ledger, client, fleet, size))
                show(found[-1])
                if told.history and len(found) == 1:
                    say(f"a past of {age(ledger, told.history)} ended updates is put into the ledger")
        with ledger.connect() as connection:
            denied = disagreements(connection, f"http://127.0.0.1:{stack.port('emulator_admin')}")
        ledger.dispose()
    return found, denied


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 10_000], help="the size of each campaign")
    parser.add_argument("--type", choices=tuple(_KINDS), default="ESME")
    parser.add_argument("--history", type=int, default=0, help="ended updates put into the ledger after the first")
    parser.add_argument("--state", type=Path, help="keep the state folder here, with its logs")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hanwave-scale-") as temporary:
        found, denied = await run(told.state or Path(temporary), told)
    ratio = cost(found[-1]) / cost(found[0])
    say(f"the cost a device at {found[-1].devices} to that at {found[0].devices}: {ratio:.3f}")
    say(f"the emulator's books against the ledger: {len(denied)} disagreements")
    for sentence in denied[:20]:
        say(f"    {sentence}")
    sizes = [_numbers(each) for each in found]
    say(json.dumps({"type": told.type, "sizes": sizes, "ratio": round(ratio, 3), "disagreements": len(denied)}))
    return 1 if denied else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
