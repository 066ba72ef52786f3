"""Campaigns in mid-flight, and the buttons of the Temporal Web UI as it presses them."""

import asyncio
import uuid
from collections import Counter
from itertools import count

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError

from hanwave import names
from hanwave.ledger import control
from hanwave.ledger.notes import By
from hanwave.rollout.events import Leg
from tests.support.dcc import Dcc, good
from tests.support.ledger import World
from tests.workflow.test_campaign import FAST
from workers.recovery import recover

_numbers = count(1)
SIZE, CAP = 5, 3
POLICY = {**FAST, "waves": [{"share": 1}], "exposure_cap": CAP}


def silent(eui: str, leg: Leg):
    """Holds the image, and says nothing of its activation until the test lets it."""
    return [] if leg is Leg.ACTIVATE else good(eui, leg)


async def wait_for(done, what: str, seconds: float = 30) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not await asyncio.to_thread(done):
        assert asyncio.get_running_loop().time() < end, f"it never came to be that {what}"
        await asyncio.sleep(0.1)


async def start(world: World, client: Client, **request) -> str:
    """A campaign in mid-flight: three of five devices activate and say nothing, two wait for their turn."""
    name = f"button-{next(_numbers)}"
    given = {"release": "r2", "author": "ann", "policy": POLICY, **request}
    await client.start_workflow(
        names.CAMPAIGN_WORKFLOW, given, id=names.campaign_id(name), task_queue=names.CAMPAIGN_QUEUE
    )
    return name


async def in_flight(world: World, client: Client) -> str:
    name = await start(world, client)
    await wait_for(
        lambda: world.count("campaign_device", "state = 'activating'") == CAP, "as many activate as the cap allows"
    )
    await wait_for(lambda: world.count("campaign_device", "started") == SIZE, "each device's workflow is started")
    return name


def speak(world: World, dcc: Dcc) -> None:
    """The devices that were sent an activation, and have said nothing, say that they activated."""
    dcc.behaviour = good
    with world.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT o.update_id, o.eui, o.hop, o.attempt FROM outbox_device o JOIN campaign_device u"
                " ON u.id = o.update_id AND u.state IN ('activating', 'unknown') WHERE o.leg = 'activate'"
            )
        ).all()
    for row in rows:
        dcc._hear(row.update_id, row.eui, Leg.ACTIVATE, row.hop, row.attempt)


def stops(world: World) -> list[tuple[str, str, str]]:
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT scope, value, actor FROM stop WHERE lifted_at IS NULL ORDER BY id"))
        return [tuple(row) for row in rows]


def once(dcc: Dcc) -> None:
    """Each step of each device was POSTed exactly once."""
    forward = Counter((leg, eui) for _, leg, eui in dcc.posts if leg != Leg.READ)
    assert set(forward.values()) == {1}
    assert len(forward) == 2 * SIZE


async def status(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    return (await client.get_workflow_handle(workflow_id).describe()).status


async def listed_as_closed(client: Client, workflow_id: str) -> None:
    """Wait until the engine's list, which is behind its histories, has a run of it that ended."""
    query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus != 'Running'"
    end = asyncio.get_running_loop().time() + 20
    while not (await client.count_workflows(query)).count:
        assert asyncio.get_running_loop().time() < end, f"no run of {workflow_id} is listed as closed"
        await asyncio.sleep(0.05)


# The buttons, as the Web UI presses them.


async def terminate(client: Client, workflow_id: str) -> None:
    await client.get_workflow_handle(workflow_id).terminate("pressed in the Web UI")


async def cancel(client: Client, workflow_id: str) -> None:
    handle = client.get_workflow_handle(workflow_id)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(handle.result(), 20)
    assert isinstance(ended.value.cause, CancelledError)


async def reset(client: Client, workflow_id: str, point: int = 0) -> None:
    """Reset to the point-th completed workflow task."""
    handle = client.get_workflow_handle(workflow_id)
    events = [event async for event in handle.fetch_history_events()]
    tasks = [e.event_id for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="pressed in the Web UI",
            workflow_task_finish_event_id=tasks[point],
            request_id=str(uuid.uuid4()),
        )
    )


def resume(world: World, name: str) -> None:
    control.resume(world.engine, name, By("ann", "a slip of the hand", world.digest()))


async def restore(world: World, client: Client, name: str) -> None:
    """What an operator does after a halt by mistake."""
    await recover(client, world.engine, name)
    await asyncio.to_thread(resume, world, name)


async def ends(world: World, dcc: Dcc) -> None:
    await asyncio.to_thread(speak, world, dcc)
    await wait_for(lambda: world.count("campaign", "closed_at IS NOT NULL") == 1, "the campaign ends", 60)
    assert world.count("campaign_device", "state = 'settled'") == SIZE
    once(dcc)
