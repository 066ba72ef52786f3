"""The simulated device by itself: octets in, octets out, and no zigpy on the other side."""

import asyncio
import struct
import subprocess
import sys

import pytest

from hanwave.identifiers import EUI64
from infra.zigbee.air import PERFECT, Air, Conditions
from infra.zigbee.client import Habits
from infra.zigbee.clock import run_virtually
from infra.zigbee.device import Device
from infra.zigbee.frames import Frame, Profile, Status, UpgradeStatus
from infra.zigbee.memory import Make, judge

pytestmark = pytest.mark.bench
DEVICE = EUI64.parse("00DB120000000001")
OTA = 0x0019


class Recorder:
    """A coordinator that writes down what it hears."""

    def __init__(self, air: Air, *, admits: bool = True) -> None:
        self.heard: list[Frame] = []
        self.asked: list[tuple[int, EUI64]] = []
        self.admits = admits
        self.air = air
        air.coordinator = self

    def hear(self, frame):
        self.heard.append(frame)

    def asked_to_join(self, address, eui):
        self.asked.append((address, eui))
        return self.admits

    def commands(self, number):
        return [frame.payload for frame in self.heard if frame.cluster == OTA and frame.payload[2] == number]

    async def tell(self, cluster, payload, profile=Profile.HOME_AUTOMATION, endpoint=1):
        return await self.air.down(Frame(0, 0x1001, endpoint, endpoint, profile, cluster, 1, payload))


def a_device(air, **more):
    device = Device(air, 0x1001, DEVICE, **more)
    return device, Recorder(air)


def test_it_joins_and_says_what_it_is():
    async def course():
        device, coordinator = a_device(Air())
        assert device.join()
        await coordinator.tell(0x0004, b"\x07" + struct.pack("<HB", 0x1001, 1), Profile.ZDO, 0)
        await asyncio.sleep(1)
        announce, simple = coordinator.heard
        assert announce.payload == bytes.fromhex("01 0110 010000000012DB00 8E")
        assert (announce.cluster, announce.destination) == (0x0013, 0xFFFD)
        # Transaction, status, address, length; endpoint 1, profile 0x0104, device 0x0502; Basic in, OTA out.
        assert simple.payload == bytes.fromhex("07 00 0110 0C 01 0401 0205 00 01 0000 01 1900")
        assert simple.cluster == 0x8004

    run_virtually(course())


def test_a_coordinator_may_turn_it_away():
    async def course():
        air = Air()
        device, coordinator = a_device(air)
        coordinator.admits = False
        assert not device.join()
        assert coordinator.asked == [(0x1001, DEVICE)]
        assert not air.nodes

    run_virtually(course())


def test_it_asks_for_an_image_octet_for_octet_as_the_specification_says():
    async def course():
        device, coordinator = a_device(Air(), habits=Habits(retries=0))
        device.join()
        # Image Notify: a cluster command to the client; payload type 0, jitter 100.
        await coordinator.tell(OTA, bytes.fromhex("09 05 00 00 64"))
        await asyncio.sleep(2)
        # Frame control, transaction, Query Next Image; hardware told; 0x121D, 0x0084, version 1, hardware 0x1111.
        assert coordinator.commands(1) == [bytes.fromhex("01 01 01 01 1D12 8400 01000000 1111")]
        assert device.books.last == "no answer to its query"

    run_virtually(course())


def test_a_notification_for_another_manufacturer_is_not_for_it():
    async def course():
        device, coordinator = a_device(Air())
        device.join()
        await coordinator.tell(OTA, bytes.fromhex("09 05 00 01 64 010A"))
        await asyncio.sleep(2)
        assert (device.books.notifies, device.books.queries) == (1, 0)

    run_virtually(course())


def test_it_reads_out_its_attributes_and_names_those_it_has_not():
    async def course():
        device, coordinator = a_device(Air(), version=0x01020304)
        device.join()
        await coordinator.tell(OTA, bytes.fromhex("18 09 00 0200 0C00"))
        await asyncio.sleep(1)
        # Read Attributes Response, to the server's side: 0x0002 is a uint32, 0x000C is not there.
        assert coordinator.heard[-1].payload == bytes.fromhex("10 09 01 0200 00 23 04030201 0C00 86")

    run_virtually(course())


