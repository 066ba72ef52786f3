"""Who is updated at the same time: no more devices than a coordinator can answer.

A coordinator has a number of slots for answers of low priority (a quarter of max_concurrent_requests: two, by zigpy's
default). An answer to a sleeping device holds one until the device polls; twenty sleepers on two slots starve each
other for ever, while two at a time all finish. Answers to devices that listen take milliseconds, so several share a slot.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

import zigpy.config
from zigpy.application import ControllerApplication
from zigpy.types import PacketPriority

from workers.bench.control import Control

LISTENING_PER_SLOT = 4


def low_slots(radio: ControllerApplication) -> int:
    """How many answers of low priority the coordinator carries at the same time, at least one."""
    shares = radio.config[zigpy.config.CONF_EXPERIMENTAL][zigpy.config.CONF_CONCURRENCY]
    low: float = radio.config[zigpy.config.CONF_MAX_CONCURRENT_REQUESTS] * shares[PacketPriority.LOW]
    return max(1, round(low))


class Admission:
    """A queue before one coordinator; first come, first served."""

    def __init__(self, slots: int) -> None:
        self.shares = self.free = slots * LISTENING_PER_SLOT
        """What a device that listens takes one of, and one that sleeps LISTENING_PER_SLOT; and how many are free."""
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def slot(self, control: Control, *, sleeps: bool) -> AsyncIterator[bool]:
        """Hold a slot, or a share of one, once it is this device's turn; False: it was cancelled in the queue."""
        weight = LISTENING_PER_SLOT if sleeps else 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((weight, turn))
        self._call()
        try:
            await control.unless_aborted(turn)
            yield turn.done()
        finally:
            if turn.done():
                self._give_back(weight)
            else:
                turn.cancel()
                self._call()

    def _give_back(self, weight: int) -> None:
        self.free += weight
        self._call()

    def _call(self) -> None:
        """Admit from the front while there is room; who was cancelled in the queue is passed over."""
        while self._queue:
            weight, turn = self._queue[0]
            if not turn.cancelled():
                if weight > self.free:
                    return
                self.free -= weight
                turn.set_result(None)
            self._queue.popleft()
