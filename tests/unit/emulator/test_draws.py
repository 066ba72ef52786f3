"""What is drawn is drawn from the seed, and from nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.emulator.delays import Delays
from infra.emulator.draw import between, fraction
from infra.emulator.errors import EmulatorError
from infra.emulator.faults import Fault, Faults, Leg, Occasion
from infra.emulator.keys import device_key
from infra.emulator.tables import Device

pytestmark = pytest.mark.unit
DEVICE = Device("02", "ESME", "0A01", "1001", "0100", "01", "01", "Commissioned", "", "North", "", "", "", "")


@given(st.text(), st.lists(st.text(), max_size=3))
def test_a_draw_is_in_its_range_and_the_same_again(seed, question):
    assert 0 <= fraction(seed, *question) < 1
    assert fraction(seed, *question) == fraction(seed, *question)
    assert 2 <= between(2, 5, seed, *question) < 5


def test_draws_are_spread_evenly():
    drawn = [fraction("seed", number) for number in range(4_000)]
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02
    assert abs(sum(each < 0.1 for each in drawn) / len(drawn) - 0.1) < 0.02


def test_device_keys_differ_by_seed_device_and_use():
    keys = [device_key(*each) for each in (("a", "1"), ("b", "1"), ("a", "2"), ("a", "1", "agree"))]
    assert len({key.private_numbers().private_value for key in keys}) == 4
    device_key.cache_clear()
    again = device_key("a", "1")
    assert again.private_numbers() == keys[0].private_numbers()


def _strikes(document: dict, occasion: Occasion, kinds: tuple[str, ...] = ()) -> bool:
    faults = Faults.of({"faults": [{"fault": "late", **document}]}, "the test")
    return faults.strike("seed", Fault.LATE, occasion, kinds) is not None


@pytest.mark.parametrize(
    ("scope", "other"),
    [
        ({"types": ["ESME"]}, {"types": ["GSME"]}),
        ({"models": ["0A01/1001"]}, {"models": ["0A01/1002"]}),
        ({"versions": ["07"]}, {"versions": ["08"]}),
        ({"regions": ["North"]}, {"regions": ["South"]}),
        ({"devices": ["02"]}, {"devices": ["03"]}),
        ({"legs": ["activate"]}, {"legs": ["read"]}),
        ({"attempts": [2]}, {"attempts": [1]}),
        ({"kinds": ["8F72"]}, {"kinds": ["8F1C"]}),
    ],
)
def test_a_scope_lets_in_what_it_names_and_nothing_else(scope, other):
    occasion = Occasion(DEVICE, Leg.ACTIVATE, 2, "07")
    assert _strikes(scope, occasion, ("N62", "8F72"))
    assert not _strikes(other, occasion, ("N62", "8F72"))
    assert not _strikes({**scope, "share": 0}, occasion, ("N62", "8F72"))


def test_each_attempt_is_drawn_anew():
    struck = [_strikes({"share": 0.5}, Occasion(DEVICE, Leg.ACTIVATE, attempt)) for attempt in range(100)]
    assert 30 < sum(struck) < 70


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [{fault: no_such}]", "faults.0.fault holds 'no_such'"),
        ("faults: [{fault: late, share: 2}]", "faults.0.share holds 2"),
        ("faults: [{fault: late, shares: 1}]", "faults.0.shares holds 1"),
        ("quarantine: {threshold: -1}", "quarantine.threshold holds -1"),
        ("outages: [{region: North}]", "outages.0.end"),
        ("[", "is not plain YAML"),
        ("faults: !!map [a, b]", "it holds a tag"),
        ("faults: &x [*x]", "it refers to another part of itself"),
        ("nothing", "all of it holds 'nothing'"),
    ],
)
def test_a_faults_file_is_refused_by_its_line(text, said):
    with pytest.raises(EmulatorError, match=r"^faults\.yaml") as caught:
        Faults.read(text, "faults.yaml")
    assert said in str(caught.value)


def test_delays_are_divided_by_the_speed_and_told_apart_by_type():
    slow, fast = Delays.load("demo", "seed"), Delays.load("demo", "seed", 10)
    assert fast.draw("deliver", "ESME", 1) == pytest.approx(slow.draw("deliver", "ESME", 1) / 10)
    assert 1 <= slow.draw("transfer", "GSME", 1) <= 5
    assert Delays.load("instant", "seed").draw("transfer", "GSME", 1) == 0
    assert Delays.load("real", "seed").draw("hold", "") == 2 * 86_400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("demo: {deliver: [0, 1]}", "lacks answer"),
        ("other: {}", "'demo' is none of other"),
        ("demo: [1]", "should map profiles to legs"),
        ("[", "is not plain YAML"),
        ("demo: !!bool x", "it holds a tag"),
    ],
)
def test_a_wrong_file_of_delays_is_refused(tmp_path, text, said):
    file = tmp_path / "delays.yaml"
    file.write_text(text)
    with pytest.raises(EmulatorError, match=said):
        Delays.load("demo", "seed", file=file)
    with pytest.raises(EmulatorError, match="cannot be read"):
        Delays.load("demo", "seed", file=tmp_path / "none.yaml")
