"""Paths of several hops in the ledger: what is permitted when, what a message is about, and what is held throughout."""

import io
import zipfile
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave import duis
from hanwave.identifiers import EUI64
from hanwave.ledger import (
    adopt,
    campaigns,
    control,
    cpl,
    incident_pack,
    outbox,
    overview,
    pacing,
    permit,
    rollback,
    waves,
)
from hanwave.ledger.cancel import cancel_device
from hanwave.ledger.report import gather
from hanwave.ledger.standing import standings
from hanwave.ledger.story import story
from hanwave.report import answers
from hanwave.report.rates import Rates
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from hanwave.rollout.gate import Progress
from hanwave.rollout.policy import Policy, Wave
from tests.support import messages as m
from tests.support.ledger import ACB, HASH, US, VERSION, World, eui
from tests.support.routing import ask, deliver, post

pytestmark = pytest.mark.ledger
MIDDLE, MIDDLE_HASH = "00000009", "CD" * 32
STEPS = text("SELECT hop, leg, attempt FROM outbox_device ORDER BY outbox_id, update_id")


@pytest.fixture
def world(world: World) -> World:
    """r2 is reached by way of r9."""
    world.release()
    world.cpl(MIDDLE, image_hash=MIDDLE_HASH)
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO release VALUES ('r9', 'ESME', '121D', :version, :hash, 'general', '{}', :now)"),
            {"version": MIDDLE, "hash": MIDDLE_HASH, "now": world.now},
        )
    return world


def on_path(world: World, size: int = 1, direct: int = 0, **policy: object) -> list[int]:
    """A campaign in which all devices but the last few take two hops; its update ids."""
    euis = world.fleet(size + direct)
    rules = Policy(waves=(Wave(share=1),), **policy)
    new = campaigns.NewCampaign("spring", "r2", US, rules, "seed", "digest-spring", "ann")
    with world.engine.begin() as connection:
        campaigns.create(connection, new, (tuple(euis),), {}, world.now, dict.fromkeys(euis[:size], ("r9", "r2")))
        connection.execute(text("UPDATE wave SET opened_at = :now"), {"now": world.now})
        return list(connection.execute(text("SELECT id FROM campaign_device ORDER BY eui")).scalars())


def distribute(world: World, ids: list[int]) -> permit.Permit:
    return ask(world, ids, Leg.DISTRIBUTE, "11.1", ACB)


def step(world: World, update_id: int, version: str, image_hash: str) -> duis.Response:
    """One hop of the first device, from its image to the device's word; the answer that brought it."""
    post(world, distribute(world, [update_id]))
    world.later(minutes=1)
    deliver(world, m.verified(image_hash=bytes.fromhex(image_hash), at=world.now))
    request = post(world, ask(world, [update_id], Leg.ACTIVATE, "11.3"))
    world.later(minutes=1)
    answer = m.outcome(request, version, at=world.now)
    deliver(world, answer)
    return answer


def stepped(world: World, size: int = 1, direct: int = 0, **policy: object) -> list[int]:
    """The first device confirmed in its first hop, its soak over."""
    ids = on_path(world, size, direct, **policy)
    step(world, ids[0], MIDDLE, MIDDLE_HASH)
    return ids


def sweep(world: World) -> waves.Sweep:
    with world.engine.begin() as connection:
        return waves.sweep(connection, "spring", 1, world.now, timedelta(seconds=30))


def held(world: World) -> tuple[int, int]:
    """Leases, and leases of homes."""
    return world.count("lease"), world.count("home_lease")


def test_a_device_goes_hop_by_hop_with_attempts_and_images_of_each_and_keeps_lease_and_home(world):
    (update_id,) = stepped(world)
    assert world.state(update_id) is State.STEPPED
    assert held(world) == (1, 2)
    assert "soaks before hop 2 of 2" in distribute(world, [update_id]).refused[update_id].reason
    world.later(hours=1)
    assert sweep(world).distribute == 1
    step(world, update_id, VERSION, HASH)
    assert world.state(update_id) is State.CONFIRMED
    with world.engine.connect() as connection:
        granted = [tuple(row) for row in connection.execute(STEPS)]
        releases = connection.execute(text("SELECT parameters ->> 'release' FROM outbox ORDER BY id")).scalars().all()
        assert campaigns.funnel(connection, "spring") == {"confirmed": 1}
    assert granted == [(hop, leg, 1) for hop in (1, 2) for leg in ("distribute", "activate")]
    assert releases == ["r9", "r9", "r2", "r2"]
    assert held(world) == (1, 0)


