"""The bench's rules by themselves: the queue before a coordinator, the policy, and what a device's words settle."""

import asyncio
from datetime import timedelta

import pytest
import zigpy.types as t
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from zigpy.zcl import Cluster

from hanwave.rollout.bench import BenchPolicy, Outcome
from hanwave.rollout.policy import DeviceType
from hanwave.settings import Bench, Environment, Settings, SettingsError
from infra.zigbee.air import Air
from infra.zigbee.clock import run_virtually
from infra.zigbee.device import Device
from infra.zigbee.frames import Profile
from infra.zigbee.radio import VirtualRadio, virtual_config
from tests.bench.lab import BenchRadio, eui, gb_image, header, is_known, lab, now, zigbee_image
from workers.bench.admission import LISTENING_PER_SLOT, Admission, low_slots
from workers.bench.checks import Probed, check_hardware, check_probed, check_version
from workers.bench.cluster import BenchOta
from workers.bench.control import Control
from workers.bench.errors import BenchError
from workers.bench.link import words
from workers.bench.radio import BenchDevice, bench_config
from workers.bench.radios import open_radio, radio_config
from workers.bench.transfer import Transfer
from workers.bench.worker import main

pytestmark = pytest.mark.bench
USUAL, HOLD = BenchPolicy(), BenchPolicy(hold=True)


# No deadline: each example makes an event loop, and a busy machine may take its time over it.


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.booleans()), max_size=25), st.integers(1, 3))
def test_the_queue_admits_in_order_never_too_many_and_everybody(devices, slots):
    async def course():
        admission, inside, order = Admission(slots), [], []

        async def visit(number, sleeps, seconds, is_cancelled):
            control = Control()
            if is_cancelled:
                asyncio.get_running_loop().call_later(seconds / 2, control.abort)
            async with admission.slot(control, sleeps=sleeps) as is_admitted:
                if is_admitted:
                    inside.append(LISTENING_PER_SLOT if sleeps else 1)
                    order.append((number, now()))
                    assert sum(inside) <= slots * LISTENING_PER_SLOT
                    await asyncio.sleep(seconds)
                    inside.remove(LISTENING_PER_SLOT if sleeps else 1)
                return is_admitted

        admitted = await asyncio.gather(*(visit(number, *each) for number, each in enumerate(devices)))
        assert all(was or is_cancelled for was, (_, _, is_cancelled) in zip(admitted, devices, strict=True))
        times = [at for _, at in sorted(order)]
        assert times == sorted(times)
        async with asyncio.timeout(1):
            for _ in range(slots):  # everything was given back
                await admission.slot(Control(), sleeps=True).__aenter__()

    run_virtually(course())


def test_the_slots_are_those_that_zigpy_keeps_for_low_priority():
    async def course():
        for most, slots in ((8, 2), (32, 8), (64, 16)):
            radio = VirtualRadio(virtual_config(max_concurrent_requests=most))
            assert low_slots(radio) == slots
            assert radio._concurrent_requests_semaphore._cumulative_capacity[t.PacketPriority.LOW] == slots

    run_virtually(course())


def test_every_device_of_a_bench_has_the_benchs_cluster_and_the_internet_is_never_asked():
    async def course():
        async with lab() as bench:
            (known,) = [each for each in bench.radio.devices.values() if each.nwk]
            assert isinstance(known, BenchDevice)
            assert isinstance(known.endpoints[1].out_clusters[BenchOta.cluster_id], BenchOta)
            assert known.sleeps is False
            assert Cluster._registry[BenchOta.cluster_id] is BenchOta
            assert bench.radio.config["ota"]["enabled"] is False
            assert not bench.radio.ota._providers
            assert [each.endpoint for each in bench.radio.descriptors if each.profile == Profile.SMART_ENERGY] == [10]

    run_virtually(course())


def test_a_device_read_back_from_the_database_has_it_before_the_radio_starts(tmp_path):
    """On the real clock: zigpy's database has a thread of its own."""
    config = bench_config(virtual_config(database_path=str(tmp_path / "bench.db")))

    async def joins():
        radio = await BenchRadio.new(config, start_radio=False)
        air = Air()
        radio.attach(air)
        await radio.startup()
        await radio.permit(60)
        device = Device(air, 0x1001, eui(1))
        device.join()
        async with asyncio.timeout(20):
            while not is_known(radio, device) or not device.books.queries:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.01)
        await radio.shutdown()

    async def is_read_back():
        radio = await BenchRadio.new(config, start_radio=False)
        (known,) = [each for each in radio.devices.values() if each.nwk]
        assert isinstance(known, BenchDevice)
        assert isinstance(known.endpoints[1].out_clusters[BenchOta.cluster_id], BenchOta)
        assert (known.eui, known.is_initialized) == (eui(1), True)
        radio.attach(Air())
        await radio.shutdown()

    asyncio.run(joins())
    asyncio.run(is_read_back())


