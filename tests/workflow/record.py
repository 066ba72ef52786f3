"""Records the histories that test_replay.py replays: `python -m tests.workflow.record`.

Record anew only what a change of a workflow is meant to end; a history that no longer replays is a campaign that a new
version would wedge. Each runs on a real development server and a real ledger, with devices that answer at once.
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from hanwave import names
from hanwave.client import search
from hanwave.ledger import control, database
from hanwave.rollout.events import Kind, Leg
from infra.stack.postgres import Postgres
from tests.support.dcc import good, quiet
from tests.support.ledger import World, eui, make_ledger
from tests.support.postgres import create_database
from tests.workflow.test_campaign import FAST, good_at, running, until
from workflows.wave import WaveStart

HISTORIES = Path(__file__).parent / "histories"
OLD = "00000001"
THREE = {**FAST, "waves": [{"count": 1}, {"count": 1}, {"share": 1}]}
ONE = {**FAST, "waves": [{"share": 1}]}


def lost_at_first(activations: Callable[[], int]):
    """The first activation is never heard of; the device is found on the old version, and activates when told again."""

    def behave(who: str, leg: Leg):
        if activations() > 1 or leg is Leg.DISTRIBUTE:
            return good(who, leg)
        return [(Kind.VERSION, {"version": OLD})] if leg is Leg.READ else []

    return behave


def lost(who: str, leg: Leg):
    """Its activation is never heard of; the version says that it took place."""
    return [] if leg is Leg.ACTIVATE else good(who, leg)


class Recorder:
    """A world, an engine, and where the histories go."""

    def __init__(self, world: World, client: Client, folder: Path, name: str) -> None:
        self.world, self.client, self.folder, self.name = world, client, folder, name

    async def start(self, **request) -> object:
        given = {"release": "r2", "author": "ann", "policy": THREE, **request}
        return await self.client.start_workflow(
            names.CAMPAIGN_WORKFLOW, given, id=names.campaign_id(self.name), task_queue=names.CAMPAIGN_QUEUE
        )

    async def keep(self, what: str, workflow_id: str, run_id: str | None = None) -> None:
        """Write the history of a workflow (of its first run, where it continued as new)."""
        history = await self.client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        text = ",\n".join(json.dumps(event) for event in json.loads(history.to_json())["events"])
        # Worker and client name themselves by process and machine, which is nobody's business.
        text = re.sub(r'"\d+@[^"]*"', '"somebody"', text)
        (self.folder / f"{what}.json").write_text(f'{{"workflow_id": "{workflow_id}", "events": [\n{text}\n]}}\n')

    async def keep_devices(self, what: str, *numbers: int) -> None:
        for number in numbers:
            workflow_id = names.device_id(self.name, eui(number))
            await self.client.get_workflow_handle(workflow_id).result()
            await self.keep(what, workflow_id)


async def three_waves(r: Recorder) -> None:
    async with running(r.world, r.client):
        handle = await r.start()
        await handle.result()
    await r.keep("campaign-three-waves", handle.id)
    await r.keep("wave", names.wave_id(r.name, 3))
    await r.keep_devices("device-esme", 0)


async def approved_paused_and_resumed(r: Recorder) -> None:
    async with running(r.world, r.client):
        handle = await r.start(approvals=1, policy=ONE)
        await until(handle, "1 approval")
        await handle.execute_update("pause", {"actor": "ann", "reason": "storm"})
        await handle.execute_update("approve", {"actor": "bob", "digest": r.world.digest()})
        await until(handle, "stops wave 1")
        await asyncio.sleep(2)  # the wave itself sweeps, and sees it too
        over = {"actor": "ann", "reason": "the storm is over", "digest": r.world.digest()}
        await handle.execute_update("resume", over)
        await r.client.get_workflow_handle(names.wave_id(r.name, 1)).signal(names.NUDGE)
        await handle.result()
    await r.keep("campaign-approved", handle.id)
    await r.keep("wave-stopped-and-resumed", names.wave_id(r.name, 1))


async def rolled_back(r: Recorder) -> None:
    r.world.release_document("r1", OLD, may_downgrade=True)
    async with running(r.world, r.client, quiet) as dcc:
        handle = await r.start()
        await until(handle, "gate of wave 1")
        r.world.runs("00000002", r.world.exposed())
        dcc.behaviour = good_at(OLD)
        back = {"actor": "ann", "reason": "quiet", "digest": r.world.digest(), "releases": ["r1"]}
        await handle.execute_update("roll_back", back)
        await handle.result()
    await r.keep("campaign-rolled-back", handle.id)
    await r.keep("campaign-rollback", f"{handle.id}-back-1")


async def wave_that_continues(r: Recorder) -> None:
    async with running(r.world, r.client):
        handle = await r.start(approvals=1, policy=ONE)
        await until(handle, "1 approval")
        await handle.terminate()
        control.approve(r.world.engine, r.name, r.world.digest(), "bob")
        wave = await r.client.start_workflow(
            names.WAVE_WORKFLOW,
            WaveStart(r.name, 1, 0.5, sweeps=2),
            id=names.wave_id(r.name, 1),
            task_queue=names.CAMPAIGN_QUEUE,
        )
        await wave.result()
    await r.keep("wave-continued-first-run", wave.id, wave.first_execution_run_id)
    await r.keep("wave-continued-last-run", wave.id)


async def ppmid(r: Recorder) -> None:
    async with running(r.world, r.client, _ppmid):
        await (await r.start(policy=ONE)).result()
    await r.keep_devices("device-ppmid", 0)


def _ppmid(who: str, leg: Leg):
    said = {"version": "00000002"}
    return [(Kind.TRANSFERRED, {}), (Kind.ACTIVATED, said)] if leg is Leg.DISTRIBUTE else [(Kind.VERSION, said)]


async def unknown_and_read(r: Recorder) -> None:
    async with running(r.world, r.client, lost):
        await (await r.start(policy=_impatient())).result()
    await r.keep_devices("device-unknown-then-read", 0)


async def retried(r: Recorder) -> None:
    async with running(r.world, r.client) as dcc:
        dcc.behaviour = lost_at_first(lambda: sum(leg == Leg.ACTIVATE for _, leg, _ in dcc.posts))
        await (await r.start(policy=_impatient())).result()
    await r.keep_devices("device-retried", 0)


def _impatient() -> dict[str, object]:
    deadlines = {each: {"read": "2s", "activate": "1s"} for each in ("ESME", "GSME", "HCALCS", "PPMID")}
    # What is read back is evidence of its own kind, and the gate expects the device's own word too.
    gate = {**ONE["gate"], "expects": []}
    return {**ONE, "deadlines": deadlines, "gate": gate, "attempts": {"read": 3, "activate": 3, "back_off": "1s"}}


SCENARIOS: dict[Callable[[Recorder], Awaitable[None]], tuple[str, int]] = {
    three_waves: ("ESME", 5),
    approved_paused_and_resumed: ("ESME", 3),
    rolled_back: ("ESME", 5),
    wave_that_continues: ("ESME", 4),
    ppmid: ("PPMID", 1),
    unknown_and_read: ("ESME", 1),
    retried: ("ESME", 1),
}


@contextmanager
def a_world(postgres: Postgres, name: str, device_type: str, size: int) -> Iterator[World]:
    dsn = create_database(postgres, name)
    make_ledger(dsn)
    engine = database.engine(dsn)
    world = World(engine, now=datetime.now(UTC), device_type=device_type)
    world.release_document()
    world.fleet(size)
    yield world
    engine.dispose()


@asynccontextmanager
async def an_engine() -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
        search_attributes=list(search.KEYS.values()),
    ) as environment:
        yield environment.client


async def main(wanted: list[str]) -> None:
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder)).running("fsync=off") as postgres:
        async with an_engine() as client:
            for scenario, (device_type, size) in SCENARIOS.items():
                name = scenario.__name__.replace("_", "-")
                if wanted and name not in wanted:
                    continue
                with a_world(postgres, scenario.__name__, device_type, size) as world:
                    await asyncio.wait_for(scenario(Recorder(world, client, HISTORIES, name)), 60)
                sys.stdout.write(f"recorded {name}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
