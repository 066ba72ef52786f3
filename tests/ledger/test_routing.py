"""Messages become facts of the updates that they are about, once, whenever they come."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave import duis, gbcs
from hanwave.identifiers import EUI64, RequestID
from hanwave.ledger import inbox, outbox
from hanwave.ledger.routing import Route, Routed, route
from hanwave.names import Wake
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.support import messages as m
from tests.support.ledger import ACB, VERSION, eui
from tests.support.routing import activating, ask, close, deliver, device, distributed, events, notes, post

pytestmark = pytest.mark.ledger
TWO = EUI64.parse(eui(1))


def test_a_verified_image_makes_a_device_held_and_wakes_nobody(world):
    (update_id,), _ = distributed(world)
    assert deliver(world, m.verified(at=world.now)) == Routed(Route.OURS, ())
    assert world.state(update_id) is State.HELD
    ((leg, attempt, evidence, message),) = events(world, Kind.VERIFIED)
    assert (leg, attempt, evidence) == ("distribute", 1, "device")
    assert world.count("inbox", f"digest = '{message}'") == 1


def test_an_outcome_confirms_its_device_and_wakes_its_workflow(world):
    update_id, request = activating(world)
    routed = deliver(world, m.outcome(request, at=world.now))
    assert routed.route is Route.OURS
    assert routed.wakes == (("spring", eui(0), Wake("confirmed"), update_id),)
    assert world.state(update_id) is State.CONFIRMED
    assert device(world).firmware_version == VERSION
    assert device(world).last_heard == m.AT.replace(hour=10, minute=2, second=1)


def test_a_message_of_a_clock_that_is_ahead_outdates_nothing_that_is_said_after_it(world):
    """Dated two days to come, it kept the fleet's version as it was, and the device heard, until then."""
    _, request = activating(world)
    deliver(world, m.verified(at=world.now + timedelta(days=2)))
    arrived = world.later(minutes=1)
    deliver(world, m.outcome(request, at=arrived))
    assert (device(world).firmware_version, device(world).last_heard) == (VERSION, arrived)


def test_an_outcome_that_comes_before_its_command_is_recorded_as_sent_is_kept(world):
    update_id, request = activating(world, sent=False)
    assert deliver(world, m.outcome(request, at=world.now)).wakes
    assert world.state(update_id) is State.CONFIRMED
    with world.engine.begin() as connection:
        outbox_id = connection.execute(
            text("SELECT id FROM outbox WHERE request_id = :id"), {"id": str(request)}
        ).scalar_one()
        outbox.make_ready(connection, outbox_id, b"<request/>")
        outbox.begin(connection, outbox_id, world.now)
        outbox.answered(connection, outbox_id, outbox.Answer("I99", b"<ok/>"), world.now)
    assert world.state(update_id) is State.CONFIRMED


def test_a_failed_activation_wakes_its_workflow(world):
    update_id, request = activating(world)
    routed = deliver(world, m.outcome(request, "00000001", 3, at=world.now))
    assert [w.wake.state for w in routed.wakes] == ["failed"]
    assert world.state(update_id) is State.FAILED
    assert device(world).firmware_version == "00000001"


def test_a_device_that_was_not_reached_is_unknown_and_its_workflow_asks(world):
    update_id, request = activating(world)
    assert [w.wake.state for w in deliver(world, m.error(request, "E21", at=world.now)).wakes] == ["unknown"]
    read = post(world, ask(world, [update_id], Leg.READ, "11.2"))
    world.later(minutes=1)
    routed = deliver(world, m.version_read(read, at=world.now))
    assert [w.wake.state for w in routed.wakes] == ["confirmed"]
    assert events(world, Kind.VERSION)[0][:3] == ("read", 1, "read_back")


def test_a_read_back_of_the_old_version_gives_the_device_back_for_another_attempt(world):
    update_id, request = activating(world)
    deliver(world, m.error(request, "E21", at=world.now))
    read = post(world, ask(world, [update_id], Leg.READ, "11.2"))
    world.later(minutes=1)
    assert [w.wake.state for w in deliver(world, m.version_read(read, "00000001", world.now)).wakes] == ["held"]
    assert world.state(update_id) is State.HELD


