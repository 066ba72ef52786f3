"""A bench on an emulated stick, for the tests: the real bellows opens it, on the real clock."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bellows.zigbee.application import ControllerApplication

from infra.zigbee.air import Air
from infra.zigbee.client import Habits
from infra.zigbee.device import Device
from infra.zigbee.memory import Make
from infra.zigbee.radio import virtual_config
from infra.zigbee.stick import Stick
from tests.bench.lab import eui, is_known
from workers.bench.radio import bench_config, bench_radio

PATIENCE = 40
Radio = bench_radio(ControllerApplication)
UNHURRIED = Habits(timeout=20.0)
"""Asks once, however busy the machine is."""


@contextlib.asynccontextmanager
async def plugged(version: int = 13, *, is_terminal: bool = False, **more: Any) -> AsyncIterator[Stick]:
    stick = Stick(Air(), version, **more)
    if is_terminal:
        stick.plug_in_as_terminal()
    else:
        await stick.plug_in()
    try:
        yield stick
    finally:
        for device in list(stick.ncp.air.nodes.values()):
            device.power_off()
        stick.unplug()


@contextlib.asynccontextmanager
async def opened_at(path: str, *, is_new: bool = False, database: Path | None = None) -> AsyncIterator[Any]:
    """The coordinator there, started by bellows."""
    config = virtual_config(device={"path": path}, use_thread=False, database_path=str(database) if database else None)
    radio = await Radio.new(bench_config(config), auto_form=is_new)
    try:
        yield radio
    finally:
        await radio.shutdown()


def opened(stick: Stick, **more: Any) -> contextlib.AbstractAsyncContextManager[Any]:
    return opened_at(stick.path, **more)


def is_ready(radio: Any) -> bool:
    """Whether there are devices, and all were interviewed."""
    devices = [each for each in radio.devices.values() if each.nwk]
    return bool(devices) and all(each.is_initialized and each.model for each in devices)


async def joined(stick: Stick, radio: Any, *, make: Make | None = None, habits: Habits = UNHURRIED) -> Device:
    """A device that joined and was interviewed, and has asked for an image in vain, as after every interview."""
    await radio.permit(60)
    device = Device(stick.ncp.air, 0x1001, eui(1), make=make or Make(), habits=habits)
    assert device.join()
    await until(lambda: is_known(radio, device) and device.books.last.startswith("query"))
    await radio.permit(0)
    return device


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
