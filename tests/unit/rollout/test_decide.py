"""The next step, one fault at a time; whole updates are in test_world."""

from datetime import timedelta

import pytest

from hanwave.rollout.decide import Outcome, Step, decide
from hanwave.rollout.device import Standing, State
from hanwave.rollout.events import Evidence, Kind
from hanwave.rollout.policy import ActivationMode, Attempts, DeviceType, Policy
from tests.unit.rollout.making import (
    ACTIVATE,
    DISTRIBUTE,
    HASH,
    NEW,
    OLD,
    OTHER_HASH,
    READ,
    event,
    held,
    hours,
    ran,
    sent,
    step,
)

pytestmark = pytest.mark.unit
ESME, GSME, HCALCS, PPMID = DeviceType.ESME, DeviceType.GSME, DeviceType.HCALCS, DeviceType.PPMID
ACTIVE = [*held(), *sent(ACTIVATE, 10)]
IMAGE = sent(DISTRIBUTE, 0)


def test_a_new_device_is_sent_the_image_and_a_held_one_activated():
    assert step([], 0).step is Step.DISTRIBUTE
    assert step(held(), 2).step is Step.ACTIVATE


def test_a_deadline_counts_from_sending():
    assert step(IMAGE, 239).until == hours(240.01)
    assert step(IMAGE, 240.01).step is Step.OVERDUE


def test_an_answer_before_sent_leaves_nothing_to_wait_for():
    events = [*held(), event(Kind.GRANTED, 10, ACTIVATE), event(Kind.ACTIVATED, 10.5, ACTIVATE, version=NEW)]
    assert (step(events, 11).step, step(events, 11).reason) == (Step.WAIT, "soaks")


@pytest.mark.parametrize("code", ["OtherRequestInProgress", "E20", "E21", "E30", "E31"])
def test_a_passing_refusal_is_tried_again_after_the_back_off(code):
    refused = [*IMAGE, event(Kind.REFUSED, 0.1, DISTRIBUTE, detail=code)]
    assert step(refused, 0.5).until == hours(1.1)
    assert step(refused, 1.1).step is Step.DISTRIBUTE
    refused = [*ACTIVE, event(Kind.REFUSED, 10.1, ACTIVATE, detail=code)]
    assert step(refused, 10.5).until == hours(11.1)
    assert step(refused, 11.1).step is Step.ACTIVATE


@pytest.mark.parametrize("code", ["E4", "E5", "E65", "E110101", "NotCommissionedDeviceIDList", "E9999"])
def test_any_other_refusal_ends_the_update_as_rejected(code):
    for events in (
        [*IMAGE, event(Kind.REFUSED, 0.1, DISTRIBUTE, detail=code)],
        [*ACTIVE, event(Kind.REFUSED, 10.1, ACTIVATE, detail=code)],
    ):
        decision = step(events, 0.2)
        assert (decision.step, decision.outcome, decision.reason) == (Step.CLOSE, Outcome.REJECTED, code)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (event(Kind.REFUSED, 11, ACTIVATE, detail="E20"), Outcome.REJECTED),
        (event(Kind.WITHDRAWN, 11, ACTIVATE), Outcome.CANCELLED),
        (event(Kind.DELETED, 11, ACTIVATE), Outcome.CANCELLED),
    ],
)
def test_an_activation_that_came_to_nothing_for_no_fault_of_the_device_is_no_failure(last, outcome):
    """A failure would count as harm, and an outage alone would fail the gate."""
    decision = step([*ACTIVE, last], 30, policy=Policy(attempts=Attempts(activate=1)))
    assert (decision.step, decision.outcome) == (Step.CLOSE, outcome)


def test_what_never_left_costs_no_attempt():
    events = [*ACTIVE, event(Kind.ABANDONED, 11, ACTIVATE)]
    assert step(events, 12, policy=Policy(attempts=Attempts(activate=1))).step is Step.ACTIVATE


def test_an_unknown_activation_is_asked_about_and_never_repeated_before_the_answer():
    unknown = [*ACTIVE, event(Kind.OVERDUE, 34.01, ACTIVATE)]
    assert step(unknown, 34.01).step is Step.READ
    assert step([*unknown, *sent(READ, 35)], 36).until == hours(59.01)
    silent = [
        *unknown,
        *(e for n in range(5) for e in (*sent(READ, 35 + n, n + 1), event(Kind.OVERDUE, 35.5 + n, READ, n + 1))),
    ]
    decision = step(silent, 45)
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.UNKNOWN)
    assert step([*unknown, ran(OLD, 36)], 37).step is Step.ACTIVATE


