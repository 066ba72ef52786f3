"""The budget under an anomaly-detection threshold: never exceeded, fairly shared, and what a plan needs of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanwave.rollout.budget import (
    Claim,
    Demand,
    PermitClass,
    Threshold,
    Use,
    Used,
    ceiling,
    days_needed,
    fair_shares,
    refuses,
    room,
    turns,
)

pytestmark = pytest.mark.unit
US = "90-B3-D5-1F-30-01-00-00"
START = datetime(2026, 3, 1, tzinfo=UTC)
FORWARD, WITHDRAW, OBSERVE = PermitClass


def threshold(limit: int = 100, reserve: int = 10, **more: object) -> Threshold:
    fields = {"user_id": US, "variant": "11.3", "period": "24h", "limit": limit, "reserve": reserve, **more}
    return Threshold.model_validate(fields)


def seconds(number: int) -> datetime:
    return START + timedelta(seconds=number)


def test_a_forward_request_leaves_the_reserve_and_the_others_what_is_theirs():
    assert room(threshold(others=20), Used(), FORWARD) == 70
    assert room(threshold(others=20), Used(forward=70), FORWARD) == 0
    assert room(threshold(others=20), Used(forward=70), WITHDRAW) == 30
    assert room(threshold(others=20), Used(forward=70), OBSERVE) == 10


def test_others_that_use_more_than_what_is_kept_for_them_leave_less():
    assert room(threshold(others=20), Used(forward=30, others=50), FORWARD) == 10
    assert room(threshold(others=20), Used(forward=30, others=70), FORWARD) == 0
    assert room(threshold(others=20), Used(forward=30, others=70), WITHDRAW) == 0


def test_what_was_withdrawn_comes_from_the_reserve_first():
    assert room(threshold(), Used(withdraw=8), FORWARD) == 90
    assert room(threshold(), Used(withdraw=15), FORWARD) == 85


def test_a_batch_counts_once_or_each_device_as_the_table_says():
    assert threshold(variant="11.1", per_device=True).fitting(500, 90) == 90
    assert threshold(variant="11.1", per_device=False).fitting(500, 1) == 500
    assert threshold(variant="11.1", per_device=False).fitting(500, 0) == 0


@pytest.mark.parametrize("variant", ["8.2", "11.2", "11.3"])
def test_a_request_that_is_for_one_device_counts_for_each_whatever_the_table_says_of_batches(variant):
    assert threshold(variant=variant, per_device=False).fitting(500, 90) == 90


ASKS = st.lists(
    st.tuples(
        st.integers(0, 40),  # seconds since the one before
        st.sampled_from(PermitClass),
        st.integers(1, 30),  # devices
        st.booleans(),  # POSTed at once, or only later
    ),
    max_size=60,
)


@given(
    ASKS, st.integers(5, 60), st.integers(0, 4), st.lists(st.tuples(st.integers(0, 900), st.integers(1, 9)), max_size=8)
)
def test_a_budget_is_never_exceeded_whatever_is_asked_and_however_the_periods_turn(asks, limit, reserve, fed):
    rule = threshold(limit, reserve, period="60s")
    sent: list[tuple[int, PermitClass, int]] = []
    waiting: list[tuple[PermitClass, int]] = []
    others = [(at, units) for at, units in fed if units <= limit // 8]
    now = 0
    for wait, asking, devices, at_once in asks:
        now += wait
        live = [(of, units) for at, of, units in sent if at > now - 60] + waiting
        theirs = sum(units for at, units in others if now - 60 < at <= now)
        by_class = {of: sum(units for each, units in live if each is of) for of in PermitClass}
        used = Used(by_class[FORWARD], by_class[WITHDRAW], by_class[OBSERVE], theirs)
        if granted := rule.fitting(devices, room(rule, used, asking)):
            waiting.append((asking, granted))
            after = used.total + granted
            assert after <= limit
            if asking is FORWARD:
                assert by_class[FORWARD] + granted <= limit - reserve
        if at_once:
            sent += [(now, *each) for each in waiting]
            waiting.clear()
    for start in range(now + 60):
        assert sum(units for at, _, units in sent if start <= at < start + 60) <= limit


CLAIMS = st.lists(
    st.builds(Claim, st.text("abcdef", min_size=1, max_size=3), st.integers(0, 50), st.integers(0, 50), st.booleans()),
    max_size=8,
    unique_by=lambda claim: claim.campaign,
)


@given(st.integers(-5, 200), CLAIMS, st.randoms(use_true_random=False))
def test_shares_fit_are_never_negative_and_do_not_depend_on_the_order(most, claims, random):
    shares = fair_shares(most, claims)
    shuffled = list(claims)
    random.shuffle(shuffled)
    assert fair_shares(most, shuffled) == shares
    assert sum(shares.values()) <= max(0, most)
    assert all(0 <= shares[claim.campaign] <= claim.used + claim.due for claim in claims)


@given(st.integers(0, 200), CLAIMS)
def test_nobody_has_less_than_an_equal_share_while_another_has_more(most, claims):
    shares = fair_shares(most, claims)
    for urgent in (True, False):
        some = [claim for claim in claims if claim.urgent is urgent]
        short = [claim for claim in some if shares[claim.campaign] < claim.used + claim.due]
        for claim in short:
            assert shares[claim.campaign] + 1 >= max(shares[each.campaign] for each in some)
    if any(shares[claim.campaign] < claim.used + claim.due for claim in claims):
        assert sum(shares.values()) == most


def test_an_urgent_campaign_comes_first():
    shares = fair_shares(100, [Claim("slow", 40, 100), Claim("fix", 0, 90, urgent=True), Claim("other", 0, 100)])
    assert shares == {"fix": 90, "other": 5, "slow": 5}


def test_a_campaign_that_came_first_waits_until_the_other_has_as_much():
    shares = fair_shares(100, [Claim("first", 80, 50), Claim("second", 0, 100)])
    assert shares == {"first": 50, "second": 50}


def test_a_period_turns_when_enough_of_the_use_has_left_it():
    uses = [Use(seconds(30), 5), Use(seconds(10), 5), Use(seconds(20), 5)]
    assert turns(uses, timedelta(hours=1), 1) == seconds(3610)
    assert turns(uses, timedelta(hours=1), 6) == seconds(3620)
    assert turns(uses, timedelta(hours=1), 16) is None


def test_a_plan_says_how_many_days_its_requests_need():
    thresholds = [threshold(100, 10), threshold(700, 10, period="7d")]
    assert days_needed({"11.3": Demand(90, 90)}, thresholds) == 0
    assert days_needed({"11.3": Demand(91, 91)}, thresholds) == 1
    assert days_needed({"11.3": Demand(900, 900)}, thresholds) == 9
    assert days_needed({"11.2": Demand(10**6, 10**6)}, thresholds) == 0
    assert days_needed({}, []) == 0


def test_a_plan_that_must_trip_a_threshold_is_refused_with_the_reason():
    demands = {"11.3": Demand(900, 900), "11.1": Demand(1, 900)}
    batches = threshold(100, 0, variant="11.1", per_device=False)
    assert refuses(demands, [threshold(), batches], 9) is None
    said = refuses(demands, [threshold(), batches], 8.5)
    assert said is not None
    assert "SR 11.3 need 9 days" in said
    assert "threshold of 100" in said
    assert len(said) <= 240
    assert refuses(demands, [], 0) is None


@given(st.integers(1, 5000), st.integers(2, 300), st.integers(0, 100))
def test_a_plan_fits_the_days_that_it_needs_and_no_fewer(devices, limit, reserve):
    rule = threshold(limit, min(reserve, limit - 1))
    demands = {"11.3": Demand(devices, devices)}
    days = days_needed(demands, [rule])
    assert refuses(demands, [rule], days) is None
    if days:
        assert refuses(demands, [rule], days - 0.5) is not None
        assert days * ceiling(rule, Used(), FORWARD) < devices


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("user_id", "us", "EUI-64"),
        ("variant", "11.9", "hanwave sends"),
        ("period", 24, "bare number"),
        ("limit", 0, "greater than or equal to 1"),
        ("limit", True, "whole number"),
        ("reserve", -1, "greater than or equal to 0"),
        ("reserve", 100, "leave nothing"),
        ("warn", 2, "less than or equal to 1"),
        ("limits", 5, "not permitted"),
    ],
)
def test_a_wrong_threshold_is_refused(field, value, said):
    fields = {"user_id": US, "variant": 11.3, "period": "24h", "limit": 100, "reserve": 10}
    assert Threshold.model_validate(fields).variant == "11.3"
    with pytest.raises(ValidationError, match=said):
        Threshold.model_validate(fields | {field: value})
