"""A client of the SDK for a test, over a ledger of five devices."""

from itertools import count

import pytest
from temporalio.client import Client as Temporal

import hanwave
from hanwave.settings import Settings
from tests.support.ledger import US, World

_numbers = count(1)


@pytest.fixture
def five(world: World) -> World:
    world.release_document()
    world.fleet(5)
    return world


@pytest.fixture
def name() -> str:
    return f"sdk-{next(_numbers)}"


@pytest.fixture
def connect(temporal: Temporal, ledger_dsn: str, tmp_path, monkeypatch):
    """A client of the test's ledger and engine, or of an address where none is."""
    monkeypatch.chdir(tmp_path)

    def connect(address: str | None = None, patience: float = 10.0):
        address = address or temporal.service_client.config.target_host
        return hanwave.Client.connect(Settings(), address=address, dsn=ledger_dsn, user_id=US, patience=patience)

    return connect
