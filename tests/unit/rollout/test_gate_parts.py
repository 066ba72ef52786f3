"""The gate's parts, each where none but it decides: without it the verdict would be another."""

from dataclasses import replace

import pytest

from hanwave.rollout.bounds import NOTHING, Compared, Share, excess
from hanwave.rollout.gate import EXPECTED, Counts, Inputs, Progress, Stratum, Verdict, breaker, judge
from hanwave.rollout.policy import DeviceType, Gate, Proof
from hanwave.rollout.soak import Service, ServiceShares

pytestmark = pytest.mark.unit
ESME = EXPECTED[DeviceType.ESME]
LENIENT = Gate(harm=0.95, silence=0.95)


def stratum(model: str, region: str = "South", **counts: int) -> Stratum:
    return Stratum(model, "00000001", region, Counts(**counts), dict.fromkeys(ESME, counts.get("settled", 0)))


def test_one_device_short_of_the_minimum_holds():
    gate = LENIENT.model_copy(update={"minimum": 20})
    judged = judge(Inputs((stratum("A", settled=19),)), gate)
    assert (judged.verdict, judged.reason) == (
        Verdict.NOT_ENOUGH_EVIDENCE,
        "19 devices have settled, 20 are needed",
    )
    assert judge(Inputs((stratum("A", settled=20),)), gate).verdict is Verdict.PASS


def test_silence_of_one_region_holds_though_it_is_little_of_the_whole():
    found = Inputs((stratum("A", settled=2000), stratum("A", "North", settled=40, silent=40)))
    judged = judge(found, Gate())
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert judged.reason.startswith("40 of 80 devices in North are silent: at least ")
    well = Inputs((stratum("A", settled=2000), stratum("A", "North", settled=80)))
    assert judge(well, Gate()).verdict is Verdict.PASS


def test_a_kind_of_evidence_that_a_wave_lacks_whole_holds_it_though_each_stratum_is_too_small_to_tell():
    each = [stratum(model, settled=1) for model in "ABC"]
    lacking = tuple(replace(one, seen=one.seen | {Proof.ACTIVATED: 0}) for one in each)
    assert judge(Inputs(tuple(each), ESME), LENIENT).verdict is Verdict.PASS
    judged = judge(Inputs(lacking, ESME), LENIENT)
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert judged.reason == "evidence of the kind 'activated' came from none of the 3 settled devices of the wave"


@pytest.mark.parametrize(
    ("progress", "opens"),
    [
        # Half of what the confidence leaves is for what came of activations, and a look at one harm has 61 % of that.
        (Progress(failed=1), True),
        (Progress(failed=1, activated=1), False),
        (Progress(failed=2, activated=7), True),
        (Progress(failed=2, activated=8), False),
        # A quarter is for what came of verifications.
        (Progress(refused=1), False),
        (Progress(refused=2, verified=4), True),
        (Progress(refused=2, verified=5), False),
        (Progress(refused=4, verified=32), True),
        (Progress(refused=4, verified=33), False),
    ],
)
def test_each_of_the_breakers_looks_has_its_own_part_of_the_error(progress, opens):
    assert breaker(progress, Gate()) is opens


def test_what_is_left_for_the_strata_is_shared_out_among_them():
    """Of more strata one is sooner harmed by chance: what fails a wave of one only holds a wave of four."""
    ill, well = stratum("B", failed=2, settled=10), [stratum(model, settled=1000) for model in "ACD"]
    assert judge(Inputs((ill, well[0])), Gate()).verdict is Verdict.FAIL
    judged = judge(Inputs((ill, *well)), Gate())
    assert (judged.verdict, judged.reason[:37]) == (
        Verdict.NOT_ENOUGH_EVIDENCE,
        "2 of 12 devices with evidence were ha",
    )


def test_a_service_check_that_knows_of_nobody_or_of_as_many_others_that_stopped_holds():
    wave = stratum("A", settled=500)

    def judged(updated: Share, others: Share) -> tuple[Verdict, str]:
        service = Service("readings", 0.02, (ServiceShares("South", updated, others),))
        found = judge(Inputs((wave,), services=(service,)), Gate())
        return found.verdict, found.reason

    assert judged(Share(0, 500), Share(0, 500)) == (Verdict.PASS, "500 of 500 devices with evidence settled")
    assert judged(Share(0, 0), Share(0, 500)) == (
        Verdict.NOT_ENOUGH_EVIDENCE,
        "service readings: none of the wave's devices is known to have done its job before",
    )
    verdict, reason = judged(Share(0, 500), Share(251, 500))
    assert (verdict, reason.endswith("stopped doing their job too: the check tells nothing")) == (
        Verdict.NOT_ENOUGH_EVIDENCE,
        True,
    )


def test_of_nobody_any_excess_is_possible():
    assert excess([Compared(NOTHING, Share(5, 100))], 0.95) == (-1.0, 1.0)