def test_a_file_of_devices_that_is_damaged_is_named(tmp_path):
    damaged = tmp_path / "bench.db"
    damaged.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    settings = Bench(path="/dev/null", database=damaged)
    with pytest.raises(BenchError, match=r"cannot be read from .*/bench.db \(file is not a database\): put a copy"):
        asyncio.run(open_radio(settings, tmp_path))


def test_a_file_of_devices_that_can_be_nowhere_is_refused(tmp_path):
    (tmp_path / "file").touch()
    settings = Bench(path="/dev/null", database=tmp_path / "file" / "bench.db")
    with pytest.raises(SettingsError, match="a folder that can be made: "):
        radio_config(settings, tmp_path)


def test_what_an_error_comes_from_is_said_where_it_says_nothing_itself():
    failed = ConnectionError()
    failed.__cause__ = ConnectionRefusedError(111, "Connect call failed")
    assert words(failed) == "[Errno 111] Connect call failed"
    assert (words(TimeoutError()), words(None)) == ("TimeoutError", "its port was closed")


def test_what_is_left_is_told_until_the_device_has_the_image():
    async def course():
        transfer = Transfer(100)
        transfer.sent(0, 50)
        await asyncio.sleep(2)
        assert transfer.progress().seconds_left == 2
        transfer.sent(50, 50)
        assert transfer.progress().seconds_left is None

    run_virtually(course())


def test_a_policy_of_the_kind():
    assert not BenchPolicy.usual(DeviceType.PPMID).hold
    assert BenchPolicy.usual(DeviceType.HCALCS).hold
    assert BenchPolicy.usual(DeviceType.PPMID, sleeps=True).stall_after == timedelta(hours=6)
    assert BenchPolicy.model_validate({"stall_after": "2h", "block": 40}).block == 40


@pytest.mark.parametrize(
    "wrong", [{"block": 0}, {"block": 200}, {"block_period_ms": 5000}, {"stall_after": "20s"}, {"stal_after": "1h"}]
)
def test_a_policy_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValidationError):
        BenchPolicy.model_validate(wrong)


@pytest.mark.parametrize(
    ("probed", "policy", "settled"),
    [
        (Probed(), USUAL, None),
        (Probed(current_file_version=1, manufacturer_id=0x121D, image_type_id=0x84), USUAL, None),
        (Probed(current_file_version=2), USUAL, Outcome.ALREADY),
        (Probed(current_file_version=3), USUAL, Outcome.NEWER),
        (Probed(current_file_version=3), BenchPolicy(may_downgrade=True), None),
        (Probed(current_file_version=2, manufacturer_id=1), USUAL, Outcome.WRONG_MANUFACTURER),
        (Probed(current_file_version=2, image_type_id=1), USUAL, Outcome.WRONG_TYPE),
        (Probed(upgrade_timeout_policy=0), USUAL, None),
        (Probed(upgrade_timeout_policy=0), HOLD, Outcome.CANNOT_HOLD),
        (Probed(upgrade_timeout_policy=1), HOLD, None),
    ],
)
def test_what_a_devices_own_words_settle(probed, policy, settled):
    assert check_probed(gb_image(200), probed, policy) is settled


def test_hardware_is_bound_at_both_ends():
    bound, free = header(), header(hardware=None)
    assert [check_hardware(bound, each) for each in (0x1110, 0x1111, 0x1211, 0x1212, None)] == [
        Outcome.WRONG_HARDWARE,
        None,
        None,
        Outcome.WRONG_HARDWARE,
        Outcome.WRONG_HARDWARE,
    ]
    assert check_hardware(free, None) is check_hardware(free, 7) is None


@given(st.integers(0, 2**32 - 1))
def test_only_an_older_version_is_upgraded_unless_the_way_back_is_allowed(running):
    image = zigbee_image(200, version=2**31)
    assert (check_version(image, running, USUAL) is None) == (running < 2**31)
    assert (check_version(image, running, BenchPolicy(may_downgrade=True)) is None) == (running != 2**31)


def test_a_device_that_asks_for_another_type_too_is_waited_for():
    async def course():
        async with lab() as bench:
            updating = asyncio.ensure_future(bench.update(gb_image(2_000)))
            # Query Next Image for image type 0x0099, as from a second processor of the device's.
            bench.device.send(Profile.HOME_AUTOMATION, 0x0019, bytes.fromhex("01 EE 01 01 1D12 9900 07000000 1111"))
            report = await updating
            # What the other type runs is not what this one runs.
            assert (report.outcome, report.version_before, report.version_after) == (Outcome.ACTIVATED, 1, 2)

    run_virtually(course())


def test_success_is_two_outcomes():
    assert {each for each in Outcome if each.is_success} == {Outcome.ACTIVATED, Outcome.ALREADY}


def test_no_radio_of_software_works_in_production():
    production = Settings(environment=Environment.PRODUCTION, bench=Bench(radio="virtual"))
    with pytest.raises(SettingsError, match="'virtual', in the environment production"):
        asyncio.run(main(production, asyncio.Event()))
