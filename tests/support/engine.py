"""A real Temporal development server, in memory, for the tests of workflows."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from hanwave import search


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    """The server; a session's tests share it, and each uses names of its own."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
        search_attributes=list(search.KEYS.values()),
    ) as environment:
        yield environment


@pytest_asyncio.fixture(loop_scope="session")
async def temporal(engine: WorkflowEnvironment) -> Client:
    """A client of it."""
    return engine.client
