"""A second User ID on the installation: its keys are renewed in mid-campaign, and the DCC quarantines its requests."""

import asyncio
import json

import httpx

from hanwave.client import Client
from hanwave.credentials import Role
from infra.emulator.pki import SECOND_SUPPLIER
from infra.pki import Authority
from tests.stack.scenarios import BY, SCENARIOS
from tests.support.at_once import Home
from tests.support.rollout_world import POLICY, Rollout, request

RELEASE = "acme-esme-0104"
_AT_ONCE = {kind: {**each, "activate": "2s"} for kind, each in POLICY["deadlines"].items()}


@SCENARIOS.over(Home(4, {"ESME": "1002"}), Home(4, {"ESME": "1002"}))
async def a_second_user_ids_keys_are_renewed_and_its_released_requests_do_no_harm_that_was_not_listed(
    world: Rollout, renewed: list[str], held_up: list[str]
) -> None:
    world.hand_over(renewed + held_up, SECOND_SUPPLIER)
    world.sign(RELEASE, "second")
    async with world.client(SECOND_SUPPLIER) as client:
        await signing_keys_are_renewed(world, client, renewed)
        await quarantined_requests_are_released_after_a_halt(world, client, held_up)


async def signing_keys_are_renewed(world: Rollout, client: Client, esmes: list[str]) -> None:
    """Between the image and its activation; the DCC knows the new keys alone."""
    wanted = {**request(RELEASE, {"count": 2}, {"share": 1}), "cohort": {"devices": esmes}, "approvals": 1}
    campaign = await client.start("renewed", wanted)
    digest = (await campaign.status()).digest
    await campaign.pause(leg="activate", **BY)
    await campaign.approve(digest=digest, actor="bob")
    await world.until(lambda: world.states("renewed") == {"held": 2, "planned": 2}, "the first images are held", 150)
    # A dated activation whose acknowledgement a restart loses is known at its date alone: that other scenario goes first.
    early = "SELECT count(*) FROM campaign_device WHERE campaign = 'dated' AND state = ANY(:states)"
    states = ["planned", "requested", "delivered", "held", "activating"]
    await world.until(lambda: world.value(early, states=states) == 0, "no activation is being dated", 120)
    await asyncio.to_thread(renew, world)
    await campaign.resume(digest=digest, **BY)
    await world.until(lambda: world.states("renewed") == {"settled": 4}, "both waves end well", 200)
    certificates = "SELECT count(*) FROM signed_image WHERE release = :r AND user_id = :u"
    assert world.value(certificates, r=RELEASE, u=str(SECOND_SUPPLIER)) == 2
    assert {world.device(eui)["version"] for eui in esmes} == {"01040000"}


def renew(world: Rollout) -> None:
    """New keys and certificates in the place of the old ones; whoever holds them starts again, and the image is signed anew."""
    authority = Authority()
    for kind, role in (("xml", Role.XML_SIGN), ("gbcs", Role.SUPPLIER)):
        fresh = authority.organisation(SECOND_SUPPLIER, role)
        (world.samples / "pki" / f"second-{kind}.key").write_bytes(fresh.key_pem)
        (world.samples / "pki" / f"second-{kind}.pem").write_bytes(fresh.certificate_pem)
    for name in ("emulator", "gateway"):
        world.stack.restart(name)
    world.sign(RELEASE, "second")


async def quarantined_requests_are_released_after_a_halt(world: Rollout, client: Client, esmes: list[str]) -> None:
    """All but one. The deadline of two seconds stands for a day's: it is long past when they are released."""
    limit = {"threshold": 0, "services": ["11.3"], "users": [str(SECOND_SUPPLIER)]}
    world.more_goes_wrong(quarantine=limit)
    wanted = {**request(RELEASE, deadlines=_AT_ONCE), "cohort": {"devices": esmes}}
    campaign = await client.start("held-up", wanted)
    await world.until(lambda: world.states("held-up") == {"quarantined": 4}, "the DCC holds every activation", 150)
    halted = await campaign.halt(**BY)
    listed = {each.eui for each in halted.beyond_recall}
    sent = world.posts("held-up")
    await asyncio.sleep(4)
    assert world.states("held-up") == {"quarantined": 4}

    for ref in quarantined(world)[1:]:
        world.lever(f"/quarantine/{ref}/release", {})
    runs = "SELECT count(*) FROM campaign_device WHERE campaign = 'held-up' AND version = '01040000'"
    await world.until(lambda: world.value(runs) == 3, "what they did is known", 60)
    executed = [
        line["request_id"] for eui in esmes for line in world.device(eui)["story"] if line["what"] == "executed"
    ]
    assert listed == set(esmes)  # so whatever they did was listed
    assert len(executed) == len(set(executed)) == 3
    assert world.posts("held-up") == sent
    assert world.states("held-up")["quarantined"] == 1
    assert (await campaign.status()).waves[0].passed is False


def quarantined(world: Rollout) -> list[int]:
    """The numbers of the requests that the DCC holds."""
    lines = map(json.loads, httpx.get(f"{world.admin}/books", timeout=30).text.splitlines())
    return [line["ref"] for line in lines if line["kind"] == "quarantine" and line["state"] == "held"]
