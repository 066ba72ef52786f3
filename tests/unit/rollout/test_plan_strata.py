"""Strata, the protected, and what adding devices moves."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.cohort import DORMANT, LEAVES, Candidate, PlanError
from hanwave.rollout.plan import Plan, make_plan
from hanwave.rollout.policy import Policy, Strata, Wave
from tests.unit.rollout.test_plan import AT, WANTED, device, eui, fleet

pytestmark = pytest.mark.unit
_facts = st.builds(
    dict,
    model=st.sampled_from(("1111", "2222")),
    firmware_version=st.sampled_from(("00000009", "0000000A")),
    region=st.sampled_from(("North", "South")),
    protected_class=st.sampled_from((None, None, None, "PSR")),
)
_waves = st.lists(
    st.builds(Wave, share=st.floats(0.01, 0.9), per_stratum=st.integers(0, 4)), min_size=1, max_size=3
).map(lambda waves: (*waves, Wave(share=1)))


@st.composite
def devices(draw: st.DrawFn, most: int = 80) -> list[Candidate]:
    facts = draw(st.lists(_facts, max_size=most))
    return [device(number, **each) for number, each in enumerate(facts)]


def plan(found: list[Candidate], policy: Policy, seed: str = "seed") -> Plan:
    return make_plan(WANTED, found, policy, seed, AT)


def stratum(found: Candidate) -> tuple[str, str, str]:
    return found.model, found.firmware_version, found.region


def wave_of(drawn: Plan) -> dict[str, int]:
    return {e: number for number, wave in enumerate(drawn.waves, 1) for e in wave}


@given(devices(), _waves, st.data())
@settings(max_examples=150)
def test_each_stratum_has_what_a_wave_promises_it_or_all_that_it_has_left(found, waves, data):
    first = data.draw(st.integers(1, len(waves)))
    drawn = plan(found, Policy(waves=waves, protected_from=first))
    left = {d.eui: d for d in found}
    for number, (wave, members) in enumerate(zip(waves, drawn.waves, strict=True), 1):
        strata = defaultdict(set)
        for d in left.values():
            if d.protected_class is None or number >= first:
                strata[stratum(d)].add(d.eui)
        for euis in strata.values():
            assert len(euis & set(members)) >= min(wave.per_stratum, len(euis))
        for e in members:
            del left[e]
    assert not left


@given(devices(), _waves, st.data())
@settings(max_examples=150)
def test_the_protected_join_no_wave_before_the_policys_nth(found, waves, data):
    first = data.draw(st.none() | st.integers(1, len(waves)))
    drawn = plan(found, Policy(waves=waves, protected_from=first))
    protected = {d.eui for d in found if d.protected_class}
    assert not any(protected & set(wave) for wave in drawn.waves[: (first or len(waves)) - 1])


@given(devices(), devices(40), _waves)
@settings(max_examples=150)
def test_adding_devices_moves_none_to_an_earlier_wave_and_none_that_its_share_placed(found, more, waves):
    """Only one that was there to make up its stratum's number may move: to the wave that its share gives it."""
    added = [replace(d, eui=eui(1000 + number)) for number, d in enumerate(more)]
    policy = Policy(waves=waves)
    by_share = wave_of(plan(found, Policy(waves=tuple(w.model_copy(update={"per_stratum": 0}) for w in waves))))
    before, after = wave_of(plan(found, policy)), wave_of(plan(found + added, policy))
    for e, wave in before.items():
        assert wave <= after[e] <= by_share[e]


@given(devices(), st.integers(1, 60), st.integers(1, 4))
@settings(max_examples=100)
def test_a_count_holds_what_it_promises_or_is_refused_with_the_number_it_needs(found, count, least):
    open_ = [d for d in found if d.protected_class is None]
    strata = defaultdict(list)
    for d in open_:
        strata[stratum(d)].append(d)
    needed = sum(min(least, len(some)) for some in strata.values())
    policy = Policy(waves=(Wave(count=count, per_stratum=least), Wave(share=1)))
    if needed > count:
        with pytest.raises(PlanError, match=f"make the count {needed}"):
            plan(found, policy)
        return
    members = set(plan(found, policy).waves[0])
    assert len(members) == min(count, len(open_))
    for some in strata.values():
        assert len(members & {d.eui for d in some}) >= min(least, len(some))


