"""What a device costs: the bare engine pattern, and hanwave's own path over the emulator, in one go.

Run as `python -m benchmarks.engine [--esme 600] [--ppmid 300] [--end]`. Both use the embedded stack's Temporal (a file,
WAL, synchronous NORMAL). hanwave's path is the happy one: real processes, real signatures, no faults, devices that answer
at once. It is measured from the campaign's start until the last device is proven and its workflow has ended; with --end
until the campaign has closed, after a soak with each version read back. Prints figures as it goes; the last line is one
JSON object.

Rates are devices a second of elapsed time. "Without the emulator" takes its processor time, spread over the cores, out
of the elapsed time: a supplier does not run the DCC. Billable actions are counted from the histories, as Temporal counts
them: a start, a continue-as-new, each signal, timer, Update, upsert and each activity attempt (a child's start is two).
"""

import argparse
import asyncio
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Temporal

from benchmarks import bare
from benchmarks.usage import megabytes, processor_seconds
from hanwave import names, settings
from hanwave.client import Client
from hanwave.credentials import Certificate, load_private_key
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release
from hanwave.identifiers import EUI64
from hanwave.ledger import database, fleet, releases
from hanwave.ledger.cpl import import_cpl
from infra.emulator.intake import COLUMNS
from infra.emulator.pki import SUPPLIER
from infra.stack.declared import PROCESSES, SETTINGS
from infra.stack.processes import Process, Restart
from infra.stack.stack import Stack

CORES = os.cpu_count() or 1
_PATIENCE = 900.0
_RESTING = 0.1  # core-seconds a second: Temporal alone polls at some 0.05
_SAMPLED = 100  # histories read a shape: each is one RPC, and they are all alike
GOALS = {"ESME": (16, 4), "PPMID": (6, 2)}
_RELEASES = {"ESME": "acme-esme-0104", "PPMID": "delta-ppmid-0401"}
_MODELS = {"ESME": ("0A01", "1001", "0100", "01020003"), "PPMID": ("0D04", "4201", "0400", "04000001")}
_BARE = {"ESME": "BareEsme", "PPMID": "BarePpmid"}


def say(sentence: str) -> None:
    print(sentence, flush=True)


@dataclass
class Measured:
    """One run of one shape."""

    devices: int
    seconds: float
    cpu: dict[str, float]
    """Core-milliseconds a device, by process."""
    events: float = 0.0
    actions: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Devices a second."""
        return self.devices / self.seconds

    @property
    def own_rate(self) -> float:
        """The same with the emulator's share taken out."""
        return self.devices / (self.seconds - self.cpu.get("emulator", 0.0) * self.devices / 1000 / CORES)

    @property
    def own_cpu(self) -> float:
        """Core-milliseconds a device of everything but the emulator."""
        return sum(self.cpu.values()) - self.cpu.get("emulator", 0.0)

    def show(self, name: str) -> None:
        """Print it."""
        shares = ", ".join(f"{each} {ms:.1f}" for each, ms in sorted(self.cpu.items(), key=lambda x: -x[1]))
        say(
            f"{name}: {self.devices} devices in {self.seconds:.1f} s: {self.rate:.1f}/s ({self.own_rate:.1f}/s without"
            f" the emulator); {self.events:.1f} events, {self.actions:.1f} actions a device\n"
            f"    core-ms a device: {self.own_cpu:.1f} without the emulator; {shares}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For the last line."""
        numbers = {
            "devices": self.devices,
            "seconds": self.seconds,
            "devices_per_s": self.rate,
            "devices_per_s_without_emulator": self.own_rate,
            "events": self.events,
            "actions": self.actions,
            "core_ms_without_emulator": self.own_cpu,
            "core_ms": {name: round(ms, 2) for name, ms in self.cpu.items()},
            **self.more,
        }
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in numbers.items()}


def processes(stack: Stack) -> dict[str, int]:
    """The ids of a stack's processes, and ours."""
    rows = stack.state().processes.items()
    return {"driver": os.getpid()} | {name: row.identity.pid for name, row in rows if row.identity and row.is_up}


