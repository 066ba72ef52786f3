"""Whole updates, from the first request to the end, under every mixture of fates."""

from datetime import timedelta

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.decide import Step
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import ActivationMode, Attempts, DeviceType, Policy
from tests.unit.rollout.world import FATES, World

pytestmark = pytest.mark.unit


@st.composite
def worlds(draw: st.DrawFn) -> World:
    device_type = draw(st.sampled_from(DeviceType))
    policy = Policy(
        activation=draw(st.sampled_from(ActivationMode)),
        lead=timedelta(hours=draw(st.sampled_from((12, 100)))),
        soak_check=draw(st.booleans()),
        attempts=Attempts(
            distribute=draw(st.integers(1, 4)),
            activate=draw(st.integers(1, 4)),
            read=draw(st.integers(1, 3)),
            gsme_images=draw(st.integers(1, 3)),
        ),
    )
    fates = {
        leg: draw(st.lists(st.sampled_from(sorted(of_leg)), max_size=5))
        for (one_step, leg), of_leg in FATES.items()
        if one_step == device_type.one_step
    }
    return World(device_type, policy, fates, draw(st.booleans()))


# From a state (with what stays is left out), by one more event, to these. Whatever is not here is forbidden: what has
# ended stays ended, a failure is undone by nothing but the device's own word, and nothing goes back to *planned*.
_ALWAYS = {State.CLOSED, State.CONFIRMED, State.QUARANTINED}
_PERMITTED = {
    State.PLANNED: {State.REQUESTED},
    State.REQUESTED: {
        *(State.DELIVERED, State.HELD, State.REJECTED, State.DELIVERY_FAILED, State.VERIFICATION_FAILED),
        *(State.ACTIVATING, State.ACTIVATED, State.FAILED),
    },
    State.DELIVERED: {State.HELD, State.ACTIVATING, State.DELIVERY_FAILED, State.VERIFICATION_FAILED, State.FAILED},
    State.HELD: {State.ACTIVATING, State.VERIFICATION_FAILED, State.REQUESTED, State.DELIVERED, State.ACTIVATED},
    State.ACTIVATING: {
        *(State.ACTIVATED, State.SCHEDULED, State.UNKNOWN, State.HELD, State.FAILED),
        *(State.DELIVERY_FAILED, State.REQUESTED, State.DELIVERED, State.VERIFICATION_FAILED),
    },
    State.SCHEDULED: {State.ACTIVATED, State.UNKNOWN, State.HELD, State.FAILED, State.VERIFICATION_FAILED},
    State.ACTIVATED: {State.FAILED},
    State.CONFIRMED: {State.SETTLED, State.FAILED, State.REQUESTED, State.HELD},
    State.UNKNOWN: {
        *(State.ACTIVATED, State.HELD, State.FAILED, State.DELIVERY_FAILED, State.VERIFICATION_FAILED),
        *(State.REQUESTED, State.DELIVERED),
    },
    State.QUARANTINED: {
        *(State.REQUESTED, State.ACTIVATING, State.HELD, State.REJECTED, State.ACTIVATED, State.FAILED),
        *(State.VERIFICATION_FAILED, State.DELIVERED, State.UNKNOWN),
    },
    State.REJECTED: {State.REQUESTED, State.HELD},
    State.DELIVERY_FAILED: {State.REQUESTED, State.HELD, State.ACTIVATING, State.ACTIVATED, State.VERIFICATION_FAILED},
    State.VERIFICATION_FAILED: {State.REQUESTED, State.HELD},
    State.FAILED: set(),
}


def _forbidden(world: World) -> list[tuple[State, State]]:
    ended = {State.SETTLED, State.CLOSED}
    return [
        (before, after)
        for before, after in world.moves
        if before is not after and (before in ended or after not in _PERMITTED[before] | _ALWAYS)
    ]


@given(worlds())
@settings(max_examples=600)
def test_no_mixture_of_fates_breaks_a_rule_or_goes_on_for_ever(world):
    note(world.run())
    assert not _forbidden(world)


@pytest.mark.parametrize("device_type", DeviceType)
@pytest.mark.parametrize("mode", ActivationMode)
def test_each_fate_alone_comes_to_its_end(device_type, mode):
    for (one_step, leg), of_leg in FATES.items():
        for name in of_leg if one_step == device_type.one_step else ():
            first = {Leg.DISTRIBUTE: ["verified" if not one_step else "the transfer, then silence"]}
            world = World(device_type, Policy(activation=mode), first | {leg: [name]})
            world.run()
            assert not _forbidden(world), name


@pytest.mark.parametrize("device_type", DeviceType)
def test_a_device_that_never_answers_is_given_up(device_type):
    world = World(device_type, Policy(), {})
    assert world.run() is State.CLOSED
    asked = [s.step for s in world.steps if s.step in (Step.DISTRIBUTE, Step.ACTIVATE, Step.READ)]
    assert asked.count(Step.DISTRIBUTE) == (1 if device_type is DeviceType.GSME else 3)
    assert asked.count(Step.READ) == (3 if device_type is DeviceType.PPMID else 0)
    assert Step.ACTIVATE not in asked
    ends = {DeviceType.PPMID: "customer_action"}
    assert world.known[-1].detail == ends.get(device_type, "not_delivered")


def test_a_device_that_reports_success_and_goes_quiet_ends_quiet():
    world = World(DeviceType.ESME, Policy(), {Leg.DISTRIBUTE: ["verified"], Leg.ACTIVATE: ["activated"]})
    assert world.run() is State.CLOSED
    assert world.known[-1].detail == "quiet"
    assert sum(s.step is Step.READ for s in world.steps) == Policy().attempts.read


def test_a_lost_response_is_settled_by_reading_the_version():
    fates = {
        Leg.DISTRIBUTE: ["verified"],
        Leg.ACTIVATE: ["activated, the response lost"],
        Leg.READ: ["the truth", "the truth"],
    }
    world = World(DeviceType.ESME, Policy(), fates)
    assert world.run() is State.SETTLED
    assert sum(s.step is Step.ACTIVATE for s in world.steps) == 1


def test_a_ppmid_whose_words_were_all_lost_is_asked_before_the_image_goes_out_again():
    """Its 11.4 activates by itself: a second would be a second activation."""
    fates = {Leg.DISTRIBUTE: ["activated, both words lost"], Leg.READ: ["the truth", "the truth"]}
    world = World(DeviceType.PPMID, Policy(), fates)
    assert world.run() is State.SETTLED
    assert sum(s.step is Step.DISTRIBUTE for s in world.steps) == 1
