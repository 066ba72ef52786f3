"""Plans: everyone in one place, nobody moved, nothing dropped unsaid."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.cohort import NO_WAVE, Candidate, PlanError, Wanted
from hanwave.rollout.plan import Plan, make_plan
from hanwave.rollout.policy import DeviceType, Policy, Wave
from hanwave.rollout.rank import rank

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
WANTED = Wanted(
    release="r2",
    device_type=DeviceType.ESME,
    manufacturer="121D",
    models=frozenset({"1111", "2222"}),
    hardware=(0x10, 0x20),
    version="0000000B",
    predecessors=frozenset(),
    may_downgrade=False,
)


def eui(number: int) -> str:
    return (0x00DB_0000_0000_0000 + number).to_bytes(8, "big").hex("-").upper()


def device(number: int, **more: object) -> Candidate:
    usual = Candidate(eui(number), "ESME", "121D", "1111", "0010", "0000000A", "Commissioned", ours=True)
    return replace(usual, **more)


def plan(devices: list[Candidate], *waves: Wave, wanted: Wanted = WANTED, seed: str = "seed") -> Plan:
    return make_plan(wanted, devices, Policy(waves=waves or (Wave(share=1),)), seed, AT)


def fleet(size: int, **more: object) -> list[Candidate]:
    return [device(number, **more) for number in range(size)]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"device_type": "GSME"}, "of another device type"),
        ({"manufacturer": "FFFF"}, "of another model"),
        ({"model": "3333"}, "of another model"),
        ({"hardware_version": "000F"}, "hardware version out of range"),
        ({"hardware_version": "21"}, "hardware version out of range"),
        ({"hardware_version": ""}, "hardware version is not hexadecimal"),
        ({"hardware_version": "rev B"}, "hardware version is not hexadecimal"),
        ({"hardware_version": "0x10"}, "hardware version is not hexadecimal"),
        ({"hardware_version": "1_0"}, "hardware version is not hexadecimal"),
        ({"hardware_version": "\u0661\u0660"}, "hardware version is not hexadecimal"),
        ({"firmware_version": "v1.2"}, "firmware version is not hexadecimal"),
        ({"firmware_version": ""}, "firmware version is not hexadecimal"),
        ({"firmware_version": "0000000B"}, "already runs the version"),
        ({"firmware_version": "0000000b"}, "already runs the version"),
        ({"firmware_version": "B"}, "already runs the version"),
        ({"firmware_version": "0000000c"}, "would be a downgrade, which it refuses"),
        ({"ours": False}, "another supplier is responsible"),
        ({"smi_status": "Decommissioned"}, "not commissioned"),
        ({"leased_by": "winter"}, "in another update"),
        ({"held_back": "a complaint"}, "a complaint"),
        ({"model": "3333", "ours": False, "held_back": "a complaint"}, "of another model"),
    ],
)
def test_a_device_is_left_out_for_one_reason(facts, reason):
    drawn = plan([device(1, **facts)])
    assert (drawn.waves, drawn.left_out) == (((),), {eui(1): reason})


@pytest.mark.parametrize(
    "facts",
    [
        {"firmware_version": "0000000a"},
        {"firmware_version": "a"},
        {"hardware_version": "00000010"},
        {"hardware_version": "20"},
        {"smi_status": "Suspended"},
    ],
)
def test_a_device_is_in_however_its_versions_are_written(facts):
    """A lower-case 'a' sorts above 'B' as text: it would be called a downgrade."""
    assert plan([device(1, **facts)]).waves == ((eui(1),),)


def test_a_downgrade_is_for_models_that_take_one():
    newer = device(1, firmware_version="FFFFFFFF")
    assert plan([newer], wanted=replace(WANTED, may_downgrade=True)).waves == ((eui(1),),)


def test_only_a_predecessor_has_a_path():
    wanted = replace(WANTED, predecessors=frozenset({"00000009", "0000000a"}))
    drawn = plan([device(1), device(2, firmware_version="00000008")], wanted=wanted)
    assert (drawn.waves, drawn.left_out) == (((eui(1),),), {eui(2): "no permitted upgrade path"})


def test_a_rollback_reaches_devices_that_still_run_the_version_but_keeps_to_the_paths():
    """The bad image may be on its way to a PPMID that still runs the version that the rollback restores."""
    wanted = replace(WANTED, undoes=True, device_type=DeviceType.PPMID, predecessors=frozenset({"0000000A"}))
    devices = [device(n, device_type="PPMID", firmware_version=f"0000000{v}") for n, v in ((1, "B"), (2, "9"))]
    drawn = plan(devices, wanted=wanted)
    assert (drawn.waves, drawn.left_out) == (((eui(1),),), {eui(2): "no permitted upgrade path"})


# Everyone in one place.

_shares = st.floats(1e-12, 1, exclude_max=False).map(lambda share: Wave(share=share))
_counts = st.integers(1, 40).map(lambda count: Wave(count=count))
_named = st.sets(st.integers(0, 9), min_size=1, max_size=4)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[Candidate], tuple[Wave, ...]]:
    devices = [
        device(
            n,
            protected_class=draw(st.sampled_from((None, "PSR"))) if n >= 10 else None,
            ours=draw(st.booleans()) or n % 2 == 0,
        )
        for n in range(draw(st.integers(10, 60)))
    ]
    waves = draw(st.lists(st.one_of(_shares, _counts), min_size=1, max_size=4))
    if draw(st.booleans()):
        named = tuple(eui(n) for n in sorted(draw(_named)))
        waves.insert(draw(st.integers(0, len(waves))), Wave(devices=named))
    return devices, tuple(waves)


@pytest.mark.long
@given(cohorts(), st.text(max_size=5))
@settings(max_examples=300)
def test_a_device_is_in_exactly_one_wave_or_left_out_for_one_reason(cohort, seed):
    devices, waves = cohort
    drawn = plan(devices, *waves, seed=seed)
    placed = [e for wave in drawn.waves for e in wave] + list(drawn.left_out)
    assert sorted(placed) == sorted(d.eui for d in devices)
    assert len(drawn.waves) == len(waves)
    assert all(drawn.left_out.values())
    protected = {d.eui for d in devices if d.protected_class}
    assert not any(protected & set(wave) for wave in drawn.waves[:-1])
    for wave, members in zip(waves, drawn.waves, strict=True):
        assert wave.count is None or len(members) <= wave.count
        if wave.devices:
            assert set(members) == set(wave.devices) - set(drawn.left_out)


@given(cohorts(), st.randoms())
@settings(max_examples=100)
def test_the_order_of_the_cohort_and_repeats_change_nothing(cohort, random):
    devices, waves = cohort
    again = [*devices, *devices[:5]]
    random.shuffle(again)
    assert plan(again, *waves) == plan(devices, *waves)


@given(st.integers(0, 300), st.integers(0, 100), st.lists(_shares, min_size=1, max_size=5))
@settings(max_examples=100)
def test_adding_devices_moves_none_between_waves_given_as_shares(size, more, waves):
    before, after = plan(fleet(size), *waves), plan(fleet(size + more), *waves)
    for old, new in zip(before.waves, after.waves, strict=True):
        assert set(old) <= set(new)
    assert set(before.left_out) <= set(after.left_out)


@given(st.lists(st.floats(1e-12, 1, exclude_max=True), max_size=6))
@settings(max_examples=100)
def test_whatever_the_shares_before_the_last_of_one_takes_all_the_rest(shares):
    """And the protected with them: a sum that is 0.9999999999999999 drops nobody."""
    devices = [*fleet(50), *(device(100 + n, protected_class="PSR") for n in range(10))]
    drawn = plan(devices, *(Wave(share=share) for share in shares), Wave(share=1))
    assert not drawn.left_out
    assert {eui(100 + n) for n in range(10)} <= set(drawn.waves[-1])


def test_shares_that_do_not_reach_everyone_say_whom_they_leave_out():
    drawn = plan(fleet(1000), Wave(share=0.1), Wave(share=0.3), Wave(share=0.6))
    assert set(drawn.left_out.values()) == {NO_WAVE}
    assert len(drawn.left_out) == pytest.approx(1000 * 0.9 * 0.7 * 0.4, abs=60)


def test_a_share_is_of_those_not_yet_in_a_wave_also_after_a_count():
    """A count that took the lowest ranks would leave the share after it nobody."""
    drawn = plan(fleet(2000), Wave(count=400), Wave(share=0.1), Wave(share=1))
    assert [len(wave) for wave in drawn.waves] == [400, pytest.approx(160, abs=50), pytest.approx(1440, abs=50)]


def test_the_protected_have_a_wave_of_their_own_where_the_policy_gives_one():
    devices = [*fleet(20), *(device(100 + n, protected_class="PSR") for n in range(5))]
    assert [len(wave) for wave in plan(devices, Wave(share=1), Wave(share=1)).waves] == [20, 5]
    assert [len(wave) for wave in plan(devices, Wave(count=22), Wave(count=3)).waves] == [20, 3]


def test_an_empty_cohort_has_empty_waves():
    drawn = plan([], Wave(count=3), Wave(share=1))
    assert (drawn.waves, drawn.left_out) == (((), ()), {})


# Named devices.


def test_a_named_device_waits_for_its_wave():
    drawn = plan(fleet(30), Wave(share=0.9), Wave(devices=(eui(3),)), Wave(share=1))
    assert drawn.waves[1] == (eui(3),)


def test_a_named_device_that_cannot_be_updated_is_left_out_with_its_reason():
    drawn = plan([device(1, ours=False), device(2)], Wave(devices=(eui(1), eui(2))), Wave(share=1))
    assert (drawn.waves, drawn.left_out) == (((eui(2),), ()), {eui(1): "another supplier is responsible"})


def test_a_named_device_that_is_not_in_the_cohort_is_refused():
    with pytest.raises(PlanError, match=f"wave 1 names {eui(7)} and 1 more, not in the cohort"):
        plan(fleet(5), Wave(devices=(eui(7), eui(1), eui(8))), Wave(share=1))


def test_a_named_protected_device_is_refused_but_in_the_last_wave():
    devices = [device(1, protected_class="PSR"), device(2)]
    with pytest.raises(PlanError, match=f"wave 1 names {eui(1)}, protected"):
        plan(devices, Wave(devices=(eui(1),)), Wave(share=1))
    assert plan(devices, Wave(share=1), Wave(devices=(eui(1),))).waves == ((eui(2),), (eui(1),))


def test_a_cohort_that_contradicts_itself_is_refused():
    with pytest.raises(PlanError, match=f"the cohort has {eui(1)} twice"):
        plan([device(1), device(1, ours=False)])


# The digest.


@pytest.mark.parametrize(
    "change",
    [
        lambda d: plan(d, seed="another"),
        lambda d: plan(d, Wave(count=1), Wave(share=1)),
        lambda d: plan(d, wanted=replace(WANTED, release="r3")),
        lambda d: plan(d, wanted=replace(WANTED, models=frozenset({"1111"}))),
        lambda d: plan(d, wanted=replace(WANTED, hardware=(0, 0x20))),
        lambda d: plan(d, wanted=replace(WANTED, may_downgrade=True)),
        lambda d: plan([*d, device(9)]),
        lambda d: plan([*d, device(9, ours=False)]),
    ],
)
def test_the_digest_covers_all_that_a_person_approves(change):
    devices = fleet(4)
    assert plan(devices).digest == plan(devices).digest
    assert change(devices).digest != plan(devices).digest


def test_ranks_are_even_and_below_one():
    ranks = [rank("seed", eui(n)) for n in range(4000)]
    assert all(0 <= r < 1 for r in ranks)
    assert sum(ranks) / 4000 == pytest.approx(0.5, abs=0.02)