def test_an_answer_is_of_its_own_attempt_even_after_a_later_one(world):
    update_id, first = activating(world)
    deliver(world, m.error(first, "E30", at=world.now))
    read = post(world, ask(world, [update_id], Leg.READ, "11.2"))
    deliver(world, m.version_read(read, "00000001", world.later(minutes=1)))
    world.later(hours=2)
    second = post(world, ask(world, [update_id], Leg.ACTIVATE, "11.3"))
    assert second != first
    deliver(world, m.error(first, "E21", at=world.later(minutes=1)))
    assert world.state(update_id) is State.ACTIVATING
    assert [row[1] for row in events(world, Kind.UNREACHED)] == [1, 1]


def test_a_schedule_wakes_nobody_and_its_outcome_does(world):
    policy = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED)
    update_id, request = activating(world, policy)
    assert deliver(world, m.accepted(request, world.now)) == Routed(Route.OURS, ())
    assert world.state(update_id) is State.SCHEDULED
    done = m.future_dated(request, at=world.later(hours=12))
    alert = m.device_alert("8F66", done.body.content.payload, counter=77, at=world.now)
    assert deliver(world, alert).route is Route.OURS
    assert world.state(update_id) is State.CONFIRMED


def test_command_accepted_to_a_cancel_withdraws_the_activation(world):
    update_id, request = activating(world)
    deliver(world, m.accepted(request, world.now))
    cancel = RequestID(m.US, m.DEVICE, request.counter + 1)
    with world.engine.begin() as connection:
        outbox_id = connection.execute(
            text(
                "INSERT INTO outbox (request_id, service_reference, permit_class, leg, user_id, campaign, wave, update_id,"
                " parameters, state, granted_at, sends) VALUES (:id, '11.3', 'withdraw', 'withdraw', :us, 'spring', 1, :u,"
                " '{}', 'acknowledged', :now, 1) RETURNING id"
            ),
            {"id": str(cancel), "us": str(m.US), "u": update_id, "now": world.later(minutes=1)},
        ).scalar_one()
        connection.execute(
            text("INSERT INTO outbox_device VALUES (:o, :u, :eui, 1, 'withdraw', 1)"),
            {"o": outbox_id, "u": update_id, "eui": eui(0)},
        )
    routed = deliver(world, m.accepted(cancel, world.later(minutes=1)))
    assert [w.wake.state for w in routed.wakes] == ["held"]
    assert events(world, Kind.WITHDRAWN)[0][:2] == ("activate", 1)


def test_a_batchs_deliveries_are_of_the_devices_that_they_name(world):
    (one, two), request = distributed(world, 2)
    assert deliver(world, m.delivered(request, TWO, at=world.now)) == Routed(Route.OURS, ())
    assert (world.state(one), world.state(two)) == (State.REQUESTED, State.DELIVERED)
    deliver(world, m.delivered(request, status="Failure", at=world.now))
    assert world.state(one) is State.DELIVERY_FAILED


def test_a_transfer_without_a_request_is_matched_by_device_and_version(world):
    (update_id,), _ = distributed(world)
    other = deliver(world, m.transferred(version="0000000F", at=world.now))
    assert other.route is Route.LATE
    assert world.state(update_id) is State.REQUESTED
    assert deliver(world, m.transferred(at=world.now)).route is Route.OURS
    assert world.state(update_id) is State.DELIVERED


def test_another_hash_is_recorded_since_it_forbids_the_activation(world):
    (update_id,), _ = distributed(world)
    deliver(world, m.verified(image_hash=bytes(32), at=world.now))
    assert world.state(update_id) is State.VERIFICATION_FAILED


def test_a_failed_verification_from_before_the_second_attempt_is_not_of_the_second(world):
    (update_id,), _ = distributed(world)
    early = world.now
    deliver(world, m.transferred(result="FileTransferFailure", at=world.now))
    world.later(hours=2)
    post(world, ask(world, [update_id], Leg.DISTRIBUTE, "11.1", ACB))
    deliver(world, m.verified(code="8F1C", at=early))
    assert world.state(update_id) is State.REQUESTED
    assert events(world, Kind.VERIFICATION_FAILED)[0][1] == 1


def test_a_quarantine_holds_every_device_of_the_batch(world):
    ids, request = distributed(world, 2)
    alert = duis.QuarantinedRequest(duis.ADUserThresholdBreach(request, 1))
    assert deliver(world, m.dcc_alert("N46", alert, world.now)).route is Route.OURS
    assert {world.state(update_id) for update_id in ids} == {State.QUARANTINED}