async def _at_rest(pids: dict[str, int]) -> None:
    """Wait until everything has started: a process runs long before it has read its modules."""
    used = processor_seconds(pids)
    for _ in range(20):
        await asyncio.sleep(1)
        last, used = used, processor_seconds(pids)
        if all(used[name] - last[name] < _RESTING for name in pids):
            return


async def measure(stack: Stack, devices: int, work: Callable[[], Awaitable[None]]) -> Measured:
    """Time and processor time of a piece of work."""
    pids = processes(stack)
    await _at_rest(pids)
    before, began = processor_seconds(pids), time.monotonic()
    await work()
    seconds, after = time.monotonic() - began, processor_seconds(pids)
    return Measured(devices, seconds, {name: (after[name] - before[name]) * 1000 / devices for name in pids})


# Histories.

_ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 1,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: 1,
}
"""What Temporal bills, by the event that shows it. An activity that is tried again shows its last attempt's number."""


async def count_history(client: Temporal, workflow_id: str) -> tuple[int, int, Counter[str]]:
    """Events, billable actions and the kinds of events of a workflow's latest run."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    kinds = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events)
    actions = sum(
        _ACTIONS.get(event.event_type, 0) * max(1, event.activity_task_started_event_attributes.attempt)
        for event in history.events
    )
    return len(history.events), actions, kinds


async def count_histories(client: Temporal, measured: Measured, ids: list[str]) -> None:
    """Fill in events and actions: the means over a sample, spread over all."""
    chosen = ids[:: max(1, len(ids) // _SAMPLED)]
    found = [await count_history(client, workflow_id) for workflow_id in chosen]
    measured.events = statistics.mean(events for events, _, _ in found)
    measured.actions = statistics.mean(actions for _, actions, _ in found)
    measured.more["most_events"] = max(events for events, _, _ in found)


# The bare pattern.


async def run_bare(stack: Stack, sizes: dict[str, int]) -> dict[str, Measured]:
    """Every shape with nothing behind it."""
    client = await Temporal.connect(stack.temporal)
    done = {}
    for kind, size in sizes.items():
        shape = _BARE[kind]
        done[kind] = await measure(stack, size, lambda shape=shape, size=size: bare.drive(client, shape, size))  # type: ignore[misc]
        await count_histories(client, done[kind], [f"{shape}/{number}" for number in range(size)])
        done[kind].show(f"bare {kind}")
    return done


BARE_WORKER = Process(
    name="bare-worker",
    argv=("{python}", bare.__file__, "{temporal_address}"),
    after=("temporal",),
    restart=Restart.ALWAYS,
)


# hanwave's path.


def write_fleet(folder: Path, sizes: dict[str, int]) -> None:
    """A fleet that has nothing to complain of, where the stack looks for it: each device in a home of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_device(kind, number) for kind, size in sizes.items() for number in range(size)]
    for name in ("fleet.csv", "emulator-fleet.csv"):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _device(kind: str, number: int) -> dict[str, str]:
    manufacturer, model, hardware, version = _MODELS[kind]
    code = {"ESME": 2, "PPMID": 4}[kind]
    return {
        "eui": str(EUI64.parse(f"024857{code:02X}{number:08X}")),
        "device_type": kind,
        "manufacturer": manufacturer,
        "model": model,
        "hardware_version": hardware,
        "firmware_version": version,
        "smi_status": "Commissioned",
        "hub": str(EUI64.parse(f"0248570{code + 4:01X}{number:08X}")),
        "region": "South",
        "home": f"{kind}-{number}",
        "mpxn": f"99{code}{number:010d}",
        "payment_mode": "credit",
        "protected_class": "",
        "import_supplier": str(SUPPLIER),
        "gas_supplier": "",
        "supplier_certificate": "",
    }


