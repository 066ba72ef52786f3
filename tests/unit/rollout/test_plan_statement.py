"""What a plan states: paths, requests, courses, gates, what can be undone, and the digest over all of it."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware.paths import Upgrade
from hanwave.firmware.terms import FirmwareVersion, Model
from hanwave.rollout.cohort import Candidate, Kind, PlanError, Stepping, path_of
from hanwave.rollout.difference import Change, Side, difference
from hanwave.rollout.pace import Pace
from hanwave.rollout.plan import Plan, make_plan
from hanwave.rollout.policy import DeviceType, OnHarm, Policy, Wave
from hanwave.rollout.statement import Way, check_sight, over_forecast
from hanwave.rollout.timetable import by_day, open_share, timetable
from hanwave.rollout.windows import Window
from tests.unit.rollout.test_plan import AT, WANTED, device, eui, fleet

pytestmark = pytest.mark.unit
ALL = (Wave(share=1),)


def plan(found, policy=None, wanted=WANTED, fallbacks=(), **more) -> Plan:
    return make_plan(wanted, found, policy or Policy(waves=ALL, **more), "seed", AT, fallbacks)


# Paths.


def step(release: str, source: int | None, target: int, why_not: str | None = None, **more: str) -> Stepping:
    versions = FirmwareVersion(source) if source is not None else None, FirmwareVersion(target)
    return Stepping(release, Upgrade(Model(0x121D, 0x1111), *versions), why_not, **more)


WAYS = replace(WANTED, predecessors=frozenset({"0000000A"}), stepping=(step("r8", 6, 8), step("r10", 8, 10)))


def runs(*versions: int, **more: object) -> list[Candidate]:
    return [device(n, firmware_version=f"{version:08X}", **more) for n, version in enumerate(versions, 1)]


def test_a_device_that_needs_several_hops_takes_them_in_order():
    drawn = plan(runs(10, 8, 6, 5), wanted=WAYS)
    assert set(drawn.waves[0]) == {eui(1), eui(2), eui(3)}
    assert drawn.left_out == {eui(4): "no permitted upgrade path"}
    assert drawn.longer == {eui(2): ("r10", "r2"), eui(3): ("r8", "r10", "r2")}
    assert drawn.statement.ways == (Way(("r10", "r2"), 1), Way(("r2",), 1), Way(("r8", "r10", "r2"), 1))


def test_a_path_is_in_the_digest():
    by = {name: replace(WAYS, stepping=(step(name, 8, 10),)) for name in ("r10", "r10b")}
    one, other = (plan(runs(8), wanted=wanted) for wanted in by.values())
    assert one.waves == other.waves
    assert one.digest != other.digest


def test_a_release_that_may_not_be_sent_is_on_no_path():
    """Unless another makes the same step: a device is left out only where there is no way round."""
    unsigned = step("r10", 8, 10, "has no image signed for us")
    reason = plan(runs(10, 8), wanted=replace(WAYS, stepping=(unsigned,))).left_out[eui(2)]
    assert reason == "its way leads by r10, which has no image signed for us"
    round_it = replace(WAYS, stepping=(unsigned, step("r10b", 8, 10)))
    assert plan(runs(8), wanted=round_it).longer == {eui(1): ("r10b", "r2")}


def test_of_two_releases_that_install_a_version_each_device_takes_the_one_that_is_for_what_it_runs():
    wanted = replace(WAYS, stepping=(step("r10", 8, 10), step("r10b", 7, 10)))
    assert plan(runs(8, 7), wanted=wanted).longer == {eui(1): ("r10", "r2"), eui(2): ("r10b", "r2")}


def test_each_release_on_the_way_asks_for_the_hub_and_the_gbcs_version_that_it_needs():
    hub = replace(WAYS, stepping=(step("r10", 8, 10, minimum_hub_firmware="00000002"),))
    gbcs = replace(WAYS, stepping=(step("r10", 8, 10, minimum_gbcs_version="4.1"),))
    found = runs(10, 8, hub_firmware="00000001", gbcs_version="3.2")
    assert plan(found, wanted=hub).left_out == {eui(2): "its Communications Hub's firmware is below 00000002"}
    assert plan(found, wanted=gbcs).left_out == {eui(2): "its GBCS version is below 4.1"}


def test_a_gsme_is_not_begun_with_whose_battery_would_end_its_path_half_way():
    wanted = replace(WAYS, device_type=DeviceType.GSME)
    found = [device(n, device_type="GSME", firmware_version="00000008", images=n) for n in (1, 2)]
    drawn = plan(found, wanted=wanted)
    assert drawn.waves == ((eui(1),),)
    assert drawn.left_out == {eui(2): "its path takes 2 images, of which its battery has 1 left"}


def test_a_rollback_goes_in_one_hop():
    """It would lead by the release that it undoes, or by another that nobody looked at for it."""
    drawn = plan(runs(10, 8), wanted=replace(WAYS, undoes=True))
    assert drawn.left_out == {eui(2): "needs 2 hops, and a rollback takes one"}


def test_every_hop_is_counted_and_makes_the_plan_longer():
    short, long = (
        plan(runs(*versions), wanted=WAYS, batch=5).statement for versions in ([10] * 6, [10, 10, 10, 8, 8, 6])
    )
    loads = {load.variant: (load.requests, load.devices) for load in long.loads}
    assert loads == {"8.2": (10, 10), "11.1": (6, 10), "11.2": (6, 6), "11.3": (10, 10)}
    assert long.ends.soonest == pytest.approx(short.ends.soonest + 2 / 24, abs=0.01)
    assert long.ends.latest > 2 * short.ends.latest


def test_what_can_be_undone_is_said_of_each_version_on_the_way():
    old = replace(WANTED, release="r1", version="00000008", predecessors=frozenset({"0000000A"}), may_downgrade=True)
    undo = plan(runs(10, 8), wanted=WAYS, fallbacks=[replace(old, undoes=True)]).statement.undo
    assert [(u.version, u.devices, u.release) for u in undo] == [("0000000A", 1, "r1"), ("0000000B", 2, None)]


def test_the_way_is_for_the_devices_own_model():
    wanted = replace(WANTED, predecessors=frozenset({"0000000A"}), stepping=(step("r10", 8, 10),))
    assert path_of(wanted, Kind("ESME", "121D", "2222", "0010", "00000008")) == ()
    assert path_of(wanted, Kind("ESME", "121D", "1111", "0010", "00000008")) == ("r10", "r2")


# Courses and requests.


@given(st.integers(0, 10_000), st.floats(0, 50), st.floats(0, 40))
def test_what_is_spread_over_days_adds_up_and_stays_within_them(total, begins, over):
    found = by_day(total, begins, over)
    assert sum(found.values()) == total
    assert all(int(begins) <= day <= int(begins + max(over, 1e-6)) for day in found)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=4), st.sampled_from(list(DeviceType)))
def test_no_wave_begins_before_the_one_before_it_could_have_ended(sizes, kind):
    found = timetable(
        [{1: size} if size else {} for size in sizes],
        kind,
        Policy(waves=tuple(Wave(count=max(1, n)) for n in sizes), exposure_cap=1000),
    )
    for one, after in pairwise(found):
        assert one.ends.soonest == after.begins
    assert all(run.ends.soonest <= run.ends.latest for run in found)


def test_pace_cap_and_windows_each_lengthen_a_wave():
    hours = {"activate": [{"hours": "00:00-06:00"}]}
    base = Policy.model_validate({"waves": [{"share": 1}], "soak": "1d", "pace": {"overall": 0.01}})
    paced = timetable([{1: 8640}], DeviceType.ESME, base.model_copy(update={"exposure_cap": 10_000}))[0]
    capped = timetable([{1: 8640}], DeviceType.ESME, base.model_copy(update={"exposure_cap": 432}))[0]
    narrow = Policy.model_validate({**base.model_dump(mode="json"), "exposure_cap": 10_000, "windows": hours})
    assert (paced.activates, capped.activates) == (10.0, 19.0)
    assert timetable([{1: 8640}], DeviceType.ESME, narrow)[0].activates == 40.0


def test_the_latest_end_goes_by_the_longest_deadlines_of_the_regions_that_have_devices():
    slow = {"distribute": "30d", "activate": "2d", "read": "1d"}
    policy = Policy.model_validate({"waves": [{"share": 1}], "regions": {"4G North": {"ESME": slow}}})
    usual, there, elsewhere = (
        timetable([{1: 10}], DeviceType.ESME, policy, regions)[0].ends
        for regions in ((), ("South", "4G North"), ("South",))
    )
    assert usual == elsewhere
    assert there.soonest == usual.soonest
    # Three images, each given twenty days more, and three activations, each a day more.
    assert there.latest == pytest.approx(usual.latest + 3 * 20 + 3 * 1)


def test_the_open_share_of_a_week_is_where_all_windows_are_open():
    night, sunday = Window(hours=("22:00-04:00",)), Window(days=("sun",))
    assert open_share([night]) == 0.25
    assert open_share([sunday]) == pytest.approx(1 / 7)
    assert open_share([]) == 1.0


def test_windows_that_are_never_open_together_refuse_the_plan():
    windows = {"activate": [{"hours": "01:00-02:00"}, {"hours": "03:00-04:00"}]}
    with pytest.raises(PlanError, match="never open together"):
        plan(fleet(3), Policy.model_validate({"waves": [{"share": 1}], "windows": windows}))


def test_a_pace_that_takes_ten_years_refuses_the_plan():
    with pytest.raises(PlanError, match="raise the pace"):
        plan(fleet(300), Policy.model_validate({"waves": [{"share": 1}], "pace": {"overall": 1e-7}}))


def test_requests_are_counted_by_variant_and_month_and_held_against_a_forecast():
    stated = plan(fleet(12), batch=5).statement
    loads = {load.variant: (load.requests, load.devices, load.by_month) for load in stated.loads}
    assert loads == {
        "8.2": (12, 12, (12,)),
        "11.1": (3, 12, (3,)),
        "11.2": (12, 12, (12,)),
        "11.3": (12, 12, (12,)),
    }
    over = over_forecast(stated, {"11.1": [3], "11.2": [11], "11.3": [12], "8.2": [12]})
    assert [(each.variant, each.month, each.requests, each.forecast) for each in over] == [("11.2", 1, 12, 11)]
    assert {each.variant for each in over_forecast(stated, {})} == {"8.2", "11.1", "11.2", "11.3"}


def test_a_ppmid_has_no_activation_request_and_no_notice():
    wanted = replace(WANTED, device_type=DeviceType.PPMID)
    stated = plan([device(1, device_type="PPMID")], wanted=wanted).statement
    assert {load.variant for load in stated.loads} == {"11.2", "11.4"}
    assert stated.notices == ()


# What is at stake.


def test_the_statement_counts_homes_classes_and_areas():
    found = [
        device(1, home="a", area="12", region="South"),
        device(2, home="a", area="12", region="South"),
        device(3, hub="h", region="South", protected_class="PSR", smi_status="Suspended"),
    ]
    stated = plan(found).statement
    assert (stated.devices, stated.homes, stated.suspended) == (3, 2, 1)
    assert [(p.protected_class, p.devices) for p in stated.waves[0].parts] == [(None, 2), ("PSR", 1)]
    assert [(n.area, n.devices, n.first_day, n.last_day, n.by_day) for n in stated.notices] == [
        ("12", 2, 0, 0, (2,)),
        ("South", 1, 0, 0, (1,)),
    ]


def test_notice_is_given_by_area_and_day():
    policy = Policy(waves=(Wave(share=1),), pace=Pace(overall=1 / 8640), soak="1d")  # ten a day
    found = [device(number, area="12" if number < 20 else "14") for number in range(30)]
    assert [(n.area, n.first_day, n.last_day, n.by_day) for n in plan(found, policy).statement.notices] == [
        ("12", 0, 3, (7, 6, 7, 0)),
        ("14", 0, 3, (3, 4, 3, 0)),
    ]
    assert plan(found, policy, wanted=replace(WANTED, route="bench/lab")).statement.notices == ()


def test_the_most_that_could_be_hurt_is_the_cap_or_the_whole_wave():
    waves = (Wave(count=4, exposure_cap=3), Wave(share=1))
    assert [w.most_hurt for w in plan(fleet(10), Policy(waves=waves)).statement.waves] == [3, 6]


def test_a_wave_too_small_for_its_gate_is_refused_unless_its_gate_says_so():
    small = Policy.model_validate({"waves": [{"count": 5}, {"share": 1}], "gate": {"harm": 0.01, "silence": 0.05}})
    with pytest.raises(PlanError, match=r"wave 1: a wave of 5 cannot rule out harm 1\.0% and silence 5\.0%"):
        check_sight(plan(fleet(400), small).statement, small)
    explicit = {"harm": 0.5, "silence": 0.5}
    said = Policy.model_validate({"waves": [{"count": 5, "gate": explicit}, {"share": 1}]})
    check_sight(plan(fleet(400), said).statement, said)


def test_299_clean_devices_see_one_per_cent():
    (wave,) = plan(fleet(299)).statement.waves
    assert wave.smallest_harm == pytest.approx(0.01, abs=1e-4)


def test_what_can_be_undone_is_said_by_model_and_hardware_with_the_reason_where_it_cannot():
    old = replace(WANTED, release="r1", version="0000000A", undoes=True)
    forward = replace(WANTED, release="r1b", version="0000000C", models=frozenset({"2222"}), undoes=True)
    found = [device(1), device(2, model="2222")]
    undo = plan(found, fallbacks=[old, forward]).statement.undo
    assert [(u.model, u.release) for u in undo] == [("121D/1111", None), ("121D/2222", "r1b")]
    assert undo[0].why_not == "r1: would be a downgrade, which it refuses; r1b: of another model"
    assert plan(found).statement.undo[0].why_not == "no fallback release is named"


# The digest.

_CHANGES = {
    "a region": lambda d: replace(d, region="North"),
    "a class": lambda d: replace(d, protected_class="MED"),
    "a home": lambda d: replace(d, home="another"),
    "an area": lambda d: replace(d, area="20"),
    "a version": lambda d: replace(d, firmware_version="00000009"),
    "a reason": lambda d: replace(d, held_back="a complaint"),
}
_NO_CHANGES = {
    "when it was heard": lambda d: replace(d, last_heard=AT - timedelta(days=3)),
    "its hub's firmware": lambda d: replace(d, hub_firmware="01020304"),
    "when it leaves": lambda d: replace(d, leaves_at=AT + timedelta(days=900)),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_the_digest_changes_with_each_fact_that_a_person_reads(change):
    found = [device(1, region="South", home="x"), device(2, region="South", home="x", area="10")]
    assert plan([found[0], change(found[1])]).digest != plan(found).digest


@pytest.mark.parametrize("change", _NO_CHANGES.values(), ids=_NO_CHANGES)
def test_the_digest_does_not_change_with_what_decides_nothing(change):
    found = fleet(3)
    assert plan([change(found[0]), *found[1:]]).digest == plan(found).digest


def test_a_plan_that_is_to_be_rolled_back_by_itself_needs_something_to_go_back_to():
    alone = Policy(waves=(Wave(share=1),), on_harm=OnHarm.ROLL_BACK)
    takes_none = replace(WANTED, release="r1b", version="0000000C", models=frozenset({"9999"}), undoes=True)
    for fallbacks in ([], [takes_none]):
        with pytest.raises(PlanError, match="on_harm is roll_back, and no fallback takes any device back"):
            plan(fleet(3), alone, fallbacks=fallbacks)
    forward = replace(takes_none, models=WANTED.models)
    assert plan(fleet(3), alone, fallbacks=[forward]).statement.undo[0].release == "r1b"


def test_a_release_that_no_device_needs_changes_no_digest_and_another_fallback_does():
    wanted = replace(WANTED, predecessors=frozenset({"0000000A"}))
    more = replace(wanted, stepping=(step("r9", 3, 9),))
    assert plan(fleet(3), wanted=wanted).digest == plan(fleet(3), wanted=more).digest
    assert (
        plan(fleet(3), wanted=wanted, fallbacks=[replace(WANTED, release="r1")]).digest
        != plan(fleet(3), wanted=wanted).digest
    )


def test_drawing_it_tomorrow_gives_the_same_digest():
    policy = Policy(waves=ALL)
    tomorrow = make_plan(WANTED, fleet(5), policy, "seed", AT + timedelta(days=1))
    assert tomorrow.digest == plan(fleet(5)).digest


# Two plans.


def side(drawn: Plan, policy: Policy, name: str) -> Side:
    members = {e: number for number, wave in enumerate(drawn.waves, 1) for e in wave}
    return Side(name, drawn.digest, "r2", policy.model_dump(mode="json"), members, drawn.left_out, drawn.longer)


def test_a_difference_names_who_moved_came_and_went_and_what_the_policy_says_otherwise():
    one, two = (
        Policy(waves=(Wave(devices=(eui(1),)), Wave(share=1))),
        Policy(waves=(Wave(devices=(eui(2),)), Wave(share=1))),
    )
    first = plan([device(n) for n in (1, 2, 3)] + [device(5, ours=False)], one)
    second = plan(
        [device(1), device(2), device(4), device(3, held_back="a complaint"), device(5, smi_status="Pending")], two
    )
    found = difference(side(first, one, "a"), side(second, two, "b"))
    assert found.moved == {eui(1): Change(1, 2), eui(2): Change(2, 1)}
    assert (found.added, found.gone) == ({eui(4): 2}, {eui(3): "a complaint"})
    assert found.other_reason == {eui(5): Change("another supplier is responsible", "not commissioned")}
    assert found.policy == {"waves.1.devices": Change([eui(1)], [eui(2)])}
    assert not found.is_none


def test_a_difference_names_who_goes_another_way():
    policy = Policy(waves=ALL)
    by = [plan(runs(8), policy, replace(WAYS, stepping=(step(name, 8, 10),))) for name in ("r10", "r10b")]
    found = difference(side(by[0], policy, "a"), side(by[1], policy, "b"))
    assert found.rerouted == {eui(1): Change(["r10", "r2"], ["r10b", "r2"])}
    assert not found.moved


def test_a_plan_differs_from_itself_in_nothing():
    policy = Policy(waves=ALL)
    drawn = side(plan(fleet(4), policy), policy, "a")
    found = difference(drawn, drawn)
    assert found.is_none
    assert [found.policy, found.moved, found.added, found.gone, found.other_reason] == [{}] * 5


def test_a_field_that_one_policy_alone_has_is_not_said_by_the_other():
    one = Side("a", "1", "r", {"waves": [{"share": 1}]}, {}, {})
    two = Side("b", "2", "r", {"waves": [{"share": 1}, {"share": 0.5}]}, {}, {})
    assert difference(one, two).policy == {"waves.2.share": Change("not said", 0.5)}
