"""What the ledger grants a bench, and what it would have of a transfer that runs."""

import pytest
from sqlalchemy import text

from hanwave.ledger import bench, cancel, permit, reconcile, stops
from hanwave.ledger.bench import Due, Hand
from hanwave.rollout.bench import BenchReport, Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from tests.support.ledger import ACB, World

pytestmark = pytest.mark.ledger
ENDED = BenchReport(Outcome.ACTIVATED, 1, 2, 0, 0, 10, 0, 500, 5.0, was_told=False)


@pytest.fixture
def update(world: World) -> int:
    """A PPMID's update in a campaign of the route bench/lab."""
    world.device_type = "PPMID"
    (update_id,) = world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET route = 'bench/lab'"))
        connection.execute(text("DELETE FROM cpl_entry"))
    return update_id


def due(world: World, update_id: int) -> Due | str:
    with world.engine.begin() as connection:
        return bench.due(connection, update_id, world.now)


def granted(world: World, update_id: int) -> Due:
    first = due(world, update_id)
    assert isinstance(first, Due)
    with world.engine.begin() as connection:
        assert bench.ask(connection, first, world.now) is None
    found = due(world, update_id)
    assert isinstance(found, Due)
    return found


def test_a_transfer_is_granted_once_and_then_gone_on_with(world, update):
    first = due(world, update)
    assert (first.leg, first.attempt, first.granted) == (Leg.DISTRIBUTE, 1, False)
    again = granted(world, update)
    assert (again.leg, again.attempt, again.granted) == (Leg.DISTRIBUTE, 1, True)
    with world.engine.begin() as connection:
        assert "requested" in bench.ask(connection, first, world.now)
        bench.ended(connection, again, ENDED, world.later(minutes=5))
    assert world.state(update) is State.CONFIRMED
    assert world.count("device", "firmware_version = '00000002'") == 1
    assert world.count("outbox") == 1


def test_nothing_of_a_bench_goes_by_the_dcc_nor_is_the_dcc_asked_of_it(world, update):
    ask = permit.Ask("spring", 1, Leg.DISTRIBUTE, [update], "11.4", ACB)
    with world.engine.begin() as connection:
        refused = permit.ask(connection, ask, world.now).refused[update]
        assert refused.reason == "its campaign's route is bench/lab, and no other"
        reconcile.stop_all(connection, "a test", "ann", world.now)
        assert reconcile.ask_devices(connection, 10, ACB, world.now) == 0


def test_nothing_of_the_dccs_goes_by_a_bench(world):
    (update_id,) = world.campaign(world.fleet(1))
    found = due(world, update_id)
    with world.engine.begin() as connection:
        assert bench.ask(connection, found, world.now) == "its campaign's route is dcc, and no other"


def test_a_stop_has_it_wait_and_a_cancel_aborts_it(world, update):
    step = granted(world, update)

    def hand() -> Hand:
        with world.engine.begin() as connection:
            return bench.hand(connection, step, world.now, installs=True)[0]

    assert hand() is Hand.GO_ON
    with world.engine.begin() as connection:
        stop_id = stops.stop(connection, stops.Scope("model", "121D/1111"), "halt", "smoke", "ann", world.now)
    assert hand() is Hand.WAIT
    with world.engine.begin() as connection:
        stops.lift(connection, stop_id, "it was steam", "ann", world.now)
    assert hand() is Hand.GO_ON
    with world.engine.connect() as connection:
        (eui,) = connection.execute(text("SELECT eui FROM campaign_device")).scalars()
    cancel.cancel_device(world.engine, "spring", eui, "not this one", "ann")
    assert hand() is Hand.ABORT
