"""Devices and releases whose standing changes: off the Central Products List and back, Suspended, gained."""

from hanwave.firmware.terms import CplStatus
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER
from tests.stack.scenarios import BY, SCENARIOS
from tests.support.at_once import Home
from tests.support.rollout_world import Rollout, request


@SCENARIOS.over(Home(4, {"HCALCS": "5301"}), Home(2, {"HCALCS": "5301"}))
async def nothing_more_is_sent_of_a_release_that_left_the_cpl_until_it_is_back(
    world: Rollout, some: list[str], others: list[str]
) -> None:
    async with world.client() as client:
        wanted = {**request("echo-hcalcs-0502"), "approvals": 1}
        campaign = await client.start("listed", {**wanted, "cohort": {"devices": some}})
        later = await client.start("listed-later", {**wanted, "cohort": {"devices": others}})
        digest, later_digest = (await campaign.status()).digest, (await later.status()).digest
        await campaign.pause(leg="activate", **BY)
        await campaign.approve(digest=digest, actor="bob")
        # Some of them never send an 8F72, and are due on the hub's word.
        due = "SELECT count(*) FROM campaign_device WHERE campaign = 'listed' AND step = 'activate'"
        await world.until(lambda: world.value(due) == len(some), "every activation is due", 150)
        world.set_cpl("05000200", CplStatus.WITHDRAWN)
        await campaign.resume(digest=digest, **BY)
        await later.approve(digest=later_digest, actor="bob")
        why = "SELECT count(*) FROM campaign_device WHERE campaign LIKE 'listed%' AND reason LIKE '%the CPL has%Withdrawn'"
        await world.until(lambda: world.value(why) == len(some + others), "each device says why it waits", 60)
        assert world.posts("listed", "activate") == world.posts("listed-later") == 0
        world.set_cpl("05000200", CplStatus.ACTIVE)
        for name, euis in (("listed", some), ("listed-later", others)):
            ended = {"settled": len(euis)}
            await world.until(lambda name=name, ended=ended: world.states(name) == ended, f"{name} ends well", 150)


@SCENARIOS.over(Home(3, {"ESME": "1001/01020003"}))
async def a_suspended_device_is_rescued(world: Rollout, esmes: list[str]) -> None:
    left = {"device_type": "ESME", "manufacturer": "0A01", "model": "1001", "version": "01020003"}
    assert world.lever("/cpl/remove", left)["suspended"] >= len(esmes)
    status = "SELECT count(*) FROM device WHERE eui = ANY(:euis) AND smi_status = :status"
    suspended = {"euis": esmes, "status": "Suspended"}
    await world.until(lambda: world.value(status, **suspended) == 3, "the DCC says that they are Suspended", 60)
    async with world.client() as client:
        await client.start("rescue", {**request("acme-esme-0104"), "cohort": {"devices": esmes}})
        await world.until(lambda: world.states("rescue") == {"settled": 3}, "each is updated", 150)
    restored = {"euis": esmes, "status": "Commissioned"}
    await world.until(lambda: world.value(status, **restored) == 3, "the DCC says that they are restored", 60)
    assert {world.device(eui)["status"] for eui in esmes} == {"Commissioned"}


@SCENARIOS.over(Home(4, {"GSME": "1101"}))
async def a_gained_device_joins_as_the_last_wave_opens(world: Rollout, gsmes: list[str]) -> None:
    gained = gsmes[-1]
    world.hand_over([gained], SECOND_SUPPLIER)
    async with world.client() as client:
        wanted = request("acme-gsme-0102", {"count": 2}, {"share": 1}, late_joiners="last_wave")
        campaign = await client.start("gains", {**wanted, "cohort": {"devices": gsmes}, "approvals": 1})
        planned = await campaign.status()
        assert [wave.size for wave in planned.waves] == [2, 1]
        await campaign.approve(digest=planned.digest, actor="bob")
        world.hand_over([gained], SUPPLIER, supplier_certificate=certificate(world))
        await world.until(lambda: world.states("gains") == {"settled": 4}, "all four are updated", 200)
        assert [wave.size for wave in (await campaign.status()).waves] == [2, 2]
    joined = world.rows("SELECT wave FROM campaign_device WHERE campaign = 'gains' AND eui = :eui", eui=gained)
    assert [row.wave for row in joined] == [2]
    assert world.device(gained)["version"] == "01020000"


def certificate(world: Rollout) -> str:
    """The serial number of the certificate that the release is signed under for us: the one that the meter now holds."""
    statement = "SELECT certificate FROM signed_image WHERE release = 'acme-gsme-0102' AND user_id = :us"
    return str(world.value(statement, us=str(SUPPLIER)))


@SCENARIOS.over(Home(3, {"ESME": "1001/01020003"}), Home(2, {"ESME": "1002"}))
async def devices_that_need_two_hops_take_them_in_order_beside_those_that_need_one(
    world: Rollout, far: list[str], near: list[str]
) -> None:
    """The devices refuse a skip; of one the first hop's outcome is lost, and read back."""
    world.sign("acme-esme-0106")
    world.more_goes_wrong(
        {"fault": "refuses_skip", "devices": far, "versions": ["01060000"], "runs": ["01020003"]},
        {"fault": "lost_response", "devices": far[:1], "legs": ["activate"], "attempts": [1]},
    )
    wanted = {**request("acme-esme-0106", hop_soak="1s"), "cohort": {"devices": [*far, *near]}}
    async with world.client() as client:
        await client.start("hops", wanted)
        await world.until(lambda: world.states("hops") == {"settled": 5}, "all have taken their hops", 200)
    for eui, way in [*((eui, ["01040000", "01060000"]) for eui in far), *((eui, ["01060000"]) for eui in near)]:
        ran = [line["detail"] for line in world.device(eui)["story"] if line["what"] == "activated"]
        assert ran == way, eui
    images = "SELECT DISTINCT parameters ->> 'release' FROM outbox WHERE campaign = 'hops' AND leg = :leg"
    for leg in ("distribute", "activate"):
        assert {row[0] for row in world.rows(images, leg=leg)} == {"acme-esme-0104", "acme-esme-0106"}
    assert world.value("SELECT count(*) FROM campaign_device WHERE campaign = 'hops' AND hop = 2") == 3
