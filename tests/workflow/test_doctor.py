"""`hanwave doctor` on the engine: whether somebody takes what it has to be done."""

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from infra.stack import others

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
QUEUE = "of-a-doctor"


@activity.defn
async def nothing() -> None:
    """What a worker must be able to do, to ask for it."""


async def test_a_queue_that_nobody_takes_from_is_named_with_what_to_start(temporal: Client, monkeypatch):
    monkeypatch.setattr(others, "PATIENCE_SECONDS", 1)
    found = await others._worker(temporal, QUEUE)
    assert (found.check, found.is_well) == ("of-a-doctor worker", False)
    assert found.remedy == "start it: python -m workers.of-a-doctor"
    monkeypatch.setattr(others, "PATIENCE_SECONDS", 30)
    async with Worker(temporal, task_queue=QUEUE, activities=[nothing]):
        assert (await others._worker(temporal, QUEUE)).is_well
