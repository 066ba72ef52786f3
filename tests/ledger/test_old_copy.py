"""A copy of the ledger that is really old: much was done since it was made, and nothing depends on how long ago that was."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from activities.guard import stop_if_restored
from hanwave.identifiers import RequestID
from hanwave.ledger import beats, campaigns, database, reconcile, waves
from hanwave.ledger.witness import Witness
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from infra.stack.postgres import APPLICATION, OWNER
from tests.ledger.test_permit_and_outbox import activate, distribute, say, send
from tests.ledger.test_reconcile import ask_devices, go_on, questions, send_questions, standing, stop_all
from tests.support.ledger import HASH, US, VERSION, World, eui
from tests.support.postgres import create_database, drop_database

pytestmark = [pytest.mark.ledger, pytest.mark.fault]
AGES = [timedelta(minutes=10), timedelta(days=1), timedelta(days=40)]
SIZE = 8


@pytest.fixture
def copied(world: World, postgres) -> Iterator[Callable[[], World]]:
    """Makes a copy of the world's ledger, as it is now, that is a world of its own."""
    made: list[World] = []

    def copy() -> World:
        source = world.engine.url.database
        world.engine.dispose()
        dsn = create_database(postgres, f"{source}_copy", source)
        # Nobody keeps the house of the copy while it lies on its shelf: its warden is as old as it is.
        owner = database.engine(dsn)
        with owner.begin() as connection:
            beats.beat(connection, beats.WARDEN, world.now)
        owner.dispose()
        made.append(replace(world, engine=database.engine(dsn.replace(f"//{OWNER}@", f"//{APPLICATION}@", 1))))
        return made[0]

    yield copy
    for each in made:
        name = each.engine.url.database
        each.engine.dispose()
        drop_database(postgres, name)


def images_held(world: World, ids: list[int]) -> None:
    permitted = distribute(world, ids)
    assert permitted.outbox_id, permitted.refused
    send(world, permitted.outbox_id)
    for update_id in ids:
        say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)


def go_through(world: World, ids: list[int]) -> None:
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
        world.later(seconds=1)
        say(world, update_id, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)


def counters(world: World) -> list[int]:
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT request_id FROM outbox ORDER BY id")).scalars()
        return [RequestID.parse(each).counter for each in rows]


def begin_waiting_activation(world: World, update_id: int) -> int:
    granted = activate(world, update_id).outbox_id
    assert granted is not None
    return granted


@pytest.mark.parametrize("age", AGES, ids=str)
def test_nothing_is_done_again_that_was_done_since_the_copy(world, copied, age):
    ids = world.campaign(world.fleet(SIZE))
    untouched, held, waiting = ids[:5], ids[5:7], ids[7]
    images_held(world, [*held, waiting])
    begin_waiting_activation(world, waiting)
    copy = copied()
    assert {copy.state(each) for each in untouched} == {State.PLANNED}

    # What the copy does not know: everything else.
    images_held(world, untouched)
    go_through(world, [*untouched, *held])
    lost = counters(world)

    copy.now = max(world.now, copy.now + age)
    assert distribute(copy, untouched).granted == (), (
        "the warden of an old copy is silent, so nothing forward is permitted"
    )
    stop_all(copy)
    with copy.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, copy.now)
    refused = distribute(copy, untouched).refused
    assert {each.reason.partition(":")[0] for each in refused.values()} == {"halt of all by ann"}
    assert copy.count("outbox", "state = 'forgotten'") == 1, "the activation that the copy has as unanswered"
    with copy.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, copy.now)
        waves.sweep(connection, "spring", 1, copy.now, timedelta(seconds=30))

    assert ask_devices(copy) == SIZE
    assert min(counters(copy)[-2 * SIZE :]) > max(lost), "a counter that may have been used is given out"
    assert len(questions(copy, Leg.INVENTORY)) == len(questions(copy, Leg.READ)) == SIZE
    copy.later(seconds=1)
    send_questions(copy)
    copy.later(seconds=1)
    # All that were activated say so, but one that cannot be reached; the one whose activation waited says the old version.
    silent = untouched[0]
    for update_id in [*untouched[1:], *held]:
        say(copy, update_id, Kind.VERSION, Leg.READ, version=VERSION, attempt=_attempt(copy, update_id))
    say(copy, waiting, Kind.VERSION, Leg.READ, version="00000001", attempt=_attempt(copy, waiting))
    found = go_on(copy)
    assert (found.asked, found.answered, found.silent) == (SIZE, SIZE - 1, [eui(0)])
    assert {copy.state(each) for each in [*untouched[1:], *held]} == {State.CONFIRMED}

    assert distribute(copy, untouched).granted == ()
    for update_id in [*untouched, *held]:
        assert activate(copy, update_id).granted == ()
    assert copy.count("outbox_device", "leg IN ('distribute', 'activate')") == 3 + 1, "only what the copy knew of"
    assert "on hold" in distribute(copy, [silent]).refused[silent].reason