def test_a_command_failure_takes_the_leg_of_its_request(world):
    update_id, request = activating(world)
    deliver(world, m.dcc_alert("N11", duis.CommandFailure(request, m.DEVICE), world.now))
    assert events(world, Kind.UNREACHED)[0][:2] == ("activate", 1)
    assert world.state(update_id) is State.UNKNOWN


def test_a_ppmid_is_confirmed_by_its_own_alert(world):
    world.device_type = "PPMID"
    (update_id,), request = distributed(world)
    deliver(world, m.transferred(request=request, at=world.now))
    assert world.state(update_id) is State.ACTIVATING
    assert [w.wake.state for w in deliver(world, m.ppmid(at=world.later(hours=1))).wakes] == ["confirmed"]


def test_a_ppmid_that_reports_success_and_runs_the_old_image_has_failed(world):
    world.device_type = "PPMID"
    (update_id,), _ = distributed(world)
    deliver(world, m.ppmid(version="00000001", at=world.now))
    assert world.state(update_id) is State.FAILED


# What is not ours, or no longer.


def test_late_evidence_is_kept_changes_nothing_and_people_are_told(world):
    update_id, request = activating(world)
    close(world, update_id)
    routed = deliver(world, m.outcome(request, at=world.later(days=1)))
    assert routed == Routed(Route.LATE, ())
    assert events(world, Kind.ACTIVATED) == []
    assert world.state(update_id) is State.CLOSED
    assert notes(world) == [("late", f"device/{eui(0)}")]
    assert device(world).firmware_version == VERSION
    assert deliver(world, m.verified(counter=501, at=world.now)).route is Route.LATE


def test_evidence_for_a_device_in_no_campaign_is_not_ours(world):
    world.fleet(1)
    routed = deliver(world, m.verified(at=world.now))
    assert routed == Routed(Route.FOREIGN, ())
    assert world.count("device_event") == world.count("note") == 0
    assert device(world).last_heard is not None


def test_evidence_for_an_unknown_device_is_not_ours(world):
    assert deliver(world, m.verified(EUI64(bytes(8)))).route is Route.FOREIGN


def test_another_systems_read_is_left_to_it_and_tells_us_the_version(world):
    update_id, _ = activating(world)
    routed = deliver(world, m.version_read(m.asked(counter=7), at=world.now))
    assert routed.route is Route.FOREIGN
    assert events(world, Kind.VERSION)[0][:3] == (None, 0, "device")
    assert world.state(update_id) is State.CONFIRMED


def test_another_systems_refusal_and_quarantine_are_nothing_to_us(world):
    update_id, request = activating(world)
    theirs = m.asked(counter=request.counter - 1)
    before = world.count("device_event")
    for message in (
        m.error(theirs, "E21", at=world.now),
        m.accepted(theirs, world.now),
        m.dcc_alert("N46", duis.QuarantinedRequest(duis.ADUserThresholdBreach(theirs, 1)), world.now),
        m.delivered(m.batch(3), status="Failure", at=world.now),
    ):
        assert deliver(world, message).route is Route.FOREIGN
    assert world.state(update_id) is State.ACTIVATING
    assert world.count("device_event") == before


def test_an_alert_that_is_not_about_firmware_is_left_to_others_and_heard(world):
    distributed(world)
    assert deliver(world, m.device_alert("81AD", b"x", at=world.now)) == Routed(Route.FOREIGN, ())
    assert len(events(world, Kind.HEARD)) == 1


def test_a_message_for_another_user_id_is_no_evidence_for_ours(world):
    (update_id,), _ = distributed(world)
    stranger = EUI64.parse("90-B3-D5-1F-30-09-00-00")
    assert deliver(world, m.verified(at=world.now, to=stranger)).route is Route.FOREIGN
    assert world.state(update_id) is State.REQUESTED
    assert device(world).last_heard is None


def test_a_message_that_contradicts_itself_is_unread_with_its_reason(world):
    update_id, request = activating(world)
    lie = m.reply(request, m.outcome(m.asked(counter=1)).body.content, "11.3", at=world.now)
    assert deliver(world, lie) == Routed(Route.UNREAD, ())
    assert world.state(update_id) is State.ACTIVATING
    assert world.count("inbox", "route = 'unread' AND note LIKE '%holds a GBCS message that answers%'") == 1


def test_a_request_of_our_own_that_comes_back_is_unread(world):
    raw = duis.write(duis.Request.of(m.asked(), duis.ReadFirmwareVersion()))
    with world.engine.begin() as connection:
        inbox.store(connection, "k", raw, world.now, verified=True)
        (received,) = inbox.unrouted(connection, 1)
        assert route(connection, [received], world.now)[0].route is Route.UNREAD


