"""The bench's desk: who is on its network; let devices join; forget one. What is changed stands in the ledger's notes."""

# mypy: disallow-untyped-calls=False
# (zigpy's own number types have untyped constructors)

import asyncio

from sqlalchemy import Engine
from temporalio import activity
from temporalio.exceptions import ApplicationError
from zigpy import types as t
from zigpy.application import ControllerApplication

from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from hanwave.ledger import notes
from hanwave.rollout.bench_desk import DESK, DeskAnswer, DeskOrder, OnBench, Verb
from workers.bench.bench import Bench
from workers.bench.cluster import RADIO_ERRORS
from workers.bench.errors import BenchError
from workers.bench.ledger import now, write
from workers.bench.link import Link
from workers.bench.radio import BenchDevice

_LEAVES_WITHIN = 40.0
"""Seconds: zigpy waits seven for the answer of a device that listens, and thirty for one that sleeps."""
_NOT_THERE = "the bench's coordinator is not there: plug it in, or look at the bench worker's log"


class Desk:
    """The desk of one coordinator."""

    def __init__(self, ledger: Engine, link: Link, radio: str) -> None:
        self._ledger = ledger
        self._link = link
        self._name = radio

    @activity.defn(name=DESK)
    async def desk(self, order: DeskOrder) -> DeskAnswer:
        """Answer, or obey; a person is told at once what cannot be done."""
        try:
            return await self._obey(order)
        except (HanwaveError, *RADIO_ERRORS) as error:
            raise ApplicationError(str(error) or type(error).__name__, type="BenchError", non_retryable=True) from error

    async def _obey(self, order: DeskOrder) -> DeskAnswer:
        radio, bench = self._link.radio, self._link.bench
        if radio is None or bench is None:
            raise BenchError(_NOT_THERE)
        joining = 0
        if order.verb is Verb.PERMIT_JOIN:
            await self._note(order, f"bench/{order.bench}", {"seconds": order.seconds})
            await radio.permit(order.seconds)
            joining = order.seconds
        elif order.verb is Verb.FORGET:
            await self._forget(order, radio, bench)
        return DeskAnswer(order.bench, self._name, _devices(radio, bench), joining)

    async def _forget(self, order: DeskOrder, radio: ControllerApplication, bench: Bench) -> None:
        eui = EUI64.parse(order.device or "")
        ieee = t.EUI64(eui.octets[::-1])
        if ieee not in radio.devices:
            raise BenchError(
                f"{eui} is not on this coordinator's network: `hanwave bench devices` lists those that are"
            )
        if eui in bench.under_way:
            raise BenchError(f"{eui} has an update under way: wait for its end, or cancel it, and forget it then")
        await self._note(order, f"device/{eui}", {})
        await radio.remove(ieee)
        # It is asked to leave; one that does not answer is forgotten after seconds.
        async with asyncio.timeout(_LEAVES_WITHIN):
            while ieee in radio.devices:  # noqa: ASYNC110 - zigpy tells nobody when it is done
                await asyncio.sleep(0.1)

    async def _note(self, order: DeskOrder, subject: str, document: dict[str, int]) -> None:
        said = notes.Said(order.actor, f"bench {order.verb}", subject, document={"bench": order.bench, **document})
        await write(self._ledger, lambda connection: notes.add(connection, said, now()))


def _devices(radio: ControllerApplication, bench: Bench) -> list[OnBench]:
    own = radio.state.node_info.ieee
    found = [each for each in radio.devices.values() if isinstance(each, BenchDevice) and each.ieee != own]
    return sorted((_shown(each, bench) for each in found), key=lambda each: each.eui)


def _shown(device: BenchDevice, bench: Bench) -> OnBench:
    return OnBench(
        eui=str(device.eui),
        manufacturer=device.manufacturer or "",
        model=device.model or "",
        ready=device.is_initialized,
        sleeps=device.sleeps,
        updating=device.eui in bench.under_way,
    )
