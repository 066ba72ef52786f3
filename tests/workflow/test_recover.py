"""A campaign whose workflows, or whose engine, are gone: it goes on from the ledger alone."""

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client as Temporal
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from hanwave import names
from hanwave.client import (
    search,
)
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from tests.support.dcc import good
from tests.support.ledger import HASH, World, eui
from tests.workflow.test_campaign import FAST, running
from workers.recovery import open_campaigns, recover

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
REQUEST = {"release": "r2", "author": "ann", "policy": FAST}


def heard(world: World, kind: Kind, leg: Leg, **more: str) -> None:
    """Every device says so of its open request in that leg."""
    now = datetime.now(UTC)
    with world.engine.begin() as connection:
        rows = connection.exec_driver_sql(f"SELECT update_id FROM outbox_device WHERE leg = '{leg}'").scalars()
        facts = [Fact(u, Event(kind, now, leg, 1, 1, Evidence.DEVICE, **more)) for u in rows]
        record(connection, facts, now)


async def end_all(temporal: Temporal, name: str) -> None:
    """Terminate everything of a campaign, as somebody may in the Web UI."""
    ids = [names.campaign_id(name), names.wave_id(name, 1), *(names.device_id(name, eui(n)) for n in range(5))]
    for workflow_id in ids:
        try:
            await temporal.get_workflow_handle(workflow_id).terminate()
        except RPCError as error:
            assert "not found" in str(error)  # noqa: PT017 - the second wave's devices never began


@pytest.mark.parametrize("lost", [False, True], ids=["everything terminated", "the engine's database lost"])
async def test_a_campaign_is_recovered_from_the_ledger_alone_and_repeats_nothing(five, temporal, connect, name, lost):
    def silent(device: str, leg: Leg):
        return [] if leg is Leg.DISTRIBUTE else good(device, leg)

    async with running(five, temporal, silent), connect() as client:
        await client.start(name, REQUEST)
        for _ in range(200):
            if five.count("campaign_device", "started AND state = 'requested'") == 2:
                break
            await asyncio.sleep(0.1)
        await end_all(temporal, name)
    environment = (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
            data_converter=pydantic_data_converter,
            dev_server_log_level="error",
            search_attributes=list(search.KEYS.values()),
        )
        if lost
        else None
    )
    temporal = environment.client if environment else temporal
    try:
        async with running(five, temporal, good) as dcc, connect(temporal.service_client.config.target_host) as client:
            done = await recover(temporal, five.engine, name)
            assert (done.over, done.waves, done.devices) == (False, [1], 2)
            assert await recover(temporal, five.engine, name) == done
            again = await temporal.get_workflow_handle(f"campaign/{name}").describe()
            assert await again.static_summary() == names.CAMPAIGN_SUMMARY
            heard(five, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
            assert (await asyncio.wait_for(client.campaign(name).wait(), 50)).funnel == {"settled": 5}
        assert (await recover(temporal, five.engine, name)).over
        assert Counter(post[1] for post in dcc.posts)["activate"] == 5
        assert five.count("outbox_device", "leg = 'distribute'") == 5
    finally:
        if environment:
            await environment.shutdown()
    with five.engine.connect() as connection:
        assert open_campaigns(connection) == []
    with pytest.raises(LedgerError, match="there is no campaign"):
        await recover(temporal, five.engine, "autumn")
