"""Two suppliers' User IDs on one installation see nothing of each other. On a real PostgreSQL, with Temporal away."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime

import pytest
from sqlalchemy import Connection, text

import hanwave
from hanwave import duis
from hanwave.client import NoCampaignError
from hanwave.credentials import Role
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns, eligible, holds, inbox, permit, receipt, releases
from hanwave.ledger.standing import standings
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.settings import Settings
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, send
from tests.support import messages as m
from tests.support.ledger import ACB, US, World, eui

pytestmark = pytest.mark.ledger
THEM = "90-B3-D5-1F-30-02-00-00"


@pytest.fixture
def as_(ledger_dsn):
    def connect(user_id: str | None) -> AbstractAsyncContextManager[hanwave.Client]:
        return hanwave.Client.connect(Settings(), address="127.0.0.1:1", dsn=ledger_dsn, user_id=user_id, patience=0.1)

    return connect


@pytest.fixture
def two(world: World) -> World:
    """Our campaign "spring" over device 0, in flight; theirs, "summer", over device 1, in flight too."""
    euis = world.fleet(2)
    with world.engine.begin() as connection:
        statement = text("UPDATE device SET import_supplier = :them WHERE eui = :eui")
        connection.execute(statement, {"them": THEM, "eui": euis[1]})
    send(world, distribute(world, world.campaign(euis[:1])).outbox_id)
    new = campaigns.NewCampaign("summer", "r2", THEM, Policy(waves=(Wave(share=1),)), "seed", "digest-summer", "eve")
    with world.engine.begin() as connection:
        campaigns.create(connection, new, ((euis[1],),), {}, world.now)
        connection.execute(text("UPDATE wave SET opened_at = :now"), {"now": world.now})
        update_id = connection.execute(text("SELECT id FROM campaign_device WHERE campaign = 'summer'")).scalar_one()
        ask = permit.Ask("summer", 1, Leg.DISTRIBUTE, [update_id], "11.1", ACB)
        granted = permit.ask(connection, ask, world.now)
    send(world, granted.outbox_id)
    return world


async def test_each_lists_its_own_campaigns_and_the_installation_all(two, as_):
    seen = {}
    for user_id in (US, THEM, None):
        async with as_(user_id) as client:
            seen[user_id] = {each.name for each in await client.campaigns()}
    assert seen == {US: {"spring"}, THEM: {"summer"}, None: {"spring", "summer"}}


@pytest.mark.parametrize("verb", ["status", "halt", "pause", "resume", "cancel_device"])
async def test_no_verb_reaches_anothers_campaign_and_the_refusal_names_nothing_of_it(two, as_, verb):
    said = {"reason": "smoke", "actor": "ann"}
    given = {
        "status": ((), {}),
        "halt": ((), said),
        "pause": ((), said),
        "resume": ((), {**said, "digest": "digest-summer"}),
        "cancel_device": ((eui(1),), said),
    }
    args, kwargs = given[verb]
    async with as_(US) as client:
        with pytest.raises(NoCampaignError) as refused:
            await getattr(client.campaign("summer"), verb)(*args, **kwargs)
        with pytest.raises(NoCampaignError) as unknown:
            await client.campaign("winter").status()
    assert str(refused.value) == "there is no campaign 'summer'; the ledger has spring"
    assert str(refused.value) == str(unknown.value).replace("winter", "summer")
    assert two.count("stop") == 0


async def test_a_device_of_anothers_has_no_story(two, as_):
    async with as_(US) as client:
        assert (await client.story(eui(0))).updates
        with pytest.raises(HanwaveError) as refused:
            await client.story(eui(1))
    brings = "`hanwave fleet import` brings it there"
    assert str(refused.value) == f"device {eui(1)} is in no campaign, and not in the fleet: {brings}"


async def test_a_device_that_changed_hands_has_two_stories(two, as_):
    with two.engine.begin() as connection:
        connection.execute(text("UPDATE device SET import_supplier = :them"), {"them": THEM})
    async with as_(US) as client:
        ours = await client.story(eui(0))
    async with as_(THEM) as client:
        theirs = await client.story(eui(0))
    assert (len(ours.updates), ours.device) == (1, None)
    assert theirs.updates == []
    assert theirs.device


@pytest.mark.parametrize(("kind", "value"), [("campaign", "summer"), ("wave", "summer/1"), ("user", THEM)])
async def test_a_halt_by_name_is_of_ones_own(two, as_, kind, value):
    async with as_(US) as client:
        with pytest.raises(HanwaveError):
            await client.halt(kind, value, reason="smoke", actor="ann")
    assert two.count("stop") == 0


async def test_a_halt_of_all_stops_all_and_lists_ones_own_devices_alone(world, as_):
    (update_id,) = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    listed = {}
    for user_id in (US, THEM):
        async with as_(user_id) as client:
            listed[user_id] = (await client.halt("all", reason="smoke", actor="ann")).beyond_recall
    assert [each.eui for each in listed[US]] == [eui(0)]
    assert listed[THEM] == []
    assert world.count("stop", "scope = 'all'") == 2


async def test_a_request_in_anothers_name_is_refused(two, as_):
    async with as_(US) as client:
        with pytest.raises(HanwaveError, match=f"user_id: {THEM} is not the User ID of this client") as refused:
            await client.plan("autumn", {"release": "r2", "user_id": THEM})
    assert len(str(refused.value)) <= 240


def test_a_hold_of_one_binds_its_own_campaigns_alone_and_only_it_sees_and_lifts_it(two):
    with two.engine.begin() as connection:
        ours = holds.place(connection, holds.NewHold("region", "South", "storm", "ann", user_id=US), two.now)
        everyones = holds.place(connection, holds.NewHold("device", eui(7), "a visit", "root"), two.now)
        seen = {user: [h.id for h in holds.listed(connection, two.now, user_id=user)] for user in (US, THEM, None)}
        assert seen == {US: [ours, everyones], THEM: [everyones], None: [ours, everyones]}
        reasons = [held_back(connection, name, two.now) for name in ("spring", "summer")]
        assert reasons == [["on hold: storm"], []]
    with two.engine.begin() as connection, pytest.raises(HanwaveError, match=f"there is no hold {ours} that is not"):
        holds.lift(connection, ours, "why not", "eve", two.now, THEM)
    with two.engine.begin() as connection:
        holds.lift(connection, ours, "it is over", "ann", two.now, US)


def held_back(connection: Connection, campaign: str, now: datetime) -> list[str]:
    rows = connection.execute(text("SELECT id FROM campaign_device WHERE campaign = :name"), {"name": campaign})
    devices = standings(connection, rows.scalars(), now)
    frame = campaigns.frame(connection, campaign)
    return list(eligible.why_not(connection, frame, Leg.DISTRIBUTE, devices, now).values())


def test_of_what_waits_at_the_door_nobody_sees_or_replays_what_is_anothers(two):
    theirs = duis.write(m.device_alert("8F1B", b"x", at=two.now, to=EUI64.parse(THEM)))
    with two.engine.begin() as connection:
        for key, raw in (("1", theirs), ("2", b"<nobody knows/>")):
            inbox.store(connection, key, raw, two.now, verified=False, note="no trusted certificate")
        seen = {user: len(receipt.refused(connection, user_id=user)) for user in (US, THEM)}
        assert seen == {US: 1, THEM: 2}
        (first, _) = receipt.refused(connection)
        trust = duis.TrustStore([], Role.ACCESS_CONTROL_BROKER)
        assert "is not one that waits" in str(receipt.replay(connection, first.id, trust, two.now, US))
        assert "is not one that waits" not in str(receipt.replay(connection, first.id, trust, two.now, THEM))


def test_of_a_releases_images_each_sees_its_own_and_everyones(two):
    with two.engine.begin() as connection:
        for user in (US, THEM, ""):
            statement = "INSERT INTO signed_image (release, user_id, image, added_at) VALUES ('r2', :user, '', :now)"
            connection.execute(text(statement), {"user": user, "now": two.now})
        seen = [releases.listed(connection, user)[0].images for user in (US, THEM, None)]
    assert seen == [[US, "everyone"], [THEM, "everyone"], [US, THEM, "everyone"]]