def load(ledger: Engine, samples: Path) -> None:
    """Import the fleet, the CPL and the releases, and sign."""
    now = datetime.now(UTC)
    pki = samples / "pki"
    key = load_private_key((pki / "supplier-gbcs.key").read_bytes(), "the supplier's GBCS key")
    certificate = Certificate.load((pki / "supplier-gbcs.pem").read_bytes(), "the supplier's GBCS certificate")
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        fleet.import_fleet(connection, file, samples / "refused.csv", "bench", now)
    entries = read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries
    with ledger.begin() as connection:
        import_cpl(connection, entries, "bench", now)
        for name in _RELEASES.values():
            releases.import_release(
                connection, read_release((samples / "releases" / f"{name}.json").read_bytes()), (), "bench", now
            )
        releases.sign_release(connection, _RELEASES["ESME"], key, certificate, "bench", now)


def policy(*, to_the_end: bool) -> dict[str, Any]:
    """One wave, as fast as it goes. Without an end the soak is longer than anything that is measured."""
    return {
        "waves": [{"share": 1}],
        "sweep": "2s",
        "pace": {"overall": 1000},
        "exposure_cap": 50_000,
        "soak": "5s" if to_the_end else "1d",
    }


async def run_hanwave(stack: Stack, ledger: Engine, sizes: dict[str, int], *, to_the_end: bool) -> dict[str, Measured]:
    """A campaign a shape, one after the other."""
    temporal = await Temporal.connect(stack.temporal)
    done = {}
    async with Client.connect() as client:
        for kind, size in sizes.items():
            request = {"release": _RELEASES[kind], "author": "bench", "policy": policy(to_the_end=to_the_end)}

            async def work(
                name: str = f"bench-{kind.lower()}", request: dict[str, Any] = request, size: int = size
            ) -> None:
                await client.start(name, request)
                await _until_proven(ledger, name, to_the_end=to_the_end)
                await _until_ended(temporal, name, size)

            done[kind] = found = await measure(stack, size, work)
            name = f"bench-{kind.lower()}"
            await count_histories(
                temporal, found, [names.device_id(name, _device(kind, n)["eui"]) for n in range(size)]
            )
            wave = await count_history(temporal, names.wave_id(name, 1))
            found.more |= {"wave_events": wave[0], "wave_actions_per_device": wave[1] / size}
            found.more |= await asyncio.to_thread(_messages, ledger, name, size)
            found.show(f"hanwave {kind}")
    return done


_OPEN = text(
    "SELECT count(*) FROM campaign_device WHERE campaign = :name AND state NOT IN ('settled', 'closed')"
    " AND (:end OR state <> 'confirmed')"
)
_LOST = text("SELECT count(*) FROM campaign_device WHERE campaign = :name AND state = 'closed'")


async def _until_proven(ledger: Engine, name: str, *, to_the_end: bool) -> None:
    deadline = time.monotonic() + _PATIENCE

    def ask(connection: Connection) -> tuple[int, int]:
        left = connection.execute(_OPEN, {"name": name, "end": to_the_end}).scalar_one()
        return left, connection.execute(_LOST, {"name": name}).scalar_one()

    while True:
        with ledger.connect() as connection:
            left, lost = await asyncio.to_thread(ask, connection)
        if lost:
            raise SystemExit(f"{lost} devices of {name} did not go the happy path")
        if not left:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{left} devices of {name} are still open after {_PATIENCE:.0f} s")
        await asyncio.sleep(0.5)


async def _until_ended(client: Temporal, name: str, size: int) -> None:
    """Wait for the devices' workflows too: the ledger knows of the proof before the engine does."""
    query = f"WorkflowId STARTS_WITH '{names.device_id(name, '')}' AND ExecutionStatus = 'Completed'"
    while (await client.count_workflows(query)).count < size:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.2)


def _messages(ledger: Engine, name: str, size: int) -> dict[str, float]:
    """Requests sent and messages received a device, and how long a device took from its activation to the proof."""
    with ledger.connect() as connection:
        sent = connection.execute(
            text("SELECT count(*) FROM outbox WHERE campaign = :name AND sends > 0"), {"name": name}
        ).scalar_one()
        received = connection.execute(text("SELECT count(*) FROM inbox")).scalar_one()
        return {"requests_per_device": sent / size, "inbox_so_far": received}


