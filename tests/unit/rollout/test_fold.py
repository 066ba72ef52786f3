"""What a device's events amount to: in any order, and one fault at a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.device import EXPOSED, IN_FLIGHT, State, Target, fold
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import DeviceType
from tests.unit.rollout.making import (
    ACTIVATE,
    DISTRIBUTE,
    HASH,
    NEW,
    OLD,
    OTHER,
    OTHER_HASH,
    READ,
    event,
    held,
    hours,
    ran,
    sent,
    stand,
)

pytestmark = pytest.mark.unit
PPMID = DeviceType.PPMID
HELD = held()
ACTIVE = [*HELD, *sent(ACTIVATE, 10)]
SUCCESS = event(Kind.ACTIVATED, 11, ACTIVATE, version=NEW)

_any_event = st.builds(
    Event,
    kind=st.sampled_from(Kind),
    at=st.integers(0, 6).map(hours),
    leg=st.one_of(st.none(), st.sampled_from(Leg)),
    hop=st.integers(1, 2),
    attempt=st.integers(0, 3),
    evidence=st.sampled_from(Evidence),
    version=st.sampled_from((None, OLD, NEW, NEW.lower())),
    detail=st.sampled_from((None, HASH, OTHER_HASH, "E20", "noImageHeld")),
)


@given(
    st.lists(_any_event, max_size=12).flatmap(lambda e: st.tuples(st.just(e), st.permutations(e + e[:3]))),
    st.booleans(),
)
@settings(max_examples=500)
def test_any_order_of_the_same_events_and_duplicates_fold_to_the_same(orders, one_step):
    """Equal times too: what ties is not left to the order of arrival."""
    events, again = orders
    target = Target(NEW, HASH, one_step)
    assert fold(events, target) == fold(again, target)


def test_a_response_that_commits_before_sent_counts():
    granted = event(Kind.GRANTED, 10, ACTIVATE)
    assert stand([*HELD, granted, SUCCESS]).state is State.CONFIRMED


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.PLANNED),
        (sent(DISTRIBUTE, 0), State.REQUESTED),
        ([*sent(DISTRIBUTE, 0), event(Kind.DELIVERED, 2, DISTRIBUTE)], State.DELIVERED),
        ([*sent(DISTRIBUTE, 0), event(Kind.REFUSED, 0, DISTRIBUTE, detail="E4")], State.REJECTED),
        (HELD, State.HELD),
        (ACTIVE, State.ACTIVATING),
        ([*ACTIVE, event(Kind.SCHEDULED, 11, ACTIVATE)], State.SCHEDULED),
        ([*ACTIVE, event(Kind.SCHEDULED, 11, ACTIVATE), event(Kind.WITHDRAWN, 12, ACTIVATE)], State.HELD),
        ([*ACTIVE, event(Kind.SCHEDULED, 11, ACTIVATE), SUCCESS], State.CONFIRMED),
        ([*ACTIVE, event(Kind.ACTIVATION_FAILED, 24, ACTIVATE, detail="activationFailure")], State.FAILED),
        ([*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE)], State.UNKNOWN),
        ([*ACTIVE, event(Kind.UNREACHED, 12, ACTIVATE, detail="E21")], State.UNKNOWN),
        ([*ACTIVE, event(Kind.ABANDONED, 11, ACTIVATE)], State.HELD),
        ([*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), ran(OLD, 40)], State.HELD),
        ([*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), ran(NEW, 40)], State.CONFIRMED),
        ([*ACTIVE, SUCCESS, event(Kind.SETTLED, 90)], State.SETTLED),
    ],
)
def test_the_steps_of_a_device_with_two(events, state):
    assert stand(events).state is state


_TRANSFER = [*sent(DISTRIBUTE, 0), event(Kind.TRANSFERRED, 5, DISTRIBUTE)]
_8F8B = event(Kind.ACTIVATED, 6, DISTRIBUTE, version=NEW, evidence=Evidence.DCC)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (_TRANSFER, State.ACTIVATING),
        ([*_TRANSFER, _8F8B], State.CONFIRMED),
        ([*sent(DISTRIBUTE, 0), _8F8B], State.CONFIRMED),
        ([*_TRANSFER, event(Kind.ACTIVATION_FAILED, 6, DISTRIBUTE, version=OLD)], State.FAILED),
        ([*sent(DISTRIBUTE, 0), event(Kind.ACTIVATION_FAILED, 6, DISTRIBUTE, version=OLD)], State.FAILED),
        ([*sent(DISTRIBUTE, 0), event(Kind.OVERDUE, 700, DISTRIBUTE)], State.DELIVERY_FAILED),
        ([*_TRANSFER, event(Kind.OVERDUE, 700, DISTRIBUTE)], State.UNKNOWN),
        ([*_TRANSFER, event(Kind.OVERDUE, 700, DISTRIBUTE), _8F8B], State.CONFIRMED),
        ([*sent(DISTRIBUTE, 0), event(Kind.OVERDUE, 700, DISTRIBUTE), ran(NEW, 701)], State.CONFIRMED),
        ([*_TRANSFER, event(Kind.OVERDUE, 700, DISTRIBUTE), ran(OLD, 701)], State.DELIVERY_FAILED),
        ([*_TRANSFER, _8F8B, ran(OLD, 60)], State.FAILED),
        ([*sent(DISTRIBUTE, 0), event(Kind.ACTIVATED, 6, DISTRIBUTE, version=OLD)], State.FAILED),
    ],
    ids=[
        *("8F8A", "8F8A then 8F8B", "8F8B alone", "8F8B failure", "8F8B failure alone", "silence"),
        *(
            "silence after 8F8A",
            "8F8B after overdue",
            "read back",
            "still runs the old",
            "reverts",
            "success of another",
        ),
    ],
)
def test_the_one_step_of_a_ppmid(events, state):
    assert stand(events, PPMID).state is state


def test_a_late_8f8b_of_the_first_attempt_counts_after_the_second_was_granted():
    overdue = event(Kind.OVERDUE, 700, DISTRIBUTE)
    assert stand([*_TRANSFER[:2], overdue, *sent(DISTRIBUTE, 702, 2), _8F8B], PPMID).state is State.CONFIRMED


def test_what_a_ppmid_said_before_its_first_request_does_not_confirm_it():
    """It may await another image, which it will activate by itself: in a rollback, the bad one."""
    assert stand([ran(NEW, -5)], PPMID).state is State.PLANNED
    assert stand([ran(NEW, -5), *sent(DISTRIBUTE, 0)], PPMID).state is State.REQUESTED


def test_a_device_that_already_runs_the_target_is_confirmed_and_sent_nothing():
    assert stand([ran(NEW, -5)]).state is State.CONFIRMED
    assert stand([*HELD, ran(NEW, 3)]).state is State.CONFIRMED


@pytest.mark.parametrize("version", [NEW.lower(), NEW.lstrip("0")])
def test_a_version_is_the_same_however_its_digits_are_written(version):
    assert stand([*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE, version=version)]).state is State.CONFIRMED


def test_a_success_that_names_another_version_is_none():
    standing = stand([*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE, version=OTHER)])
    assert (standing.state, standing.reason) == (State.FAILED, f"runs {OTHER} after a success, not {NEW}")


def test_a_device_that_ran_the_target_and_fell_back_has_failed_though_its_response_was_lost():
    """An image that reverts must not look like an activation that never took place."""
    events = [*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), ran(NEW, 40), ran(OLD, 90)]
    assert stand(events).state is State.FAILED


def test_the_inventory_is_hearsay():
    """The DCC's inventory may be older than the device's own word: it neither denies a success nor stands for one."""
    stale = ran(OLD, 20, evidence=Evidence.DCC)
    assert stand([*ACTIVE, SUCCESS, stale]).state is State.CONFIRMED
    silent = [*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE)]
    assert stand([*silent, ran(NEW, 40, evidence=Evidence.DCC)]).state is State.UNKNOWN
    assert stand([*silent, ran(OLD, 40, evidence=Evidence.DCC)]).state is State.UNKNOWN
    assert stand([*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE, version=NEW, evidence=Evidence.IMPORTED)]).state is (
        State.ACTIVATED
    )


def test_a_word_of_the_same_instant_as_a_success_does_not_deny_it():
    assert stand([*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE), ran(OLD, 11)]).state is State.ACTIVATED


def test_the_soak_counts_from_when_the_device_first_said_so():
    standing = stand([*ACTIVE, SUCCESS, ran(NEW, 30), ran(NEW, 50)])
    assert (standing.since, standing.version_at) == (hours(11), hours(50))


# The image that the device holds.


def test_another_hash_forbids_activation_however_the_hub_and_the_attempts_go():
    wrong = event(Kind.VERIFIED, 3, DISTRIBUTE, detail=OTHER_HASH)
    first = [*sent(DISTRIBUTE, 0), wrong]
    assert stand(first).state is State.VERIFICATION_FAILED
    again = [*first, *sent(DISTRIBUTE, 5, 2)]
    assert stand(again).state is State.REQUESTED
    delivered = stand([*again, event(Kind.DELIVERED, 7, DISTRIBUTE, 2)])
    assert delivered.state is State.DELIVERED
    assert delivered.not_held
    assert stand([*again, event(Kind.VERIFIED, 8, DISTRIBUTE, 2, detail=HASH)]).state is State.HELD


def test_another_image_that_came_after_a_refused_activation_is_not_activated():
    refused = [*ACTIVE, event(Kind.REFUSED, 10.1, ACTIVATE, detail="E20")]
    assert stand(refused).state is State.HELD
    wrong = event(Kind.VERIFIED, 12, DISTRIBUTE, detail=OTHER_HASH)
    assert stand([*refused, wrong]).state is State.VERIFICATION_FAILED


def test_the_hash_is_compared_in_either_case_and_a_missing_one_is_no_word():
    image = sent(DISTRIBUTE, 0)
    assert stand([*image, event(Kind.VERIFIED, 1, DISTRIBUTE, detail=HASH.lower())]).state is State.HELD
    assert stand([*image, event(Kind.VERIFIED, 1, DISTRIBUTE)]).state is State.REQUESTED


def test_a_verified_image_of_the_first_attempt_stands_when_the_second_was_granted():
    events = [*sent(DISTRIBUTE, 0), event(Kind.OVERDUE, 240, DISTRIBUTE), *sent(DISTRIBUTE, 242, 2)]
    assert stand([*events, event(Kind.VERIFIED, 230, DISTRIBUTE, 1, detail=HASH)]).state is State.HELD


NO_IMAGE = event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, version=OLD, detail="noImageHeld")


def test_a_device_that_holds_no_image_is_one_to_send_it_to_and_no_failure():
    standing = stand([*ACTIVE, NO_IMAGE])
    assert (standing.state, standing.not_held) == (State.DELIVERY_FAILED, True)


def test_a_re_sent_image_begins_the_update_anew():
    again = [*ACTIVE, NO_IMAGE, *sent(DISTRIBUTE, 13, 2)]
    assert stand(again).state is State.REQUESTED
    verified = [*again, event(Kind.VERIFIED, 15, DISTRIBUTE, 2, detail=HASH)]
    assert stand(verified).state is State.HELD
    assert stand([*verified, *sent(ACTIVATE, 16, 2)]).state is State.ACTIVATING
    assert stand([*verified, event(Kind.ACTIVATED, 17, ACTIVATE, 1, version=NEW)]).state is State.CONFIRMED


def test_no_image_held_by_a_device_that_runs_the_target_is_a_success():
    answer = event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, version=NEW, detail="noImageHeld")
    assert stand([*ACTIVE, answer]).state is State.CONFIRMED


# Silence.


def test_a_passed_deadline_outranks_the_hubs_good_word():
    """Else a device whose 8F72 was lost is overdue for ever, and never sent the image again."""
    events = [*sent(DISTRIBUTE, 0), event(Kind.DELIVERED, 2, DISTRIBUTE), event(Kind.OVERDUE, 240, DISTRIBUTE)]
    assert (stand(events).state, stand(events).cause) == (State.DELIVERY_FAILED, Kind.OVERDUE)


def test_the_hubs_last_word_counts():
    hub = [*sent(DISTRIBUTE, 0), event(Kind.DELIVERY_FAILED, 2, DISTRIBUTE)]
    assert stand([*hub, event(Kind.DELIVERED, 3, DISTRIBUTE)]).state is State.DELIVERED
    assert stand([*hub, event(Kind.DELIVERED, 1, DISTRIBUTE)]).state is State.DELIVERY_FAILED


# Quarantine.

QUARANTINED = [*ACTIVE, event(Kind.QUARANTINED, 10.1, ACTIVATE)]


def test_a_quarantined_request_stays_one_until_a_person_says_which():
    assert stand(QUARANTINED).state is State.QUARANTINED
    assert stand([*QUARANTINED, event(Kind.DELETED, 60, ACTIVATE)]).state is State.HELD
    released = stand([*QUARANTINED, event(Kind.RELEASED, 60, ACTIVATE)])
    assert (released.state, released.sent(ACTIVATE)) == (State.ACTIVATING, hours(60))


def test_silence_before_a_release_is_none():
    events = [*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), event(Kind.QUARANTINED, 35, ACTIVATE)]
    assert stand([*events, event(Kind.RELEASED, 60, ACTIVATE)]).state is State.ACTIVATING


def test_a_quarantine_that_is_told_of_after_the_next_attempt_locks_the_device():
    events = [*ACTIVE, event(Kind.OVERDUE, 34, ACTIVATE), ran(OLD, 36), *sent(ACTIVATE, 40, 2)]
    standing = stand([*events, event(Kind.QUARANTINED, 10.1, ACTIVATE, 1)])
    assert (standing.state, standing.quarantined) == (State.ACTIVATING, True)


def test_an_answer_shows_that_a_request_left_quarantine():
    assert not stand([*QUARANTINED, SUCCESS]).quarantined
    assert (
        stand([*QUARANTINED, event(Kind.ACTIVATION_FAILED, 12, ACTIVATE, detail="hashMismatch")]).state is State.FAILED
    )


def test_a_quarantined_question_locks_nothing():
    assert not stand([*HELD, *sent(READ, 3), event(Kind.QUARANTINED, 3.1, READ)]).quarantined


# Ends. What several hops come to is in test_hops.


def test_an_update_that_is_closed_tells_the_outcome_and_the_reason():
    closed = event(Kind.CLOSED, 50, detail="cancelled", reason="a complaint")
    standing = stand([*ACTIVE, closed])
    assert (standing.state, standing.outcome, standing.reason) == (State.CLOSED, "cancelled", "a complaint")


@pytest.mark.parametrize("end", [event(Kind.CLOSED, 50, detail="unknown"), event(Kind.SETTLED, 50)])
def test_late_evidence_moves_no_ended_update(end):
    late = [SUCCESS, ran(OLD, 70), event(Kind.ACTIVATION_FAILED, 71, ACTIVATE), *sent(ACTIVATE, 72, 2)]
    assert stand([*ACTIVE, end, *late]).state is stand([*ACTIVE, end]).state


def test_what_never_left_is_not_spent():
    events = [*sent(DISTRIBUTE, 0), event(Kind.ABANDONED, 1, DISTRIBUTE), *sent(DISTRIBUTE, 2, 2)]
    assert (stand(events).attempt(DISTRIBUTE), stand(events).spent(DISTRIBUTE)) == (2, 1)


def test_an_imported_attempt_counts_as_one():
    accepted = event(Kind.ACCEPTED, 4, DISTRIBUTE, evidence=Evidence.IMPORTED)
    standing = stand([accepted])
    assert (standing.state, standing.attempt(DISTRIBUTE), standing.sent(DISTRIBUTE)) == (State.REQUESTED, 1, hours(4))


def test_a_question_is_open_until_an_answer_or_its_deadline():
    asked = [*HELD, *sent(READ, 3)]
    assert stand(asked).reading
    for answer in (ran(OLD, 4, READ, 1), event(Kind.OVERDUE, 30, READ), event(Kind.UNREACHED, 4, READ)):
        assert not stand([*asked, answer]).reading


def test_what_is_in_flight_is_exposed_but_for_images_on_their_way():
    assert IN_FLIGHT[ACTIVATE] <= EXPOSED
    assert {State.ACTIVATING, State.UNKNOWN} <= IN_FLIGHT[DISTRIBUTE]
