"""The peer: zigbee-herdsman, a host in another language that shares nothing with bellows, on the same emulated stick.

That it takes the stick for one, interviews the device and updates it says that stick and device keep to the
specifications, and not only to what bellows and zigpy make of them.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

from infra.zigbee.device import Device
from tests.bench.lab import BLOCKS, eui, gb_image
from tests.bench.sticks import PATIENCE, plugged
from tests.support.npm import installed, program

pytestmark = [pytest.mark.bench, pytest.mark.peer]
SCRIPT = Path(__file__).with_name("herdsman.mjs")


@pytest.fixture(scope="module")
def modules() -> Path:
    return installed("zigbee-herdsman@10.9.5")


async def host(modules: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(program("node"), str(SCRIPT), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": str(modules)},
    )


async def said_by(node: asyncio.subprocess.Process, device: Device) -> list[dict]:
    """What it says to its end; the device joins when the network is open."""
    said = []
    assert node.stdout is not None
    async for line in node.stdout:
        said.append(json.loads(line))
        if "open" in said[-1]:
            assert device.join()
    return said


# The oldest that it speaks, and one with the wide statuses and the other messages.
@pytest.mark.parametrize("version", [13, 18])
async def test_herdsman_interviews_and_updates_the_same_device(version, modules, tmp_path):
    image = gb_image()
    (tmp_path / "image.ota").write_bytes(image.data)
    async with plugged(version) as stick:
        device = Device(stick.ncp.air, 0x1001, eui(1))
        port = stick.path.rpartition(":")[2]
        node = await host(modules, port, str(tmp_path / "image.ota"), str(tmp_path))
        try:
            said = await asyncio.wait_for(said_by(node, device), PATIENCE)
        finally:
            if node.returncode is None:
                node.kill()
            _, errors = await node.communicate()
        assert said == [
            {"started": "resumed"},
            {"open": True},
            {"interview": "successful", "manufacturer": "ACME HAN", "model": "PPMID-SIM"},
            {"from": 1, "to": 2},
        ], errors.decode()
        assert (device.books.blocks, device.books.aborts, device.memory.version) == (BLOCKS, 0, 2)
        assert stick.ncp.refused == []