def test_the_version_between_wakes_nobody_and_the_last_one_does(world):
    (update_id,) = on_path(world)
    post(world, distribute(world, [update_id]))
    world.later(minutes=1)
    deliver(world, m.verified(image_hash=bytes.fromhex(MIDDLE_HASH), at=world.now))
    request = post(world, ask(world, [update_id], Leg.ACTIVATE, "11.3"))
    world.later(minutes=1)
    assert deliver(world, m.outcome(request, MIDDLE, at=world.now)).wakes == ()


def test_what_is_late_of_the_first_image_is_of_its_hop(world):
    (update_id,) = stepped(world)
    told = world.now
    world.later(hours=2)
    post(world, distribute(world, [update_id]))
    world.later(minutes=1)
    deliver(world, m.verified(image_hash=bytes.fromhex(MIDDLE_HASH), at=told))
    deliver(world, m.verified(image_hash=bytes.fromhex(MIDDLE_HASH), at=world.now))
    assert world.state(update_id) is State.REQUESTED
    assert world.count("device_event", "kind = 'verified' AND hop = 1") == 2
    deliver(world, m.verified(image_hash=bytes.fromhex(HASH), at=world.now))
    assert world.state(update_id) is State.HELD


def test_a_cap_that_is_reached_holds_no_device_up_in_the_midst_of_its_path(world):
    ids = stepped(world, size=2, exposure_cap=1)
    world.later(hours=1)
    sweep(world)
    for each in ids:
        post(world, distribute(world, [each]))
    world.later(minutes=1)
    for device, image in ((m.DEVICE, HASH), (EUI64.parse(eui(1)), MIDDLE_HASH)):
        deliver(world, m.verified(image_hash=bytes.fromhex(image), at=world.now, sender=device))
    assert [world.state(each) for each in ids] == [State.HELD, State.HELD]
    with world.engine.begin() as connection:
        frame = campaigns.frame(connection, "spring")
        assert pacing.pick(connection, frame, 1, world.now, timedelta(seconds=30)) == [eui(0)]
    assert "exposure cap of 1" in ask(world, [ids[1]], Leg.ACTIVATE, "11.3").refused[ids[1]].reason
    assert ask(world, [ids[0]], Leg.ACTIVATE, "11.3").granted


def test_the_breaker_counts_a_device_in_a_later_hop_as_one_that_activated_well(world):
    ids = stepped(world)
    with world.engine.connect() as connection:
        assert campaigns.progress(connection, "spring", 1) == Progress(1, 0, 1, 0)
    world.later(hours=1)
    post(world, distribute(world, ids))
    with world.engine.connect() as connection:
        assert campaigns.funnel(connection, "spring") == {"requested": 1}
        assert campaigns.progress(connection, "spring", 1) == Progress(1, 0, 1, 0)


def test_a_request_carries_one_image_whichever_hop_it_is_of(world):
    ids = stepped(world, size=2, direct=1)
    world.later(hours=1)
    sweep(world)
    with world.engine.connect() as connection:
        first = waves.next_batch(connection, "spring", 1, world.now)
    assert first == [ids[1]]
    granted = distribute(world, [ids[0], ids[1], ids[2]])
    assert set(granted.granted) == {ids[0], ids[2]}
    assert "another release than r2" in granted.refused[ids[1]].reason
    with world.engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(STEPS)][-2:] == [(2, "distribute", 1), (1, "distribute", 1)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE device SET firmware_version = '00000001'", "its path goes on from 00000009: plan it anew"),
        ("UPDATE cpl_entry SET status = 'Withdrawn' WHERE firmware_version = '00000002'", "for its model as Withdrawn"),
    ],
)
def test_the_next_hop_is_permitted_by_what_is_known_of_it_now(world, change, reason):
    (update_id,) = stepped(world)
    world.later(hours=1)
    with world.engine.begin() as connection:
        connection.execute(text(change))
    assert reason in distribute(world, [update_id]).refused[update_id].reason


