"""The ledger, off the event loop: what a transfer asks of it while it runs.

Guarantee: nothing is asked by a clock that is off the ledger's; a step is granted before its first octet or the word to
install, and then held against the stops every LOOK seconds.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from activities import clocks
from hanwave.ledger import bench
from hanwave.ledger.bench import Due, Hand
from hanwave.rollout.events import Leg
from workers.bench.control import Control, Step

LOOK = 2.0
"""Seconds between two looks at what the ledger would have of a transfer that runs."""
_T = TypeVar("_T")
_LOG = logging.getLogger("hanwave.bench")


def now() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


class Books:
    """One step's."""

    def __init__(self, ledger: Engine, step: Due, radio: str) -> None:
        self._ledger = ledger
        self._radio = radio
        self.step = step
        self.granted = step.granted
        self.reason = ""
        """Why it waits, where it does."""
        self.control = Control(self._permits)

    async def write(self, act: Callable[[Connection], _T]) -> _T:
        """Do something in one transaction."""
        return await write(self._ledger, act)

    async def _permits(self, step: Step) -> bool:
        """Leave for a step of the session's: what was granted goes on once nothing stops it."""
        leave = await self._stands(installs=step is Step.UPGRADE_END) if self.granted else await self._ask()
        # A device that was to install what it holds, and asks for octets, holds nothing: that ends the activation.
        return leave and not (self.step.leg is Leg.ACTIVATE and step is Step.FIRST_BLOCK)

    async def _ask(self) -> bool:
        await asyncio.to_thread(clocks.check, self._ledger, now)
        why = await write(self._ledger, lambda connection: bench.ask(connection, self.step, now(), self._radio))
        self.reason, self.granted = why or "", why is None
        return self.granted

    async def _stands(self, *, installs: bool) -> bool:
        while True:
            hand, self.reason = await self._hand(installs=installs)
            if hand is not Hand.WAIT:
                return hand is Hand.GO_ON
            await asyncio.sleep(LOOK)

    async def watch(self) -> None:
        """Have the transfer wait while it is stopped, and abort it where its update is over; until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                hand, reason = await self._hand()
            except SQLAlchemyError as error:
                # Nobody knows whether it is stopped, so it waits.
                hand, reason = Hand.WAIT, f"the ledger cannot be asked: {type(error).__name__}"
            self._obey(hand, reason)

    async def _hand(self, *, installs: bool = False) -> tuple[Hand, str]:
        """What the ledger would have of it; by a clock that is wrong, nothing but to wait."""
        try:
            await asyncio.to_thread(clocks.check, self._ledger, now)
        except clocks.ClockError as error:
            return Hand.WAIT, str(error)
        return await self.write(lambda connection: bench.hand(connection, self.step, now(), installs=installs))

    def _obey(self, hand: Hand, reason: str) -> None:
        if hand is Hand.ABORT:
            self.control.abort()
        elif hand is Hand.WAIT:
            self.control.pause()
        else:
            self.control.resume()
        if reason != self.reason:
            _LOG.info("%s in %s: %s", self.step.eui, self.step.campaign, reason or "goes on")
        self.reason = reason


async def write(ledger: Engine, act: Callable[[Connection], _T]) -> _T:
    """Do something in one transaction of the ledger, off the event loop."""

    def inside() -> _T:
        with ledger.begin() as connection:
            return act(connection)

    return await asyncio.to_thread(inside)