def test_a_suspended_device_is_suspended_in_the_fleet(world):
    distributed(world)
    change = duis.DeviceStatusChangeEvent(m.DEVICE, duis.DeviceSuspended())
    assert deliver(world, m.dcc_alert("N28", change, world.now)).route is Route.FOREIGN
    assert device(world).smi_status == "Suspended"
    assert device(world).last_heard is None


def test_old_news_does_not_overwrite_what_a_device_said_since(world):
    activating(world)
    deliver(world, m.version_read(m.asked(counter=7), "00000003", at=world.now))
    deliver(world, m.version_read(m.asked(counter=6), "00000001", at=world.now - timedelta(hours=1)))
    assert device(world).firmware_version == "00000003"


def test_a_read_at_the_end_of_the_soak_wakes_for_the_decision_that_is_due(world):
    update_id, request = activating(world)
    deliver(world, m.outcome(request, at=world.now))
    world.later(days=2, minutes=5)
    read = post(world, ask(world, [update_id], Leg.READ, "11.2"))
    routed = deliver(world, m.version_read(read, at=world.later(minutes=1)))
    assert [w.wake.state for w in routed.wakes] == ["confirmed"]


@pytest.mark.parametrize("code", [gbcs.MessageCode.GCS38, gbcs.MessageCode.CS08])
def test_evidence_at_once_from_two_routers_is_recorded_once(world, code):
    update_id, request = activating(world)
    raws = [
        duis.write(m.outcome(request, at=world.now)),
        duis.write(m.version_read(m.asked(counter=4), at=world.now, code=code)),
    ]
    with world.engine.begin() as connection:
        for number, raw in enumerate(raws):
            inbox.store(connection, f"k{number}", raw, world.now, verified=True)

    def drain() -> None:
        while True:
            with world.engine.begin() as connection:
                waiting = inbox.unrouted(connection, 1)
                if not waiting:
                    return
                route(connection, waiting, world.now)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("inbox", "routed_at IS NULL") == 0
    assert world.state(update_id) is State.CONFIRMED
    assert len(events(world, Kind.ACTIVATED)) == len(events(world, Kind.VERSION)) == 1


def test_messages_routed_together_come_to_what_they_come_to_one_by_one(world):
    update_id, request = activating(world)
    messages = [
        m.version_read(m.asked(counter=7), "00000003", at=world.now - timedelta(hours=2)),
        m.version_read(m.asked(counter=6), "00000001", at=world.now - timedelta(hours=3)),
        m.outcome(request, at=world.now),
        m.device_alert("8F1B", b"x", at=world.now),
        m.dcc_alert("N28", duis.DeviceStatusChangeEvent(m.DEVICE, duis.DeviceSuspended()), world.now),
    ]
    raws = [duis.write(each) for each in messages] + [b"<nothing/>"]
    with world.engine.begin() as connection:
        for number, raw in enumerate(raws):
            inbox.store(connection, f"k{number}", raw, world.now, verified=True)
    apart = world.engine.connect()
    with apart.begin() as undone:
        one_by_one = [route(apart, [each], world.now)[0].route for each in inbox.unrouted(apart, 10)]
        wanted = told(apart)
        undone.rollback()
    with world.engine.begin() as connection:
        together = route(connection, inbox.unrouted(connection, 10), world.now)
        assert told(connection) == wanted
    apart.close()
    assert [each.route for each in together] == one_by_one
    assert [each.route for each in together][-1] is Route.UNREAD
    # The device's one wake comes with the last message that told something of it.
    assert [len(each.wakes) for each in together] == [0, 0, 0, 0, 1, 0]
    assert together[4].wakes[0].wake.state == "failed"
    assert world.state(update_id) is State.FAILED


def told(connection) -> list[object]:
    """What routing leaves behind, the ids of its rows and the moments of their writing aside."""
    statements = (
        "SELECT update_id, kind, leg, hop, attempt, at, evidence, version, detail, message FROM device_event ORDER BY 2, 6, 8",
        "SELECT state, step, due_at, reason, version FROM campaign_device ORDER BY id",
        "SELECT firmware_version, last_heard, smi_status FROM device ORDER BY eui",
        "SELECT verb, subject, reason FROM note ORDER BY key",
        "SELECT id, route, note FROM inbox ORDER BY id",
    )
    return [list(connection.execute(text(statement))) for statement in statements]
