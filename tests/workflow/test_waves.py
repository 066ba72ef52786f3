"""Waves and campaigns that continue as new: what they know is in the ledger, so nothing that comes meanwhile is lost."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from hanwave import names
from hanwave.client import search
from hanwave.ledger import control
from tests.support.dcc import quiet
from tests.support.ledger import World
from tests.workflow.test_campaign import FAST, good_at, running, until, wait_for
from workflows.wave import WaveStart

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
_numbers = count(1)
ONE = {**FAST, "waves": [{"share": 1}]}
SHORT = 20
"""Events after which the engine suggests to continue as new: a round of a campaign has some ten."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient() -> AsyncIterator[Client]:
    """A client of an engine that finds every history long."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
        search_attributes=list(search.KEYS.values()),
        dev_server_extra_args=["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SHORT}"],
    ) as environment:
        yield environment.client


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.fleet(5)
    return world


async def start(client: Client, **request):
    given = {"release": "r2", "author": "ann", "policy": ONE, **request}
    return await client.start_workflow(
        names.CAMPAIGN_WORKFLOW, given, id=f"campaign/long-{next(_numbers)}", task_queue=names.CAMPAIGN_QUEUE
    )


async def histories(client: Client, handle) -> list[list[HistoryEvent]]:
    """The events of each run of a workflow, in order."""
    found, run_id = [], handle.first_execution_run_id
    while run_id:
        found.append(list((await client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()).events))
        run_id = found[-1][-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def runs(client: Client, handle) -> list[Counter[str]]:
    """What each run of a workflow went through, in order."""
    return [
        Counter(EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in events)
        for events in await histories(client, handle)
    ]


async def answered(client: Client, handle) -> set[str]:
    """The ids of the Updates that any run answered."""
    completed = (
        event.workflow_execution_update_completed_event_attributes
        for events in await histories(client, handle)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
    )
    return {each.meta.update_id for each in completed}


async def test_a_wave_that_continues_as_new_at_every_sweep_sends_nothing_twice(fleet, temporal):
    async with running(fleet, temporal) as dcc:
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        name = handle.id.removeprefix("campaign/")
        # The wave alone: its campaign would start it once the plan is approved.
        await handle.terminate()
        control.approve(fleet.engine, name, fleet.digest(), "bob")
        wave = await temporal.start_workflow(
            names.WAVE_WORKFLOW,
            WaveStart(name, 1, 0.5, sweeps=1),
            id=names.wave_id(name, 1),
            task_queue=names.CAMPAIGN_QUEUE,
        )
        async with asyncio.timeout(40):
            while fleet.count("campaign_device", "state = 'settled'") < 5:
                await wave.signal(names.NUDGE)
                await asyncio.sleep(0.05)
            await wave.result()
    seen = await runs(temporal, wave)
    assert len(seen) > 3
    assert sum(run["WORKFLOW_EXECUTION_SIGNALED"] for run in seen) > 3
    assert Counter(leg for _, leg, _ in dcc.posts) == {"distribute": 5, "activate": 5, "read": 5}
    assert all(times == 1 for times in Counter(dcc.posts).values())


async def test_a_campaign_whose_history_is_long_goes_on_from_the_ledger(fleet, impatient):
    async with running(fleet, impatient) as dcc:
        handle = await start(impatient, policy={**FAST, "waves": [{"count": 1}, {"count": 1}, {"share": 1}]})
        result = await asyncio.wait_for(handle.result(), 50)
    assert {wave: verdict.split(":")[0] for wave, verdict in result.items()} == dict.fromkeys("123", "pass")
    assert sum("WORKFLOW_EXECUTION_CONTINUED_AS_NEW" in run for run in await runs(impatient, handle)) >= 3
    assert len([leg for _, leg, _ in dcc.posts if leg == "activate"]) == 5


async def test_no_update_is_lost_while_a_campaign_continues_as_new(fleet, impatient):
    async with running(fleet, impatient):
        handle = await start(impatient, approvals=1)
        await until(handle, "1 approval")
        sent = [asyncio.create_task(pause(impatient, handle.id, f"number {number}")) for number in range(30)]
        async with asyncio.timeout(40):
            for done in asyncio.as_completed(sent):
                assert await done == "every forward leg is paused"
        # Each was answered, so each is in the ledger, whichever run it came to; and once, though one that was under way
        # when its run ended is executed again in the next.
        for table in ("note WHERE verb = 'pause'", "stop WHERE kind = 'pause'"):
            assert reasons(fleet, table) == Counter(f"number {number}" for number in range(30))
        async with asyncio.timeout(20):
            digest = fleet.digest()
            over = {"actor": "ann", "reason": "over", "digest": digest}
            await impatient.get_workflow_handle(handle.id).execute_update("resume", over)
            assert fleet.count("stop", "lifted_at IS NULL") == 0
            await impatient.get_workflow_handle(handle.id).execute_update("approve", {"actor": "bob", "digest": digest})
        assert (await asyncio.wait_for(handle.result(), 40))["1"].startswith("pass")
    seen = await runs(impatient, handle)
    assert len(seen) > 3
    assert len(await answered(impatient, handle)) == 32


async def pause(client: Client, campaign: str, reason: str) -> str:
    """Ask until it is answered: the engine takes ten Updates at once, and those under way when a run ends it aborts."""
    while True:
        try:
            return await client.get_workflow_handle(campaign).execute_update(
                "pause", {"actor": "ann", "reason": reason}, id=reason
            )
        except RPCError as error:
            if error.status not in {RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE}:
                raise


def reasons(world: World, table: str) -> Counter[str]:
    with world.engine.connect() as connection:
        return Counter(connection.execute(text(f"SELECT reason FROM {table}")).scalars())


async def test_a_rollback_is_waited_for_over_many_histories_and_started_once(fleet, impatient):
    fleet.release_document("r1", "00000001", may_downgrade=True)
    slow = {**ONE, "soak": "8s"}
    async with running(fleet, impatient, quiet) as dcc:
        handle = await start(impatient, policy=slow)
        await wait_for(lambda: fleet.count("campaign_device", "state = 'confirmed'") == 5, "all are confirmed")
        fleet.runs("00000002", fleet.exposed())
        dcc.behaviour = good_at("00000001")
        running_ = impatient.get_workflow_handle(handle.id)
        back = {"actor": "ann", "reason": "quiet", "digest": fleet.digest(), "releases": ["r1"]}
        await running_.execute_update("roll_back", back)
        await asyncio.wait_for(handle.result(), 50)
    assert len(await runs(impatient, handle)) > 3
    assert fleet.count("campaign_device", "state = 'settled' AND campaign LIKE '%back-1'") == 5
    back = [leg for outbox, leg, _ in dcc.posts if leg == "activate"]
    assert len(back) == 10
