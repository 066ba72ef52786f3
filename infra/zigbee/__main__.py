"""An emulated stick with simulated devices, for a lab to train on: `python -m infra.zigbee --help`.

It is a process of its own, as a stick is: the host that opens it may be killed, and the devices go on by themselves. It
prints what a host opens, and each device that joins or comes to run another version.
"""

import asyncio
from typing import Annotated

import typer

from infra.zigbee.air import Air, Conditions
from infra.zigbee.client import Habits
from infra.zigbee.device import Device
from infra.zigbee.ezsp import VERSIONS
from infra.zigbee.memory import Make
from infra.zigbee.samples import IMAGE_TYPE, eui
from infra.zigbee.settings import FORMED
from infra.zigbee.stick import Stick

_FIRST_ADDRESS = 0x1001
OURS = Make(image_type=IMAGE_TYPE)
_PATIENT = Habits(timeout=1.0, retries=600)
_AGAIN = 1.0
"""Seconds until a device that was not let in asks again."""


async def _live(device: Device) -> None:
    """Join as soon as the network is open, and tell of each version."""
    told = device.memory.version
    while not device.join():  # noqa: ASYNC110 - a device is not told that a network opens
        await asyncio.sleep(_AGAIN)
    typer.echo(f"{device.eui} joined, and runs {told:08X}")
    while True:
        await asyncio.sleep(_AGAIN)
        if device.memory.version != told:
            told = device.memory.version
            typer.echo(f"{device.eui} runs {told:08X}")


async def _run(stick: Stick, devices: list[Device], port: int | None) -> None:
    if port is None:
        stick.plug_in_as_terminal()
    else:
        await stick.plug_in(port)
    typer.echo(f"stick: {stick.path}")
    await asyncio.gather(*map(_live, devices), asyncio.Event().wait())


def main(
    port: Annotated[
        int | None, typer.Option(help="A TCP port of this machine, 0: any. Without it: a terminal.")
    ] = None,
    ezsp: Annotated[int, typer.Option(help=f"One of {', '.join(map(str, VERSIONS))}.")] = 13,
    devices: Annotated[int, typer.Option(help="How many PPMIDs there are.", min=0, max=1000)] = 3,
    latency: Annotated[float, typer.Option(help="Seconds that the air takes, each way.", min=0)] = 0.03,
    noise: Annotated[float, typer.Option(help="The share of frames that the line damages.", min=0, max=0.2)] = 0.0,
    new: Annotated[bool, typer.Option("--new", help="As from its box: the host forms the network.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Be a stick until Ctrl-C."""
    if ezsp not in VERSIONS:
        raise typer.BadParameter(f"{ezsp}: it should be one of {', '.join(map(str, VERSIONS))}", param_hint="--ezsp")
    air = Air(Conditions(latency=latency))
    stick = Stick(air, ezsp, network=None if new else FORMED)
    stick.noise = noise
    all_ = [Device(air, _FIRST_ADDRESS + n, eui(n), make=OURS, habits=_PATIENT) for n in range(devices)]
    asyncio.run(_run(stick, all_, port))


if __name__ == "__main__":
    typer.run(main)
