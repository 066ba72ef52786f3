"""A bench of software for the tests: one coordinator, simulated devices, a virtual clock, and hands on both sides."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from typing import Any

import zigpy.types as t

from hanwave.firmware.elements import SubElement, Tag, ZigbeeImage
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import Form, OtaImage, manufacturer_image_hash
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64
from hanwave.rollout.bench import BenchPolicy, BenchReport
from infra.zigbee.air import PERFECT, Air, Conditions
from infra.zigbee.client import Habits
from infra.zigbee.device import Device
from infra.zigbee.memory import Make
from infra.zigbee.radio import VirtualRadio, virtual_config
from workers.bench.bench import Bench
from workers.bench.image import BenchImage
from workers.bench.radio import bench_config, bench_radio

SIZE = 10_000
"""Octets of an image: 200 blocks of 50."""
BLOCKS = 200
BenchRadio = bench_radio(VirtualRadio)


def eui(number: int) -> EUI64:
    return EUI64(bytes.fromhex("00DB12") + number.to_bytes(5, "big"))


def header(version: int = 2, **more: Any) -> Header:
    fields = {"hardware": HardwareRange(0x1111, 0x1211)} | more
    code, kind = fields.pop("manufacturer_code", 0x121D), fields.pop("image_type", 0x0084)
    return Header(code, kind, FirmwareVersion(version), header_string("made by a test"), **fields)


def gb_image(size: int = SIZE, version: int = 2, **more: Any) -> BenchImage:
    """A PPMID's image, as SR 11.4 carries it: the body is the Manufacturer Image, with nothing around it."""
    head = header(version, **more)
    body = Random(7).randbytes(size - head.length)
    return BenchImage.gb(OtaImage(head, body).pack(), Form.PPMID, manufacturer_image_hash(body))


def zigbee_image(size: int = SIZE, version: int = 2, **more: Any) -> BenchImage:
    """A plain ZigBee image: one sub-element around the body."""
    head = header(version, **more)
    data = ZigbeeImage(head, (SubElement(Tag.UPGRADE_IMAGE, Random(7).randbytes(size - head.length - 6)),)).pack()
    return BenchImage.zigbee(data, hashlib.sha256(data).digest())


@dataclass
class Lab:
    """What a test holds."""

    air: Air
    radio: VirtualRadio
    bench: Bench
    devices: list[Device]

    @property
    def device(self) -> Device:
        return self.devices[0]

    async def update(self, image: BenchImage, policy: BenchPolicy | None = None, **more: Any) -> BenchReport:
        """Update the first device; six virtual hours are the most that it may take."""
        async with asyncio.timeout(6 * 3600):
            return await self.bench.update(self.device.eui, image, policy or BenchPolicy(), **more)


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def lab(
    *makes: Make,
    habits: Habits | None = None,
    version: int = 1,
    conditions: Conditions = PERFECT,
    poll: float = 0.0,
    **config: Any,
) -> AsyncIterator[Lab]:
    """A coordinator with devices that have joined, in good air; then the air becomes what it is to be."""
    air = Air()
    radio = BenchRadio(bench_config(virtual_config(**config)))
    radio.attach(air)
    await radio.startup(auto_form=False)
    await radio.permit(60)
    devices = [
        Device(air, 0x1000 + number, eui(number), make=make, habits=habits or Habits(), version=version)
        for number, make in enumerate(makes or (Make(),), 1)
    ]
    for device in devices:
        assert device.join()
    # The interview, after which zigpy notifies a device, which then asks in vain.
    await asyncio.sleep(30)
    assert all(is_known(radio, device) for device in devices)
    air.conditions = conditions
    for device in devices:
        device.poll_interval = poll
    try:
        yield Lab(air, radio, Bench(radio), devices)
    finally:
        for device in devices:
            device.power_off()
        await radio.shutdown()


def is_known(radio: VirtualRadio, device: Device) -> bool:
    known = radio.devices.get(t.EUI64(device.eui.octets[::-1]))
    return known is not None and known.is_initialized and known.model is not None
