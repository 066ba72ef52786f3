"""The permit, the outbox and the halt, on a real PostgreSQL."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hanwave.ledger import beats, campaigns, checks, outbox, permit, planning, stops, waves
from hanwave.ledger.checks import NotNow
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record, standings
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.rollout.request import CampaignRequest
from tests.support.ledger import ACB, HASH, US, VERSION, World

pytestmark = pytest.mark.ledger
OK = outbox.Answer("I99", b"<ok/>")


def distribute(world: World, ids: list[int], campaign: str = "spring") -> permit.Permit:
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask(campaign, 1, Leg.DISTRIBUTE, ids, "11.1", ACB), world.now)


def activate(world: World, update_id: int) -> permit.Permit:
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask("spring", 1, Leg.ACTIVATE, [update_id], "11.3"), world.now)


def send(world: World, outbox_id: int | None, answer: outbox.Answer | None = OK) -> outbox.Sending | str:
    assert outbox_id is not None
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
    with world.engine.begin() as connection:
        leave = outbox.begin(connection, outbox_id, world.now)
    if isinstance(leave, str):
        return leave
    with world.engine.begin() as connection:
        if answer:
            outbox.answered(connection, outbox_id, answer, world.now)
        else:
            outbox.no_answer(connection, outbox_id, world.now)
    return leave


def say(world: World, update_id: int, kind: Kind, leg: Leg | None = None, attempt: int = 1, **more: str) -> None:
    event = Event(kind, world.now, leg, attempt=attempt, evidence=Evidence.DEVICE, **more)
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, event)], world.now)


def hold_image(world: World, size: int = 1, policy: Policy | None = None) -> list[int]:
    ids = world.campaign(world.fleet(size), policy)
    send(world, distribute(world, ids).outbox_id)
    for update_id in ids:
        say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    return ids


def halt(world: World, scope: stops.Scope) -> int:
    with world.engine.begin() as connection:
        return stops.stop(connection, scope, "halt", "smoke", "ann", world.now)


def test_a_device_goes_from_planned_to_settled(world):
    (update_id,) = hold_image(world)
    assert world.state(update_id) is State.HELD
    send(world, activate(world, update_id).outbox_id)
    assert world.state(update_id) is State.ACTIVATING
    world.later(minutes=1)
    say(world, update_id, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    assert world.state(update_id) is State.CONFIRMED
    world.later(days=3)
    say(world, update_id, Kind.SETTLED)
    assert world.state(update_id) is State.SETTLED
    assert world.count("lease") == world.count("home_lease") == 0


def test_a_step_is_granted_once_however_often_it_is_asked(world):
    ids = world.campaign(world.fleet(3))
    first = distribute(world, ids)
    assert set(first.granted) == set(ids)
    again = distribute(world, ids)
    assert again.outbox_id is None
    assert all("waits for word" in each.reason for each in again.refused.values())
    assert world.count("outbox") == 1


def test_an_activation_of_an_image_that_is_not_held_is_refused(world):
    (update_id,) = world.campaign(world.fleet(1))
    assert activate(world, update_id).outbox_id is None


def test_an_image_with_another_hash_forbids_activation(world):
    (update_id,) = world.campaign(world.fleet(1))
    send(world, distribute(world, [update_id]).outbox_id)
    say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail="CD" * 32)
    assert world.state(update_id) is State.VERIFICATION_FAILED
    assert activate(world, update_id).outbox_id is None


def test_a_device_is_never_in_two_updates(world):
    euis = world.fleet(2)
    first = world.campaign(euis, name="spring")
    second = world.campaign(euis, name="summer")
    distribute(world, first)
    refused = distribute(world, second, "summer")
    assert refused.outbox_id is None
    assert {each.reason for each in refused.refused.values()} == {"in another update"}


def test_devices_that_fell_silent_keep_their_places_under_the_cap(world):
    """Else an image that silences its devices, which opens no breaker, would go on through the whole wave."""
    first, second, third = hold_image(world, 3, Policy(waves=(Wave(share=1),), exposure_cap=2))
    for update_id in (first, second):
        send(world, activate(world, update_id).outbox_id)
    assert activate(world, third).refused[third].reason == "the wave's exposure cap of 2 is reached"
    for update_id in (first, second):
        say(world, update_id, Kind.CLOSED, detail="quiet")
    told = (
        "the wave's exposure cap of 2 is reached: 2 devices more than its gate bears fell silent, and keep their places"
    )
    assert activate(world, third).refused[third].reason == told
    with world.engine.connect() as connection:
        frame = campaigns.frame(connection, "spring")
        assert checks.exposed(connection, frame, 1) == 2
        assert checks.exposed(connection, replace(frame, kind="rollback"), 1) == 0


def test_the_exposure_cap_is_never_exceeded_by_permits_at_once(world):
    ids = hold_image(world, 12, Policy(waves=(Wave(share=1),), exposure_cap=5))
    threads = [threading.Thread(target=activate, args=(world, update_id)) for update_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("campaign_device", "state = 'activating'") == 5
    assert world.count("outbox", "leg = 'activate'") == 5


def test_a_device_that_fills_the_cap_takes_no_more_of_it_when_it_is_asked_again(world):
    world.device_type = "PPMID"
    one, two = world.campaign(world.fleet(2), Policy(waves=(Wave(share=1),), exposure_cap=1))
    send(world, distribute(world, [two]).outbox_id)
    say(world, two, Kind.DELIVERY_FAILED, Leg.DISTRIBUTE)
    world.later(hours=2)
    asked = distribute(world, [one, two])
    assert asked.granted == (two,)
    assert asked.refused[one].reason == "the wave's exposure cap of 1 is reached"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("import_supplier = 'another'", "another supplier"),
        ("smi_status = 'Decommissioned'", "SMI status is Decommissioned"),
    ],
)
def test_a_device_that_is_no_longer_eligible_is_refused_at_the_permit(world, change, reason):
    (update_id,) = hold_image(world)
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE device SET {change}"))
    assert reason in activate(world, update_id).refused[update_id].reason


def test_a_hold_is_refused_until_it_expires(world):
    (update_id,) = hold_image(world)
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO hold (scope, value, reason, owner, placed_at, expires_at)"
                " VALUES ('region', 'South', 'storm', 'ann', :now, :until)"
            ),
            {"now": world.now, "until": world.now + timedelta(hours=1)},
        )
    assert activate(world, update_id).refused[update_id].reason == "on hold: storm"
    world.later(hours=2)
    assert activate(world, update_id).granted == (update_id,)


@pytest.mark.parametrize(
    "scope",
    [
        stops.Scope("all"),
        stops.Scope("user", US),
        stops.Scope("campaign", "spring"),
        stops.Scope("wave", "spring/1"),
        stops.Scope("model", "121D/1111"),
        stops.Scope("campaign", "spring", Leg.ACTIVATE),
    ],
    ids=str,
)
def test_nothing_is_permitted_under_a_stop(world, scope):
    (update_id,) = hold_image(world)
    stop_id = halt(world, scope)
    assert activate(world, update_id).outbox_id is None
    with world.engine.begin() as connection:
        stops.lift(connection, stop_id, "false alarm", "bob", world.now)
    assert activate(world, update_id).granted == (update_id,)


def test_nothing_forward_is_permitted_while_nobody_watches_over_the_engine(world):
    (update_id,) = hold_image(world)
    with world.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, world.now - timedelta(minutes=3))
    assert "the warden was last heard of" in activate(world, update_id).refused[update_id].reason
    with world.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, world.now)
    assert activate(world, update_id).granted == (update_id,)


def test_a_pause_of_one_leg_leaves_the_other(world):
    (update_id,) = hold_image(world)
    halt(world, stops.Scope("campaign", "spring", Leg.DISTRIBUTE))
    assert activate(world, update_id).granted == (update_id,)


def test_what_was_permitted_before_a_halt_does_not_leave_after_it(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    halt(world, stops.Scope("all"))
    assert "halt of all by ann: smoke" in str(send(world, granted.outbox_id))
    with world.engine.begin() as connection:
        outbox.never_sent(connection, granted.outbox_id or 0, world.now, "halted")
    assert world.state(update_id) is State.HELD


def test_a_halt_waits_for_the_sender_that_was_first(world):
    """A sender that has read the stop rows must be seen as sending before the halt is recorded."""
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted.outbox_id or 0, b"<request/>")
    halted = threading.Thread(target=halt, args=(world, stops.Scope("all")))
    with world.engine.begin() as connection:
        assert isinstance(outbox.begin(connection, granted.outbox_id or 0, world.now), outbox.Sending)
        halted.start()
        halted.join(0.3)
        assert halted.is_alive()
    halted.join(10)
    with world.engine.connect() as connection:
        assert [m.outbox_id for m in stops.sending(connection, world.now)] == [granted.outbox_id]


def test_a_reply_to_a_repeated_post_never_rejects_a_device(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    send(world, granted.outbox_id, None)
    send(world, granted.outbox_id, outbox.Answer("E42", b"<duplicate/>"))
    assert world.state(update_id) is State.ACTIVATING
    world.later(days=2)
    say(world, update_id, Kind.OVERDUE, Leg.ACTIVATE)
    assert world.state(update_id) is State.UNKNOWN


def test_every_post_sends_the_same_bytes(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    first = send(world, granted.outbox_id, None)
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted.outbox_id or 0, b"<another/>")
        again = outbox.begin(connection, granted.outbox_id or 0, world.now)
    assert isinstance(first, outbox.Sending)
    assert isinstance(again, outbox.Sending)
    assert first.body == again.body


def test_a_warning_refuses_the_listed_devices_and_no_others(world):
    euis = world.fleet(3)
    ids = world.campaign(euis)
    warning = outbox.Answer("W110101", b"<w/>", {euis[1]: "NotCommissionedDeviceIDList"})
    send(world, distribute(world, ids).outbox_id, warning)
    assert [world.state(i) for i in ids] == [State.REQUESTED, State.REJECTED, State.REQUESTED]


def test_the_breaker_opens_in_the_transaction_that_records_the_harm(world):
    ids = hold_image(world, 10)
    send(world, activate(world, ids[0]).outbox_id)
    say(world, ids[0], Kind.ACTIVATION_FAILED, Leg.ACTIVATE, detail="activationFailure")
    refused = activate(world, ids[1])
    assert refused.outbox_id is None
    assert "breaker of wave spring/1" in refused.refused[ids[1]].reason


def test_recording_a_fact_twice_changes_nothing(world):
    (update_id,) = hold_image(world)
    events, tallies = world.count("device_event"), funnel(world)
    say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    assert (world.count("device_event"), funnel(world)) == (events, tallies)


def test_counters_only_grow_past_a_restored_database(world):
    hold_image(world)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE counter SET last = 5"))
        row = connection.execute(text("SELECT user_id FROM counter")).scalar_one()
        assert permit.next_request_id(connection, row, ACB, world.now).counter >= world.now.timestamp() * 1000


def funnel(world: World) -> dict[str, int]:
    with world.engine.connect() as connection:
        return campaigns.funnel(connection, "spring")


def test_the_tally_agrees_with_the_rows_and_rolls_up_to_the_same(world):
    ids = hold_image(world, 5)
    send(world, activate(world, ids[0]).outbox_id)
    before = funnel(world)
    assert before == {"activating": 1, "held": 4}
    with world.engine.begin() as connection:
        assert campaigns.roll_up(connection) == 2
    assert funnel(world) == before


@pytest.mark.parametrize("statement", ["UPDATE device_event SET detail = 'x'", "DELETE FROM device_event"])
def test_the_application_cannot_rewrite_what_happened(world, statement):
    hold_image(world)
    with pytest.raises(DBAPIError, match="permission denied"), world.engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("stage", ["received", "cpl_submitted", "cpl_active", "withdrawn"])
def test_a_release_that_may_not_be_sent_cannot_be_planned(world, stage):
    world.release_document()
    world.fleet(1)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE release SET stage = :stage"), {"stage": stage})
    request = CampaignRequest(release="r2", author="ann")
    with pytest.raises(LedgerError, match=f"release r2 is {stage}"), world.engine.begin() as connection:
        planning.freeze(connection, "spring", request, US, world.now)
    assert world.count("campaign") == 0


def test_a_wave_does_not_begin_before_the_gate_of_an_earlier_one_has_passed(world):
    world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        connection.execute(text("INSERT INTO wave (campaign, number, size) VALUES ('spring', 2, 0)"))
    with pytest.raises(LedgerError, match="wave 2 of spring may not begin: the gate of wave 1"):
        begin_wave(world, 2)
    begin_wave(world, 1)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET passed_by = 'ann' WHERE number = 1"))
    begin_wave(world, 2)
    assert world.count("wave", "opened_at IS NOT NULL") == 2


def test_a_wave_that_was_not_opened_is_permitted_nothing_whoever_drives_it(world):
    ids = world.campaign(world.fleet(2))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET opened_at = NULL"))
    refused = distribute(world, ids)
    assert not refused.granted
    assert {each.reason for each in refused.refused.values()} == {
        "its wave was not opened: that takes the plan's approval and every earlier gate"
    }
    begin_wave(world, 1)
    assert set(distribute(world, ids).granted) == set(ids)


def begin_wave(world: World, number: int) -> None:
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", number, world.now)


def test_what_is_refused_is_asked_again_when_the_refusal_said_else_after_two_sweeps(world):
    known, unknown = world.campaign(world.fleet(2))
    tomorrow = world.now + timedelta(days=1)
    refused = {known: NotNow("its window is closed", tomorrow), unknown: NotNow("its home is busy")}
    with world.engine.begin() as connection:
        later = world.now + 2 * campaigns.frame(connection, "spring").policy.sweep
        waves.defer(connection, "spring", refused, world.now)
        rows = connection.execute(text("SELECT id, due_at, reason FROM campaign_device")).all()
    assert {row.id: (row.due_at, row.reason) for row in rows} == {
        known: (tomorrow, "its window is closed"),
        unknown: (later, "its home is busy"),
    }


def test_what_is_folded_as_it_is_recorded_is_what_its_events_fold_to_when_they_are_read(world):
    (update_id,) = hold_image(world)
    closed = Event(Kind.CLOSED, world.now, detail="quiet", reason="nobody answers")
    told = [
        closed,
        replace(closed, reason="told in other words"),
        Event(Kind.HEARD, world.now, evidence=Evidence.DEVICE),
    ]
    for _ in range(2):
        with world.engine.begin() as connection:
            (folded,) = record(connection, [Fact(update_id, event) for event in told], world.now)
            (read,) = standings(connection, [update_id], world.now)
        assert (folded.standing, folded.decision) == (read.standing, read.decision)
        assert read.standing.reason == "nobody answers"
        told.reverse()
