"""A halt cancels the future-dated activations that it can still recall, and no more are outstanding than can be cancelled."""

import threading
import time
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from activities.withdraw import Withdrawals
from hanwave.ledger import beats, control, stops, withdrawal
from hanwave.ledger.checks import NotNow
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy
from tests.support.halting import (
    DATED,
    OK,
    SPRING,
    Cancels,
    ask,
    at_the_real_time,
    due,
    halt,
    held,
    listed,
    say,
    scheduled,
    send,
)
from tests.support.ledger import World

pytestmark = pytest.mark.fault


@pytest.fixture
def world(ledger) -> World:
    return at_the_real_time(ledger)


@pytest.mark.parametrize(
    "scope",
    [
        stops.Scope("all"),
        stops.Scope("user", "90-B3-D5-1F-30-01-00-00"),
        stops.Scope("model", "121D/1111"),
        SPRING,
        stops.Scope("wave", "spring/1"),
        stops.Scope("campaign", "spring", Leg.ACTIVATE),
    ],
    ids=str,
)
def test_a_halt_of_any_scope_cancels_what_is_future_dated(world, scope):
    ids = scheduled(world, 3)
    assert due(world) == []
    halted = halt(world, scope)
    assert set(listed(halted).values()) == {"it holds a future-dated activation that is not yet cancelled"}
    cancels = Cancels(world)
    assert cancels.withdrawals.round() == 3
    assert world.count("outbox", "permit_class = 'withdraw' AND leg = 'withdraw' AND state = 'acknowledged'") == 3
    say(world, ids, Kind.WITHDRAWN, Leg.ACTIVATE)
    assert {world.state(i) for i in ids} == {State.HELD}
    assert cancels.withdrawals.round() == 0
    assert listed(halt(world, scope)) == {}


@pytest.mark.parametrize("scope", [stops.Scope("campaign", "summer"), stops.Scope("wave", "spring/2")], ids=str)
def test_a_halt_of_another_scope_cancels_nothing(world, scope):
    scheduled(world, 1)
    assert listed(halt(world, scope)) == {}
    assert due(world) == []


def test_a_pause_cancels_nothing_and_a_breaker_does(world):
    (update_id,) = scheduled(world, 1)
    control.pause(world.engine, "spring", None, "storm", "ann")
    assert due(world) == []
    with world.engine.begin() as connection:
        stops.open_breaker(connection, "spring/1", "harm", world.now)
    assert due(world) == [update_id]


def test_a_cancels_counter_is_above_its_activations_and_needs_no_warden(world):
    scheduled(world, 1)
    halt(world)
    with world.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, world.now - timedelta(hours=3))
    Cancels(world).withdrawals.round()
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT request_id FROM outbox WHERE service_reference = '11.3' ORDER BY id"))
        counters = [int(request_id.split(":")[2]) for request_id in rows.scalars()]
    assert len(counters) == 2
    assert counters[1] > counters[0]


def test_an_activation_whose_answer_is_not_in_yet_is_cancelled_too(world):
    (update_id,) = held(world, 1, DATED)
    send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id, None)
    assert listed(halt(world)).values()
    assert due(world) == [update_id]


@pytest.mark.parametrize(
    ("reply", "again"), [(None, withdrawal.AGAIN), (OK, withdrawal.UNHEARD)], ids=["lost", "taken"]
)
def test_a_cancel_is_not_asked_for_twice_but_again_when_nothing_came_of_it(world, reply, again):
    (update_id,) = scheduled(world, 1)
    halt(world)
    cancels = Cancels(world, reply)
    assert cancels.withdrawals.round() == 1
    assert cancels.withdrawals.round() == 0
    assert ask(world, Leg.WITHDRAW, [update_id]).refused == {update_id: NotNow("it has nothing to withdraw now")}
    world.later(seconds=again.total_seconds() - 1)
    assert cancels.withdrawals.round() == 0
    world.later(seconds=2)
    assert cancels.withdrawals.round() == 1
    assert world.count("outbox_device", "leg = 'withdraw'") == 2


