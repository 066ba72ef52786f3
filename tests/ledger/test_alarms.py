"""Alerts that an activated device should not send: harm at once, whether its update has settled or not."""

from datetime import timedelta

import pytest

from hanwave import duis
from hanwave.ledger import inbox
from hanwave.ledger.routing import route
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.policy import Gate, Policy, Wave
from tests.support import messages as m
from tests.support.ledger import World, eui
from tests.support.routing import activating, ask, deliver, distributed, notes, post

pytestmark = pytest.mark.ledger
WAVE = Policy(waves=(Wave(share=1),), gate=Gate(harm=0.1, confidence=0.5, alarms=("8F1B", "81AD")))


def settle(world: World, update_id: int) -> None:
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, Event(Kind.SETTLED, world.now))], world.now)


def test_a_failure_at_power_on_is_told_to_people(world):
    distributed(world)
    deliver(world, m.device_alert("8F1B", b"x", at=world.now))
    assert notes(world) == [("alarm", f"device/{eui(0)}")]


@pytest.mark.parametrize("settled", [False, True])
def test_a_failure_at_power_on_after_the_activation_is_harm_at_once(world, settled):
    update_id, request = activating(world, WAVE)
    deliver(world, m.outcome(request, at=world.now))
    if settled:
        settle(world, update_id)
    world.later(minutes=1)
    deliver(world, m.device_alert("8F43", b"x", at=world.now))
    assert world.count("stop") == 0
    deliver(world, m.device_alert("81AD", b"x", at=world.now))
    assert world.state(update_id) is (State.CLOSED if settled else State.FAILED)
    assert world.count("campaign_device", "reason LIKE '%raised the alert 81AD after%'") == 1
    assert world.count("stop", "kind = 'breaker' AND value = 'spring/1'") == 1


def test_an_alarm_from_before_the_activation_or_that_no_gate_lists_is_no_harm(world):
    (update_id,), _ = distributed(world, 1, Policy(waves=(Wave(share=1),), gate=Gate(alarms=("81AD",))))
    deliver(world, m.device_alert("81AD", b"x", at=world.now))
    deliver(world, m.verified(at=world.now))
    request = post(world, ask(world, [update_id], Leg.ACTIVATE, "11.3"))
    deliver(world, m.device_alert("81AD", b"y", at=world.now - timedelta(seconds=30), counter=501))
    deliver(world, m.device_alert("8F1B", b"x", at=world.later(minutes=1), counter=502))
    deliver(world, m.outcome(request, at=world.now))
    assert world.state(update_id) is State.CONFIRMED


def test_an_alarm_is_no_less_one_for_what_the_device_says_after_it(world):
    """Messages are routed many at a time: whatever came last of the device must not hide what came before."""
    update_id, request = activating(world, WAVE)
    deliver(world, m.outcome(request, at=world.now))
    settle(world, update_id)
    alerts = [
        m.device_alert("81AD", b"x", at=world.later(minutes=1), counter=501),
        m.device_alert("8F43", b"x", at=world.later(minutes=1), counter=502),
    ]
    with world.engine.begin() as connection:
        for number, alert in enumerate(alerts):
            inbox.store(connection, f"k{number}", duis.write(alert), world.now, verified=True)
        route(connection, inbox.unrouted(connection, 10), world.now)
    assert world.state(update_id) is State.CLOSED
    assert world.count("campaign_device", "reason LIKE '%raised the alert 81AD after%'") == 1
