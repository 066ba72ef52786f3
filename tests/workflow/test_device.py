"""What the engine does with a sleeping device's workflow: the facts on which the design stands.

A device's workflow is started asleep (start delay), past its deadline. A plain signal does not wake it; a signal with
start does, and so do an Update and a cancel: being awake says nothing of a deadline.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():  # for the workflows of this module: the sandbox cannot load scipy twice
    from activities.gateway import Advanced
    from activities.wave import DeviceStart
    from hanwave import names
    from hanwave.client import search
    from tests.support.ledger import eui
    from workflows.device import DeviceUpdate

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
_numbers = count(1)
TEN_DAYS = timedelta(days=10)
HELD, CONFIRMED = names.Wake("held"), names.Wake("confirmed")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(Path(sys.executable).parent / "temporal-test-server"),
        data_converter=pydantic_data_converter,
    ) as environment:
        yield environment


class Ledger:
    """Answers as the ledger would; counts how often it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), 0

    @activity.defn(name="advance")
    async def advance(self, _: DeviceStart) -> Advanced:
        self.asked += 1
        state, _, outcome = (self.answers.pop(0) if self.answers else "held").partition(":")
        return Advanced(state, state in ("settled", "closed"), "W12" if outcome else "", outcome or None)


class Devices:
    """A worker of device workflows over such a ledger."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self.client, self.ledger = client, ledger
        self.eui = eui(next(_numbers))
        self.id = names.device_id("spring", self.eui)
        self.workers = [
            Worker(client, task_queue=names.CAMPAIGN_QUEUE, workflows=[DeviceUpdate]),
            Worker(client, task_queue=names.GATEWAY_QUEUE, activities=[ledger.advance]),
        ]

    async def __aenter__(self) -> Self:
        for worker in self.workers:
            await worker.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for worker in self.workers:
            await worker.__aexit__(*error)

    async def start(self, wake: names.Wake | None = None, **more: object):
        return await self.client.start_workflow(
            names.DEVICE_WORKFLOW,
            DeviceStart("spring", 1, self.eui),
            id=self.id,
            task_queue=names.CAMPAIGN_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=names.WAKE if wake else None,
            start_signal_args=[wake] if wake else [],
            **more,
        )


async def test_asleep_until_its_deadline_a_device_costs_nothing_and_ends_ten_days_later(skipping):
    ledger = Ledger("closed")
    async with Devices(skipping.client, ledger) as devices:
        handle = await devices.start(start_delay=TEN_DAYS)
        assert await asyncio.wait_for(handle.result(), 30) == "closed"
    assert ledger.asked == 1
    events = (await handle.fetch_history()).events
    assert len(events) == 11
    slept = events[2].event_time.ToDatetime() - events[0].event_time.ToDatetime()
    assert TEN_DAYS <= slept < TEN_DAYS + timedelta(minutes=1)


async def test_one_that_finds_its_update_ended_badly_says_how_and_why_in_its_result_its_page_and_the_list(temporal):
    async with Devices(temporal, Ledger("closed:rejected")) as devices:
        handle = await devices.start(HELD)
        assert await asyncio.wait_for(handle.result(), 10) == "rejected: W12"
        page = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "**Ended as rejected**: W12." in page.current_details
    assert (await handle.describe()).typed_search_attributes.get(search.OUTCOME) == "rejected"


async def test_a_plain_signal_does_not_wake_a_sleeper_a_signal_with_start_does(temporal):
    ledger = Ledger("activating")
    async with Devices(temporal, ledger) as devices:
        handle = await devices.start(start_delay=TEN_DAYS)
        await handle.signal(names.WAKE, HELD)
        await asyncio.sleep(1)
        assert ledger.asked == 0
        with pytest.raises((RPCError, WorkflowQueryFailedError)):
            await handle.query("state", rpc_timeout=timedelta(seconds=1))
        await devices.start(HELD)
        await until(lambda: ledger.asked == 1)
        assert await handle.query("state") == "activating"
        await handle.signal(names.WAKE, CONFIRMED)
        assert await asyncio.wait_for(handle.result(), 10) == "confirmed"
    # Both wakes were there when it woke, and one look at the ledger answered them.
    assert ledger.asked == 1


async def test_the_time_skipping_server_is_of_another_mind(skipping):
    """There a plain signal wakes: whether a sleeper is woken as it should be is shown on the development server alone."""
    ledger = Ledger("activating", "activating")
    async with Devices(skipping.client, ledger) as devices:
        with skipping.auto_time_skipping_disabled():
            handle = await devices.start(start_delay=TEN_DAYS)
            await handle.signal(names.WAKE, HELD)
            await until(lambda: ledger.asked == 1)
            await devices.start(HELD)
            await until(lambda: ledger.asked == 2)
            await handle.signal(names.WAKE, CONFIRMED)
            assert await asyncio.wait_for(handle.result(), 10) == "confirmed"


async def test_a_wake_does_not_end_the_delay_that_it_starts_with(temporal):
    async with Devices(temporal, Ledger("closed")) as devices:
        handle = await devices.start(CONFIRMED, start_delay=TEN_DAYS)
        await asyncio.sleep(1)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await devices.start(CONFIRMED)
        assert await asyncio.wait_for(handle.result(), 10) == "confirmed"


async def test_a_cancel_wakes_a_sleeper_which_ends_cancelled(temporal):
    async with Devices(temporal, Ledger()) as devices:
        handle = await devices.start(start_delay=TEN_DAYS)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), 10)
        assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


@workflow.defn
class Sleeper:
    """Takes an Update, as the device's workflow might one day."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self) -> bool:
        await workflow.wait_condition(lambda: self.told)
        return self.told

    @workflow.update
    async def tell(self) -> str:
        self.told = True
        return "told"