def test_a_hub_is_a_stratum_of_its_own_only_where_it_is_asked_for():
    found = [device(n, hub=f"hub {n % 10}") for n in range(200)]
    waves = (Wave(share=0.001, per_stratum=1), Wave(share=1))
    assert len(plan(found, Policy(waves=waves)).waves[0]) == 1
    assert len(plan(found, Policy(waves=waves, strata=Strata.HUB)).waves[0]) == 10


def test_a_wave_of_named_devices_promises_nothing_to_strata():
    with pytest.raises(ValueError, match="promises nothing per_stratum"):
        Wave(devices=(eui(1),), per_stratum=1)


def test_the_first_wave_of_the_protected_is_one_of_the_waves():
    with pytest.raises(ValueError, match="protected_from is 3, there are 2 waves"):
        Policy(waves=(Wave(share=0.5), Wave(share=1)), protected_from=3)


# What a wave says of itself.


def test_a_wave_may_have_a_gate_a_cap_and_a_soak_of_its_own():
    own = {"gate": {"harm": 0.2}, "exposure_cap": 5, "soak": "1h"}
    policy = Policy.model_validate({"waves": [{"count": 10, **own}, {"share": 1}], "exposure_cap": 70})
    first, second = policy.of_wave(1), policy.of_wave(2)
    assert (first.gate.harm, first.exposure_cap, first.soak.total_seconds()) == (0.2, 5, 3600)
    assert second is policy


# Who leaves, and who is not heard.


def test_who_was_not_heard_for_long_is_dormant_and_who_was_never_heard_is_not():
    long_ago, lately = AT.replace(month=8, day=1), AT.replace(month=11, day=1)
    found = [device(1, last_heard=long_ago), device(2, last_heard=lately), device(3)]
    drawn = plan(found, Policy(waves=(Wave(share=1),)))
    assert drawn.left_out == {eui(1): DORMANT}
    assert drawn.statement.dormant == 1
    assert not plan(found, Policy(waves=(Wave(share=1),), dormant_after=None)).left_out


def test_who_changes_supplier_before_the_end_is_left_out_and_who_does_so_later_is_not():
    found = [
        device(1, leaves_at=AT.replace(day=23)),
        device(2, leaves_at=AT.replace(day=25)),
        device(3, leaves_at=AT.replace(month=12, day=30)),
    ]
    drawn = plan(found, Policy.model_validate({"waves": [{"share": 1}], "soak": "2d"}))
    assert drawn.left_out == {eui(1): LEAVES}
    assert set(drawn.waves[0]) == {eui(2), eui(3)}


def test_a_rollback_spares_neither_the_dormant_nor_the_leavers():
    found = [device(1, last_heard=AT.replace(year=2025)), device(2, leaves_at=AT)]
    drawn = make_plan(replace(WANTED, undoes=True), found, Policy().for_rollback(), "seed", AT)
    assert set(drawn.waves[0]) == {eui(1), eui(2)}


def test_a_hubs_or_gbcs_version_that_is_too_low_is_the_reason_and_one_that_is_not_known_is_none():
    wanted = replace(WANTED, minimum_hub_firmware="01000000", minimum_gbcs_version="4.1")
    found = [
        device(1, hub_firmware="00FFFFFF", gbcs_version="4.1"),
        device(2, hub_firmware="01000000", gbcs_version="3.9"),
        device(3, hub_firmware="01000000", gbcs_version="4.10"),
        device(4),
    ]
    drawn = make_plan(wanted, found, Policy(waves=(Wave(share=1),)), "seed", AT)
    assert drawn.left_out == {
        eui(1): "its Communications Hub's firmware is below 01000000",
        eui(2): "its GBCS version is below 4.1",
    }


@given(st.sets(st.integers(0, 30)), st.integers(0, 3))
@settings(max_examples=50)
def test_repeats_of_a_leaver_change_nothing(leavers, again):
    found = [replace(d, leaves_at=AT) if n in leavers else d for n, d in enumerate(fleet(30))]
    policy = Policy(waves=(Wave(share=0.5, per_stratum=1), Wave(share=1)))
    assert plan(found + found[:again], policy) == plan(found, policy)
