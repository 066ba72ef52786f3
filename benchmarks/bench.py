"""What the bench's OTA server costs, against zigpy's own `update_firmware`, on the same simulated devices and air.

    python benchmarks/bench.py [rounds]

Three situations: 256 KiB to one device, 16 KiB to 50 devices at once, and 2,000 octets to 50 sleepers that all poll every
five seconds at the same moment (the worst case), on zigpy's default of eight requests in flight. The clock is virtual
and the air takes no time, so the first two show processor time alone, the devices' share included, which is the same
for both servers. Each measurement is a process of its own (our OTA cluster takes the place of zigpy's in a process);
the servers take turns, and the median of the rounds counts. Goals: not slower, and all 50 sleepers finish. The last
line is JSON.
"""

import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import zigpy.types as t
from zigpy.ota import OtaImageWithMetadata
from zigpy.ota.image import parse_ota_image
from zigpy.ota.providers import BaseOtaImageMetadata

from hanwave.firmware.elements import SubElement, Tag, ZigbeeImage
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64
from infra.zigbee.air import Air
from infra.zigbee.client import Habits
from infra.zigbee.clock import run_virtually
from infra.zigbee.device import Device
from infra.zigbee.memory import Make
from infra.zigbee.radio import VirtualRadio, virtual_config

SERVERS = ("ours", "zigpy")
BLOCK = 50
SETTLED = 30.0  # seconds after the devices have joined: zigpy's own notifications are over


@dataclass(frozen=True, slots=True)
class Situation:
    """Who fetches what."""

    devices: int
    octets: int
    poll: float = 0.0
    """Seconds between two polls of a sleeper; 0: the devices listen."""


SITUATIONS = {
    "one device, 256 KiB": Situation(1, 262_144),
    "50 devices, 16 KiB": Situation(50, 16_384),
    "50 sleepers, 2,000 octets": Situation(50, 2_000, poll=5.0),
}
Updating = Callable[[VirtualRadio, Device, bytes], Awaitable[str]]


def image_of(octets: int) -> bytes:
    """An image that zigpy's own reader takes too."""
    header = Header(0x121D, 0x0084, FirmwareVersion(2), header_string("bench"), HardwareRange(0x1111, 0x1211))
    body = Random(7).randbytes(octets - header.length - 6)
    return ZigbeeImage(header, (SubElement(Tag.UPGRADE_IMAGE, body),)).pack()


async def measure(radio: VirtualRadio, update: Updating, situation: Situation) -> dict[str, Any]:
    """One situation, from the first notification to the last word."""
    air = Air()
    radio.attach(air)
    await radio.startup(auto_form=False)
    await radio.permit(60)
    devices = [join(air, number, sleeps=situation.poll > 0) for number in range(1, situation.devices + 1)]
    await asyncio.sleep(SETTLED)
    for device in devices:
        device.poll_interval = situation.poll
    data = image_of(situation.octets)
    began, processor, real = asyncio.get_running_loop().time(), time.process_time(), time.perf_counter()
    ended = await asyncio.gather(*(update(radio, device, data) for device in devices))
    processor, real = time.process_time() - processor, time.perf_counter() - real
    blocks = sum(device.books.blocks for device in devices)
    return {
        "blocks": blocks,
        "blocks_per_s": round(blocks / real, 1),
        "cpu_ms_per_block": round(1000 * processor / max(blocks, 1), 3),
        "virtual_s": round(asyncio.get_running_loop().time() - began, 1),
        "finished": sum(device.memory.version == 2 for device in devices),
        "outcomes": dict(Counter(ended)),
    }


def join(air: Air, number: int, *, sleeps: bool) -> Device:
    """A device that has joined; a sleeper has the patience of one."""
    habits = Habits(timeout=30.0) if sleeps else Habits()
    device = Device(
        air,
        0x1000 + number,
        EUI64((0xDB << 48 | number).to_bytes(8, "big")),
        make=Make(is_mains=not sleeps),
        habits=habits,
    )
    device.join()
    return device


async def ours(situation: Situation) -> dict[str, Any]:
    """By hanwave's session."""
    from hanwave.rollout.bench import BenchPolicy  # noqa: PLC0415 - their import replaces zigpy's own OTA cluster
    from workers.bench.bench import Bench  # noqa: PLC0415
    from workers.bench.image import BenchImage  # noqa: PLC0415
    from workers.bench.radio import bench_config, bench_radio  # noqa: PLC0415

    radio = bench_radio(VirtualRadio)(bench_config(virtual_config()))
    bench = Bench(radio)
    policy = BenchPolicy(confirm_within=timedelta(hours=2), stall_after=timedelta(hours=6))

    async def update(_radio: VirtualRadio, device: Device, data: bytes) -> str:
        image = BenchImage.zigbee(data, hashlib.sha256(data).digest())
        return str((await bench.update(device.eui, image, policy)).outcome)

    return await measure(radio, update, situation)


async def zigpy(situation: Situation) -> dict[str, Any]:
    """By zigpy's."""

    async def update(radio: VirtualRadio, device: Device, data: bytes) -> str:
        firmware, _ = parse_ota_image(data)
        image = OtaImageWithMetadata(metadata=BaseOtaImageMetadata(file_version=2), firmware=firmware)
        found = radio.devices[t.EUI64(device.eui.octets[::-1])]
        try:
            status = await found.update_firmware(image)
        except Exception as error:  # noqa: BLE001 - it raises for an update that went well, when the device is slow
            return type(error).__name__
        return "none" if status is None else status.name

    return await measure(VirtualRadio(virtual_config()), update, situation)


def in_its_own_process(server: str, name: str) -> dict[str, Any]:
    """One measurement."""
    done = subprocess.run([sys.executable, __file__, server, name], check=True, capture_output=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def compare(name: str, rounds: int) -> dict[str, Any]:
    """Both servers in one situation: of each the round with the median processor time."""
    found: dict[str, list[dict[str, Any]]] = {server: [] for server in SERVERS}
    for _ in range(rounds):
        for server in SERVERS:
            found[server].append(in_its_own_process(server, name))
    medians = {}
    for server, measured in found.items():
        middle = statistics.median_low(each["cpu_ms_per_block"] for each in measured)
        medians[server] = next(each for each in measured if each["cpu_ms_per_block"] == middle)
        print(f"{name}, {server}: {medians[server]}", flush=True)
    return medians


def main(rounds: int) -> None:
    results: dict[str, Any] = {name: compare(name, rounds if not one.poll else 1) for name, one in SITUATIONS.items()}
    timed = [name for name, one in SITUATIONS.items() if not one.poll]
    results["not_slower"] = all(
        results[name]["ours"]["cpu_ms_per_block"] <= results[name]["zigpy"]["cpu_ms_per_block"] for name in timed
    )
    results["sleepers_finish"] = results["50 sleepers, 2,000 octets"]["ours"]["finished"] == 50
    print(json.dumps(results))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("ours" | "zigpy") as server, name]:
            print(json.dumps(run_virtually({"ours": ours, "zigpy": zigpy}[server](SITUATIONS[name]))))
        case [count]:
            main(int(count))
        case _:
            main(3)