def test_gateways_at_once_cancel_each_device_once(world):
    scheduled(world, 12)
    halt(world)
    gateways = [Cancels(world) for _ in range(3)]
    threads = [threading.Thread(target=each.withdrawals.round) for each in gateways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Two may have one in hand at once: then its bytes, which are the same, are POSTed by both.
    assert len({outbox_id for each in gateways for outbox_id in each.sent}) == 12
    assert world.count("outbox", "permit_class = 'withdraw'") == 12
    assert world.count("outbox", "permit_class = 'withdraw' AND state = 'acknowledged'") == 12


def test_a_cancel_that_was_granted_before_a_kill_leaves_after_it(world):
    (update_id,) = scheduled(world, 1)
    halt(world)
    granted = ask(world, Leg.WITHDRAW, [update_id])
    cancels = Cancels(world)
    assert cancels.withdrawals.round() == 1
    assert cancels.sent == [granted.outbox_id]


def test_a_cancel_that_fails_holds_up_no_other(world):
    scheduled(world, 3)
    halt(world)
    cancels = Cancels(world)
    first = []

    def deliver(outbox_id: int) -> str | None:
        if not first:
            first.append(outbox_id)
            return "no connection"
        return cancels.deliver(outbox_id)

    withdrawals = Withdrawals(world.engine, deliver, lambda: world.now)
    assert withdrawals.round() == 2
    assert withdrawals.round() == 1
    assert set(first) < set(cancels.sent)


def test_the_earliest_is_cancelled_first_and_what_has_fallen_due_is_not(world):
    ids = held(world, 3, DATED)
    for update_id in reversed(ids):
        send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id)
        world.later(minutes=10)
    halt(world)
    assert due(world) == ids[::-1]
    world.later(hours=5, minutes=31)
    assert due(world) == ids[1::-1]
    world.later(hours=1)
    assert due(world) == []


def test_the_gateways_loop_withdraws_by_itself_and_survives_a_failure(world):
    scheduled(world, 2)
    cancels = Cancels(world)
    failures = [RuntimeError("the ledger is gone")]

    def deliver(outbox_id: int) -> str | None:
        if failures:
            raise failures.pop()
        return cancels.deliver(outbox_id)

    withdrawals = Withdrawals(world.engine, deliver, lambda: world.now)
    end = threading.Event()
    thread = threading.Thread(target=withdrawals.run, args=(end,))
    thread.start()
    try:
        halt(world)
        deadline = time.monotonic() + 15
        while len(cancels.sent) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        end.set()
        thread.join()
    assert len(cancels.sent) == 2


# The bound on what is outstanding.


def test_no_more_are_outstanding_than_can_be_cancelled_before_the_earliest(world):
    policy = DATED.model_copy(update={"cancels": 1.0, "lead": timedelta(seconds=10)})
    ids = held(world, 12, policy)
    granted = [ask(world, Leg.ACTIVATE, [i]).outbox_id is not None for i in ids]
    assert granted.count(True) in (9, 10)  # the date has whole seconds
    world.later(seconds=5)
    refused = ask(world, Leg.ACTIVATE, [ids[-1]])
    assert "than can be cancelled before the earliest falls due" in refused.refused[ids[-1]].reason
    world.later(seconds=6)
    assert ask(world, Leg.ACTIVATE, [ids[-1]]).granted


def test_permits_at_once_do_not_exceed_the_bound(world):
    policy = DATED.model_copy(update={"cancels": 1.0, "lead": timedelta(seconds=5)})
    ids = held(world, 10, policy)
    threads = [threading.Thread(target=ask, args=(world, Leg.ACTIVATE, [i])) for i in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("outbox", "leg = 'activate'") in (4, 5)


def test_a_policy_under_which_nothing_could_be_cancelled_is_refused():
    with pytest.raises(ValidationError, match="none could be withdrawn in time"):
        Policy(activation=ActivationMode.FUTURE_DATED, cancels=0.001, lead=timedelta(minutes=1))
