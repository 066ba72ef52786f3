"""A real Temporal development server, in memory, for the tests of workflows."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from hanwave.client import search
from hanwave.client.engine import CONVERTER


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    """The server; a session's tests share it, and each uses names of its own."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        data_converter=CONVERTER,
        dev_server_log_level="error",
        search_attributes=list(search.KEYS.values()),
    ) as environment:
        yield environment


@pytest_asyncio.fixture(loop_scope="session")
async def temporal(engine: WorkflowEnvironment) -> AsyncIterator[Client]:
    """A client of it. No test leaves a workflow running: its tasks would come to the next test's workers and ledger."""
    watch = asyncio.get_running_loop().call_later(HUNG, _say_where)
    yield engine.client
    watch.cancel()
    async for each in engine.client.list_workflows("ExecutionStatus = 'Running'"):
        try:
            await engine.client.get_workflow_handle(each.id, run_id=each.run_id).terminate("its test is over")
        except RPCError:
            continue  # it has ended since it was listed


HUNG = 50
"""Seconds after which a test says what each of its tasks waits for: the runner's own bound shows the idle loop alone."""


def _say_where() -> None:
    for task in asyncio.all_tasks():
        sys.stderr.write(f"\n{task!r}\n")
        task.print_stack(file=sys.stderr)
