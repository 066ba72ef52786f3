"""What the ledger grants a bench, and what it would have of a transfer that runs."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from sqlalchemy import text

from hanwave import duis
from hanwave.firmware.document import release_to_dict
from hanwave.firmware.life import Stage
from hanwave.ledger import bench, cancel, holds, permit, reconcile, releases, stops
from hanwave.ledger.bench import Due, Hand
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import standings
from hanwave.rollout.bench import BenchReport, Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from tests.support import messages
from tests.support.ledger import ACB, World
from tests.support.routing import deliver
from tests.unit.firmware.making import release

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


def due(world: World, update_id: int, route: str = "bench/lab") -> Due | str:
    with world.engine.begin() as connection:
        return bench.due(connection, update_id, route, world.now)


def granted(world: World, update_id: int) -> Due:
    first = due(world, update_id)
    assert isinstance(first, Due)
    with world.engine.begin() as connection:
        assert bench.ask(connection, first, world.now, "bellows") is None
    found = due(world, update_id)
    assert isinstance(found, Due)
    return found


def test_an_alert_that_another_supplier_updates_it_sends_no_request_to_a_device_on_a_bench(world, update):
    granted(world, update)
    told = duis.FirmwareUpgradeRequested(duis.DeviceType.PPMID, "00000003", (messages.DEVICE,))
    deliver(world, messages.dcc_alert("N59", told, world.now))
    assert world.count("outbox", "service_reference <> 'ZigBee'") == 0
    assert world.count("note", "verb = 'elsewhere'") == 1
    assert isinstance(due(world, update), Due)


def test_a_transfer_is_granted_once_and_then_gone_on_with(world, update):
    first = due(world, update)
    assert (first.leg, first.attempt, first.granted) == (Leg.DISTRIBUTE, 1, False)
    again = granted(world, update)
    assert (again.leg, again.attempt, again.granted) == (Leg.DISTRIBUTE, 1, True)
    with world.engine.begin() as connection:
        assert "requested" in bench.ask(connection, first, world.now, "bellows")
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
    found = due(world, update_id, "dcc")
    with world.engine.begin() as connection:
        assert bench.ask(connection, found, world.now, "bellows") == "its campaign's route is dcc, and no other"


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


def test_a_bench_has_no_part_in_what_goes_by_another_route(world, update):
    granted(world, update)
    with pytest.raises(LedgerError, match="campaign spring goes by bench/lab, it should go by bench/other"):
        due(world, update, "bench/other")


@pytest.mark.parametrize(
    "what", ["a pause of leg activate", "a stop of its model's activations", "a hold", "no warden"]
)
def test_what_stands_against_an_activation_has_the_word_to_install_wait(world, update, what):
    step, at = granted(world, update), world.now
    of = stops.Scope("campaign", "spring") if "pause" in what else stops.Scope("model", "121D/1111")
    with world.engine.begin() as connection:
        if what == "a hold":
            holds.place(connection, holds.NewHold("device", step.eui, "do not touch", "ann"), at)
        elif what == "no warden":
            connection.execute(text("DELETE FROM beat"))
        else:
            stops.stop(connection, replace(of, leg=Leg.ACTIVATE), "pause", "smoke", "ann", at)
    with world.engine.begin() as connection:
        assert bench.hand(connection, step, at) == (Hand.GO_ON, "")
        assert bench.hand(connection, step, at, installs=True)[0] is Hand.WAIT


@pytest.mark.parametrize(
    ("radio", "training", "refused"),
    [
        ("bellows", False, None),
        ("virtual", True, None),
        ("virtual", False, "a simulated radio"),
        (None, True, "was sent"),
    ],
)
def test_the_lab_is_passed_by_what_hardware_sent_or_in_training(world, update, radio, training, refused):
    """radio None: nothing was sent, since the device ran it."""
    with world.engine.begin() as connection:
        step = bench.due(connection, update, "bench/lab", world.now)
        if radio:
            assert bench.ask(connection, step, world.now, radio) is None
        connection.execute(text("UPDATE campaign SET closed_at = :now"), {"now": world.now})
        connection.execute(text("UPDATE wave SET verdict = 'pass'"))
        made = {"document": json.dumps(release_to_dict(release(Stage.VERIFIED, name=step.release)))}
        connection.execute(text("UPDATE release SET document = CAST(:document AS jsonb)"), made)
        with pytest.raises(LedgerError, match=refused) if refused else nullcontext():
            passed = releases.pass_lab(connection, "spring", "ann", world.now, training=training)
    assert refused or world.count("release", f"name = '{passed}' AND stage = 'lab_passed'") == 1


def test_a_display_on_a_bench_that_is_never_heard_takes_no_customer(world, update):
    stalled = replace(ENDED, outcome=Outcome.STALLED, version_after=None, device_status=None)
    for day in range(3):
        with world.engine.begin() as connection:
            at = world.later(days=day)
            step = bench.due(connection, update, "bench/lab", at)
            assert bench.ask(connection, step, at, "bellows") is None
            bench.ended(connection, step, stalled, at)
    with world.engine.begin() as connection:
        (device,) = standings(connection, [update], world.later(days=3))
    assert device.decision.outcome == "not_delivered"
    assert "customer" not in device.decision.reason
