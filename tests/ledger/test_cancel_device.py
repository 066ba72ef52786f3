"""One device's update is cancelled: nothing more is sent, what was sent is seen through, and harm stays harm."""

import pytest
from sqlalchemy import text

from hanwave.errors import HanwaveError
from hanwave.ledger import cancel, permit, waves, withdrawal
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import standings
from hanwave.rollout.decide import Step
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.support.ledger import VERSION, World, eui

pytestmark = pytest.mark.ledger
DATED = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED)


def cancelled(world: World, number: int = 0, **more) -> cancel.CancelledDevice:
    return cancel.cancel_device(world.engine, "spring", eui(number), "a complaint", "ann", **more)


def next_step(world: World, update_id: int) -> Step:
    with world.engine.connect() as connection:
        return standings(connection, [update_id], world.now)[0].decision.step


def outcome(world: World, update_id: int) -> str | None:
    with world.engine.connect() as connection:
        statement = text("SELECT outcome FROM campaign_device WHERE id = :id")
        return connection.execute(statement, {"id": update_id}).scalar_one()


def test_a_device_that_waits_for_its_turn_is_closed_at_once(world):
    ids = world.campaign(world.fleet(2))
    assert cancelled(world) == cancel.CancelledDevice(eui(0), "closed", ended=True, outcome="cancelled")
    assert distribute(world, ids).granted == (ids[1],)
    assert world.count("tally", "state = 'closed:cancelled' AND delta = 1") == 1


def test_a_device_that_holds_its_image_is_never_sent_an_activation(world):
    [update_id] = hold_image(world)
    assert cancelled(world).ended
    assert activate(world, update_id).granted == ()
    assert world.count("lease") == world.count("home_lease") == 0


def test_an_activation_that_was_sent_is_seen_through_and_not_sent_again(world):
    [update_id] = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    assert cancelled(world) == cancel.CancelledDevice(eui(0), "activating", ended=False, outcome=None)
    assert next_step(world, update_id) is Step.WAIT
    world.later(days=40)
    say(world, update_id, Kind.OVERDUE, Leg.ACTIVATE)
    assert next_step(world, update_id) is Step.READ
    world.later(hours=1)
    say(world, update_id, Kind.VERSION, Leg.READ, version="00000001")
    assert next_step(world, update_id) is Step.CLOSE
    with world.engine.begin() as connection:
        waves.sweep(connection, "spring", 1, world.now, world.now - world.now)
    assert (world.state(update_id), outcome(world, update_id)) == (State.CLOSED, "cancelled")


def test_one_that_activates_after_all_is_confirmed_not_cancelled(world):
    [update_id] = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    cancelled(world)
    say(world, update_id, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    assert world.state(update_id) is State.CONFIRMED


def test_a_permit_that_never_left_is_given_back_and_the_others_of_its_batch_are_asked_anew(world):
    ids = world.campaign(world.fleet(3))
    granted = distribute(world, ids)
    assert cancelled(world).ended
    assert send(world, granted.outbox_id) == "the request is abandoned"
    world.later(days=365)  # the clock of the verbs is the world's own
    assert distribute(world, ids).granted == tuple(ids[1:])


def test_a_dated_activation_is_withdrawn(world):
    [update_id] = hold_image(world, policy=DATED)
    send(world, activate(world, update_id).outbox_id)
    say(world, update_id, Kind.SCHEDULED, Leg.ACTIVATE)
    with world.engine.connect() as connection:
        assert withdrawal.due(connection, world.now, 10) == []
    assert not cancelled(world).ended
    with world.engine.begin() as connection:
        assert [due.update_id for due in withdrawal.due(connection, world.now, 10)] == [update_id]
        ask = permit.Ask("spring", 1, Leg.WITHDRAW, [update_id], "11.3")
        assert permit.ask(connection, ask, world.now).granted == (update_id,)
    say(world, update_id, Kind.WITHDRAWN, Leg.ACTIVATE)
    assert next_step(world, update_id) is Step.CLOSE


def test_a_ppmid_activates_what_was_sent_to_it_so_it_is_waited_for(world):
    world.device_type = "PPMID"
    ids = world.campaign(world.fleet(2))
    send(world, distribute(world, ids[:1]).outbox_id)
    assert [cancelled(world, n).state for n in (0, 1)] == ["requested", "closed"]


def test_to_cancel_takes_no_harm_out_of_the_gates_count(world):
    [update_id] = world.campaign(world.fleet(1))
    send(world, distribute(world, [update_id]).outbox_id)
    say(world, update_id, Kind.VERIFICATION_FAILED, Leg.DISTRIBUTE)
    assert cancelled(world).outcome == "not_verified"


def test_again_under_the_same_key_it_is_the_same_act(world):
    world.campaign(world.fleet(1))
    assert cancelled(world, key="k") == cancelled(world, key="k")
    assert world.count("device_event", "kind = 'cancelled'") == world.count("note") == 1
    with pytest.raises(LedgerError, match="has ended: it is closed"):
        cancelled(world, key="another")


@pytest.mark.parametrize(
    ("campaign", "device", "reason", "sentence"),
    [
        ("spring", eui(7), "a complaint", "campaign 'spring' has no device"),
        ("autumn", eui(0), "a complaint", "campaign 'autumn' has no device"),
        ("spring", eui(0), " ", "needs a reason"),
        ("spring", "the red one", "a complaint", "is not an EUI-64"),
    ],
)
def test_a_wrong_cancel_is_one_sentence_and_changes_nothing(world, campaign, device, reason, sentence):
    world.campaign(world.fleet(1))
    with pytest.raises(HanwaveError, match=sentence) as refused:
        cancel.cancel_device(world.engine, campaign, device, reason, "ann")
    assert len(str(refused.value)) <= 240
    assert world.count("device_event") == world.count("note") == 0
