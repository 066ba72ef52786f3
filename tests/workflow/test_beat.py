"""Activities beat their own hearts, and hold nobody up while they do."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from temporalio import activity
from temporalio.worker import Worker

import activities.beat
from activities.gateway import Advanced
from activities.wave import DeviceStart
from hanwave import names
from workflows.device import DeviceUpdate

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
SECONDS = 1.5


@activity.defn(name="advance")
def in_a_thread(_: DeviceStart) -> Advanced:
    time.sleep(SECONDS)
    return Advanced(f"attempt {activity.info().attempt}", ended=True)


@activity.defn(name="advance")
async def in_the_loop(_: DeviceStart) -> Advanced:
    await asyncio.sleep(SECONDS)
    return Advanced(f"attempt {activity.info().attempt}", ended=True)


@pytest.mark.parametrize("advance", [in_a_thread, in_the_loop])
async def test_a_long_activity_beats_and_the_loop_goes_on(temporal, monkeypatch, advance):
    monkeypatch.setattr(activities.beat, "_EVERY", 0.1)
    name = f"campaign/beat/device/{advance.__name__}"
    with ThreadPoolExecutor(2) as threads:
        async with (
            Worker(temporal, task_queue=names.CAMPAIGN_QUEUE, workflows=[DeviceUpdate]),
            Worker(
                temporal,
                task_queue=names.GATEWAY_QUEUE,
                activities=[advance],
                activity_executor=threads,
                interceptors=[activities.beat.Beating()],
            ),
        ):
            handle = await temporal.start_workflow(
                names.DEVICE_WORKFLOW,
                DeviceStart("beat", 1, advance.__name__),
                id=name,
                task_queue=names.CAMPAIGN_QUEUE,
            )
            done = asyncio.create_task(handle.result())
            beats, longest, last = 0, 0.0, time.monotonic()
            while not done.done():
                await asyncio.sleep(0.05)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                for pending in (await handle.describe()).raw_description.pending_activities:
                    beats += pending.HasField("last_heartbeat_time")
            assert await done == "attempt 1"
    assert beats
    assert longest < 5