def test_a_hot_loop_of_questions_is_slowed():
    unknown = [
        *ACTIVE,
        event(Kind.OVERDUE, 34.01, ACTIVATE),
        *sent(READ, 35),
        event(Kind.REFUSED, 35.1, READ, detail="E65"),
    ]
    assert step(unknown, 35.2).until == hours(36.01)


def test_a_future_dated_activation_is_judged_after_its_date():
    """That the device runs the old version before the date says nothing; a second command would be a doubled one."""
    policy = Policy(activation=ActivationMode.FUTURE_DATED, lead=timedelta(hours=100))
    assert step(ACTIVE, 100, policy=policy).until == hours(10.01 + 100 + 24)
    unreached = [*ACTIVE, event(Kind.UNREACHED, 12, ACTIVATE, detail="E21")]
    assert step(unreached, 13, policy=policy).until == hours(110.01)
    assert step(unreached, 111, policy=policy).step is Step.READ
    early = [*unreached, ran(OLD, 20)]
    assert step(early, 21, policy=policy).until == hours(110.01)
    assert step(early, 111, policy=policy).step is Step.READ
    assert step([*unreached, ran(OLD, 112)], 114, policy=policy).step is Step.ACTIVATE


def test_a_re_sent_image_is_awaited_before_anything_more_is_sent():
    """After noImageHeld, and after another image."""
    none = event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, version=OLD, detail="noImageHeld")
    wrong = [*IMAGE, event(Kind.VERIFIED, 1, DISTRIBUTE, detail=OTHER_HASH)]
    for events in ([*ACTIVE, none], wrong):
        assert step(events, 12).step is Step.DISTRIBUTE
        assert step([*events, *sent(DISTRIBUTE, 12, 2)], 20).step is Step.WAIT


def test_a_device_without_an_image_is_not_sent_another_while_one_is_on_its_way():
    early = [*IMAGE, event(Kind.DELIVERED, 2, DISTRIBUTE), *sent(ACTIVATE, 51)]
    none = event(Kind.ACTIVATION_FAILED, 52, ACTIVATE, version=OLD, detail="noImageHeld")
    decision = step([*early, none], 60, HCALCS)
    assert (decision.step, decision.until) == (Step.WAIT, hours(240.01))


def test_no_image_held_over_and_over_ends_as_failed():
    events = [*ACTIVE, event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, version=OLD, detail="noImageHeld")]
    decision = step(events, 12, policy=Policy(attempts=Attempts(distribute=1)))
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.FAILED)


# The hub's word.


def test_the_hubs_word_is_enough_only_where_the_policy_says_so():
    events = [*IMAGE, event(Kind.DELIVERED, 2, DISTRIBUTE)]
    assert step(events, 50, HCALCS).step is Step.ACTIVATE
    assert step(events, 49, HCALCS).until == hours(50)
    assert step(events, 50, ESME).until == hours(240.01)


@pytest.mark.parametrize(
    "word", [event(Kind.VERIFIED, 1, DISTRIBUTE, detail=OTHER_HASH), event(Kind.VERIFICATION_FAILED, 1, DISTRIBUTE)]
)
def test_the_hubs_word_never_stands_against_the_devices(word):
    events = [*IMAGE, word, *sent(DISTRIBUTE, 5, 2), event(Kind.DELIVERED, 7, DISTRIBUTE, 2)]
    assert step(events, 200, HCALCS).step is Step.WAIT
    assert step([*events, event(Kind.VERIFIED, 8, DISTRIBUTE, 2, detail=HASH)], 9, HCALCS).step is Step.ACTIVATE


def test_the_hubs_word_is_no_way_round_the_allowance():
    events = [*IMAGE, event(Kind.DELIVERED, 2, DISTRIBUTE), *sent(ACTIVATE, 51)]
    none = event(Kind.ACTIVATION_FAILED, 52, ACTIVATE, version=OLD, detail="noImageHeld")
    again = [*events, none, event(Kind.OVERDUE, 241, DISTRIBUTE), *sent(DISTRIBUTE, 243, 2)]
    again.append(event(Kind.DELIVERED, 245, DISTRIBUTE, 2))
    assert step(again, 300, HCALCS).step is Step.ACTIVATE
    assert step(again, 300, HCALCS, Policy(attempts=Attempts(activate=1))).step is Step.WAIT


# Batteries, and PPMIDs.