def instant(process: Process) -> Process:
    """The emulator answers at once."""
    more = {"HANWAVE_EMULATOR_PROFILE": "instant"} if process.name == "emulator" else {}
    return replace(process, environment={**process.environment, **more})


@contextmanager
def started(folder: Path, table: tuple[Process, ...], told: dict[str, str]) -> Iterator[Stack]:
    """A stack, up until the block ends."""
    with Stack(folder, processes=table, settings=told) as stack:
        yield stack


async def watch_memory(stack: Stack, most: dict[str, float]) -> None:
    """Keep the largest memory of each process, looked at twice a second."""
    while True:
        for name, size in (await asyncio.to_thread(megabytes, processes(stack))).items():
            most[name] = max(most.get(name, 0.0), size)
        await asyncio.sleep(5)


async def run_stack(folder: Path, sizes: dict[str, int], *, to_the_end: bool) -> tuple[dict[str, Measured], Any]:
    """The stack, loaded, and its campaigns."""
    write_fleet(folder / "samples", sizes)
    with started(folder, tuple(instant(each) for each in PROCESSES), dict(SETTINGS)) as stack:
        os.environ["HANWAVE_CONFIG"] = str(folder / "hanwave.toml")
        ledger = database.engine(settings.needed(settings.load().postgres, "postgres").dsn.get_secret_value())
        load(ledger, folder / "samples")
        most: dict[str, float] = {}
        watching = asyncio.create_task(watch_memory(stack, most))
        done = await run_hanwave(stack, ledger, sizes, to_the_end=to_the_end)
        watching.cancel()
        ledger.dispose()
    say("peak memory, MB: " + ", ".join(f"{name} {size:.0f}" for name, size in most.items()))
    return done, most


def verdicts(plain: dict[str, Measured], own: dict[str, Measured]) -> dict[str, Any]:
    """The goals, each with what was found."""
    found: dict[str, Any] = {}
    for kind, measured in own.items():
        events, actions = GOALS[kind]
        found[kind] = {
            "events_within_goal": measured.events <= events,
            "actions_within_goal": measured.actions <= actions,
        }
        if kind in plain:
            found[kind]["rate_of_bare"] = round(measured.own_rate / plain[kind].rate, 3)
            found[kind]["core_ms_of_bare"] = round(plain[kind].own_cpu / measured.own_cpu, 3)
        say(f"{kind}: {found[kind]}")
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--esme", type=int, default=600)
    parser.add_argument("--ppmid", type=int, default=300)
    parser.add_argument("--end", action="store_true", help="to the campaigns' ends: soak, read-back, gate")
    parser.add_argument("--only", choices=("bare", "hanwave"), help="one of the two halves")
    parser.add_argument("--state", type=Path, help="keep the state folder here, with its logs")
    told = parser.parse_args()
    sizes = {kind: size for kind, size in (("ESME", told.esme), ("PPMID", told.ppmid)) if size}
    with tempfile.TemporaryDirectory(prefix="hanwave-bench-") as temporary:
        folder = told.state or Path(temporary)
        plain: dict[str, Measured] = {}
        own: dict[str, Measured] = {}
        memory: dict[str, float] = {}
        if told.only != "hanwave":
            with started(folder / "bare", (BARE_WORKER,), {}) as stack:
                plain = await run_bare(stack, sizes)
        if told.only != "bare":
            own, memory = await run_stack(folder / "hanwave", sizes, to_the_end=told.end)
    result = {
        "bare": {kind: each.to_dict() for kind, each in plain.items()},
        "hanwave": {kind: each.to_dict() for kind, each in own.items()},
        "goals": verdicts(plain, own),
        "peak_mb": {name: round(size) for name, size in memory.items()},
    }
    say(json.dumps(result))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
