"""A device whose update a person cancelled: whatever is known of it, nothing more is sent that would change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.rollout.decide import Outcome, Step
from hanwave.rollout.device import State
from hanwave.rollout.events import Evidence, Kind, Leg
from hanwave.rollout.policy import DeviceType
from tests.unit.rollout.making import ACTIVATE, DISTRIBUTE, HASH, NEW, OLD, event, held, ran, sent, stand, step

pytestmark = pytest.mark.unit
ESME, PPMID = DeviceType.ESME, DeviceType.PPMID
CANCEL = event(Kind.CANCELLED, 50, attempt=0, reason="a complaint")
ACTIVE = [*held(), *sent(ACTIVATE, 10)]
IMAGE = sent(DISTRIBUTE, 0)

_any_event = st.builds(
    event,
    kind=st.sampled_from(sorted(set(Kind) - {Kind.CLOSED, Kind.SETTLED})),
    hour=st.integers(0, 60),
    leg=st.one_of(st.none(), st.sampled_from(Leg)),
    attempt=st.integers(0, 3),
    evidence=st.sampled_from(Evidence),
    version=st.sampled_from((None, OLD, NEW)),
    detail=st.sampled_from((None, HASH, "E20", "noImageHeld")),
)


@given(
    st.lists(_any_event.filter(lambda e: e.kind is not Kind.GRANTED or e.detail is None), max_size=12),
    st.sampled_from(DeviceType),
    st.integers(50, 20_000),
)
def test_no_forward_step_is_ever_asked_for_again(events, device_type, hour):
    assert step([*events, CANCEL], hour, device_type).step not in {Step.DISTRIBUTE, Step.ACTIVATE}


@pytest.mark.parametrize(
    ("events", "device_type"),
    [
        ([], ESME),
        (IMAGE, ESME),
        (held(), ESME),
        ([*IMAGE, event(Kind.REFUSED, 1, DISTRIBUTE, detail="E20")], ESME),
        ([*ACTIVE, event(Kind.WITHDRAWN, 11, ACTIVATE)], ESME),
        ([], PPMID),
    ],
)
def test_what_is_not_in_flight_ends_at_once_as_cancelled(events, device_type):
    decision = step([*events, CANCEL], 51, device_type)
    assert (decision.step, decision.outcome, decision.reason) == (Step.CLOSE, Outcome.CANCELLED, "a complaint")


@pytest.mark.parametrize(
    ("events", "device_type"),
    [
        (ACTIVE, ESME),
        ([*ACTIVE, event(Kind.SCHEDULED, 11, ACTIVATE)], ESME),
        ([*ACTIVE, event(Kind.OVERDUE, 40, ACTIVATE)], ESME),
        ([*ACTIVE, event(Kind.ACTIVATED, 11, ACTIVATE, version=NEW)], ESME),
        (IMAGE, PPMID),
    ],
)
def test_what_is_in_flight_goes_on_as_it_would_have(events, device_type):
    assert step([*events, CANCEL], 51, device_type) == step(events, 51, device_type)


def test_a_request_in_quarantine_still_waits_for_a_person():
    assert step([*ACTIVE, event(Kind.QUARANTINED, 11, ACTIVATE), CANCEL], 51).step is Step.WAIT


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ([event(Kind.VERIFICATION_FAILED, 1, DISTRIBUTE)], Outcome.NOT_VERIFIED),
        ([*sent(ACTIVATE, 10), event(Kind.ACTIVATION_FAILED, 11, ACTIVATE, detail="x")], Outcome.FAILED),
    ],
)
def test_harm_stays_harm(said, outcome):
    events = [*IMAGE, *said] if outcome is Outcome.NOT_VERIFIED else [*held(), *said]
    assert step([*events, CANCEL], 51).outcome is outcome


def test_only_the_first_cancel_gives_the_reason():
    later = event(Kind.CANCELLED, 60, attempt=0, reason="again")
    assert stand([*ACTIVE, later, CANCEL]).cancelled == "a complaint"
    assert stand([*held(), ran(NEW, 40), CANCEL]).state is State.CONFIRMED
