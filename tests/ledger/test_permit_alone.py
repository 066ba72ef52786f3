"""The permit's questions, each where none of the others would refuse; on a real PostgreSQL."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import text

from hanwave.ledger import budgets, outbox, permit, stops, withdrawal
from hanwave.rollout.budget import Threshold
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.ledger.test_permit_and_outbox import activate, distribute, halt, hold_image, say, send
from tests.support.ledger import ACB, HASH, US, World

pytestmark = pytest.mark.ledger
T = TypeVar("T")
BUSY = "its home has another update under way"


def reasons(asked: permit.Permit) -> set[str]:
    return {each.reason for each in asked.refused.values()}


def test_a_step_is_granted_to_its_own_wave_alone(world):
    (update_id,) = world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        request = permit.Ask("spring", 2, Leg.DISTRIBUTE, [update_id], "11.1", ACB)
        assert permit.ask(connection, request, world.now).granted == ()
    assert distribute(world, [update_id]).granted == (update_id,)


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_request_that_has_not_left_could_leave_after_a_second_one(world, is_signed):
    """The gateway was away for so long that the deadline passed, and comes back."""
    (update_id,) = world.campaign(world.fleet(1))
    first = distribute(world, [update_id]).outbox_id or 0
    if is_signed:
        with world.engine.begin() as connection:
            outbox.make_ready(connection, first, b"<request/>")
    say(world, update_id, Kind.OVERDUE, Leg.DISTRIBUTE)
    world.later(hours=2)
    assert reasons(distribute(world, [update_id])) == {"an earlier request of this leg has not left yet"}
    with world.engine.begin() as connection:
        outbox.never_sent(connection, first, world.now, "its permit is old")
    world.later(hours=2)
    assert distribute(world, [update_id]).granted == (update_id,)


def test_a_home_takes_one_image_at_a_time(world):
    ids = world.campaign(world.fleet(4, homes=2))
    granted = distribute(world, ids)
    assert len(granted.granted) == 2
    assert reasons(granted) == {BUSY}
    assert world.count("lease") == 2
    for update_id in granted.granted:
        say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    assert set(distribute(world, ids).granted) == set(ids) - set(granted.granted)


def other_at_home(world: World, kind: Leg) -> None:
    """Another update has the home for an hour, for that leg."""
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO home_lease (home, kind, update_id, expires_at) VALUES ('home-0', :kind, 99, :until)"),
            {"kind": kind, "until": world.now + timedelta(hours=1)},
        )


def kinds(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(text("SELECT kind FROM home_lease ORDER BY kind")).scalars())


@pytest.mark.parametrize("other", [Leg.DISTRIBUTE, Leg.ACTIVATE])
def test_a_ppmids_image_is_an_activation_too_and_waits_for_either_at_its_home(world, other):
    world.device_type = "PPMID"
    (update_id,) = world.campaign(world.fleet(1))
    other_at_home(world, other)
    assert reasons(distribute(world, [update_id])) == {BUSY}
    assert kinds(world) == [other]  # what it took before it was refused is given back
    assert world.count("lease") == 0
    world.later(minutes=59)
    assert reasons(distribute(world, [update_id])) == {BUSY}
    world.later(minutes=1)
    assert distribute(world, [update_id]).granted == (update_id,)
    assert kinds(world) == [Leg.ACTIVATE, Leg.DISTRIBUTE]


def test_the_hub_stands_for_a_home_that_is_not_known(world):
    ids = world.campaign(world.fleet(3, homes=2))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET home = NULL"))
    asked = distribute(world, ids)
    assert asked.granted == tuple(ids[:2])
    assert reasons(asked) == {BUSY}


def test_a_halt_of_a_model_holds_back_what_was_permitted_before_it(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id).outbox_id
    halt(world, stops.Scope("model", "121D/2222"))
    stop_id = halt(world, stops.Scope("model", "121D/1111"))
    assert send(world, granted) == "the model of a device of it is stopped"
    with world.engine.begin() as connection:
        stops.lift(connection, stop_id, "false alarm", "bob", world.now)
    assert isinstance(send(world, granted), outbox.Sending)


def test_a_question_to_the_transform_service_is_waited_for_until_it_has_begun(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id).outbox_id or 0
    with world.engine.begin() as connection:
        assert outbox.begin_transform(connection, granted, world.now) is True
        assert stops.sending(connection, world.now) == {stops.Marked(granted, world.now, transform=True)}
        assert stops.sending(connection, world.now + stops.BEGIN_BOUND) == set()
    halt(world, stops.Scope("all"))
    with world.engine.begin() as connection:
        assert outbox.begin_transform(connection, granted, world.now) == "halt of all by ann: smoke"


def meanwhile(world: World, first: permit.Ask, then: Callable[[], T]) -> T:
    """What somebody else gets who comes while a permit is granted and not yet committed: they wait for it."""
    waits = "wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as pool, world.engine.begin() as connection:
        assert permit.ask(connection, first, world.now).granted
        second = pool.submit(then)
        while not second.done() and not world.count("pg_stat_activity", waits):
            time.sleep(0.01)
        assert not second.done()
    return second.result(30)


def test_no_more_is_dated_by_all_campaigns_than_can_be_cancelled_before_the_earliest_falls_due(world):
    lead = timedelta(seconds=100)
    dated = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED, cancels=0.01)
    one, two = world.fleet(2)
    asks: dict[str, permit.Ask] = {}
    # There would be time to cancel summer's, and many more, if spring's had not to be cancelled by then.
    for name, each, ahead in (("spring", one, lead), ("summer", two, 9 * lead)):
        dated = dated.model_copy(update={"lead": ahead})
        ids = world.campaign([each], dated, name)
        send(world, distribute(world, ids, name).outbox_id)
        say(world, ids[0], Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
        asks[name] = permit.Ask(name, 1, Leg.ACTIVATE, ids, "11.3")

    def summer() -> permit.Permit:
        with world.engine.begin() as connection:
            return permit.ask(connection, asks["summer"], world.now)

    assert reasons(meanwhile(world, asks["spring"], summer)) == {
        "no more future-dated activations may be outstanding than can be cancelled before the earliest falls due"
    }
    world.now += lead  # spring's has fallen due
    assert summer().granted


def test_a_halt_waits_for_a_permit_and_finds_what_it_granted(world):
    """Else it would stay granted, and leave once the halt is lifted."""
    (update_id,) = hold_image(world)
    request = permit.Ask("spring", 1, Leg.ACTIVATE, [update_id], "11.3")
    meanwhile(world, request, lambda: halt(world, stops.Scope("all")))
    with world.engine.connect() as connection:
        assert len(outbox.unsent(connection, stops.Scope("all"))) == 1


def test_who_is_refused_keeps_the_lease_of_what_is_in_flight_and_gets_none_for_nothing(world):
    first, second = world.campaign(world.fleet(2, homes=1))
    distribute(world, [first])
    assert not distribute(world, [first, second]).granted
    assert world.count("lease") == world.count("lease", f"update_id = {first}") == 1


def limit(world: World, most: int, variant: str) -> None:
    threshold = Threshold.model_validate(
        {"user_id": US, "variant": variant, "period": "24h", "limit": most, "reserve": 0}
    )
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, [threshold], "ann", world.now)


def ask(world: World, leg: Leg, variant: str, update_id: int) -> permit.Permit:
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask("spring", 1, leg, [update_id], variant), world.now)


def to_read(world: World) -> list[int]:
    """Updates of which nobody knows whether they activated."""
    ids = hold_image(world, 2)
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
    world.later(days=2)
    for update_id in ids:
        say(world, update_id, Kind.OVERDUE, Leg.ACTIVATE)
    return ids


def to_withdraw(world: World) -> list[int]:
    """Updates whose future-dated activations a halt withdraws."""
    dated = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED)
    ids = hold_image(world, 2, dated)
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
    halt(world, stops.Scope("all"))
    return ids


def test_an_activation_that_never_left_is_not_withdrawn(world):
    dated = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED)
    left, granted = hold_image(world, 2, dated)
    send(world, activate(world, left).outbox_id)
    assert activate(world, granted).granted
    halt(world, stops.Scope("all"))
    with world.engine.connect() as connection:
        assert [each.update_id for each in withdrawal.due(connection, world.now, 9)] == [left]


@pytest.mark.parametrize(
    ("leg", "variant", "most", "prepared"),
    [
        (Leg.READ, "11.2", 1, to_read),
        (Leg.INVENTORY, "8.2", 1, to_read),
        (Leg.WITHDRAW, "11.3", 3, to_withdraw),  # two activations count too
    ],
)
def test_what_looks_and_what_withdraws_waits_for_room_under_the_threshold_too(world, leg, variant, most, prepared):
    first, second = prepared(world)
    limit(world, most, variant)
    assert ask(world, leg, variant, first).granted == (first,)
    refused = ask(world, leg, variant, second)
    assert refused.granted == ()
    assert refused.refused[second].reason.startswith(f"the budget of SR {variant} is used: {most} of {most} in ")
    limit(world, most + 1, variant)
    assert ask(world, leg, variant, second).granted == (second,)
