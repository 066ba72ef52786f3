"""The second level: the real bellows on an emulated co-processor, over a socket or a terminal, on the real clock."""

import asyncio
import sys
from datetime import timedelta

import pytest

from hanwave.rollout.bench import BenchPolicy, Outcome
from hanwave.settings import Bench as Settings
from infra.zigbee.ash import ResetCause
from infra.zigbee.client import Habits
from infra.zigbee.ezsp import VERSIONS
from infra.zigbee.frames import Profile
from infra.zigbee.memory import Make
from tests.bench.lab import BLOCKS, SIZE, eui, gb_image
from tests.bench.sticks import PATIENCE, is_ready, joined, opened, opened_at, plugged, until
from workers.bench.bench import Bench
from workers.bench.link import Link
from workers.bench.radios import open_radio

pytestmark = pytest.mark.bench
IMAGE = gb_image()
USUAL = BenchPolicy()
PATIENT = Habits(timeout=2.5)
"""Asks again when its update goes on already: sooner, it would be told to wait for twice as long."""


def kept(device, before: int) -> bytearray:
    """What the device holds when it asks for that octet, in the bytes that this returns."""
    held = bytearray()
    device.client.at_offset[before] = lambda: held.extend(device.memory.image)
    return held


def assert_whole(report, device, stick, *, blocks: int = BLOCKS) -> None:
    """It ended well, both sides' books say the same, and no block went twice."""
    assert report.outcome is Outcome.ACTIVATED
    assert (report.version_after, device.memory.version) == (2, 2)
    assert (report.blocks, report.repeats, report.octets) == (blocks, 0, blocks * 50)
    assert (device.books.blocks, device.books.octets, device.books.discards) == (BLOCKS, SIZE, 0)
    assert stick.ncp.refused == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_device_joins_is_interviewed_and_updated(version):
    async with plugged(version) as stick, opened(stick) as radio:
        release = ".".join(map(str, VERSIONS[version]))
        assert str(radio.state.node_info.version).startswith(release)
        assert (radio.state.network_info.pan_id, radio.state.network_info.channel) == (0x1A62, 20)
        device = await joined(stick, radio)
        held = kept(device, SIZE - 50)
        report = await Bench(radio).update(eui(1), IMAGE, USUAL)
        assert_whole(report, device, stick)
        assert held == IMAGE.data[: SIZE - 50]
        assert device.books.retries == 0


async def test_one_damaged_frame_in_a_hundred_each_way_costs_time_and_nothing_else():
    async with plugged(14) as stick, opened(stick) as radio:
        device = await joined(stick, radio, habits=Habits())
        held = kept(device, SIZE - 50)
        stick.noise = 0.01
        report = await Bench(radio).update(eui(1), IMAGE, USUAL)
        assert report.outcome is Outcome.ACTIVATED
        assert stick.damaged > 5
        assert held == IMAGE.data[: SIZE - 50]
        assert (device.books.blocks, device.books.discards) == (BLOCKS, 0)


async def test_a_new_stick_behind_a_terminal_forms_a_network_and_hears_each_frame_once():
    """A frame heard twice is answered twice, and the report says so."""
    async with plugged(is_terminal=True, network=None) as stick, opened(stick, is_new=True) as radio:
        assert stick.ncp.network is not None
        device = await joined(stick, radio)
        small = gb_image(1000)
        report = await Bench(radio).update(eui(1), small, USUAL)
        assert (report.outcome, report.blocks, report.repeats) == (Outcome.ACTIVATED, 20, 0)
        assert device.books.blocks == 20


async def test_a_smart_energy_device_finds_the_server_and_holds_an_encrypted_image():
    make, habits = Make(profile=Profile.SMART_ENERGY), Habits(discovers=True, timeout=20.0)
    async with plugged(18) as stick, opened(stick) as radio:
        device = await joined(stick, radio, make=make, habits=habits)
        bench, policy = Bench(radio), BenchPolicy(hold=True, aps_encryption=True)
        held = await bench.update(eui(1), IMAGE, policy)
        assert (held.outcome, held.blocks, device.memory.version) == (Outcome.HELD, BLOCKS, 1)
        assert stick.ncp.air.encrypted >= BLOCKS
        released = await bench.update(eui(1), IMAGE, policy.model_copy(update={"hold": False}))
        assert (released.outcome, released.blocks) == (Outcome.ACTIVATED, 0)
        assert device.memory.version == 2


class Loss:
    """Waits until zigpy says that the coordinator is lost."""

    def __init__(self, radio) -> None:
        self.told = asyncio.Event()
        radio.add_listener(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.told.set()


@pytest.mark.parametrize("is_unplugged", [True, False], ids=["unplugged", "browned out"])
async def test_a_lost_coordinator_costs_no_block(is_unplugged, tmp_path):
    async with plugged() as stick:
        settings = Settings(name="t", path=stick.path, database=tmp_path / "bench.db")
        link = Link(lambda: open_radio(settings, tmp_path))
        comes_back = asyncio.Event()

        async def plug_in_again():
            await comes_back.wait()
            await stick.plug_in()

        def pull_out():
            stick.unplug()
            comes_back.set()

        again = asyncio.create_task(plug_in_again())
        async with link.kept():
            await until(lambda: link.radio is not None)
            device = await joined(stick, link.radio, habits=PATIENT)
            device.client.at_offset[SIZE // 2] = pull_out if is_unplugged else stick.brown_out
            report = await link.run(lambda bench: bench.update(eui(1), IMAGE, USUAL))
        again.cancel()
        assert report.first_offset == SIZE // 2
        assert_whole(report, device, stick, blocks=BLOCKS // 2)
        assert device.books.aborts == 0


async def test_a_host_is_told_why_its_coordinator_restarted():
    async with plugged() as stick, opened(stick) as radio:
        loss = Loss(radio)
        stick.brown_out(ResetCause.ASSERT)
        await asyncio.wait_for(loss.told.wait(), 20)
        assert stick.ncp.network is not None
        assert not stick.ncp.ram.is_up
        assert not stick.ncp.ram.endpoints


async def test_a_lab_trains_on_a_stick_in_a_process_of_its_own():
    arguments = ("-m", "infra.zigbee", "--port", "0", "--devices", "1", "--latency", "0", "--ezsp", "14")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)

    async def said() -> str:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()

    try:
        path = (await said()).removeprefix("stick: ")
        async with opened_at(path) as radio:
            await radio.permit(60)
            assert await said() == f"{eui(1)} joined, and runs 00000001"
            await until(lambda: is_ready(radio))
            # It may still be asking in vain, as after every interview, and is then told again.
            policy = BenchPolicy(notify_every=timedelta(seconds=2))
            report = await Bench(radio).update(eui(1), gb_image(500, image_type=0), policy)
            assert (report.outcome, report.blocks) == (Outcome.ACTIVATED, 10)
        assert await said() == f"{eui(1)} runs 00000002"
    finally:
        process.kill()
        await process.wait()
