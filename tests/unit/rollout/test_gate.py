"""The gate and the breaker: what they may never say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.rollout.gate import Counts, Verdict, breaker, judge
from hanwave.rollout.policy import Gate

pytestmark = pytest.mark.unit
_n = st.one_of(st.integers(0, 5), st.integers(0, 3000))
_share = st.one_of(st.sampled_from((0.0, 0.05, 0.1, 0.95, 1.0)), st.floats(0, 1))
counts = st.builds(Counts, settled=_n, harmed=_n, silent=_n, open=_n)
gates = st.builds(Gate, minimum_evidence=st.integers(1, 500), success=_share, failure=_share, silence=_share)
_ORDER = [Verdict.PASS, Verdict.NOT_ENOUGH_EVIDENCE, Verdict.FAIL]


@given(gates, _n, _n)
def test_no_evidence_never_passes_and_never_fails(gate, silent, still_open):
    assert judge(Counts(silent=silent, open=still_open), gate).verdict is Verdict.NOT_ENOUGH_EVIDENCE


@given(counts, gates)
def test_silence_alone_never_fails(found, gate):
    assert judge(replace(found, harmed=0), gate).verdict is not Verdict.FAIL


@given(counts, gates, st.sampled_from(("harmed", "silent", "open")))
def test_one_more_harmed_silent_or_open_never_makes_a_verdict_better(found, gate, which):
    worse = replace(found, **{which: getattr(found, which) + 1})
    before, after = judge(found, gate).verdict, judge(worse, gate).verdict
    if which == "harmed":
        assert _ORDER.index(after) >= _ORDER.index(before)
    else:
        assert (after is Verdict.FAIL) == (before is Verdict.FAIL)
        assert after is not Verdict.PASS or before is Verdict.PASS


@given(counts, gates)
def test_the_breaker_is_open_exactly_where_the_gate_fails(found, gate):
    assert breaker(found, gate) == (judge(found, gate).verdict is Verdict.FAIL)


@given(counts, gates)
def test_a_pass_has_its_minimum_settled(found, gate):
    if judge(found, gate).verdict is Verdict.PASS:
        assert found.settled >= gate.minimum_evidence
        assert found.harmed / (found.settled + found.harmed) < gate.failure or found.harmed == 0


GATE = Gate(minimum_evidence=20)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Counts(settled=20), Verdict.PASS),
        (Counts(settled=19), Verdict.NOT_ENOUGH_EVIDENCE),
        (Counts(settled=5, harmed=1), Verdict.FAIL),
        (Counts(settled=99, harmed=1), Verdict.PASS),
        (Counts(settled=95, harmed=5), Verdict.FAIL),
        (Counts(settled=90, silent=10), Verdict.PASS),
        (Counts(settled=90, silent=11), Verdict.NOT_ENOUGH_EVIDENCE),
        (Counts(settled=90, open=11), Verdict.NOT_ENOUGH_EVIDENCE),
        (Counts(settled=1, silent=99, harmed=1), Verdict.FAIL),
    ],
)
def test_a_gate_of_twenty(found, verdict):
    assert judge(found, GATE).verdict is verdict


def test_the_first_mishap_of_a_large_gate_is_not_a_hundred_per_cent():
    gate = Gate(minimum_evidence=299, failure=0.01)
    assert not breaker(Counts(harmed=2), gate)
    assert breaker(Counts(harmed=3), gate)


def test_a_share_is_not_spoilt_by_the_machines_arithmetic():
    """29 of 100 is 0.29, though 0.29 * 100 is less than 29."""
    assert judge(Counts(settled=71, silent=29), Gate(silence=0.29)).verdict is Verdict.PASS


def test_a_verdict_gives_its_numbers():
    reason = judge(Counts(settled=97, harmed=1, silent=2), Gate(success=0.995, failure=0.5)).reason
    assert reason == "97 of 98 devices settled, 99.5% are needed"
