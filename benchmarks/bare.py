"""The bare engine pattern: hanwave's shapes of a device's workflow with nothing behind them. `python -m benchmarks.bare ADDRESS`.

An ESME is started asleep, woken by signal-with-start, runs one activity that does nothing, and hears its outcome by a
signal two seconds after it. A PPMID is started asleep and hears its outcome two seconds later.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker

QUEUE = "bare"
OUTCOME_SECONDS = 2.0
AT_ONCE = 20
_ASLEEP = timedelta(hours=1)
_outcomes: set[asyncio.TimerHandle | asyncio.Task[None]] = set()


@workflow.defn
class BareEsme:
    """Start, wake, one activity, outcome."""

    def __init__(self) -> None:
        self._heard: list[str] = []

    @workflow.run
    async def run(self, number: int) -> str:  # noqa: ARG002 - an input such as hanwave's
        """To the outcome."""
        self._heard.pop()
        await workflow.execute_activity(
            nothing, workflow.info().workflow_id, start_to_close_timeout=timedelta(minutes=1)
        )
        await workflow.wait_condition(lambda: bool(self._heard))
        return self._heard.pop()

    @workflow.signal
    def wake(self, why: str) -> None:
        """Its turn, or its outcome."""
        self._heard.append(why)


@workflow.defn
class BarePpmid:
    """Start, outcome."""

    def __init__(self) -> None:
        self._heard: list[str] = []

    @workflow.run
    async def run(self, number: int) -> str:  # noqa: ARG002 - an input such as hanwave's
        """To the outcome."""
        await workflow.wait_condition(lambda: bool(self._heard))
        return self._heard.pop()

    @workflow.signal
    def wake(self, why: str) -> None:
        """Its outcome."""
        self._heard.append(why)


@activity.defn
async def nothing(workflow_id: str) -> None:
    """Nothing; the outcome is signalled two seconds later."""
    handle = activity.client().get_workflow_handle(workflow_id)

    async def tell() -> None:
        await asyncio.sleep(OUTCOME_SECONDS)
        await handle.signal("wake", "confirmed")

    task = asyncio.create_task(tell())
    _outcomes.add(task)
    task.add_done_callback(_outcomes.discard)


async def drive(client: Client, kind: str, size: int) -> None:
    """Start that many devices asleep, and wake each; returns when the last has ended."""

    async def start(number: int, wake: str | None) -> None:
        await client.start_workflow(
            kind,
            number,
            id=f"{kind}/{number}",
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_delay=_ASLEEP,
            start_signal="wake" if wake else None,
            start_signal_args=[wake] if wake else [],
        )

    await _each(size, lambda number: start(number, None))
    if kind == "BarePpmid":
        await asyncio.sleep(OUTCOME_SECONDS)
    await _each(size, lambda number: start(number, "confirmed"))
    query = f"WorkflowType = '{kind}' AND ExecutionStatus = 'Completed'"
    while (await client.count_workflows(query)).count < size:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.2)


async def _each(size: int, act: Callable[[int], Awaitable[None]]) -> None:
    for first in range(0, size, AT_ONCE):
        await asyncio.gather(*(act(number) for number in range(first, min(size, first + AT_ONCE))))


async def main(address: str) -> None:
    """Work until killed."""
    client = await Client.connect(address)
    worker = Worker(client, task_queue=QUEUE, workflows=[BareEsme, BarePpmid], activities=[nothing])
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
