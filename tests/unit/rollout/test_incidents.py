"""Incidents: while one lasts, the clocks of what is in flight stand still, and no device is late for it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.rollout.decide import Step, decide
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.incidents import Incident, Service, deadline
from hanwave.rollout.policy import ActivationMode, Deadlines, DeviceType, Policy
from tests.unit.rollout.making import ACTIVATE, DISTRIBUTE, event, held, hours, sent, stand

pytestmark = pytest.mark.unit
POLICY = Policy(deadlines=dict.fromkeys(DeviceType, Deadlines(distribute="10h", activate="4h", read="2h")))


def lasted(start: float, end: float | None, service: Service = Service.ALL) -> Incident:
    return Incident("INC1", service, hours(start), None if end is None else hours(end))


def due(events, hour, *incidents, policy=POLICY):
    decision = decide(stand(events), DeviceType.ESME, policy, hours(hour), incidents)
    return decision.step, decision.until


@pytest.mark.parametrize(
    ("incidents", "ends"),
    [
        ([], 10),
        ([lasted(2, 5)], 13),
        ([lasted(-5, -1)], 10),
        ([lasted(-5, 1)], 11),
        ([lasted(2, 5), lasted(4, 6)], 14),
        ([lasted(2, 6), lasted(3, 4)], 14),
        ([lasted(10, 12)], 10),  # over before it began
        ([lasted(9, 12), lasted(12.5, 14)], 14.5),
        ([lasted(7, None)], 11),  # now is 8
        ([lasted(9, None)], 10),  # announced, and not begun
        ([lasted(2, 5), lasted(20, 30)], 13),
    ],
)
def test_a_deadline_leaves_out_what_an_incident_took(incidents, ends):
    assert deadline(hours(0), timedelta(hours=10), incidents, hours(8)) == hours(ends)


spans = st.tuples(st.integers(-20, 60), st.integers(0, 30))


@given(spans=st.lists(spans, max_size=5), allowed=st.integers(1, 40))
def test_a_deadline_agrees_with_counting_the_hours(spans, allowed):
    incidents = [lasted(start, start + length) for start, length in spans]
    hour = counted = 0
    while counted < allowed:
        counted += all(i.why(hours(hour)) is None for i in incidents)
        hour += 1
    assert deadline(hours(0), timedelta(hours=allowed), incidents, hours(0)) == hours(hour)


@given(spans=st.lists(spans, max_size=4), more=spans)
def test_one_incident_more_brings_no_deadline_forward(spans, more):
    incidents = [lasted(start, start + length) for start, length in spans]
    before = deadline(hours(0), timedelta(hours=20), incidents, hours(0))
    assert deadline(hours(0), timedelta(hours=20), [*incidents, lasted(more[0], sum(more))], hours(0)) >= before


def test_a_device_is_not_overdue_for_an_image_that_an_outage_held_up():
    events = sent(DISTRIBUTE, 0)
    assert due(events, 10.02)[0] is Step.OVERDUE
    assert due(events, 10.02, lasted(4, 7)) == (Step.WAIT, hours(13.01))
    assert due(events, 13.02, lasted(4, 7))[0] is Step.OVERDUE
    assert due(events, 10.02, lasted(4, 7, Service.ACTIVATION))[0] is Step.OVERDUE


def test_an_activation_waits_for_the_service_that_it_needs_to_come_back():
    events = [*held(), *sent(ACTIVATE, 2)]
    assert due(events, 6.02)[0] is Step.OVERDUE
    assert due(events, 6.02, lasted(3, 8, Service.DISTRIBUTION))[0] is Step.OVERDUE
    assert due(events, 6.02, lasted(3, None, Service.ACTIVATION)) == (Step.WAIT, hours(2.01 + 4 + 3.02))


def test_a_question_is_not_overdue_while_everything_is_down():
    events = [
        *held(),
        *sent(ACTIVATE, 2),
        event(Kind.OVERDUE, 7, ACTIVATE),
        *sent(Leg.READ, 8),
    ]
    assert due(events, 10.02)[0] is Step.OVERDUE
    assert due(events, 10.02, lasted(9, 12)) == (Step.WAIT, hours(13.01))
    assert due(events, 10.02, lasted(9, 12, Service.ACTIVATION))[0] is Step.OVERDUE


def test_an_activation_that_was_dated_is_awaited_from_its_date():
    policy = POLICY.model_copy(update={"activation": ActivationMode.FUTURE_DATED, "lead": timedelta(hours=12)})
    granted = event(Kind.GRANTED, 2, ACTIVATE, detail=hours(30).isoformat())
    events = [*held(), granted, event(Kind.SENT, 2, ACTIVATE), event(Kind.SCHEDULED, 3, ACTIVATE)]
    assert stand(events).dated == hours(30)
    assert due(events, 20, policy=policy) == (Step.WAIT, hours(34))
    assert due(events, 34, policy=policy)[0] is Step.OVERDUE
