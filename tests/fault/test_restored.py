"""PostgreSQL is put back to an earlier copy in mid-campaign: nothing forward leaves until it is known what happened."""

import asyncio
import json

import httpx
import pytest

from hanwave.identifiers import RequestID
from tests.support.command import run_beside
from tests.support.rollout_world import Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("restored")) as world:
        yield world


def sent_forward(world: Rollout) -> set[str]:
    """The forward requests that the DCC got, by its own books."""
    lines = httpx.get(f"{world.admin}/books", timeout=30).text.splitlines()
    books = [json.loads(line) for line in lines]
    return {
        line["request_id"]
        for line in books
        if line["kind"] == "request" and (line["service"] in {"11.1", "11.4"} or line["command_variant"] == 5)
    }


def put_back(world: Rollout, copy) -> None:
    world.stack.hold("postgres")
    world.stack.postgres.restore_data(copy)


def take_copy(world: Rollout, copy) -> None:
    world.stack.hold("postgres")
    world.stack.postgres.copy_data(copy)
    world.stack.release("postgres")
    world.stack.wait_ready()


def go_on_running(world: Rollout) -> None:
    world.stack.release("postgres")
    world.stack.wait_ready()


async def test_a_restored_ledger_sends_nothing_until_it_is_reconciled(world, tmp_path, monkeypatch):
    monkeypatch.setenv("HANWAVE_CONFIG", str(world.config))
    async with world.client() as client:
        campaigns = [
            await client.start("esme", request("acme-esme-0104", {"count": 10}, {"share": 0.5}, {"share": 1})),
            await client.start("ppmid", request("delta-ppmid-0401", {"count": 8}, {"share": 1})),
        ]
        # One device cannot be asked: it is unplugged, and its turn comes with the second wave.
        away = world.value("SELECT min(eui) FROM campaign_device WHERE campaign = 'ppmid' AND wave = 2")
        for row in world.rows("SELECT eui FROM device WHERE device_type = 'PPMID'"):
            world.lever(f"/devices/{row.eui}", {"plugged": row.eui != away})
        state = "SELECT count(*) FROM campaign_device WHERE state = :state"
        await world.until(lambda: world.value(state, state="held") >= 2, "images are held")
        await asyncio.to_thread(take_copy, world, tmp_path / "copy")
        before = sent_forward(world)
        await world.until(lambda: len(sent_forward(world) - before) >= 12, "much is sent after the copy was made", 90)
        await asyncio.to_thread(put_back, world, tmp_path / "copy")
        await asyncio.sleep(1)
        before = sent_forward(world)
        await asyncio.to_thread(go_on_running, world)

        stopped = "SELECT coalesce(max(reason), '') FROM stop WHERE scope = 'all' AND lifted_at IS NULL"
        why = await world.until(lambda: world.value(stopped), "a restored ledger is known as one", 45)
        assert why.startswith("the ledger was restored to an earlier copy (it lacks ")
        assert "`hanwave reconcile`" in why
        refused = await run_beside("reconcile", "--go-on", "--reason", "too early")
        assert refused.code == 1
        assert "devices were not asked yet" in refused.err
        asked = await run_beside("reconcile", "--reason", "the disk was lost, last night's backup is in", "--json")
        assert asked.code == 0, asked.err
        found = json.loads(asked.out)
        assert found["asked"] > 20

        silent: list[str] = []
        for _ in range(20):  # as a person looks again
            ran = await run_beside("reconcile", "--reason", "look", "--json")
            if (silent := json.loads(ran.out)["silent"]) == [away]:
                break
            await asyncio.sleep(2)
        assert silent == [away]
        assert sent_forward(world) == before, "something forward left before a person said so"
        used = max(RequestID.parse(each).counter for each in before)
        assert world.value("SELECT min(last) FROM counter") > used + 500_000

        done = await run_beside("reconcile", "--go-on", "--reason", "all have answered")
        assert done.code == 0, done.err
        hold = world.value("SELECT id FROM hold WHERE scope = 'device' AND value = :eui", eui=away)
        world.lever(f"/devices/{away}", {"plugged": True})
        lifted = await run_beside("hold", "lift", str(hold), "--reason", "it was plugged in, and read")
        assert lifted.code == 0, lifted.err
        ends = [await asyncio.wait_for(campaign.wait(), 150) for campaign in campaigns]
        assert len(sent_forward(world)) > len(before)
    assert all(wave.passed for end in ends for wave in end.waves)
    assert world.unknown() == []
    world.assert_books()