def test_a_parked_device_that_nobody_answers_installs_by_itself():
    async def course():
        device, coordinator = a_device(Air(), habits=Habits(asks_again=3600, retries=2))
        device.join()
        device.memory.next_version, device.memory.status = 2, UpgradeStatus.WAITING
        device.client.power_came()
        await asyncio.sleep(2 * 3600 + 60)
        assert device.memory.version == 1
        await asyncio.sleep(3700)
        assert device.memory.version == 2
        # Three rounds of three requests, an hour apart.
        assert len(coordinator.commands(6)) == 9

    run_virtually(course())


def test_a_sleeper_hears_when_it_polls_and_its_parent_forgets_what_is_late():
    async def course():
        device, coordinator = a_device(Air(), make=Make(is_mains=False))
        device.join()
        for interval, is_heard in ((5.0, True), (60.0, False)):
            device.poll_interval = interval
            await asyncio.sleep(interval - asyncio.get_running_loop().time() % interval + 1)
            began = asyncio.get_running_loop().time()
            assert await coordinator.tell(OTA, bytes.fromhex("18 09 00 0200")) is is_heard
            waited = asyncio.get_running_loop().time() - began
            assert waited == pytest.approx(4.0 if is_heard else 7.68)

    run_virtually(course())


def test_the_air_loses_what_it_is_told_to_and_the_same_again_by_the_same_seed():
    async def lost(seed):
        air = Air(Conditions(loss_up=0.25), seed)
        coordinator = Recorder(air)
        for number in range(400):
            air.up(Frame(0x1001, 0, 1, 1, 0x0104, OTA, number & 0xFF, number.to_bytes(2, "big")))
        await asyncio.sleep(1)
        return [frame.payload for frame in coordinator.heard]

    first, again, other = (run_virtually(lost(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert 250 < len(first) < 350


def test_a_device_without_power_hears_and_says_nothing():
    async def course():
        device, coordinator = a_device(Air(PERFECT))
        device.join()
        device.power_off()
        await asyncio.sleep(1)
        said = len(coordinator.heard)
        assert not await coordinator.tell(OTA, bytes.fromhex("09 05 00 00 64"))
        await asyncio.sleep(60)
        assert (len(coordinator.heard), device.books.notifies) == (said, 0)
        device.power_on()
        await asyncio.sleep(1)
        assert (len(coordinator.heard), device.books.boots) == (said + 1, 1)

    run_virtually(course())


def an_image(version=2, hardware=(0x1111, 0x1211), destination=None, missing=0):
    optional = (destination or b"") + (struct.pack("<HH", *hardware) if hardware else b"")
    control = (2 if destination else 0) | (4 if hardware else 0)
    length = 56 + len(optional)
    head = struct.pack(
        *("<IHHHHHIH32sI", 0x0BEEF11E, 0x0100, length, control, 0x121D, 0x84),
        *(version, 2, b"by hand", length + 100),
    )
    return head + optional + bytes(100 - missing)


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (an_image(), Status.SUCCESS),
        (an_image(hardware=None), Status.SUCCESS),
        (an_image(destination=DEVICE.octets[::-1]), Status.SUCCESS),
        (an_image(destination=DEVICE.octets), Status.NOT_AUTHORIZED),
        (an_image(hardware=(0x2000, 0x2100)), Status.INVALID_IMAGE),
        (an_image(version=3), Status.INVALID_IMAGE),
        (an_image(missing=1), Status.INVALID_IMAGE),
        (an_image()[:40], Status.INVALID_IMAGE),
    ],
)
def test_it_judges_an_image_by_its_header(image, status):
    assert judge(image, Make(), DEVICE, 2) is status


def test_the_device_needs_nothing_of_zigpy():
    said = "import infra.zigbee.device, infra.zigbee.clock, sys; sys.exit('zigpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", said], check=True)
