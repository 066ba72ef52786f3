"""The hand on an update while it runs: pause, go on, cancel; and the ledger's leave for what changes a device.

All of it may be called at any moment, before the update has begun too, from the loop that runs it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any


class Step(StrEnum):
    """What needs the ledger's leave."""

    FIRST_BLOCK = "first_block"
    UPGRADE_END = "upgrade_end"
    """The word to activate: an Upgrade End Response with a time of now."""


LEAVE_LASTS = 1.0
"""Seconds for which leave to install is good: a word that goes later is asked for anew."""
_PAUSED = 0.5
"""Seconds between two looks whether a paused update goes on."""

Permit = Callable[[Step], Awaitable[bool]]
"""Asked once an update for the first block, and anew for each word to install. It may take its time ("not now"): the device is told to wait. False refuses for good, and
an exception ends the update with it; in neither case does the device lose what it holds."""


async def _always(_step: Step) -> bool:
    return True


class Control:
    """One update's."""

    def __init__(self, permit: Permit = _always) -> None:
        self._permit = permit
        self._aborted = asyncio.Event()
        self._asked: dict[Step, asyncio.Task[bool]] = {}
        self._installs_until = 0.0
        self.is_paused = False

    def pause(self) -> None:
        """Tell the device to wait, at its next request and from then on."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on; the device learns of it when the wait that it was told is over."""
        self.is_paused = False

    def abort(self) -> None:
        """Cancel: the device is told ABORT at its next request, and throws away what it fetched."""
        self._aborted.set()

    @property
    def is_aborted(self) -> bool:
        """Whether it was cancelled."""
        return self._aborted.is_set()

    async def unless_aborted(self, awaited: asyncio.Future[Any], *, within: float | None = None) -> None:
        """Wait until that is done, or the update is cancelled, or the seconds are over; it is not cancelled itself."""
        aborted = asyncio.ensure_future(self._aborted.wait())
        try:
            await asyncio.wait({awaited, aborted}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            aborted.cancel()

    async def permits(self, step: Step, *, within: float | None = None) -> bool | None:
        """Whether the step may be taken; None: it is not known within so many seconds, or before the update was cancelled."""
        if step not in self._asked:
            self._ask(step)
        asked = self._asked[step]
        await self.unless_aborted(asked, within=within)
        return asked.result() if asked.done() else None

    async def installs(self, *, within: float) -> bool | None:
        """Whether the word to install may go now; False: refused or cancelled. None: paused, or not known within the seconds."""
        if self.is_paused and not self.is_aborted:
            await asyncio.sleep(min(within, _PAUSED))
            return None
        asked = self._asked.get(Step.UPGRADE_END)
        if asked is not None and asked.done() and self._now() > self._installs_until:
            del self._asked[Step.UPGRADE_END]
        if Step.UPGRADE_END not in self._asked:
            self._ask(Step.UPGRADE_END).add_done_callback(self._answered)
        leave = await self.permits(Step.UPGRADE_END, within=within)
        if self.is_aborted:
            return False
        return None if self.is_paused else leave

    def _ask(self, step: Step) -> asyncio.Task[bool]:
        self._asked[step] = asked = asyncio.ensure_future(self._permit(step))
        return asked

    def _answered(self, _asked: asyncio.Task[bool]) -> None:
        self._installs_until = self._now() + LEAVE_LASTS

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def close(self) -> None:
        """Wait for no leave any more."""
        for asked in self._asked.values():
            asked.cancel()
        self._asked.clear()
