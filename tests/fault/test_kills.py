"""kill -9 of each process in mid-campaign, while other things go wrong too: the campaigns end, and the books agree."""

import asyncio

import pytest

from tests.support.rollout_world import SPRINKLED, Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(420)]

VICTIMS = ("gateway", "campaign", "receive", "warden", "emulator", "temporal", "postgres")
THREE_WAVES = ({"count": 6}, {"share": 0.4}, {"share": 1})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("kills")) as world:
        yield world


async def kill(world: Rollout, name: str) -> None:
    """Kill it while something is under way, and wait until it is back and campaigns get on."""
    before = world.events()
    await world.until(lambda: world.events() > before, f"something happens before {name} is killed")
    await asyncio.to_thread(world.stack.kill, name)
    await asyncio.to_thread(world.stack.wait_ready)
    before = world.events()
    await world.until(lambda: world.events() > before + 5, f"campaigns get on after {name} was killed", 90)


async def test_campaigns_end_whatever_process_is_killed(world):
    world.faults(*SPRINKLED)
    async with world.client() as client:
        campaigns = [
            await client.start(name, request(release, *THREE_WAVES))
            for name, release in (("esme", "acme-esme-0104"), ("ppmid", "delta-ppmid-0401"))
        ]
        for name in VICTIMS:
            assert not (await campaigns[0].status()).over, f"the campaign was over before {name} was killed"
            await kill(world, name)
        ends = [await asyncio.wait_for(campaign.wait(), 240) for campaign in campaigns]
    assert all(wave.passed for end in ends for wave in end.waves)
    world.assert_books()
