import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware.errors import PathError
from hanwave.firmware.life import Stage
from hanwave.firmware.paths import Upgrade, UpgradeGraph, upgrades_of
from hanwave.firmware.terms import FirmwareVersion, HardwareRange, Model
from tests.unit.firmware.making import HARDWARE, MODEL, VERSION, release, step

pytestmark = pytest.mark.unit


def v(number: int) -> FirmwareVersion:
    return FirmwareVersion(number)


def edge(source: int | None, target: int, **facts) -> Upgrade:
    return Upgrade(MODEL, None if source is None else v(source), v(target), **facts)


def hops(*upgrades: Upgrade, source: int, target: int, hardware: int | None = 0x1111) -> list[int]:
    return [hop.value for hop in UpgradeGraph(upgrades).path(MODEL, hardware, v(source), v(target))]


def test_a_direct_upgrade_is_one_hop():
    assert hops(edge(1, 2), source=1, target=2) == [2]


def test_the_shortest_of_several_ways_is_taken():
    assert hops(edge(1, 2), edge(2, 3), edge(3, 4), edge(2, 4), source=1, target=4) == [2, 4]


def test_of_equally_short_ways_the_one_over_the_newest_version_is_taken():
    assert hops(edge(1, 2), edge(1, 3), edge(2, 9), edge(3, 9), source=1, target=9) == [3, 9]


def test_a_device_that_runs_the_target_needs_no_hop():
    assert hops(source=5, target=5) == []


def test_cycles_end():
    cycle = (edge(1, 2), edge(2, 1, may_downgrade=True), edge(2, 3), edge(3, 2, may_downgrade=True))
    assert hops(*cycle, source=1, target=3) == [2, 3]
    with pytest.raises(PathError, match="no permitted upgrade of model 121D/1111 leads to 00000009"):
        hops(*cycle, source=1, target=9)


def test_an_upgrade_from_any_version_starts_anywhere_but_at_its_target():
    assert hops(edge(None, 7), source=3, target=7) == [7]
    assert hops(edge(None, 7), edge(7, 8), source=1, target=8) == [7, 8]


def test_a_downgrade_is_taken_only_where_it_is_permitted():
    with pytest.raises(
        PathError, match="would have to go down from 00000005 to 00000003, which may not be a downgrade"
    ):
        hops(edge(5, 3), source=5, target=3)
    assert hops(edge(5, 3), edge(5, 3, may_downgrade=True), source=5, target=3) == [3]
    with pytest.raises(PathError, match="go down from 00000003 to 00000002"):
        hops(edge(5, 3, may_downgrade=True), edge(3, 2), source=5, target=2)
    with pytest.raises(PathError, match="go down from 00000009 to 00000007"):
        hops(edge(None, 7), source=9, target=7)


@pytest.mark.parametrize(
    ("hardware", "board"), [(0x1300, "on hardware 1300"), (None, "on hardware of unknown version")]
)
def test_hardware_that_an_upgrade_is_not_for_is_the_reason(hardware, board):
    with pytest.raises(PathError, match=f"can go from 00000001 to 00000002, but not {board}"):
        hops(edge(1, 2, hardware=HARDWARE), source=1, target=2, hardware=hardware)
    assert hops(edge(1, 2), source=1, target=2, hardware=hardware) == [2]


def test_each_board_finds_its_own_way():
    old, new = HardwareRange(0x1000, 0x1FFF), HardwareRange(0x2000, 0x2FFF)
    ways = (edge(1, 9, hardware=new), edge(1, 5, hardware=old), edge(5, 9))
    assert hops(*ways, source=1, target=9, hardware=0x1234) == [5, 9]
    assert hops(*ways, source=1, target=9, hardware=0x2000) == [9]


def test_an_unknown_model_a_version_that_starts_nothing_and_a_gap_are_each_said():
    with pytest.raises(PathError, match="model 0001/0002 has no permitted upgrade at all"):
        UpgradeGraph([edge(1, 2)]).path(Model(1, 2), 0, v(1), v(2))
    with pytest.raises(PathError, match="starts at 00000007, only at 00000001, 00000003"):
        hops(edge(1, 8), edge(3, 8), source=7, target=8)
    with pytest.raises(PathError, match="on hardware 1111 leads from 00000001 to 00000009"):
        hops(edge(1, 2), edge(3, 9), source=1, target=9)
    with pytest.raises(PathError, match="only to 00000002, 00000003, 00000004, 00000005, 00000006 and more"):
        hops(*(edge(1, n) for n in range(2, 9)), source=1, target=99)


def test_a_release_permits_upgrades_from_its_predecessors_for_each_model():
    other = Model(0x121D, 0x2222)
    made = release(predecessors=(v(1), v(2)), models=(MODEL, other))
    assert set(upgrades_of(made)) == {Upgrade(m, v(n), VERSION, HARDWARE) for m in (MODEL, other) for n in (1, 2)}
    assert upgrades_of(release()) == (Upgrade(MODEL, None, VERSION, HARDWARE),)
    assert upgrades_of(release().advance(step(Stage.WITHDRAWN, 1))) == ()


small = st.integers(0, 6)


@given(st.lists(st.builds(edge, small, small, may_downgrade=st.booleans()), max_size=15), small, small, st.randoms())
def test_every_hop_is_permitted_and_the_order_of_building_does_not_matter(
    upgrades, source, target, shuffler: random.Random
):
    try:
        found = hops(*upgrades, source=source, target=target)
    except PathError as error:
        reason = str(error)
        shuffler.shuffle(upgrades)
        with pytest.raises(PathError) as again:
            hops(*upgrades, source=source, target=target)
        assert str(again.value) == reason
        return
    held = source
    for hop in found:
        assert any(u.source == v(held) and u.target == v(hop) and (u.may_downgrade or hop > held) for u in upgrades)
        held = hop
    assert held == target
    assert len(found) == len(set(found))
    shuffler.shuffle(upgrades)
    assert hops(*upgrades, source=source, target=target) == found
