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
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text
from temporalio.client import Client as Temporal

from benchmarks import bare
from benchmarks.happy import RELEASES, device_row, instant, load, policy, started, write_fleet
from benchmarks.measured import Measured, count_histories, count_history, measure, say, watch_memory
from hanwave import names, settings
from hanwave.client import Client
from hanwave.ledger import database
from infra.stack.declared import ONLOOKERS, without
from infra.stack.processes import Process, Restart
from infra.stack.stack import Stack

_PATIENCE = 900.0
GOALS = {"ESME": (16, 4), "PPMID": (6, 2)}
_BARE = {"ESME": "BareEsme", "PPMID": "BarePpmid"}


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


async def run_hanwave(stack: Stack, ledger: Engine, sizes: dict[str, int], *, to_the_end: bool) -> dict[str, Measured]:
    """A campaign a shape, one after the other."""
    temporal = await Temporal.connect(stack.temporal)
    done = {}
    async with Client.connect() as client:
        for kind, size in sizes.items():
            request = {"release": RELEASES[kind], "author": "bench", "policy": policy(to_the_end=to_the_end)}

            async def work(
                name: str = f"bench-{kind.lower()}", request: dict[str, Any] = request, size: int = size
            ) -> None:
                await client.start(name, request)
                await _until_proven(ledger, name, to_the_end=to_the_end)
                await _until_ended(temporal, name, size)

            done[kind] = found = await measure(stack, size, work)
            name = f"bench-{kind.lower()}"
            await count_histories(
                temporal, found, [names.device_id(name, device_row(kind, n)["eui"]) for n in range(size)]
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


async def run_stack(folder: Path, sizes: dict[str, int], *, to_the_end: bool) -> tuple[dict[str, Measured], Any]:
    """The stack, loaded, and its campaigns."""
    write_fleet(folder / "samples", sizes)
    table, told_of = without(*ONLOOKERS)
    with started(folder, tuple(instant(each) for each in table), told_of) as stack:
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
