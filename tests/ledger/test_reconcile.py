"""A ledger that was put back to an earlier copy: how it is known, what is given up, and when it may go on."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from activities.guard import Guarded, stop_if_restored
from hanwave.ledger import audit, outbox, reconcile, stops
from hanwave.ledger.database import LedgerError
from hanwave.ledger.witness import Witness
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say
from tests.support.ledger import US, VERSION, World

pytestmark = [pytest.mark.ledger, pytest.mark.fault]


def stop_all(world: World) -> int:
    with world.engine.begin() as connection:
        return reconcile.stop_all(connection, "a test", "ann", world.now)


def standing(world: World) -> reconcile.Reconciled:
    with world.engine.connect() as connection:
        return reconcile.standing(connection)


def ask_devices(world: World) -> int:
    with world.engine.begin() as connection:
        return reconcile.ask_devices(connection, 100, world.now)


def go_on(world: World) -> reconcile.Reconciled:
    with world.engine.begin() as connection:
        return reconcile.go_on(connection, "all have answered", "ann", world.now)


def missing(world: World, witness: Witness) -> str | None:
    with world.engine.connect() as connection:
        return witness.missing(connection)


def test_a_witness_that_saw_nothing_accuses_nobody(world, tmp_path):
    (tmp_path / "torn.json").write_text('{"request": ')
    assert missing(world, Witness(tmp_path / "none.json")) is None
    assert missing(world, Witness(tmp_path / "torn.json")) is None


def test_a_request_that_left_and_is_not_there_tells_a_restored_ledger_to_the_next_run_too(world, tmp_path):
    ids = world.campaign(world.fleet(1))
    witness = Witness(tmp_path / "gateway.json")
    witness.sends(distribute(world, ids).request_id)
    assert missing(world, Witness(tmp_path / "gateway.json")) is None
    witness.sends("a request of later")
    assert missing(world, Witness(tmp_path / "gateway.json")) == (
        "it lacks the request a request of later, which was to be sent"
    )


def test_a_chain_that_is_shorter_or_another_tells_a_restored_ledger(world, ledger, tmp_path):
    world.campaign(world.fleet(1))
    stop_all(world)
    audit.catch_up(ledger)
    witness = Witness(tmp_path / "warden.json")
    with world.engine.connect() as connection:
        witness.sees_chain(connection)
    assert missing(world, witness) is None
    head = (tmp_path / "warden.json").read_text()
    (tmp_path / "warden.json").write_text(head.replace('"hash": "', '"hash": "0'))
    assert "of the audit chain, which was seen" in (missing(world, Witness(tmp_path / "warden.json")) or "")


def test_the_gateway_delivers_nothing_over_a_restored_ledger_and_stops_all_once(world, tmp_path):
    ids = world.campaign(world.fleet(2))
    outbox_id = distribute(world, ids).outbox_id
    delivered: list[int] = []
    witness = Witness(tmp_path / "gateway.json")
    guarded = Guarded(world.engine, delivered.append, witness, lambda: world.now)
    guarded(outbox_id)
    assert delivered == [outbox_id]
    witness.sends("lost")
    assert guarded(outbox_id) == (
        "the ledger was restored to an earlier copy: it lacks the request lost, which was to be sent"
    )
    witness.sends("lost again")
    assert stop_if_restored(world.engine, witness, "warden", world.now)
    assert delivered == [outbox_id]
    assert world.count("stop", "scope = 'all' AND lifted_at IS NULL") == 1
    # What was unanswered may have left with other bytes: it is never POSTed again.
    with world.engine.begin() as connection:
        assert outbox.begin(connection, outbox_id, world.now) == "the request is forgotten"
    assert distribute(world, ids).granted == ()


def test_no_counter_that_may_have_been_used_is_given_out(world):
    (update_id,) = hold_image(world)
    used = "SELECT max(split_part(request_id, ':', 3)::bigint) FROM outbox"
    stop_all(world)
    with world.engine.begin() as connection:
        before = connection.execute(text(used)).scalar_one()
        reconcile.ask_devices(connection, 10, world.now)
        after = connection.execute(text(used)).scalar_one()
        assert (
            connection.execute(text("SELECT last FROM counter WHERE user_id = :us"), {"us": US}).scalar_one() == after
        )
    assert after > before + reconcile.JUMP
    assert world.state(update_id) is State.HELD


def test_an_unanswered_activation_of_the_copy_becomes_a_question_not_a_second_command(world):
    (update_id,) = hold_image(world)
    assert activate(world, update_id).outbox_id
    stop_all(world)
    assert world.state(update_id) is State.ACTIVATING
    assert world.count("outbox", "leg = 'activate' AND state = 'forgotten' AND sends = 1") == 1


def test_it_goes_on_only_when_all_were_asked_and_holds_the_silent(world):
    one, two = hold_image(world, 2)
    with pytest.raises(LedgerError, match="there is nothing to reconcile"):
        ask_devices(world)
    with pytest.raises(LedgerError, match="there is nothing to reconcile"):
        standing(world)
    world.later(seconds=1)
    stop_all(world)
    with pytest.raises(LedgerError, match="2 devices were not asked yet and 0 messages are not routed"):
        go_on(world)
    world.later(seconds=1)
    assert (ask_devices(world), ask_devices(world)) == (2, 0)
    assert (standing(world).asked, standing(world).answered) == (2, 0)
    world.later(seconds=1)
    say(world, one, Kind.VERSION, Leg.READ, version=VERSION)
    assert world.state(one) is State.CONFIRMED
    found = go_on(world)
    assert (found.answered, len(found.silent)) == (1, 1)
    assert world.count("hold", f"value = '{found.silent[0]}' AND lifted_at IS NULL") == 1
    assert world.count("stop", "lifted_at IS NULL") == 0
    refused = activate(world, two)
    assert refused.granted == ()
    assert "on hold: it has not said what it runs" in refused.refused[two].reason


def test_what_the_warden_halted_before_the_restore_stays_halted(world):
    world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        stops.stop(connection, stops.Scope("campaign", "other"), "halt", "closed", "warden", world.now)
        stops.stop(connection, stops.Scope("campaign", "spring"), "halt", "a person", "ann", world.now)
    world.later(seconds=1)
    stop_all(world)
    with world.engine.begin() as connection:
        later = world.now + timedelta(seconds=1)
        stops.stop(connection, stops.Scope("wave", "spring/1"), "halt", "closed in the engine", "warden", later)
    world.later(seconds=2)
    ask_devices(world)
    go_on(world)
    assert world.count("stop", "lifted_at IS NULL") == 2


def test_of_two_open_updates_of_a_device_the_one_with_its_lease_is_asked(world):
    euis = world.fleet(1)
    world.campaign(euis, name="first")
    second = world.campaign(euis, name="second")
    distribute(world, second, "second")
    world.later(seconds=1)
    stop_all(world)
    world.later(seconds=1)
    assert ask_devices(world) == 1
    assert world.count("outbox", f"leg = 'read' AND update_id = {second[0]}") == 1
    assert ask_devices(world) == 0
