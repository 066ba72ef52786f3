"""The pace of a campaign: what a span of time allows, and how a region that cannot be reached slows down and recovers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanwave.rollout.pace import STEPS, Answers, Pace, allowance, rate

pytestmark = pytest.mark.unit
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD, BAD = Answers(20, 0), Answers(20, 5)


def test_a_region_runs_at_what_the_policy_allows_until_it_fails():
    assert rate(Pace(), []) == rate(Pace(), [GOOD] * 3) == 20
    assert rate(Pace(overall=20, region=5), [GOOD]) == 5
    assert rate(Pace(), [Answers(20, 4)]) == 20  # a fifth is the bound, not above it
    assert rate(Pace(), [BAD]) == 10
    assert rate(Pace(), [BAD, BAD]) == 5
    assert rate(Pace(), [BAD] * 50) == Pace().least == 0.2


def test_it_recovers_by_steps():
    assert rate(Pace(), [BAD, GOOD]) == 12
    assert rate(Pace(), [BAD] * 50 + [GOOD] * STEPS) == 20


def test_a_sample_is_gathered_over_spans():
    assert rate(Pace(), [Answers(10, 5)]) == 20
    assert rate(Pace(), [Answers(10, 5), Answers(10, 0)]) == 10


PACES = st.builds(
    lambda overall, region, floor, sample, unreached: Pace(
        overall=overall,
        region=region,
        floor=floor,
        sample=sample,
        unreached=unreached,
    ),
    st.floats(1e-3, 1e3),
    st.none() | st.floats(1e-3, 1e3),
    st.floats(1e-3, 1),
    st.integers(1, 50),
    st.floats(0.01, 1),
)
ANSWERS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda two: Answers(max(two), min(two))), max_size=40
)


@given(PACES, ANSWERS)
def test_a_rate_stays_between_floor_and_ceiling(pace, answers):
    assert pace.least <= rate(pace, answers) <= pace.most


@given(PACES, ANSWERS)
def test_failures_never_speed_a_region_up(pace, answers):
    failing = [Answers(some.total, some.total) for some in answers]
    assert rate(pace, failing) <= rate(pace, answers)


@given(st.floats(0.001, 50), st.lists(st.integers(0, 90), min_size=1, max_size=40))
def test_spans_add_up_to_the_rate(per_second, spans):
    now, allowed = START, 0
    for span in spans:
        now += timedelta(seconds=span)
        some = allowance(per_second, timedelta(seconds=span), now)
        assert some >= 0
        allowed += some
    assert abs(allowed - per_second * sum(spans)) <= 1 + 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"overall": 0},
        {"overall": float("inf")},
        {"region": -1},
        {"floor": 2},
        {"unreached": 0},
        {"sample": 0},
        {"hub": 1},
    ],
)
def test_a_wrong_pace_is_refused(wrong):
    with pytest.raises(ValidationError):
        Pace.model_validate(wrong)
