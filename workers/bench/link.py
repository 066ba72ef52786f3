"""The coordinator for as long as the worker runs: found again whenever it was unplugged, reset or lost its power.

Guarantee: what is done on it is begun anew on the next one, and never told to the device as a cancel: each update asks its
device first where it stands, so nothing of a transfer is lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from prometheus_client import Counter
from zigpy.application import ControllerApplication

from workers.bench.bench import Bench

Open = Callable[[], Awaitable[ControllerApplication]]
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a lost coordinator is looked for again, twice as long each time."""
_T = TypeVar("_T")
_LOG = logging.getLogger("hanwave.bench")
LOSSES = Counter("hanwave_bench_coordinator_losses", "How often the coordinator was lost")


def words(error: BaseException | None) -> str:
    """What an error says, or else what it comes from: a radio library's own often says nothing."""
    said = error
    while said is not None and not str(said):
        said = said.__cause__ or said.__context__
    return str(said or type(error).__name__) if error else "its port was closed"


class _Up:
    """A coordinator that answers; zigpy tells it when it does no more."""

    def __init__(self, radio: ControllerApplication) -> None:
        self.radio = radio
        self.bench = Bench(radio)
        self.lost = asyncio.Event()
        radio.add_listener(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Learn that the coordinator is gone."""
        _LOG.warning("the coordinator was lost: %s", words(error))
        LOSSES.inc()
        self.lost.set()


class Link:
    """A coordinator that is there, or looked for; open_ makes a started radio."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._up: asyncio.Future[_Up] = asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep it up for as long as the block lasts."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self) -> None:
        while True:
            up = _Up(await self._find())
            self._up.set_result(up)
            try:
                await up.lost.wait()
            finally:
                self._up = asyncio.get_running_loop().create_future()
                up.radio.remove_listener(up)
                await _shut(up.radio)

    async def _find(self) -> ControllerApplication:
        pause = FIRST_PAUSE
        while True:
            try:
                radio = await self._open()
            except Exception as error:  # noqa: BLE001 - each radio library has errors of its own; the next try may do better
                _LOG.warning("no coordinator: %s; looks again in %.0f s", words(error), pause)
            else:
                _LOG.info("the coordinator is there, with %d devices", len(radio.devices) - 1)
                return radio
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    @property
    def radio(self) -> ControllerApplication | None:
        """The coordinator, where it is there now."""
        return there.radio if (there := self._there) else None

    @property
    def bench(self) -> Bench | None:
        """The bench on it, where it is there now."""
        return there.bench if (there := self._there) else None

    @property
    def _there(self) -> _Up | None:
        up = self._up  # once: whoever scrapes asks from a thread of its own
        return up.result() if up.done() else None

    async def run(self, act: Callable[[Bench], Awaitable[_T]]) -> _T:
        """Do something on the coordinator, and anew on the next one where it was lost meanwhile."""
        while True:
            up = await asyncio.shield(self._up)
            doing, losing = asyncio.ensure_future(act(up.bench)), asyncio.ensure_future(up.lost.wait())
            try:
                await asyncio.wait({doing, losing}, return_when=asyncio.FIRST_COMPLETED)
                if not up.lost.is_set():
                    return doing.result()
            finally:
                for each in (doing, losing):
                    each.cancel()
                await asyncio.gather(doing, losing, return_exceptions=True)


async def _shut(radio: ControllerApplication) -> None:
    try:
        async with asyncio.timeout(10):
            await radio.shutdown()
    except Exception as error:  # noqa: BLE001 - it is gone; what its library says of that changes nothing
        _LOG.warning("the coordinator could not be closed: %s", words(error))
