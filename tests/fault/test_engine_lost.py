"""Temporal's database is deleted in mid-campaign: the ledger alone brings the campaigns back, and to their end."""

import asyncio

import pytest

from tests.support.command import run_beside
from tests.support.rollout_world import SPRINKLED, Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("engine")) as world:
        yield world


def lose_the_engine(world: Rollout) -> None:
    world.stack.hold("temporal")
    for path in (world.stack.folder / "temporal").iterdir():
        path.unlink()
    world.stack.release("temporal")
    world.stack.wait_ready()


async def test_campaigns_end_although_temporals_database_was_deleted(world, monkeypatch):
    monkeypatch.setenv("HANWAVE_CONFIG", str(world.config))
    world.faults(*SPRINKLED)
    async with world.client() as client:
        waves = ({"count": 8}, {"share": 1})
        esme = await client.start("esme", request("acme-esme-0104", *waves))
        ppmid = await client.start("ppmid", request("delta-ppmid-0401", *waves))
        in_flight = "SELECT count(*) FROM campaign_device WHERE state NOT IN ('planned', 'settled', 'closed')"
        await world.until(lambda: world.value(in_flight) > 10, "devices of the second waves are in flight", 90)
        await asyncio.to_thread(lose_the_engine, world)

        # Nobody knows why the campaigns are gone: the warden stops them, and nothing forward leaves until somebody says so.
        await asyncio.to_thread(world.stack.restart, "warden")
        halted = "SELECT count(*) FROM stop WHERE scope = 'campaign' AND actor = 'warden' AND lifted_at IS NULL"
        await world.until(lambda: world.value(halted) == 2, "the warden halts what the engine has lost")
        forward = "SELECT coalesce(sum(sends), 0) FROM outbox WHERE permit_class = 'forward'"
        sent = world.value(forward)

        done = await run_beside("recover", "--all")
        assert done.code == 0, done.err
        await asyncio.sleep(3)
        assert world.value(forward) == sent, "something forward left before the halts were lifted"
        for campaign in (esme, ppmid):
            digest = (await campaign.status()).digest
            await campaign.resume(reason="Temporal's database was lost, and is recovered", actor="ann", digest=digest)
        ends = [await asyncio.wait_for(campaign.wait(), 150) for campaign in (esme, ppmid)]
    assert all(wave.passed for end in ends for wave in end.waves)
    assert world.unknown() == []
    world.assert_books()