def _attempt(world: World, update_id: int) -> int:
    with world.engine.connect() as connection:
        statement = text("SELECT max(attempt) FROM outbox_device WHERE update_id = :id AND leg = 'read'")
        return int(connection.execute(statement, {"id": update_id}).scalar_one())


@pytest.mark.parametrize("age", AGES, ids=str)
@pytest.mark.parametrize("has_counter", [False, True])
def test_a_burst_of_counters_before_the_loss_is_jumped_over(world, copied, age, has_counter):
    """The counters run ahead of the clock by bursts: the lost ones are those of the clock, and the burst on top."""
    ids = world.campaign(world.fleet(1))
    if has_counter:
        send(world, distribute(world, ids).outbox_id)
    copy = copied()
    burst = int((world.now + age).timestamp() * 1000) + 500_000
    copy.now += age
    stop_all(copy)
    ask_devices(copy)
    assert min(counters(copy)[has_counter:]) > burst
    assert standing(copy).unsent == 2
    assert reconcile.JUMP >= 2 * 500_000


def test_a_ledger_that_is_restored_again_in_mid_reconciliation_gives_no_counter_out_twice(world, copied, tmp_path):
    ids = world.campaign(world.fleet(3))
    stop_all(world)
    copy = copied()
    world.later(seconds=1)
    ask_devices(world)
    gateway, used = Witness(tmp_path / "gateway.json"), counters(world)
    send_questions(world)
    gateway.sends("the last question", world.now)
    copy.now = world.now + timedelta(minutes=5)
    assert stop_if_restored(copy.engine, gateway, "gateway", copy.now)
    # The warden saw what it lacks before the first stop: that is the first restore, and dealt with.
    warden = Witness(tmp_path / "warden.json")
    warden.sends("lost with the first", copy.now - timedelta(hours=1))
    assert stop_if_restored(copy.engine, warden, "warden", copy.now)
    assert copy.count("stop", "lifted_at IS NULL") == 2
    assert ask_devices(copy) == len(ids)
    assert not set(used) & set(counters(copy))
    send_questions(copy)
    go_on(copy)
    assert copy.count("stop", "lifted_at IS NULL") == 0


def start(connection, world: World, euis: list[str], policy: Policy) -> None:
    campaign = campaigns.NewCampaign("spring", "r2", US, policy, "seed", "digest", "ann")
    campaigns.create(connection, campaign, (tuple(euis),), {}, world.now)


def test_a_process_keeps_no_campaign_that_was_never_begun_nor_that_of_another_ledger(world, copied):
    """Else it would permit what another plan of that name allows: another image, even."""
    world.release()
    euis = world.fleet(1)
    few, many = (Policy(waves=(Wave(share=1),), batch=batch) for batch in (5, 50))
    copy = copied()
    with world.engine.connect() as connection:
        start(connection, world, euis, few)
        assert campaigns.frame(connection, "spring").policy == few
        connection.rollback()
        start(connection, world, euis, many)
        connection.commit()
        assert campaigns.frame(connection, "spring").policy == many
    with copy.engine.begin() as connection:
        start(connection, copy, euis, few)
        assert campaigns.frame(connection, "spring").policy == few
