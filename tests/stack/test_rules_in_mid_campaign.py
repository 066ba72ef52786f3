"""What befalls a campaign half-way, on the whole stack: leavers, lost answers, pauses of one leg, the CPL, an urgent fix."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.terms import CplStatus
from hanwave.ledger.cpl import import_cpl
from tests.support.rollout_world import Rollout, request, rollout

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
BY = {"reason": "a test", "actor": "ann"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("rules"), devices=60) as world:
        yield world


def states(world: Rollout, campaign: str) -> dict[str, int]:
    statement = (
        "SELECT coalesce(outcome, state) AS end, count(*) AS n FROM campaign_device WHERE campaign = :c GROUP BY 1"
    )
    return {row.end: row.n for row in world.rows(statement, c=campaign)}


def posts(world: Rollout, campaign: str, leg: str) -> int:
    statement = "SELECT count(*) FROM outbox WHERE campaign = :c AND leg = :leg AND sends > 0"
    return int(world.value(statement, c=campaign, leg=leg))


def cpl(world: Rollout, version: str, status: CplStatus) -> None:
    """What the Central Products List says of a version from now on."""
    columns = read_column_map(default_map_text())
    entries = read_cpl((world.samples / "cpl.csv").read_bytes().splitlines(), columns).entries
    changed = [replace(each, status=status) for each in entries if str(each.firmware_version) == version]
    with world.ledger.begin() as connection:
        assert import_cpl(connection, changed, "test", datetime.now(UTC)).changed == len(changed) > 0


async def test_a_leaver_is_no_failure_lost_answers_are_read_back_and_a_kind_that_never_came_passes_no_gate(world):
    async with world.client() as client:
        campaign = await client.start("gsme", {**request("acme-gsme-0102"), "approvals": 1})
        gsmes = [row.eui for row in world.rows("SELECT eui FROM campaign_device WHERE campaign = 'gsme' ORDER BY eui")]
        world.faults(
            {"fault": "lost_response", "types": ["GSME"], "legs": ["activate"]},
            {"fault": "change_of_supplier", "devices": gsmes[:2]},
        )
        await campaign.approve(digest=(await campaign.status()).digest, actor="bob")
        over = "SELECT count(*) FROM campaign_device WHERE campaign = 'gsme' AND state NOT IN ('settled', 'closed')"
        await world.until(lambda: world.value(over) == 0, "each device's update ends", 120)
        await world.until(lambda: world.value("SELECT verdict FROM wave WHERE campaign = 'gsme'"), "the gate judges")
        status = await campaign.status()
    assert states(world, "gsme") == {"settled": len(gsmes) - 2, "left": 2}
    assert world.value("SELECT count(*) FROM note WHERE verb = 'left'") == 2
    answers = "SELECT count(*) FROM device_event e JOIN campaign_device u ON u.id = e.update_id WHERE u.campaign = 'gsme' AND "
    assert world.value(answers + "e.kind = 'activated'") == 0
    assert world.value(answers + "e.kind = 'version' AND e.evidence = 'read_back'") >= len(gsmes) - 2
    assert (status.waves[0].passed, status.waves[0].verdict) == (False, "not enough evidence")
    assert "activated" in status.waves[0].reason
    world.assert_books()


async def test_each_leg_is_paused_alone_and_an_urgent_campaign_takes_over_what_is_held(world):
    world.faults()
    async with world.client() as client:
        slow = await client.start("slow", {**request("acme-esme-0103"), "approvals": 1})
        digest = (await slow.status()).digest
        await slow.pause(leg="distribute", **BY)
        await slow.approve(digest=digest, actor="bob")
        await world.until(lambda: world.value("SELECT opened_at FROM wave WHERE campaign = 'slow'"), "the wave opens")
        await asyncio.sleep(3)
        assert posts(world, "slow", "distribute") == 0
        await slow.pause(leg="activate", **BY)
        await slow.resume(leg="distribute", digest=digest, **BY)
        members = sum(states(world, "slow").values())
        await world.until(lambda: states(world, "slow") == {"held": members}, "every image is held", 100)
        await asyncio.sleep(2)
        assert posts(world, "slow", "activate") == 0

        euis = [row.eui for row in world.rows("SELECT eui FROM campaign_device WHERE campaign = 'slow'")]
        wanted = {**request("acme-esme-0104"), "cohort": {"devices": euis}, "urgent": True, "approvals": 1}
        fix = await client.start("fix", wanted)
        await fix.approve(digest=(await fix.status()).digest, actor="bob")
        await world.until(lambda: states(world, "fix") == {"settled": members}, "the urgent campaign ends", 90)
    assert states(world, "slow") == {"superseded": members}
    assert posts(world, "slow", "activate") == 0
    world.assert_books()


async def test_nothing_more_is_sent_of_a_release_that_left_the_cpl_until_it_is_back(world):
    world.faults()
    async with world.client() as client:
        campaign = await client.start("hcalcs", {**request("echo-hcalcs-0502"), "approvals": 1})
        digest = (await campaign.status()).digest
        await campaign.pause(leg="activate", **BY)
        await campaign.approve(digest=digest, actor="bob")
        members = sum(states(world, "hcalcs").values())
        # Some of them never send an 8F72, and are due on the hub's word.
        due = "SELECT count(*) FROM campaign_device WHERE campaign = 'hcalcs' AND step = 'activate'"
        await world.until(lambda: world.value(due) == members, "every activation is due", 100)
        cpl(world, "05000200", CplStatus.WITHDRAWN)
        await campaign.resume(digest=digest, **BY)
        why = "SELECT count(*) FROM campaign_device WHERE campaign = 'hcalcs' AND reason LIKE '%the CPL has%Withdrawn'"
        await world.until(lambda: world.value(why) == members, "each device says why it waits", 30)
        assert posts(world, "hcalcs", "activate") == 0
        cpl(world, "05000200", CplStatus.ACTIVE)
        await world.until(lambda: states(world, "hcalcs") == {"settled": members}, "it goes on and ends", 90)
    world.assert_books()
