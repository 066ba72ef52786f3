"""Workflows are found as a person finds them in the Web UI's list: by search attributes that were set at the start."""

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from hanwave import names
from hanwave.client import search
from hanwave.rollout.route import DCC
from hanwave.settings import SEARCH_ATTRIBUTES
from tests.support.dcc import broken
from tests.support.ledger import US, VERSION, World, eui
from tests.workflow.test_campaign import FAST, running

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
SIZE = 3
ONE = {**FAST, "waves": [{"share": 1}]}
UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.fleet(SIZE)
    return world


async def start(client: Client, name: str, like: str | None = None):
    """As the Web UI starts one: without search attributes, or, of one like another, with that other's."""
    given = {"release": "r2", "author": "ann", "policy": ONE}
    copied = search.of_workflow(names.campaign_id(like), DCC) if like else None
    return await client.start_workflow(
        names.CAMPAIGN_WORKFLOW,
        given,
        id=names.campaign_id(name),
        task_queue=names.CAMPAIGN_QUEUE,
        search_attributes=copied,
    )


async def found(client: Client, query: str, size: int) -> set[str]:
    """What a list query finds, once it finds so many: the engine lists a moment after it knows."""
    ids: set[str] = set()
    for _ in range(100):
        ids = {each.id async for each in client.list_workflows(query)}
        if len(ids) == size:
            break
        await asyncio.sleep(0.1)
    return ids


async def upserts(client: Client, workflow_id: str) -> int:
    history = client.get_workflow_handle(workflow_id).fetch_history_events()
    return sum([event.event_type == UPSERT async for event in history])


async def test_a_campaigns_devices_are_found_by_model_and_cost_no_upsert(fleet, temporal):
    async with running(fleet, temporal):
        handle = await start(temporal, "listed")
        devices = {names.device_id("listed", eui(n)) for n in range(SIZE)}
        kind = f"WorkflowType = '{names.DEVICE_WORKFLOW}' AND Campaign = 'listed'"
        by = {
            "Model": "121D/1111",
            "Region": "South",
            "DeviceType": "ESME",
            "Supplier": US,
            "FirmwareVersion": VERSION,
            "Wave": "1",
            "Route": DCC,
        }
        for name, value in by.items():
            assert await found(temporal, f"{kind} AND {name} = '{value}'", SIZE) == devices, name
            assert await found(temporal, f"{kind} AND {name} = 'another'", 0) == set(), name
        assert {*by, "Campaign", "Outcome"} == set(SEARCH_ATTRIBUTES)
        wave = f"WorkflowType = '{names.WAVE_WORKFLOW}' AND Campaign = 'listed' AND Wave = '1'"
        assert await found(temporal, wave, 1) == {names.wave_id("listed", 1)}
        await asyncio.wait_for(handle.result(), 40)
    assert await found(temporal, f"{kind} AND Outcome IS NOT NULL", 0) == set()
    assert {await upserts(temporal, each) for each in (*devices, names.wave_id("listed", 1))} == {0}
    # It was started as the Web UI does, without any: it sets its own, once.
    campaigns = f"WorkflowType = '{names.CAMPAIGN_WORKFLOW}' AND Campaign = 'listed'"
    assert await found(temporal, campaigns, 1) == {handle.id}
    assert await upserts(temporal, handle.id) == 1


async def test_a_device_that_did_not_end_well_is_found_by_its_outcome(fleet, temporal):
    async with running(fleet, temporal, broken):
        handle = await start(temporal, "failing", like="another")
        query = f"WorkflowType = '{names.DEVICE_WORKFLOW}' AND Campaign = 'failing' AND Outcome = 'failed'"
        for _ in range(300):
            if fleet.count("campaign_device", "outcome = 'failed' AND told"):
                break
            await asyncio.sleep(0.1)
        failed = fleet.count("campaign_device", "outcome = 'failed'")
        assert failed
        assert len(await found(temporal, query, failed)) == failed
        assert await found(temporal, f"WorkflowType = '{names.CAMPAIGN_WORKFLOW}' AND Campaign = 'failing'", 1) == {
            handle.id
        }
        assert await found(temporal, "Campaign = 'another'", 0) == set()
