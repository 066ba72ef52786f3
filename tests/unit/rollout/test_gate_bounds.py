"""The bounds: against what the binomial itself says, and what they may never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hanwave.rollout.bounds import Compared, Share, excess, lower, needed, smallest_harm, upper

pytestmark = pytest.mark.unit
_confidence = st.floats(0.5, 0.999)


@st.composite
def shares(draw, least=0, most=2000):
    of = draw(st.integers(least, most))
    return Share(draw(st.integers(0, of)), of)


@given(shares(least=1), _confidence)
def test_a_bound_is_where_the_binomial_says_that_no_more_is_to_be_believed(share, confidence):
    high, low = upper(share, confidence), lower(share, confidence)
    if share.counted < share.of:
        assert binom.cdf(share.counted, share.of, high) == pytest.approx(1 - confidence, rel=1e-6)
    if share.counted:
        assert binom.sf(share.counted - 1, share.of, low) == pytest.approx(1 - confidence, rel=1e-6)


@given(shares(), _confidence)
def test_a_share_is_within_its_bounds(share, confidence):
    assert 0 <= lower(share, confidence) <= share.point + 1e-12
    assert share.point - 1e-12 <= upper(share, confidence) <= 1


@given(shares(), _confidence)
def test_one_more_counted_never_lowers_a_bound_and_one_more_that_is_not_never_raises_it(share, confidence):
    counted, not_counted = Share(share.counted + 1, share.of + 1), Share(share.counted, share.of + 1)
    for bound in (lower, upper):
        assert bound(not_counted, confidence) - 1e-12 <= bound(share, confidence) <= bound(counted, confidence) + 1e-12


def test_textbook_figures():
    """Clopper and Pearson's own example: 10 in 100, 95 % two-sided, is 4.9 % to 17.6 %."""
    assert lower(Share(10, 100), 0.975) == pytest.approx(0.0490, abs=5e-5)
    assert upper(Share(10, 100), 0.975) == pytest.approx(0.1762, abs=5e-5)
    assert (needed(0.01, 0.95), needed(0.001, 0.95), needed(0.3, 0.8)) == (299, 2995, 5)


@given(st.floats(0.001, 0.99), st.floats(0.5, 0.9999))
def test_as_many_as_are_needed_suffice_and_one_fewer_does_not(harm, confidence):
    n = needed(harm, confidence)
    assert smallest_harm(n, confidence) <= harm + 1e-9
    assert n == 1 or smallest_harm(n - 1, confidence) > harm


@given(st.lists(st.builds(Compared, shares(), shares(), st.floats(0, 1)), max_size=3), _confidence)
def test_an_excess_is_within_its_bounds(parts, confidence):
    low, high = excess(parts, confidence)
    assert low <= high
    sample = sum((part.sample for part in parts), Share())
    if sample.of:
        ordinary = sum(part.sample.of * min(part.ordinary.point, part.ceiling) for part in parts) / sample.of
        assert low - 1e-9 <= sample.point - ordinary <= high + 1e-9


def test_newcombes_own_example_with_exact_limits_is_no_narrower_than_his():
    """56 of 70 and 48 of 80 (Newcombe 1998, table II, a): method 10 gives 5.2 % to 33.4 %."""
    low, high = excess([Compared(Share(56, 70), Share(48, 80))], 0.975)
    assert 0.03 < low <= 0.0525
    assert 0.3338 <= high < 0.35


def test_what_is_not_known_excuses_nothing_and_accuses_nobody():
    low, high = excess([Compared(Share(50, 100), Share(), 0.3)], 0.95)
    assert high == pytest.approx(upper(Share(50, 100), 0.95))
    assert low < 0.5 - 0.3


def test_the_ordinary_of_each_stratum_is_weighed_by_its_own_devices():
    """All the silent devices are where silence is ordinary: pooled without weights they would be out of the way."""
    parts = [Compared(Share(25, 100), Share(2500, 10000)), Compared(Share(1, 100), Share(100, 10000))]
    low, high = excess(parts, 0.95)
    assert low < 0 < high < 0.08


@pytest.mark.parametrize("share", [(-1, 5), (6, 5)])
def test_a_share_of_more_than_all_is_no_share(share):
    with pytest.raises(ValueError, match="0 to all of them"):
        Share(*share)
