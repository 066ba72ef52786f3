"""Requests are built as they were granted, sent as they were kept, and delivered on after any crash."""

from datetime import timedelta

import pytest
from sqlalchemy import text

import activities.requests
from activities.dcc import NeverSent, NoAnswer
from activities.requests import Delivery, Sender
from hanwave import duis, gbcs
from hanwave.firmware.image import Form, OtaImage, manufacturer_image_hash
from hanwave.identifiers import EUI64, RequestID
from hanwave.keys import Credentials
from hanwave.ledger import outbox, stops, waves
from hanwave.rollout.device import State
from hanwave.rollout.events import WRONG_PRECOMMAND, Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.support import ledger as support
from tests.support import messages as m
from tests.support.ledger import US, World
from tests.support.requests import MANUFACTURER_IMAGE, Dcc, granted, image, row
from tests.support.routing import ask, events
from tests.support.routing import deliver as hear

pytestmark = pytest.mark.ledger


@pytest.fixture(scope="module")
def pki():
    return m.Pki()


@pytest.fixture
def world(ledger, monkeypatch):
    monkeypatch.setattr(support, "HASH", manufacturer_image_hash(MANUFACTURER_IMAGE).hex().upper())
    return World(ledger)


@pytest.fixture
def dcc(world, pki):
    return Dcc(pki, lambda: world.now)


@pytest.fixture
def sender(world, dcc, pki):
    held = Credentials(pki.ours.key, pki.ours.certificate, pki.gbcs.key, pki.gbcs.certificate, pki.trust)
    return Sender(world.engine, dcc, {US: held}, lambda: world.now)


@pytest.fixture(autouse=True)
def images(world, pki, monkeypatch):
    """What `releases` keeps is its own affair: here, the image that it would give."""
    monkeypatch.setattr(activities.requests.releases, "image_for", lambda *_: image(pki, world))


# What is built.


@pytest.mark.parametrize(
    ("device_type", "kind"), [("HCALCS", duis.UpdateFirmware), ("PPMID", duis.UpdatePPMIDFirmware)]
)
def test_a_batch_holds_the_signed_image_and_exactly_the_granted_devices(world, dcc, sender, device_type, kind, pki):
    world.device_type = device_type
    permitted = granted(world, size=5)
    assert sender.deliver(permitted.outbox_id) == Delivery("acknowledged")
    (request,) = dcc.asked
    assert type(request.body) is kind
    assert str(request.request_id) == permitted.request_id
    assert request.command_variant == 8
    assert [str(eui) for eui in request.body.device_ids] == [support.eui(n) for n in range(5)]
    form = Form.PPMID if device_type == "PPMID" else Form.SIGNED
    assert OtaImage.read(request.body.image, form).hash == bytes.fromhex(support.HASH)
    assert {world.state(update_id) for update_id in permitted.granted} == {State.REQUESTED}


def test_an_image_that_is_not_the_releases_is_never_sent(world, dcc, sender, monkeypatch):
    permitted = granted(world)
    monkeypatch.setattr(support, "HASH", "CD" * 32)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE release SET image_hash = :hash"), {"hash": "CD" * 32})
    world.engine.dispose()
    delivery = sender.deliver(permitted.outbox_id)
    assert delivery.state == "granted"
    assert "Manufacturer Image Hash" in delivery.reason
    assert not dcc.posts
    assert sender(permitted.outbox_id) == delivery.reason


def test_an_activation_is_transformed_compared_signed_and_sent_under_one_request_id(world, dcc, sender, pki):
    permitted = granted(world, Leg.ACTIVATE)
    assert sender.deliver(permitted.outbox_id) == Delivery("acknowledged")
    first, second = dcc.asked
    assert [service for service, _ in dcc.posts] == ["transform", "send_command"]
    assert (first.command_variant, second.command_variant) == (4, 5)
    assert str(first.request_id) == str(second.request_id) == permitted.request_id
    command = gbcs.read(second.body.payload)
    assert command.form is gbcs.Form.SIGNED_PRE_COMMAND
    assert command.body == gbcs.ActivateFirmware(bytes.fromhex(support.HASH), first.request_id.counter)
    assert gbcs.verify_signature(command, pki.gbcs.key.public_key())
    assert world.state(permitted.granted[0]) is State.ACTIVATING


