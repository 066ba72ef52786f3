"""Alerts that a gate lists as alarms: harm from a device whose new image may act, whatever else it says."""

from itertools import permutations

import pytest

from hanwave.rollout.device import State, Target, fold
from hanwave.rollout.events import Event, Kind, Leg
from tests.unit.rollout.making import ACTIVATE, DISTRIBUTE, HASH, NEW, event, held, hours, ran, sent

pytestmark = pytest.mark.unit
TARGET = Target(NEW, HASH, one_step=False, alarms=frozenset({"8F1B"}))


def alert(hour: float, code: str = "8F1B") -> Event:
    return event(Kind.HEARD, hour, attempt=0, detail=code)


def test_an_alarm_after_the_activation_is_harm_in_whatever_order_it_is_learnt():
    told = [event(Kind.ACTIVATED, 5, ACTIVATE, version=NEW), ran(NEW, 7), alert(6)]
    for order in permutations(told):
        standing = fold([*held(), *sent(ACTIVATE, 4), *order], TARGET)
        assert (standing.state, standing.reason) == (State.FAILED, "raised the alert 8F1B after its activation")


def test_an_alarm_before_the_activation_or_that_is_not_listed_is_none():
    done = [*held(), *sent(ACTIVATE, 4), event(Kind.ACTIVATED, 5, ACTIVATE, version=NEW)]
    for harmless in (alert(3), alert(6, "8F43"), event(Kind.VERIFIED, 6, DISTRIBUTE, detail="8F1B")):
        assert fold([*done, harmless], TARGET).state is State.CONFIRMED


def test_an_alarm_before_the_date_of_an_activation_is_none():
    granted = Event(Kind.GRANTED, hours(4), Leg.ACTIVATE, attempt=1, detail=hours(20).isoformat())
    dated = [*held(), granted, event(Kind.SENT, 4.1, ACTIVATE), event(Kind.SCHEDULED, 5, ACTIVATE)]
    assert fold([*dated, alert(19)], TARGET).state is State.SCHEDULED
    assert fold([*dated, alert(21)], TARGET).state is State.FAILED


def test_a_displays_alarm_counts_from_its_transfer_on():
    target = Target(NEW, HASH, one_step=True, alarms=frozenset({"8F1B"}))
    on_its_way = sent(DISTRIBUTE, 0)
    assert fold([*on_its_way, alert(1)], target).state is State.REQUESTED
    assert fold([*on_its_way, event(Kind.TRANSFERRED, 2, DISTRIBUTE), alert(3)], target).state is State.FAILED
