"""A ledger that was put back to an earlier copy: how it is known, what is given up, and when it may go on."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from activities.guard import Guarded, stop_if_restored
from hanwave import duis
from hanwave.identifiers import EUI64
from hanwave.ledger import budgets, inbox, outbox, reconcile, routing, stops
from hanwave.ledger.database import LedgerError
from hanwave.ledger.witness import Witness
from hanwave.rollout.budget import Threshold
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.ledger.test_witness import missing
from tests.support.command import run
from tests.support.ledger import ACB, US, VERSION, World, eui

pytestmark = [pytest.mark.ledger, pytest.mark.fault]
OLD = "00000001"


def stop_all(world: World) -> int:
    with world.engine.begin() as connection:
        return reconcile.stop_all(connection, "a test", "ann", world.now)


def standing(world: World) -> reconcile.Reconciled:
    with world.engine.connect() as connection:
        return reconcile.standing(connection)


def ask_devices(world: World) -> int:
    with world.engine.begin() as connection:
        return reconcile.ask_devices(connection, 100, ACB, world.now)


def questions(world: World, leg: Leg) -> list[int]:
    """The questions of that kind that have not left."""
    with world.engine.connect() as connection:
        statement = text("SELECT id FROM outbox WHERE leg = :leg AND state = 'granted' ORDER BY id")
        return list(connection.execute(statement, {"leg": leg}).scalars())


def send_questions(world: World, status: duis.DeviceStatus = duis.DeviceStatus.COMMISSIONED) -> None:
    """The gateway sends what is to be asked; the DCC has each device with its status, and in the old version."""
    for outbox_id in questions(world, Leg.READ):
        send(world, outbox_id)
    for outbox_id in questions(world, Leg.INVENTORY):
        send(world, outbox_id, outbox.Answer("I0", b"<ok/>"))
        with world.engine.begin() as connection:
            (eui,) = outbox.devices(connection, outbox_id)
            found = duis.Device(EUI64.parse(eui), duis.DeviceType.ESME, "121D", "1111", status, firmware_version=OLD)
            routing.inventory(connection, outbox_id, duis.Inventory((found,)), b"<inventory/>", world.now)


def go_on(world: World) -> reconcile.Reconciled:
    with world.engine.begin() as connection:
        return reconcile.go_on(connection, "all have answered", "ann", world.now)


def test_the_gateway_delivers_nothing_over_a_restored_ledger_and_stops_all_once(world, tmp_path):
    ids = world.campaign(world.fleet(2))
    outbox_id = distribute(world, ids).outbox_id
    delivered: list[int] = []
    witness = Witness(tmp_path / "gateway.json")
    guarded = Guarded(world.engine, delivered.append, witness, lambda: world.now)
    guarded(outbox_id)
    assert delivered == [outbox_id]
    witness.sends("lost", world.now)
    assert guarded(outbox_id) == (
        "the ledger was restored to an earlier copy: it lacks the request lost, which was to be sent"
    )
    witness.sends("lost again", world.now)
    assert stop_if_restored(world.engine, witness, "warden", world.now)
    assert delivered == [outbox_id]
    assert world.count("stop", "scope = 'all' AND lifted_at IS NULL") == 1
    # What was unanswered may have left with other bytes: it is never POSTed again.
    with world.engine.begin() as connection:
        assert outbox.begin(connection, outbox_id, world.now) == "the request is forgotten"
    assert distribute(world, ids).granted == ()


def test_a_process_that_finds_it_only_after_the_reconciliation_stops_nothing_again(world, tmp_path):
    world.campaign(world.fleet(1))
    late = Witness(tmp_path / "warden.json")
    late.sends("lost", world.now)
    world.later(seconds=1)
    stop_all(world)
    assert missing(world, late)
    world.later(seconds=1)
    ask_devices(world)
    send_questions(world)
    go_on(world)
    assert missing(world, late) is None
    late.sends("lost in another restore", world.now + timedelta(seconds=1))
    assert missing(world, late)


def test_no_counter_that_may_have_been_used_is_given_out(world):
    (update_id,) = hold_image(world)
    used = "SELECT max(split_part(request_id, ':', 3)::bigint) FROM outbox"
    stop_all(world)
    with world.engine.begin() as connection:
        before = connection.execute(text(used)).scalar_one()
        reconcile.ask_devices(connection, 10, ACB, world.now)
        after = connection.execute(text(used)).scalar_one()
        assert (
            connection.execute(text("SELECT last FROM counter WHERE user_id = :us"), {"us": US}).scalar_one() == after
        )
    assert after > before + reconcile.JUMP
    assert world.state(update_id) is State.HELD


@pytest.mark.parametrize("is_sent", [False, True])
def test_an_unanswered_activation_of_the_copy_becomes_a_question_not_a_second_command(world, is_sent):
    (update_id,) = hold_image(world)
    request = activate(world, update_id).outbox_id
    if is_sent:
        send(world, request, None)
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
    with pytest.raises(LedgerError, match="2 devices were not asked yet, 0 questions have not left and 0 messages"):
        go_on(world)
    world.later(seconds=1)
    assert (ask_devices(world), ask_devices(world)) == (2, 0)
    assert (standing(world).asked, standing(world).answered) == (2, 0)
    with pytest.raises(LedgerError, match="0 devices were not asked yet, 4 questions have not left"):
        go_on(world)
    send_questions(world)
    world.later(seconds=1)
    say(world, one, Kind.VERSION, Leg.READ, version=VERSION)
    assert world.state(one) is State.CONFIRMED
    with world.engine.begin() as connection:
        inbox.store(connection, "late", b"<late/>", datetime.now(UTC) - timedelta(minutes=1), verified=True)
    with pytest.raises(LedgerError, match="0 questions have not left and 1 messages are not routed"):
        go_on(world)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE inbox SET routed_at = now()"))
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
    send_questions(world)
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


def test_what_the_dcc_has_of_a_silent_device_is_shown_and_confirms_nothing(world):
    one, two = hold_image(world, 2)
    stop_all(world)
    ask_devices(world)
    world.later(seconds=1)
    send_questions(world)
    say(world, one, Kind.VERSION, Leg.READ, version=VERSION)
    found = standing(world)
    assert [(each.eui, each.smi_status, each.version) for each in found.inventory] == [(eui(1), "Commissioned", OLD)]
    assert found.silent == [eui(1)]
    assert (world.state(one), world.state(two)) == (State.CONFIRMED, State.HELD)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("E4", "the DCC says that another supplier is responsible for it (E4)"),
        ("E19", "the DCC knows no such device (E19)"),
    ],
)
def test_a_device_that_the_dcc_refuses_us_has_left_and_is_held(world, code, why):
    (update_id,) = hold_image(world)
    stop_all(world)
    ask_devices(world)
    world.later(seconds=1)
    send(world, questions(world, Leg.READ)[0], outbox.Answer(code, b"<no/>"))
    send_questions(world)
    found = go_on(world)
    assert (found.left, found.silent) == ({eui(0): why}, [])
    assert activate(world, update_id).refused[update_id].reason == f"on hold: {why}"


@pytest.mark.parametrize(
    ("status", "left"),
    [
        (duis.DeviceStatus.DECOMMISSIONED, {eui(0): "it is out of use: its SMI status is Decommissioned"}),
        (duis.DeviceStatus.WITHDRAWN, {eui(0): "it is out of use: its SMI status is Withdrawn"}),
        (duis.DeviceStatus.SUSPENDED, {}),
    ],
)
def test_a_device_that_is_out_of_use_by_the_inventory_has_left_and_a_suspended_one_has_not(world, status, left):
    hold_image(world)
    stop_all(world)
    ask_devices(world)
    send_questions(world, status)
    assert standing(world).left == left
    assert standing(world).silent == ([] if left else [eui(0)])


def test_a_question_that_never_left_or_whose_answer_or_sender_was_lost_is_asked_again(world):
    ids = hold_image(world, 4)
    stop_all(world)
    ask_devices(world)
    abandoned, lost, cut_off, answered = questions(world, Leg.READ)
    with world.engine.begin() as connection:
        outbox.never_sent(connection, abandoned, world.now, "no gateway was there")
        outbox.make_ready(connection, cut_off, b"<request/>")
        outbox.begin(connection, cut_off, world.now)
    send(world, lost, None)
    send(world, answered)
    assert ask_devices(world) == 1
    world.later(seconds=reconcile.AGAIN.total_seconds() + 1)
    assert ask_devices(world) == 2
    with world.engine.connect() as connection:
        statement = text("SELECT update_id, count(*) FROM outbox WHERE leg = 'read' GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in connection.execute(statement)] == list(zip(ids, (2, 2, 2, 1), strict=True))


def test_what_may_have_been_sent_since_the_copy_counts_at_its_worst_until_the_period_is_over(world):
    first, second = world.campaign(world.fleet(2))
    table = [
        Threshold.model_validate({"user_id": US, "variant": variant, "period": "24h", "limit": 10, "reserve": 2})
        for variant in ("11.1", "11.2", "8.2")
    ]
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, table, "ann", world.now)
    send(world, distribute(world, [first]).outbox_id)
    world.later(minutes=1)
    stop_all(world)
    stop_all(world)
    with world.engine.connect() as connection:
        used = {level.threshold.variant: level.used.total for level in budgets.levels(connection, world.now)}
    assert used == {"11.1": 8, "11.2": 0, "8.2": 0}
    ask_devices(world)
    world.later(seconds=1)
    send_questions(world)
    for update_id in (first, second):
        say(world, update_id, Kind.VERSION, Leg.READ, version=OLD)
    go_on(world)
    (refused,) = distribute(world, [second]).refused.values()
    assert "the budget of SR 11.1 is used: 8 of 10" in refused.reason
    world.later(hours=24)
    assert distribute(world, [second]).granted == (second,)


def test_a_person_with_the_dccs_figures_says_what_was_really_sent(world, monkeypatch, ledger_dsn):
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    (update_id,) = world.campaign(world.fleet(1))
    limit = {"user_id": US, "variant": "11.1", "period": "30d", "limit": 10, "reserve": 2}
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, [Threshold.model_validate(limit)], "ann", world.now)
    restate = ("budget", "restate", "11.1", "--sent", "3", "--json", "--reason")
    assert "no restore has counted SR 11.1" in run(*restate, "too early").err
    stop_all(world)
    assert "--reason is empty" in run(*restate, " ").err
    refused = run("budget", "restate", "11.1", "--sent", "9", "--reason", "a slip of the pen")
    assert "9 requests of SR 11.1 cannot have been sent: 8 is all" in refused.err
    for counted, sent in ((8, "1"), (1, "3")):
        told = run("budget", "restate", "11.1", "--sent", sent, "--json", "--reason", "ticket 4711")
        assert json.loads(told.out)["counted"] == counted, told.err
    with world.engine.begin() as connection:
        assert [level.used.total for level in budgets.levels(connection, world.now)] == [3]
    assert world.count("note", "verb = 'restate budget' AND reason = 'ticket 4711'") == 2
    ask_devices(world)
    world.later(seconds=1)
    send_questions(world)
    say(world, update_id, Kind.VERSION, Leg.READ, version=OLD)
    go_on(world)
    assert distribute(world, [update_id]).granted == (update_id,)
