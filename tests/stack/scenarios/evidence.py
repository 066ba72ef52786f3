"""What a campaign makes of the evidence that comes, and of that which does not: lost answers, lost alerts, a silent image."""

from tests.stack.scenarios import BY, SCENARIOS
from tests.support.at_once import Home
from tests.support.rollout_world import POLICY, Rollout, request

_SILENT = {kind: {**each, "read": "4s"} for kind, each in POLICY["deadlines"].items()}
_UNVERIFIED = {kind: {**each, "activate_unverified_after": "4s"} for kind, each in POLICY["deadlines"].items()}
_HELD = "SELECT verdict FROM wave WHERE campaign = :c AND number = 1"


def sent(world: Rollout, campaign: str, wave: int) -> int:
    """How many of a wave's devices were in any request."""
    statement = (
        "SELECT count(DISTINCT u.eui) FROM campaign_device u JOIN outbox_device m ON m.update_id = u.id"
        " WHERE u.campaign = :c AND u.wave = :w"
    )
    return int(world.value(statement, c=campaign, w=wave))


@SCENARIOS.over(Home(8, {"GSME": "1101"}))
async def a_leaver_is_no_failure_and_a_lost_answer_is_read_back(world: Rollout, gsmes: list[str]) -> None:
    async with world.client() as client:
        wanted = {**request("acme-gsme-0102"), "cohort": {"devices": gsmes}, "approvals": 1}
        campaign = await client.start("lost", wanted)
        world.more_goes_wrong(
            {"fault": "lost_response", "devices": gsmes, "legs": ["activate"]},
            {"fault": "change_of_supplier", "devices": gsmes[:2]},
        )
        await campaign.approve(digest=(await campaign.status()).digest, actor="bob")
        await world.until(lambda: world.value(_HELD, c="lost"), "the gate judges", 150)
        status = await campaign.status()
    assert world.states("lost") == {"settled": len(gsmes) - 2, "left": 2}
    left = [f"device/{eui}" for eui in gsmes[:2]]
    assert world.value("SELECT count(*) FROM note WHERE verb = 'left' AND subject = ANY(:left)", left=left) == 2
    events = "SELECT count(*) FROM device_event e JOIN campaign_device u ON u.id = e.update_id WHERE u.campaign = 'lost' AND "
    assert world.value(events + "e.kind = 'activated'") == 0
    assert world.value(events + "e.kind = 'version' AND e.evidence = 'read_back'") >= len(gsmes) - 2
    # An answer of the one kind that never came from any: the others are no stand-in for it.
    assert (status.waves[0].passed, status.waves[0].verdict) == (False, "not enough evidence")
    assert "activated" in status.waves[0].reason


@SCENARIOS.over(Home(6, {"ESME": "1001/01020004"}))
async def one_kind_of_alert_dropped_whole_passes_no_gate(world: Rollout, esmes: list[str]) -> None:
    world.more_goes_wrong({"fault": "dropped_alert", "devices": esmes, "kinds": ["8F72"]})
    wanted = request("acme-esme-0104", {"count": 4}, {"share": 1}, deadlines=_UNVERIFIED)
    async with world.client() as client:
        campaign = await client.start("unverified", {**wanted, "cohort": {"devices": esmes}})
        await world.until(lambda: world.value(_HELD, c="unverified"), "the gate judges", 150)
        status = await campaign.status()
    # Each went well, by its answer and by its version: but nobody saw one of them verify the image.
    assert world.states("unverified") == {"settled": 4, "planned": 2}
    assert (status.waves[0].passed, status.waves[0].verdict) == (False, "not enough evidence")
    assert "verified" in status.waves[0].reason
    assert status.waits_for.startswith("somebody to decide")
    assert sent(world, "unverified", 2) == 0


@SCENARIOS.over(Home(4, {"ESME": "1001/01020004"}), Home(4, {"ESME": "1002"}))
async def an_image_that_goes_quiet_is_held_in_wave_1_and_rolled_back_by_the_plan(
    world: Rollout, takes_lower: list[str], refuses_lower: list[str]
) -> None:
    esmes = takes_lower + refuses_lower
    world.more_goes_wrong(
        {"fault": "success_then_quiet", "devices": esmes, "versions": ["01040000"]},
        {"fault": "refuses_downgrade", "devices": refuses_lower},
    )
    attempts = {**POLICY["attempts"], "distribute": 3, "read": 3}
    gate = {"harm": 0.4, "silence": 0.6, "confidence": 0.8}
    wanted = request("acme-esme-0104", {"count": 4}, {"share": 1}, deadlines=_SILENT, attempts=attempts, gate=gate)
    fallbacks = ["acme-esme-0103", "acme-esme-0105"]
    async with world.client() as client:
        campaign = await client.start("quiet", {**wanted, "cohort": {"devices": esmes}, "fallbacks": fallbacks})
        await world.until(lambda: world.value(_HELD, c="quiet"), "the gate judges", 150)
        status = await campaign.status()
        assert status.waits_for.startswith("somebody to decide")
        first = [row.eui for row in world.rows("SELECT eui FROM campaign_device WHERE campaign = 'quiet' AND wave = 1")]
        assert all(world.device(eui)["is_quiet"] for eui in first)
        assert world.states("quiet") == {"quiet": 4, "planned": 4}
        assert not status.waves[0].passed
        assert not status.waves[1].opened
        assert sent(world, "quiet", 2) == 0

        restore = await campaign.roll_back(digest=status.digest, **BY)
        over = "SELECT count(*) FROM campaign_device WHERE campaign = ANY(:c) AND state NOT IN ('settled', 'closed')"
        await world.until(lambda: world.value(over, c=restore.campaigns) == 0, "the rollback ends", 150)
    ends = [world.device(eui) for eui in first]
    back = {eui: "01030000" if eui in takes_lower else "01050000" for eui in first}
    assert {end["eui"]: end["version"] for end in ends} == back
    assert not any(end["is_quiet"] for end in ends)
    assert sum(world.states(name).get("settled", 0) for name in restore.campaigns) == len(first)
    assert all(world.device(eui)["requested"] == 0 for eui in set(esmes) - set(first))