def test_a_future_dated_activation_repeats_its_date_in_the_signed_command(world, dcc, sender):
    policy = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED, lead=timedelta(hours=6))
    sender.deliver(granted(world, Leg.ACTIVATE, policy=policy).outbox_id)
    first, second = dcc.asked
    assert first.body.at == second.body.at == gbcs.read(second.body.payload).body.at
    assert first.body.at == (world.now + timedelta(hours=6)).replace(microsecond=0)


def test_a_withdrawal_carries_the_cancelling_date(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET leg = 'withdraw', permit_class = 'withdraw' WHERE leg = 'activate'"))
        stops.stop(connection, stops.Scope("all"), "halt", "smoke", "ann", world.now)
    assert sender.deliver(permitted.outbox_id).state == "acknowledged"
    assert dcc.asked[1].body.at == duis.CANCEL
    assert gbcs.read(dcc.asked[1].body.payload).body.at is gbcs.CANCEL


def test_a_read_is_sent_as_one_command(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    sender.deliver(permitted.outbox_id)
    hear(world, m.error(RequestID.parse(permitted.request_id), "E21", at=world.later(minutes=1)))
    read = ask(world, list(permitted.granted), Leg.READ, "11.2")
    assert sender.deliver(read.outbox_id) == Delivery("acknowledged")
    assert type(dcc.asked[-1].body) is duis.ReadFirmwareVersion
    assert dcc.posts[-1][0] == "send_command"


def test_an_inventory_read_records_what_the_dcc_holds_of_the_device(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    sender.deliver(permitted.outbox_id)
    hear(world, m.error(RequestID.parse(permitted.request_id), "E21", at=world.later(minutes=1)))
    read = ask(world, list(permitted.granted), Leg.INVENTORY, "8.2", m.ACB)
    dcc.codes["non_device"] = "I0"
    found = duis.Device(
        m.DEVICE, duis.DeviceType.ESME, "121D", "1111", duis.DeviceStatus.SUSPENDED, firmware_version=m.VERSION
    )
    dcc.content = duis.Inventory((found,))
    assert sender.deliver(read.outbox_id) == Delivery("acknowledged")
    assert dcc.asked[-1].body == duis.ReadInventory(device_id=m.DEVICE)
    assert events(world, Kind.VERSION)[0][:3] == ("inventory", 1, "dcc")
    assert world.count("device", "smi_status = 'Suspended'") == 1


def test_the_devices_that_a_warning_lists_are_refused_and_the_others_go_on(world, dcc, sender):
    permitted = granted(world, size=3)
    dcc.codes["non_device"] = "W110101"
    dcc.content = duis.UpdateFirmwareWarning(
        not_commissioned=(m.DEVICE,), other_request_in_progress=(EUI64.parse(support.eui(1)),)
    )
    assert sender.deliver(permitted.outbox_id) == Delivery("acknowledged")
    assert [world.state(u) for u in permitted.granted] == [State.REJECTED, State.REJECTED, State.REQUESTED]
    with world.engine.connect() as connection:
        reasons = connection.execute(
            text("SELECT detail FROM device_event WHERE kind = 'refused' ORDER BY eui")
        ).scalars()
        assert list(reasons) == ["NotCommissioned", "OtherRequestInProgress"]


# What the DCC may not make us do.


def told(world: World) -> list[tuple[str, str, str]]:
    """The notes of pre-commands that were not signed: the device, what came, what should have come."""
    statement = "SELECT subject, document ->> 'returned', document ->> 'expected' FROM note WHERE verb = 'precommand' ORDER BY id"
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_a_precommand_that_is_not_the_one_asked_for_is_never_signed(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    rid = RequestID.parse(permitted.request_id)
    dcc.precommand = gbcs.precommand(rid.originator, rid.target, rid.counter, bytes(32))
    delivery = sender.deliver(permitted.outbox_id)
    assert delivery.state == "abandoned"
    assert "not the one that was asked for" in delivery.reason
    assert sender.deliver(permitted.outbox_id).state == "abandoned"
    assert [service for service, _ in dcc.posts] == ["transform"]
    expected = gbcs.precommand(rid.originator, rid.target, rid.counter, bytes.fromhex(support.HASH))
    assert told(world) == [(f"device/{rid.target}", dcc.precommand.hex(), expected.hex())]
    assert len(delivery.reason) <= 240


def test_a_device_that_only_wrong_precommands_come_for_ends_for_a_person_to_inspect(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    (update_id,) = permitted.granted
    for attempt in range(3):
        dcc.precommand = bytes([attempt])
        assert sender.deliver(permitted.outbox_id).state == "abandoned"
        assert world.state(update_id) is State.HELD
        world.later(hours=3)
        permitted = ask(world, [update_id], Leg.ACTIVATE, "11.3")
    assert permitted.outbox_id is None
    with world.engine.begin() as connection:
        waves.sweep(connection, "spring", 1, world.now, timedelta(0))
        ended = connection.execute(text("SELECT outcome, reason FROM campaign_device WHERE id = :i"), {"i": update_id})
        assert tuple(ended.one()) == ("inspect", WRONG_PRECOMMAND)
    assert len(told(world)) == 3
    assert world.count("stop") == 0


def test_an_unsigned_precommand_is_never_signed(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    dcc.unsigned = True
    assert "is not signed" in sender.deliver(permitted.outbox_id).reason
    assert [service for service, _ in dcc.posts] == ["transform"]
    assert [subject for subject, *_ in told(world)] == [f"device/{m.DEVICE}"]


def test_a_reply_to_another_request_is_no_answer(world, dcc, sender, monkeypatch):
    permitted = granted(world)
    other = m.error(m.batch(1), "I99", "11.1", at=world.now)
    monkeypatch.setattr(dcc, "_answer", lambda *_: dcc.pki.signed(other, at=world.now))
    delivery = sender.deliver(permitted.outbox_id)
    assert delivery.state == row(world, permitted.outbox_id).state == "ambiguous"
    assert "it answers" in delivery.reason


@pytest.mark.parametrize("reply", [b"", b"<html/>", b"\xff\xfe"])
def test_a_reply_that_is_no_message_is_no_answer(world, dcc, sender, monkeypatch, reply):
    permitted = granted(world)
    monkeypatch.setattr(dcc, "_answer", lambda *_: reply)
    assert sender.deliver(permitted.outbox_id).state == "ambiguous"
    assert world.state(permitted.granted[0]) is State.REQUESTED


def test_an_unsigned_immediate_error_is_a_refusal(world, dcc, sender):
    permitted = granted(world)
    dcc.unsigned = True
    dcc.codes["non_device"] = "E4"
    assert sender.deliver(permitted.outbox_id) == Delivery("refused", "E4")
    assert world.state(permitted.granted[0]) is State.REJECTED


# What is lost on the way.


def test_where_no_connection_came_about_nothing_was_sent(world, dcc, sender):
    permitted = granted(world)
    dcc.fails["non_device"] = [NeverSent("no connection")]
    assert sender.deliver(permitted.outbox_id) == Delivery("ready", "no connection")
    assert row(world, permitted.outbox_id).sends == 0
    dcc.codes["non_device"] = "E4"
    assert sender.deliver(permitted.outbox_id).state == "refused"  # a first POST, so the refusal counts


def test_a_lost_answer_is_posted_again_with_the_same_bytes_and_then_rejects_nobody(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    dcc.fails["send_command"] = [NoAnswer("lost")]
    assert sender.deliver(permitted.outbox_id) == Delivery("ambiguous", "lost")
    dcc.codes["send_command"] = "E57"
    sender.deliver(permitted.outbox_id)
    sent = [body for service, body in dcc.posts if service == "send_command"]
    assert len(set(sent)) == 1
    assert world.state(permitted.granted[0]) is State.ACTIVATING


def test_the_same_bytes_are_posted_no_more_often_than_allowed(world, dcc, sender):
    permitted = granted(world)
    dcc.fails["non_device"] = [NoAnswer("lost")] * 10
    for _ in range(6):
        assert sender.deliver(permitted.outbox_id).state == "ambiguous"
    assert len(dcc.posts) == outbox.TRIES
    with world.engine.connect() as connection:  # nor does its wave try for ever
        later = world.later(seconds=2 * stops.POST_BOUND.total_seconds())
        assert outbox.undelivered(connection, "spring", 1, Leg.DISTRIBUTE, later) == []


def test_an_old_request_without_an_answer_is_not_posted_again(world, dcc, sender):
    permitted = granted(world)
    dcc.fails["non_device"] = [NoAnswer("lost")]
    sender.deliver(permitted.outbox_id)
    world.now += outbox.LIFE + timedelta(seconds=1)
    assert sender.deliver(permitted.outbox_id).left
    assert len(dcc.posts) == 1


def test_an_old_permit_that_nothing_left_under_is_given_back(world, dcc, sender):
    permitted = granted(world)
    world.now += outbox.LIFE + timedelta(seconds=1)
    assert sender.deliver(permitted.outbox_id).state == "abandoned"
    assert not dcc.posts
    assert sender(permitted.outbox_id) == "the request is abandoned"


def test_a_refusal_of_the_transform_service_rejects_and_sends_nothing(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    dcc.codes["transform"] = "E5"
    assert sender.deliver(permitted.outbox_id) == Delivery("refused", "E5")
    assert world.state(permitted.granted[0]) is State.HELD
    assert events(world, Kind.REFUSED)[0][:3] == ("activate", 1, "dcc")
    assert sender.deliver(permitted.outbox_id) == Delivery("refused")
    assert len(dcc.posts) == 1


def test_a_refusal_to_a_transform_asked_twice_rejects_nobody(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    dcc.fails["transform"] = [NoAnswer("lost")]
    assert sender.deliver(permitted.outbox_id) == Delivery("granted", "lost")
    dcc.codes["transform"] = "E57"
    assert sender.deliver(permitted.outbox_id).state == "abandoned"
    assert events(world, Kind.REFUSED) == []


# Halts, and crashes.


def test_a_halt_lets_nothing_forward_leave_not_even_to_be_transformed(world, dcc, sender):
    permitted = granted(world, Leg.ACTIVATE)
    with world.engine.begin() as connection:
        stops.stop(connection, stops.Scope("all"), "halt", "smoke", "ann", world.now)
    delivery = sender.deliver(permitted.outbox_id)
    assert (delivery.state, delivery.left) == ("granted", False)
    assert "smoke" in delivery.reason
    assert not dcc.posts


def test_a_halt_between_the_transform_and_the_command_lets_nothing_leave(world, dcc, sender, monkeypatch):
    permitted = granted(world, Leg.ACTIVATE)
    real = dcc.transform

    def halted(body: bytes) -> bytes:
        with world.engine.begin() as connection:
            stops.stop(connection, stops.Scope("all"), "halt", "smoke", "ann", world.now)
        return real(body)

    monkeypatch.setattr(dcc, "transform", halted)
    assert sender.deliver(permitted.outbox_id).state == "ready"
    assert [service for service, _ in dcc.posts] == ["transform"]


def test_a_sender_that_slept_through_its_leave_does_not_post(world, dcc, sender, monkeypatch):
    permitted = granted(world)
    real = outbox.begin

    def slow(*args):
        leave = real(*args)
        world.later(seconds=3)
        return leave

    monkeypatch.setattr(outbox, "begin", slow)
    assert "ask again" in sender.deliver(permitted.outbox_id).reason
    assert not dcc.posts
    assert row(world, permitted.outbox_id).sends == 0


class Killed(BaseException):
    """Nothing of ours catches it: as good as the end of the process."""


STEPS = ["body_of", "checked_precommand", "make_ready", "begin_transform", "begin", "read_reply", "answered"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_next_call_goes_on_and_the_command_has_one_body(
    world, dcc, sender, monkeypatch, step, after
):
    permitted = granted(world, Leg.ACTIVATE)
    module = activities.requests if hasattr(activities.requests, step) else outbox
    real = getattr(module, step)

    def die(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(module, step, die)
        with pytest.raises(Killed):
            sender.deliver(permitted.outbox_id)
    assert sender.deliver(permitted.outbox_id) == Delivery("acknowledged")
    assert sender.deliver(permitted.outbox_id) == Delivery("acknowledged")
    sent = {body for service, body in dcc.posts if service == "send_command"}
    assert len(sent) == 1
    assert world.state(permitted.granted[0]) is State.ACTIVATING
    assert world.count("device_event", "kind = 'sent' AND leg = 'activate'") == 1
