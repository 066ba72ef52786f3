"""Campaigns that want the same device, or the same home: who goes first, what is withdrawn, who waits."""

import asyncio

from tests.stack.scenarios import BY, SCENARIOS
from tests.support.at_once import Home
from tests.support.rollout_world import Rollout, request


async def fix(world: Rollout, name: str, euis: list[str]) -> None:
    """An urgent campaign over those devices, to its end."""
    async with world.client() as client:
        wanted = {**request("acme-esme-0104"), "cohort": {"devices": euis}, "urgent": True, "approvals": 1}
        campaign = await client.start(name, wanted)
        await campaign.approve(digest=(await campaign.status()).digest, actor="bob")
        await world.until(lambda: world.states(name) == {"settled": len(euis)}, "the urgent campaign ends", 150)


@SCENARIOS.over(Home(6, {"ESME": "1001/01020004"}))
async def each_leg_is_paused_alone_and_an_urgent_campaign_takes_over_what_is_held(
    world: Rollout, esmes: list[str]
) -> None:
    async with world.client() as client:
        slow = await client.start("slow", {**request("acme-esme-0103"), "cohort": {"devices": esmes}, "approvals": 1})
        digest = (await slow.status()).digest
        await slow.pause(leg="distribute", **BY)
        await slow.approve(digest=digest, actor="bob")
        await world.until(lambda: world.value("SELECT opened_at FROM wave WHERE campaign = 'slow'"), "the wave opens")
        await asyncio.sleep(3)
        assert world.posts("slow", "distribute") == 0
        await slow.pause(leg="activate", **BY)
        await slow.resume(leg="distribute", digest=digest, **BY)
        await world.until(lambda: world.states("slow") == {"held": len(esmes)}, "every image is held", 150)
        await asyncio.sleep(2)
        assert world.posts("slow", "activate") == 0
    await fix(world, "fix", esmes)
    assert world.states("slow") == {"superseded": len(esmes)}
    assert world.posts("slow", "activate") == 0


@SCENARIOS.over(Home(3, {"ESME": "1001/01020004"}))
async def an_urgent_campaign_cancels_the_dated_activations_of_a_slower_one_first(
    world: Rollout, esmes: list[str]
) -> None:
    dated = request("acme-esme-0103", activation="future_dated", lead="150s")
    async with world.client() as client:
        await client.start("dated", {**dated, "cohort": {"devices": esmes}})
        await world.until(lambda: world.states("dated") == {"scheduled": 3}, "every activation is dated", 120)
    await fix(world, "fix-dated", esmes)
    assert world.states("dated") == {"superseded": 3}
    for eui in esmes:
        what = [line["what"] for line in world.device(eui)["story"]]
        assert what.count("scheduled") == what.count("cancelled") == what.count("executed") == 1
        # Cancelled on the device itself, before the other image is so much as asked for.
        last_asked = len(what) - 1 - what[::-1].index("requested")
        assert what.index("scheduled") < what.index("cancelled") < last_asked < what.index("executed")


@SCENARIOS.over(Home(3, {"ESME": "100", "GSME": "1101"}))
async def two_campaigns_for_one_home_take_turns(world: Rollout, esmes: list[str], gsmes: list[str]) -> None:
    async with world.client() as client:
        meters = {**request("acme-esme-0104"), "cohort": {"devices": esmes}}
        gas = {**request("acme-gsme-0102"), "cohort": {"devices": gsmes}}
        await asyncio.gather(client.start("turns-meters", meters), client.start("turns-gas", gas))
        why = "SELECT DISTINCT reason FROM campaign_device WHERE campaign LIKE 'turns-%' AND reason LIKE '%its home%'"
        assert await world.until(lambda: world.rows(why), "one of a home waits for the other", 60)
        for name in ("turns-meters", "turns-gas"):
            await world.until(lambda name=name: world.states(name) == {"settled": 3}, f"{name} ends", 150)
    for pair in zip(esmes, gsmes, strict=True):
        stories = [world.device(eui)["story"] for eui in pair]
        assert apart(*(spell(story, "requested", "held") for story in stories)), stories
        assert apart(*(spell(story, "sent activate", "executed") for story in stories)), stories


def spell(story: list[dict], first: str, last: str) -> tuple[float, float]:
    """From when to when, in a device's story: from the first of the one to the last of the other."""
    return (
        min(line["at"] for line in story if line["what"] == first),
        max(line["at"] for line in story if line["what"] == last),
    )


def apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two spells have no moment in common."""
    return one[1] < other[0] or other[1] < one[0]