async def test_an_update_ends_a_start_delay(temporal):
    queue = f"sleepers-{next(_numbers)}"
    async with Worker(temporal, task_queue=queue, workflows=[Sleeper]):
        handle = await temporal.start_workflow(Sleeper.run, id=queue, task_queue=queue, start_delay=TEN_DAYS)
        assert await asyncio.wait_for(handle.execute_update(Sleeper.tell), 10) == "told"
        assert await asyncio.wait_for(handle.result(), 10) is True


async def test_a_device_that_has_ended_is_not_begun_again_by_evidence_that_comes_late(temporal):
    ledger = Ledger()
    async with Devices(temporal, ledger) as devices:
        handle = await devices.start(CONFIRMED)
        assert await asyncio.wait_for(handle.result(), 10) == "confirmed"
        with pytest.raises(WorkflowAlreadyStartedError):
            await devices.start(HELD)
    assert ledger.asked == 0


async def test_woken_too_soon_it_finds_nothing_due_and_sleeps_on(temporal):
    ledger = Ledger("held", "held")
    async with Devices(temporal, ledger) as devices:
        handle = await devices.start(HELD)
        await until(lambda: ledger.asked == 1)
        await handle.signal(names.WAKE, HELD)
        await until(lambda: ledger.asked == 2)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await handle.signal(names.WAKE, names.Wake("closed", ended=True))
        assert await asyncio.wait_for(handle.result(), 10) == "closed"


async def test_the_happy_path_of_an_esme_has_sixteen_events_a_ppmid_six(temporal):
    ledger = Ledger("activating")
    async with Devices(temporal, ledger) as devices:
        await devices.start(start_delay=TEN_DAYS)
        handle = await devices.start(HELD)
        # A wake that came before the activity's end was known would share its workflow task.
        await until_state(handle, "activating")
        await handle.signal(names.WAKE, CONFIRMED)
        await asyncio.wait_for(handle.result(), 10)
    assert len((await handle.fetch_history()).events) == 16
    async with Devices(temporal, ledger) as devices:
        await devices.start(start_delay=TEN_DAYS)
        handle = await devices.start(CONFIRMED)
        await asyncio.wait_for(handle.result(), 10)
    assert len((await handle.fetch_history()).events) == 6


async def until_state(handle, state: str, seconds: float = 10) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while (known := await handle.query("state")) != state:
        assert asyncio.get_running_loop().time() < end, f"it is {known}, not {state}"
        await asyncio.sleep(0.02)


async def until(done, seconds: float = 10) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not done():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.02)
