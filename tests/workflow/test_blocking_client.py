"""The SDK without an event loop: every call of the Client's is there, waits, and raises as it does."""

import inspect
import threading
from dataclasses import fields

import pytest

import hanwave
from hanwave.client import BlockingCampaign, Campaign, Client, NoCampaignError
from hanwave.client.bench import Bench
from hanwave.client.blocking import BlockingBench, BlockingClient
from hanwave.ledger import audit, audit_verify
from hanwave.ledger.progress import DeviceOutcome
from hanwave.settings import Settings
from tests.support.ledger import US, World
from tests.workflow.test_campaign import FAST

pytestmark = pytest.mark.workflow
REQUEST = {"release": "r2", "author": "ann", "policy": FAST}


@pytest.fixture
def client(world: World, ledger_dsn: str, tmp_path, monkeypatch):
    """Of the test's ledger; no Temporal is behind it, since what only looks needs none."""
    monkeypatch.chdir(tmp_path)
    world.release_document()
    world.fleet(5)
    with hanwave.BlockingClient.connect(Settings(), address="127.0.0.1:1", dsn=ledger_dsn, user_id=US) as client:
        yield client


@pytest.mark.parametrize(
    ("face", "of"), [(BlockingClient, Client), (BlockingCampaign, Campaign), (BlockingBench, Bench)]
)
def test_every_call_has_its_blocking_face(face, of):
    calls = {name for name, _ in inspect.getmembers(of, callable) if not name.startswith("_")}
    assert calls == {name for name, _ in inspect.getmembers(face, callable) if not name.startswith("_")}


def test_a_call_waits_for_its_answer(client, world):
    assert [wave.devices for wave in client.plan("spring", REQUEST).waves] == [2, 3]
    world.campaign([], name="spring")
    assert [each.name for each in client.campaigns()] == ["spring"]
    campaign = client.campaign("spring")
    assert next(campaign.watch()).name == "spring"
    assert list(campaign.outcomes()) == []
    assert campaign.outcomes_table() == {each.name: [] for each in fields(DeviceOutcome)}
    assert campaign.pause(reason="storm", actor="ann").engine_told is False
    assert client.halt("all", reason="storm", actor="ann").beyond_recall == []


def test_an_export_is_streamed_verified_and_may_be_left_early(client, world, ledger):
    world.campaign([], name="spring")
    client.halt("all", reason="storm", actor="ann")
    audit.catch_up(ledger)
    lines = list(client.export())
    assert audit_verify.verify(lines).rows == 2
    left = client.export()
    assert next(left) == lines[0]
    left.close()
    assert ledger.pool.checkedout() == 0


def test_it_raises_as_the_client_does(client):
    with pytest.raises(NoCampaignError, match="there is no campaign 'spring'"):
        client.campaign("spring").status()
    with pytest.raises(NoCampaignError, match="there is no campaign 'spring'"):
        list(client.campaign("spring").outcomes())


def test_its_loop_ends_with_its_block(world, ledger_dsn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = threading.active_count()
    with hanwave.BlockingClient.connect(Settings(), address="127.0.0.1:1", dsn=ledger_dsn, user_id=US) as client:
        assert client.campaigns() == []
        assert threading.active_count() > before
    assert threading.active_count() == before
