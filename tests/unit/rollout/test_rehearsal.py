"""Rehearsals: the courses of devices, and campaigns in virtual time over them."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.bounds import Share
from hanwave.rollout.budget import Threshold
from hanwave.rollout.events import Leg
from hanwave.rollout.gate import Verdict
from hanwave.rollout.incidents import Incident, Service
from hanwave.rollout.pace import Pace
from hanwave.rollout.policy import ActivationMode, Attempts, Deadlines, DeviceType, Gate, Policy, Wave
from hanwave.rollout.rehearsal.behaviour import Behaviour, BehaviourError, Delay, Harm, default_profile, read_profile
from hanwave.rollout.rehearsal.course import course
from hanwave.rollout.rehearsal.forecast import forecast, interval
from hanwave.rollout.rehearsal.library import make_libraries
from hanwave.rollout.rehearsal.run import Rules, rehearse_once
from hanwave.rollout.windows import Windows

pytestmark = pytest.mark.unit
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
SOON = Delay(half=HOUR, most=3 * HOUR)
WELL = Behaviour(source="test", delivered=SOON, verified=SOON, activated=SOON, answers=SOON)
QUIET = Harm(share=1.0, after=SOON)
EASY = Gate(harm=0.2, silence=0.3, confidence=0.8)
POLICY = Policy(gate=EASY, exposure_cap=150)


def rules(sizes=(100, 400), kind=DeviceType.ESME, policy=POLICY, **changes):
    return Rules(kind, policy, sizes, MONDAY, Share(0, sum(sizes)), **changes)


def run(seed=1, behaviour=WELL, harm=None, **changes):
    asked = rules(**changes)
    sizes = dict.fromkeys(asked.deadlines, (100,))
    drawn = make_libraries(asked.kind, asked.policy, behaviour, harm, sizes, "test")
    return rehearse_once(drawn, asked, seed)


@pytest.mark.parametrize("kind", DeviceType)
def test_a_device_of_two_hops_is_asked_for_each_in_turn(kind):
    found = course(kind, Policy(), WELL, None, "a seed", hops=2)
    legs = [Leg.DISTRIBUTE] if kind.one_step else [Leg.DISTRIBUTE, Leg.ACTIVATE]
    assert [ask.leg for ask in found.asks] == [*legs, *legs, Leg.READ]
    assert found.end == "settled"


def test_the_more_hops_the_more_requests_and_days():
    policy = Policy(waves=(Wave(share=1),))
    one, some = (
        forecast(rules((200,), policy=policy, hops=hops), WELL, (), 2, "s", courses=100).good
        for hops in ((1.0,), (0.5, 0.5))
    )
    assert some.requests["11.3"].middle == pytest.approx(1.5 * one.requests["11.3"].middle, rel=0.2)
    assert some.days.middle > one.days.middle


@pytest.mark.parametrize("kind", DeviceType)
def test_a_device_that_answers_everything_settles_with_one_request_a_leg(kind):
    found = course(kind, Policy(), WELL, None, "a seed")
    legs = [ask.leg for ask in found.asks]
    assert legs == [Leg.DISTRIBUTE, *([] if kind.one_step else [Leg.ACTIVATE]), Leg.READ]
    assert found.end == "settled"
    assert set(found.marks) == ({"confirmed"} if kind.one_step else {"held", "confirmed"})


def test_a_future_dated_activation_is_confirmed_after_its_date():
    policy = Policy(activation=ActivationMode.FUTURE_DATED, lead=timedelta(hours=30))
    found = course(DeviceType.ESME, policy, WELL, None, "a seed")
    assert found.end == "settled"
    assert found.marks["confirmed"].ask == 1
    assert found.marks["confirmed"].wait > 30 * 3600


def test_a_device_that_is_never_there_is_not_delivered_within_its_allowance():
    gone = WELL.model_copy(update={"absent": 1.0, "not_delivered": 1.0})
    found = course(DeviceType.ESME, Policy(attempts=Attempts(distribute=2)), gone, None, "a seed")
    assert [ask.leg for ask in found.asks] == [Leg.DISTRIBUTE] * 2
    assert (found.end, found.marks) == ("closed:not_delivered", {})


def test_an_answer_that_is_lost_is_read_back():
    deaf = WELL.model_copy(update={"unheard": 1.0})
    policy = Policy.model_validate(
        {"deadlines": {k: {"activate_unverified_after": "5h", "activate": "1d"} for k in DeviceType}}
    )
    found = course(DeviceType.ESME, policy, deaf, None, "a seed")
    assert [ask.leg for ask in found.asks] == [Leg.DISTRIBUTE, Leg.ACTIVATE, Leg.READ, Leg.READ]
    assert found.end == "settled"


def test_a_bad_image_ends_quiet_or_says_so():
    assert course(DeviceType.ESME, Policy(), WELL, QUIET, "a seed").end == "closed:quiet"
    loud = course(DeviceType.ESME, Policy(), WELL, QUIET.model_copy(update={"loud": True}), "a seed")
    assert loud.end == "closed:failed"
    assert "failed" in loud.marks


def test_the_same_seed_gives_the_same_course():
    profile = default_profile()
    for kind in DeviceType:
        assert course(kind, Policy(), profile[kind], None, "x") == course(kind, Policy(), profile[kind], None, "x")


def test_a_good_image_passes_every_wave_and_settles_everybody():
    found = run()
    assert found.passed
    assert found.ended == {"settled": 500}
    assert sum(found.settled.values()) == found.exposed == 500
    assert sum(found.requests["11.3"].values()) == 500
    assert sum(found.requests["11.2"].values()) == 500


@settings(max_examples=15)
@given(
    kind=st.sampled_from(DeviceType),
    cap=st.integers(1, 300),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_more_devices_are_exposed_than_the_cap_and_each_ends_once(kind, cap, sizes, seed):
    policy = POLICY.model_copy(update={"exposure_cap": cap})
    found = run(seed, default_profile()[kind], kind=kind, policy=policy, sizes=sizes)
    assert found.most_exposed <= cap
    judged = sum(sizes[: len(found.verdicts)])
    assert sum(found.ended.values()) == judged or found.verdicts[-1] == "breaker"
    assert sum(found.settled.values()) == found.ended["settled"]


def test_a_bad_image_exposes_the_first_wave_alone():
    found = run(harm=QUIET)
    assert found.verdicts == [Verdict.NOT_ENOUGH_EVIDENCE]
    assert found.exposed == 100


def test_an_image_that_silences_its_devices_goes_no_further_than_the_cap_within_a_wave():
    found = run(harm=QUIET, sizes=(1000,), policy=POLICY.model_copy(update={"exposure_cap": 60}))
    assert found.verdicts == ["never ends: its cap is full of silent devices"]
    assert found.exposed <= 60 / (1 - 0.32) + 1  # the gate bears 30 % more than the ordinary 2 %
    some = run(harm=QUIET.model_copy(update={"share": 0.2}), sizes=(400,))
    assert some.exposed == 400  # less than it bears keeps nobody's place


def test_a_loud_one_trips_the_breaker_before_the_cap_was_filled_twice():
    found = run(harm=QUIET.model_copy(update={"loud": True}), sizes=(1000,))
    assert found.verdicts == ["breaker"]
    assert found.exposed < 1000


def test_nothing_is_sent_while_the_windows_are_closed():
    weekdays = {"days": ["mon", "tue", "wed", "thu", "fri"]}
    windows = Windows.model_validate({"distribute": weekdays, "activate": weekdays})
    found = run(policy=POLICY.model_copy(update={"windows": windows, "exposure_cap": 20}), sizes=(300,))
    assert found.passed
    days = {day % 7 for variant in ("11.1", "11.3") for day in found.requests[variant]}
    assert days <= set(range(5))
    assert max(found.requests["11.3"]) > 7  # or the test would show nothing


def test_windows_that_never_open_are_said_to_end_nothing():
    windows = Windows.model_validate({"distribute": {"blackout": ["2026-01-01/2028-12-31"]}})
    found = run(policy=POLICY.model_copy(update={"windows": windows}))
    assert found.verdicts == ["never ends: its windows or its budget let nothing through"]
    assert not found.requests


def test_a_threshold_is_never_exceeded():
    threshold = Threshold.model_validate(
        {"user_id": "90-B3-D5-1F-30-01-00-00", "variant": "11.3", "period": "1d", "limit": 60, "reserve": 10}
    )
    found = run(sizes=(300,), thresholds=(threshold,), policy=POLICY.model_copy(update={"exposure_cap": 300}))
    assert found.passed
    days = found.requests["11.3"]
    assert sum(days.values()) == 300
    assert max(days.values()) <= 2 * 50  # a day may hold the end of one span and the beginning of the next
    assert all(days[day] + days[day + 1] <= 3 * 50 for day in range(max(days)))


@pytest.mark.parametrize(("variant", "batch", "most"), [("11.3", 10, 5), ("11.1", 10, 50)])
def test_a_threshold_of_requests_counts_an_activation_each_and_images_by_the_batch(variant, batch, most):
    limit = {"user_id": "90-B3-D5-1F-30-01-00-00", "variant": variant, "period": "1d", "limit": 5, "reserve": 0}
    threshold = Threshold.model_validate(limit | {"per_device": False})
    policy = POLICY.model_copy(update={"batch": batch, "exposure_cap": 300})
    found = run(sizes=(100,), thresholds=(threshold,), policy=policy)
    assert found.passed
    assert found.days > 100 / most - 1
    assert sum(found.requests[variant].values()) == (100 if variant == "11.3" else 10)


def test_the_pace_bounds_what_is_activated_in_a_tick():
    slow = POLICY.model_copy(update={"pace": Pace(overall=0.001), "exposure_cap": 500})
    found = run(sizes=(400,), policy=slow)
    assert max(found.requests["11.3"].values()) <= 100  # 0.001 a second is 86.4 a day; a tick rounds up


def test_a_wave_has_its_own_cap_and_gate():
    strict = EASY.model_copy(update={"harm": 0.001, "confidence": 0.99})
    waves = (Wave(count=100, exposure_cap=7), Wave(share=1, gate=strict))
    found = run(policy=POLICY.model_copy(update={"waves": waves}), sizes=(100, 50))
    assert found.verdicts == [Verdict.PASS, Verdict.NOT_ENOUGH_EVIDENCE]
    assert 7 < found.most_exposed <= 50


def test_a_wave_that_is_empty_is_passed_over():
    found = run(sizes=(0, 60, 0))
    assert found.verdicts == [Verdict.PASS]
    assert found.ended == {"settled": 60}


def test_strata_do_not_change_how_many_there_are():
    found = run(strata=(5, 3, 2))
    assert sum(found.ended.values()) == 500


def test_a_forecast_holds_nine_in_ten_runs_and_says_what_it_came_from():
    found = forecast(rules(), default_profile()[DeviceType.ESME], [Harm(share=0.5, after=SOON)], 10, "s", courses=300)
    good, bad = found.scenarios
    assert (found.source, found.devices, found.start) == ("guess", 500, MONDAY)
    assert (good.harm, bad.harm) == (0.0, 0.5)
    assert sum(good.verdicts.values()) == good.runs == 10
    assert bad.exposed.high < good.exposed.low
    assert good.days.low <= good.days.middle <= good.days.high
    for before, after in pairwise(good.by_day):
        assert before.settled.middle <= after.settled.middle
        assert all(before.so_far[v].middle <= after.so_far[v].middle for v in before.so_far)
    again = forecast(rules(), default_profile()[DeviceType.ESME], [Harm(share=0.5, after=SOON)], 10, "s", courses=300)
    assert again == found


def test_an_interval_leaves_out_a_tenth():
    found = interval(range(101))
    assert (found.low, found.middle, found.high) == (5, 50, 95)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"ESME": {"source": "x"}}, "ESME.delivered"),
        ({"IHD": {}}, "IHD"),
        ({"ESME": WELL.model_dump() | {"absent": 1.5}}, "ESME.absent"),
        ({"ESME": WELL.model_dump() | {"delivered": {"half": "2h", "most": "1h"}}}, "shorter than half"),
        ("nothing", "the profile"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_sentence(raw, says):
    with pytest.raises(BehaviourError, match=says) as refused:
        read_profile(raw)
    assert "\n" not in str(refused.value)


def test_the_shipped_profile_has_every_type_and_says_that_it_is_a_guess():
    assert Counter(each.source for each in default_profile().values()) == {"guess": len(DeviceType)}


def days_of(**changes) -> float:
    found = run(sizes=(400,), **changes)
    assert found.passed
    return found.days


ONE = Policy(waves=(Wave(share=1),), gate=EASY, exposure_cap=1000)


def test_a_region_has_no_more_than_its_own_pace():
    slow = ONE.model_copy(update={"pace": Pace(overall=20, region=0.001)})
    everywhere = days_of(policy=slow, strata=(1.0, 1.0), regions=("North", "South"))
    together = days_of(policy=slow, strata=(1.0, 1.0), regions=("South", "South"))
    # 200 devices at a thousandth a second (two in a tick of 1,728 s, rounded up) take two days, and 400 four.
    assert everywhere > 2
    assert together - everywhere == pytest.approx(2, abs=0.4)
    assert days_of(policy=ONE, strata=(1.0, 1.0), regions=("North", "South")) < everywhere


def test_a_region_goes_by_its_own_deadlines():
    silent = WELL.model_copy(update={"absent": 1.0})
    short = {DeviceType.ESME: Deadlines(distribute=timedelta(days=1))}
    policy = ONE.model_copy(update={"regions": {"South": short}, "attempts": Attempts(distribute=1)})
    ends = {
        regions: run(policy=policy, behaviour=silent, sizes=(100,), strata=(1.0, 1.0), regions=regions).days
        for regions in (("North", "North"), ("North", "South"), ("South", "South"))
    }
    assert ends["South", "South"] == pytest.approx(1, abs=0.2)
    assert ends["North", "South"] == pytest.approx(ends["North", "North"], abs=0.2) == pytest.approx(10, abs=0.2)
    mixed = rules((100,), policy=policy, strata=(1.0, 1.0, 1.0), regions=("Central", "South", "North"))
    assert mixed.deadlines == ("Central", "South", "Central")


def test_while_an_incident_lasts_nothing_that_needs_its_service_is_sent_where_it_is():
    where = {"policy": ONE, "strata": (1.0, 1.0), "regions": ("North", "South")}
    usual = days_of(**where)
    storm = Incident("INC1", Service.ACTIVATION, MONDAY, MONDAY + timedelta(days=5))
    for region in ("South", None):
        assert days_of(**where, incidents={region: (storm,)}) == pytest.approx(usual + 5, abs=0.5)
    assert days_of(**where, incidents={"Central": (storm,)}) == pytest.approx(usual, abs=0.2)
    endless = Incident("INC2", Service.ALL, MONDAY)
    assert run(sizes=(400,), **where, incidents={"South": (endless,)}).verdicts[-1].startswith("never ends")


def test_a_wave_soaks_for_as_long_as_it_says_itself():
    own = ONE.model_copy(update={"waves": (Wave(share=0.5, soak=timedelta(days=9)), Wave(share=1))})
    usual = ONE.model_copy(update={"waves": (Wave(share=0.5), Wave(share=1))})
    found, shorter = (run(sizes=(200, 200), policy=policy) for policy in (own, usual))
    assert found.passed
    assert found.days == pytest.approx(shorter.days + 7, abs=0.5)
