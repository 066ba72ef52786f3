"""The gate and the breaker: what they may never say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hanwave.rollout import tallies
from hanwave.rollout.bounds import Share
from hanwave.rollout.gate import (
    EXPECTED,
    Baseline,
    Counts,
    Inputs,
    Progress,
    Stratum,
    Verdict,
    breaker,
    can_see,
    findings,
    judge,
)
from hanwave.rollout.policy import DeviceType, Gate, Policy, Proof
from hanwave.rollout.soak import Answer, Service, ServiceShares, compare

pytestmark = pytest.mark.unit
_n = st.one_of(st.integers(0, 5), st.integers(0, 3000))
_rate = st.one_of(st.sampled_from((0.01, 0.05, 0.3)), st.floats(0.001, 0.6))
gates = st.builds(
    Gate,
    harm=_rate,
    silence=_rate,
    confidence=st.one_of(st.sampled_from((0.8, 0.95)), st.floats(0.5, 0.999)),
    minimum=st.integers(1, 500),
)
REGIONS = ("South", "North")
ESME = EXPECTED[DeviceType.ESME]
_ORDER = [Verdict.PASS, Verdict.NOT_ENOUGH_EVIDENCE, Verdict.FAIL]


@st.composite
def shares(draw):
    of = draw(_n)
    return Share(draw(st.integers(0, of)), of)


@st.composite
def waves(draw, **fixed):
    drawn = dict.fromkeys(("settled", "failed", "refused", "silent", "open"), _n) | fixed
    strata = tuple(
        Stratum(model, "00000001", region, draw(st.builds(Counts, **drawn)), dict.fromkeys(ESME, 1))
        for model in draw(st.sampled_from((("A",), ("A", "B"))))
        for region in REGIONS
    )
    baselines = tuple(
        Baseline(region, draw(shares()), draw(shares())) for region in draw(st.sampled_from(((), REGIONS)))
    )
    services = draw(st.sampled_from(((), (Service("readings", 0.02, (ServiceShares("South", draw(shares())),)),))))
    return Inputs(strata, ESME, draw(st.sampled_from((0.0, 0.02, 0.3))), baselines, services)


def wave(settled=0, *, ordinary=0.0, expects=(), seen=None, baselines=(), region="South", **counts) -> Inputs:
    stratum = Stratum("121D/1111", "00000001", region, Counts(settled, **counts), seen or {})
    return Inputs((stratum,), expects, ordinary, baselines)


@given(waves(settled=st.just(0), failed=st.just(0), refused=st.just(0)), gates)
def test_no_evidence_never_passes_and_never_fails(found, gate):
    found = replace(found, services=())
    assert judge(found, gate).verdict is Verdict.NOT_ENOUGH_EVIDENCE


@given(waves(failed=st.just(0), refused=st.just(0)), gates)
def test_silence_alone_never_fails(found, gate):
    assert judge(replace(found, services=()), gate).verdict is not Verdict.FAIL


@given(waves(), gates, st.sampled_from(("failed", "refused", "silent", "open")), st.integers(0, 3))
def test_one_more_harmed_silent_or_open_never_makes_a_verdict_better(found, gate, which, place):
    strata = list(found.strata)
    place %= len(strata)
    counts = strata[place].counts
    strata[place] = replace(strata[place], counts=replace(counts, **{which: getattr(counts, which) + 1}))
    before, after = judge(found, gate).verdict, judge(replace(found, strata=tuple(strata)), gate).verdict
    assert _ORDER.index(after) >= _ORDER.index(before)


@given(waves(), gates)
def test_a_pass_has_settled_its_minimum_and_rules_out_what_is_not_tolerable(found, gate):
    if judge(found, gate).verdict is Verdict.PASS:
        counts = found.counts
        assert counts.settled >= gate.minimum
        assert counts.harm.point < gate.harm
        assert all(f.high is None or f.high <= 1 for f in findings(found, gate))


@given(waves(), gates)
def test_a_verdict_and_its_inputs_come_back_from_json_and_are_judged_alike(found, gate):
    adapter = TypeAdapter(Inputs)
    again = adapter.validate_json(adapter.dump_json(found))
    assert again == found
    assert judge(again, gate) == judge(found, gate)


@given(st.integers(1, 400), gates)
def test_a_wave_that_its_gate_can_see_passes_when_every_device_does_well_and_else_never(size, gate):
    passes = judge(wave(size), gate).verdict is Verdict.PASS
    assert passes is (can_see(size, gate) is None)


@pytest.mark.parametrize(
    ("size", "gate", "says"),
    [
        (299, Gate(), None),
        (298, Gate(), "a wave of 298 cannot rule out harm 1.0% at 95.0% confidence: make it 299, or have its gate bear harm 0.011"),
        (8, Gate(), "a wave of 8 cannot rule out harm 1.0% and silence 5.0% at 95.0% confidence: make it 299, or have its gate bear harm 0.313 and silence 0.313"),
        (8, Gate(harm=0.313, silence=0.313), None),
        (1, Gate(harm=0.95, silence=0.95), None),
        (0, Gate(harm=0.95, silence=0.95), "no device is left for it: have fewer waves"),
        (19, Gate(minimum=20), "a wave of 19 never settles the 20 devices that its gate asks for: make it so many"),
    ],
)  # fmt: skip
def test_a_wave_too_small_for_its_gate_is_told_what_would_do(size, gate, says):
    assert can_see(size, gate) == says


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (wave(299), Verdict.PASS),
        (wave(298), Verdict.NOT_ENOUGH_EVIDENCE),
        (wave(500, failed=1), Verdict.PASS),
        (wave(400, failed=1), Verdict.NOT_ENOUGH_EVIDENCE),
        (wave(5, failed=2), Verdict.FAIL),
        (wave(500, failed=16), Verdict.FAIL),
        (wave(500, refused=18), Verdict.FAIL),
        (wave(0, failed=1), Verdict.FAIL),
        (wave(500, silent=13), Verdict.PASS),
        (wave(500, silent=20), Verdict.NOT_ENOUGH_EVIDENCE),
        (wave(500, open=20), Verdict.NOT_ENOUGH_EVIDENCE),
        (wave(1, silent=99, failed=2), Verdict.FAIL),
    ],
)
def test_a_gate_of_one_per_cent(found, verdict):
    assert judge(found, Gate()).verdict is verdict


def test_harm_in_one_small_stratum_is_not_drowned_by_the_others():
    well = Stratum("A", "1", "South", Counts(settled=3000))
    ill = [Stratum("B", "1", "South", Counts(failed=n, settled=3 - n)) for n in (1, 3)]
    assert judge(Inputs((well, ill[0])), Gate()).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    judged = judge(Inputs((well, ill[1])), Gate())
    assert (judged.verdict, judged.reason) == (
        Verdict.FAIL,
        "3 of 3 devices with evidence were harmed of B from 1 in South",
    )


def test_a_quarter_of_the_ppmids_unplugged_passes_with_a_good_image():
    found = wave(1500, silent=500, ordinary=0.3, baselines=(Baseline("South", Share(500, 2000), Share(2500, 10000)),))
    assert judge(found, Gate()).verdict is Verdict.PASS
    assert judge(replace(found, baselines=()), Gate()).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_a_fleet_that_nobody_ever_heard_of_excuses_no_silence_beyond_the_ordinary():
    """Last heard of a month ago, all of them: the silence of a bad image would be nothing out of the way."""
    stale = (Baseline("South", Share(1000, 1000), Share(9000, 9000)),)
    found = wave(0, silent=1000, ordinary=0.02, baselines=stale)
    assert judge(replace(found, strata=(*found.strata, *wave(900).strata)), Gate()).verdict is not Verdict.PASS


def test_an_outage_alone_neither_fails_nor_spoils_a_wave():
    south, north = wave(500).strata[0], wave(400, region="North", held_out=100).strata[0]
    assert judge(Inputs((south, north)), Gate()).verdict is Verdict.PASS


def test_an_outage_does_not_pass_a_region_of_which_nothing_is_known():
    south, north = wave(500).strata[0], wave(0, region="North", held_out=100).strata[0]
    judged = judge(Inputs((south, north)), Gate())
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert judged.reason == "an outage explains the silence of 100 devices in North, and none has settled there"


@pytest.mark.parametrize("missing", ESME)
def test_a_kind_of_evidence_that_is_missing_whole_never_passes(missing):
    seen = {proof: 500 for proof in ESME if proof is not missing}
    judged = judge(wave(500, expects=ESME, seen=seen), Gate())
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert f"evidence of the kind '{missing.value}' came from none of the 500 settled devices" in judged.reason


def test_a_kind_of_evidence_that_a_whole_stratum_lacks_does_not_pass_and_one_device_may_lack_it():
    whole = Stratum("A", "1", "South", Counts(settled=500), dict.fromkeys(ESME, 500))
    lacks = {proof: 0 if proof is Proof.VERIFIED else 5 for proof in ESME}
    for size, verdict in ((1, Verdict.PASS), (2, Verdict.PASS), (3, Verdict.NOT_ENOUGH_EVIDENCE)):
        lacking = Stratum("B", "1", "South", Counts(settled=size), lacks)
        assert judge(Inputs((whole, lacking), ESME), Gate()).verdict is verdict


ORDINARY = Share(20, 2000)


def test_the_gate_of_a_rollback_passes_one_device_that_is_well_again_and_none_that_is_not():
    gate = Policy().for_rollback().gate
    assert judge(wave(1), gate).verdict is Verdict.PASS
    assert judge(wave(1, silent=1), gate).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert not breaker(Progress(failed=3), gate)
    assert breaker(Progress(failed=10), gate)


def service(updated: Share, others: Share = ORDINARY) -> Service:
    return Service("readings", 0.02, (ServiceShares("South", updated, others),))


@pytest.mark.parametrize(
    ("answered", "verdict"),
    [
        (service(Share(5, 500)), Verdict.PASS),
        (service(Share(500, 500)), Verdict.FAIL),
        (service(Share(500, 500), Share(2000, 2000)), Verdict.NOT_ENOUGH_EVIDENCE),
        (service(Share(20, 500)), Verdict.NOT_ENOUGH_EVIDENCE),
        (service(Share(0, 0)), Verdict.NOT_ENOUGH_EVIDENCE),
        (Service("readings", 0.02, problem="the query timed out after 5 s"), Verdict.NOT_ENOUGH_EVIDENCE),
    ],
)
def test_a_service_check_is_judged_against_those_not_updated(answered, verdict):
    judged = judge(replace(wave(500), services=(answered,)), Gate())
    assert judged.verdict is verdict
    assert (verdict is Verdict.PASS) or "readings" in judged.reason


def test_only_a_device_that_did_its_job_before_can_have_stopped():
    answers = [
        *[Answer("South", updated=True, before=True, now=True)] * 7,
        Answer("South", updated=True, before=True, now=False),
        Answer("South", updated=True, before=True, now=None),
        Answer("South", updated=True, before=False, now=False),
        Answer("South", updated=True, before=None, now=False),
        Answer("South", updated=False, before=True, now=False),
        Answer("South", updated=False, before=True, now=True),
        Answer("South", updated=False, before=True, now=None),
    ]
    (shares,) = compare("readings", 0.02, answers).regions
    assert (shares.updated, shares.others) == (Share(2, 9), Share(1, 2))


@given(st.integers(0, 50), st.integers(0, 3000), st.integers(0, 50), st.integers(0, 3000), gates)
def test_an_open_breaker_does_not_close_by_one_more_harm(failed, activated, refused, verified, gate):
    if breaker(progress := Progress(activated, failed, verified, refused), gate):
        assert breaker(replace(progress, failed=failed + 1), gate)
        assert breaker(replace(progress, refused=refused + 1), gate)


def test_the_breaker_opens_at_the_first_failure_where_nothing_went_well_and_not_where_much_did():
    assert breaker(Progress(failed=1), Gate())
    assert not breaker(Progress(failed=1, activated=100), Gate())
    assert breaker(Progress(failed=4, activated=30), Gate())
    assert not breaker(Progress(), Gate())


def test_images_that_verified_do_not_drown_activations_that_failed():
    assert breaker(Progress(failed=2, activated=0, verified=5000), Gate())
    assert not breaker(Progress(refused=2, verified=5000), Gate())


@pytest.mark.parametrize(
    ("settled", "quiet", "unknown", "kept"),
    [
        (0, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 1, 1, 2),
        (100, 7, 0, 0),
        (100, 12, 0, 0),
        (100, 20, 10, 21),
        (10**6, 69_000, 0, 0),
    ],
)
def test_who_fell_silent_keeps_a_place_under_the_cap_once_it_is_proven_that_too_many_do(settled, quiet, unknown, kept):
    funnel = {"settled": settled, "closed:quiet": quiet, "closed:unknown": unknown, "unknown": 50, "planned": 50}
    assert tallies.lost(funnel, Gate(), DeviceType.ESME) == kept


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(DeviceType))
def test_one_more_silent_frees_no_place_and_one_more_settled_takes_none(settled, silent, kind):
    def kept(settled: int, silent: int) -> int:
        return tallies.lost({"settled": settled, "closed:quiet": silent}, Gate(), kind)

    assert 0 <= kept(settled, silent) <= silent
    assert kept(settled, silent) <= kept(settled, silent + 1)
    assert kept(settled + 1, silent) <= kept(settled, silent)
