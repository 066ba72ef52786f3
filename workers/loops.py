"""What the receive service does behind the door: routes what was stored, wakes workflows, hands on what is not ours.

Guarantees: each message is routed whole or not at all, by one process; one that cannot be routed is set aside with the
reason and holds up no other. Nothing here is needed for a message to be kept. A wake that is lost (the engine is
down, or this process dies) costs time only: the wave's sweep finds the same row, whose step is due, in the ledger.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from prometheus_client import Counter
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from hanwave.ledger import forwarding, inbox
from hanwave.ledger.routing import Route, Routed, Waking, route

Clock = Callable[[], datetime]
Wake = Callable[[Waking], Awaitable[None]]
HandOn = Callable[[bytes], bool]

POLL_SECONDS = 0.5
"""Messages that another receiver stored, or that an earlier run left, wait no longer."""
PAUSE_SECONDS = 2.0
"""After the ledger, or the system that messages are handed on to, could not be used."""
WAKE_SECONDS = 5.0
GATHER_SECONDS = 0.1
"""Messages that come together are routed together: ten in one transaction cost a fifth of ten transactions."""
_AT_ONCE = 50
_WAKERS = 10
_MOST_WAKES = 10_000  # waiting; a wake is some 200 octets, and what is over is found by the sweeps

_log = logging.getLogger(__name__)
ROUTED = Counter("hanwave_inbox_routed", "Messages routed, by what they were to us", ["route"])
WAKES = Counter("hanwave_wakes", "Wakes of device workflows, by what became of them", ["result"])
FORWARDED = Counter(
    "hanwave_inbox_forwarded", "Messages handed on to other systems, by whether they took it", ["taken"]
)


def route_some(ledger: Engine, now: datetime, most: int = _AT_ONCE) -> list[Routed]:
    """Route the oldest messages that nobody has in hand, in one transaction; an empty list where there is none."""
    with ledger.begin() as connection:
        waiting = inbox.unrouted(connection, most)
        done = _together(connection, waiting, now) if waiting else []
    for routed in done:
        ROUTED.labels(routed.route).inc()
    return done


def _together(connection: Connection, waiting: list[inbox.Received], now: datetime) -> list[Routed]:
    """All at once; if one of them cannot be routed, each by itself, and that one is set aside."""
    try:
        with connection.begin_nested():
            return route(connection, waiting, now)
    except OperationalError:
        raise  # a deadlock or a lost connection: the messages are as good as before
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one message, the others must not wait for it
        if len(waiting) > 1:
            return [routed for each in waiting for routed in _together(connection, [each], now)]
        _log.exception("message %s cannot be routed", waiting[0].id)
        note = f"it could not be routed: {error}"[:500]
        inbox.routed(connection, [(waiting[0].id, Route.UNREAD, note)], now)
        return [Routed(Route.UNREAD)]


class Loops:
    """The loops of one receive service; `stirred` is set when a message was stored."""

    def __init__(self, ledger: Engine, clock: Clock, wake: Wake | None, hand_on: HandOn | None) -> None:
        """Keep what they work with; without wake or hand_on that loop does not run."""
        self._ledger = ledger
        self._clock = clock
        self._wake = wake
        self._hand_on = hand_on
        self._wakes: asyncio.Queue[Waking] = asyncio.Queue(_MOST_WAKES)
        self.stirred = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them for as long as the block lasts."""
        tasks = [asyncio.create_task(self._route_forever())]
        if self._wake:
            tasks += [asyncio.create_task(self._wake_forever(self._wake)) for _ in range(_WAKERS)]
        if self._hand_on:
            tasks.append(asyncio.create_task(self._forward_forever(self._hand_on)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _route_forever(self) -> None:
        while True:
            self.stirred.clear()
            try:
                done = await asyncio.to_thread(self._route_some)
            except SQLAlchemyError as error:
                _log.warning("the ledger cannot be used, messages wait: %s", error)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except Exception:  # noqa: BLE001 - a loop that ended would leave every message that is answered 204 unread
                _log.exception("messages wait")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for routed in done:
                self._ask_to_wake(routed)
            if not done:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stirred.wait(), POLL_SECONDS)
            if len(done) < _AT_ONCE:
                await asyncio.sleep(GATHER_SECONDS)

    def _route_some(self) -> list[Routed]:
        return route_some(self._ledger, self._clock())

    def _ask_to_wake(self, routed: Routed) -> None:
        for waking in routed.wakes:
            try:
                self._wakes.put_nowait(waking)
            except asyncio.QueueFull:
                WAKES.labels("dropped").inc()

    async def _wake_forever(self, wake: Wake) -> None:
        while True:
            waking = await self._wakes.get()
            try:
                async with asyncio.timeout(WAKE_SECONDS):
                    await wake(waking)
                WAKES.labels("sent").inc()
            except Exception as error:  # noqa: BLE001 - whatever the engine's client raises, the sweep makes good
                WAKES.labels("failed").inc()
                _log.warning("%s of %s was not woken, its wave's sweep will: %s", waking.eui, waking.campaign, error)

    async def _forward_forever(self, hand_on: HandOn) -> None:
        while True:
            try:
                taken = await asyncio.to_thread(self._forward_one, hand_on)
            except SQLAlchemyError as error:
                _log.warning("the ledger cannot be used, nothing is handed on: %s", error)
                taken = False
            except Exception:  # noqa: BLE001 - as above
                _log.exception("nothing is handed on")
                taken = False
            if not taken:
                await asyncio.sleep(PAUSE_SECONDS)

    def _forward_one(self, hand_on: HandOn) -> bool | None:
        with self._ledger.begin() as connection:
            taken = forwarding.forward_one(connection, hand_on, self._clock())
        if taken is not None:
            FORWARDED.labels(str(taken).lower()).inc()
        return taken
