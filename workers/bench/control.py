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


Permit = Callable[[Step], Awaitable[bool]]
"""Asked once a step and update. It may take its time ("not now"): the device is told to wait. False refuses for good, and
an exception ends the update with it; in neither case does the device lose what it holds."""


async def _always(_step: Step) -> bool:
    return True


class Control:
    """One update's."""

    def __init__(self, permit: Permit = _always) -> None:
        self._permit = permit
        self._aborted = asyncio.Event()
        self._asked: dict[Step, asyncio.Task[bool]] = {}
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
            self._asked[step] = asyncio.ensure_future(self._permit(step))
        asked = self._asked[step]
        await self.unless_aborted(asked, within=within)
        return asked.result() if asked.done() else None

    def close(self) -> None:
        """Wait for no leave any more."""
        for asked in self._asked.values():
            asked.cancel()
        self._asked.clear()