def test_a_release_on_the_way_that_leaves_the_cpl_is_not_sent(world):
    (update_id,) = on_path(world)
    world.cpl(MIDDLE, "Withdrawn", MIDDLE_HASH)
    assert "as Withdrawn" in distribute(world, [update_id]).refused[update_id].reason


def test_what_was_permitted_of_a_release_on_the_way_is_given_back_once_the_cpl_drops_it(world):
    """And nothing of the campaign's own release, for devices that are further."""
    ids = stepped(world, size=2)
    world.later(hours=1)
    sweep(world)
    of_last, of_middle = (distribute(world, [each]).outbox_id for each in ids)
    with world.engine.begin() as connection:
        cpl._give_back(connection, ["r9"], world.now)
        states = {each: outbox.get(connection, each or 0).state for each in (of_last, of_middle)}
    assert states == {of_last: "granted", of_middle: "abandoned"}


def test_a_campaign_that_is_withdrawn_half_way_leaves_the_version_between_to_be_rolled_back(world):
    (update_id,) = stepped(world)
    assert control.withdraw_campaign(world.engine, "spring", "smoke", "ann") == 0
    assert world.state(update_id) is State.CLOSED
    with world.engine.connect() as connection:
        assert rollback.to_restore(connection, "spring") == [eui(0)]
        assert standings(connection, [update_id], world.now)[0].standing.version == MIDDLE
    assert held(world) == (0, 0)


def test_a_device_that_is_cancelled_half_way_ends_where_it_is(world):
    stepped(world)
    found = cancel_device(world.engine, "spring", eui(0), "a complaint", "ann")
    assert (found.ended, found.outcome) == (True, "cancelled")


def test_what_never_left_of_a_later_hop_is_given_back_and_tried_again_in_that_hop(world):
    (update_id,) = stepped(world)
    world.later(hours=1)
    granted = distribute(world, [update_id])
    with world.engine.begin() as connection:
        outbox.never_sent(connection, granted.outbox_id or 0, world.now, "halted")
    world.later(hours=2)
    assert distribute(world, [update_id]).granted == (update_id,)
    assert world.count("outbox_device", "(hop, leg, attempt) = (2, 'distribute', 2)") == 1


def test_the_story_and_the_status_name_the_hop(world):
    stepped(world)
    with world.engine.connect() as connection:
        (update,) = story(connection, eui(0)).updates
        assert (update.hop, update.path, update.state) == (1, ["r9", "r2"], "stepped")
        assert {request.hop for request in update.requests} == {1}
        view = overview.known(connection, "spring")
    assert (view.hops, view.funnel) == ({"hop 1 of 2": 1}, {"stepped": 1})


def test_a_record_of_other_means_is_not_taken_for_a_hop(world, tmp_path):
    on_path(world)
    rows = f"eui,state,at,evidence\n{eui(0)},held,2026-11-01T00:00:00Z,a sheet\n"
    (tmp_path / "records.csv").write_text(rows)
    with (
        (tmp_path / "records.csv").open() as file,
        world.engine.begin() as connection,
        pytest.raises(adopt.AdoptError, match="takes several hops, and a record does not say which it is of"),
    ):
        adopt.adopt(connection, "spring", file, "ann", world.now)


def test_the_report_and_the_pack_name_each_release_of_the_way(world):
    stepped(world)
    with world.engine.begin() as connection:
        found = gather(connection, "spring", world.now)
    assert found.by_way == {"r9": 1}
    assert "1 device by way of release r9." in dict(answers.answers(found, Rates()))["What was planned?"]
    with world.engine.connect() as connection:
        incident_pack.write(connection, "spring", MIDDLE_HASH, pack := io.BytesIO())
    with zipfile.ZipFile(pack) as packed:
        told, requests = packed.read("README.txt").decode(), packed.read("requests.csv").decode()
    assert f"Release r9, version {MIDDLE}, manufacturer image hash {MIDDLE_HASH}." in told
    assert f"Release r2, version {VERSION}, manufacturer image hash {HASH}." in told
    assert requests.count(",11.1,r9,1,distribute,1,") == requests.count(",11.3,r9,1,activate,1,") == 1