def test_a_gsme_is_not_sent_an_image_again_for_a_missing_alert_alone():
    for events in (IMAGE, [*IMAGE, event(Kind.DELIVERED, 2, DISTRIBUTE)]):
        decision = step([*events, event(Kind.OVERDUE, 505, DISTRIBUTE)], 506, GSME)
        assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.NOT_DELIVERED)


def test_a_gsme_has_a_cap_of_images_of_its_own():
    failed = [*IMAGE, event(Kind.DELIVERY_FAILED, 3, DISTRIBUTE)]
    policy = Policy(attempts=Attempts(distribute=9, gsme_images=1))
    assert step(failed, 9, GSME, policy).step is Step.CLOSE
    assert step(failed, 9, ESME, policy).step is Step.DISTRIBUTE


def test_a_transfer_at_the_last_minute_leaves_a_ppmid_the_time_to_activate():
    events = [*IMAGE, event(Kind.TRANSFERRED, 671, DISTRIBUTE)]
    assert step(events, 680, PPMID).until == hours(671 + 24)


def test_a_ppmid_that_still_runs_the_old_version_is_sent_the_image_again_and_fails_in_the_end():
    events = [*IMAGE, event(Kind.TRANSFERRED, 5, DISTRIBUTE), event(Kind.OVERDUE, 673, DISTRIBUTE), ran(OLD, 675)]
    assert step(events, 677, PPMID).step is Step.DISTRIBUTE
    decision = step(events, 677, PPMID, Policy(attempts=Attempts(distribute=1)))
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.FAILED)


# The soak.

CONFIRMED = [*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE, version=NEW)]


def test_the_soak_ends_with_a_word_from_after_it():
    assert step(CONFIRMED, 20).until == hours(59)
    assert step(CONFIRMED, 59).step is Step.READ
    assert step([*CONFIRMED, ran(NEW, 40)], 59).step is Step.READ
    assert step([*CONFIRMED, *sent(READ, 59), ran(NEW, 60, READ, 1)], 61).step is Step.SETTLE
    assert step(CONFIRMED, 59, policy=Policy(soak_check=False)).step is Step.SETTLE


def test_questions_asked_during_the_soak_do_not_make_a_device_quiet():
    """Else samples use up the allowance, and a healthy device is called quiet without being asked."""
    asked = [e for n in range(6) for e in (*sent(READ, 12 + n, n + 1), ran(NEW, 12.5 + n, READ, n + 1))]
    assert step([*CONFIRMED, *asked], 61).step is Step.READ


def test_the_inventory_does_not_end_a_soak():
    assert step([*CONFIRMED, ran(NEW, 60, evidence=Evidence.DCC)], 61).step is Step.READ


# Quarantine, and the end.


def test_nothing_is_done_with_a_device_whose_request_is_in_quarantine():
    """Not even after a success of a later attempt: the request may be let go on any day."""
    first = [*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), event(Kind.QUARANTINED, 10.1, ACTIVATE)]
    later = [*first, ran(OLD, 36), *sent(ACTIVATE, 40, 2), event(Kind.ACTIVATED, 41, ACTIVATE, 2, version=NEW)]
    for events in (first, later):
        decision = step(events, 500)
        assert (decision.step, decision.until) == (Step.WAIT, None)
        assert "a person must record" in decision.reason


def test_a_released_request_has_its_whole_time_again():
    events = [*ACTIVE, event(Kind.QUARANTINED, 10.1, ACTIVATE), event(Kind.RELEASED, 100, ACTIVATE)]
    assert step(events, 101).until == hours(124)


@pytest.mark.parametrize("state", [State.SETTLED, State.CLOSED])
@pytest.mark.parametrize("quarantined", [False, True])
def test_after_the_end_there_is_nothing_to_do(state, quarantined):
    decision = decide(Standing(state, hours(0), quarantined=quarantined), ESME, Policy(), hours(9999))
    assert (decision.step, decision.until, decision.reason) == (Step.WAIT, None, "the update has ended")


def test_a_failure_ends_the_update():
    events = [*ACTIVE, event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, detail="hashMismatch")]
    decision = step(events, 12)
    assert (decision.step, decision.outcome, decision.reason) == (Step.CLOSE, Outcome.FAILED, "hashMismatch")


def test_an_image_that_devices_refuse_ends_as_not_verified():
    events = [*IMAGE, event(Kind.VERIFICATION_FAILED, 1, DISTRIBUTE)]
    assert step(events, 1.5).until == hours(2)
    decision = step(events, 3, policy=Policy(attempts=Attempts(distribute=1)))
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.NOT_VERIFIED)
