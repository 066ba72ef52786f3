"""The two loops: what falls due for devices, and what is to be delivered to users. One task each, not one a device.

The heap of what is due is an index of the store, so that nothing is in memory alone.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from itertools import chain

from infra.emulator import activation, distribution, reading
from infra.emulator.post import Line
from infra.emulator.tables import Delivery, Device, Timer
from infra.emulator.world import World

_LOG = logging.getLogger("hanwave.emulator")
_BATCH = 50
_LONGEST_SLEEP = 1.0
_TIMEOUT = 30.0

_Step = Callable[[World, Device, Timer], None]
_STEPS: Mapping[str, _Step] = {
    "deliver": distribution.deliver,
    "transfer": distribution.transfer,
    "install": distribution.install,
    "activate": activation.arrive,
    "execute": activation.execute_stored,
    "read": reading.arrive,
    "other": reading.other,
}


def step(world: World) -> int:
    """Let happen what has fallen due, up to a batch, in one transaction; how much that was."""
    with world.store.transaction():
        timers = world.store.due(world.clock(), _BATCH)
        for timer in timers:
            world.store.query("DELETE FROM timer WHERE id = ?", timer.id)
            device = world.store.device(timer.eui)
            if device is not None:
                _STEPS[timer.leg](world, device, timer)
                world.store.save(device)
    return len(timers)


class Alarm:
    """Sleeps until a time, or until it is stirred."""

    def __init__(self) -> None:
        """Asleep."""
        self._event = asyncio.Event()

    def stir(self) -> None:
        """Wake whoever sleeps, or the next who would."""
        self._event.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep that long at most."""
        try:
            async with asyncio.timeout(min(max(seconds, 0.0), _LONGEST_SLEEP)):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


async def run_timers(world: World, alarm: Alarm) -> None:
    """Let things happen to devices, for ever."""
    while True:
        if step(world):
            await asyncio.sleep(0)
            continue
        due = world.store.next_due()
        await alarm.sleep(_LONGEST_SLEEP if due is None else due - world.clock())


class Sender:
    """Delivers messages to users: at least once, again after a while, until they are too old (DUIS retry, domain 2.2).

    A user whose endpoint cannot be reached is asked again with one message, and the rest waits: bounded work however
    long the queue is.
    """

    def __init__(self, world: World, receivers: Mapping[str, str], tls: ssl.SSLContext, concurrency: int) -> None:
        """receivers: User ID to URL; a user without one keeps its messages waiting."""
        self._world = world
        self._receivers = receivers
        self._concurrency = concurrency
        self._alarm = Alarm()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: dict[str, float] = {}
        self._tls = tls
        self._lines: dict[str, list[Line]] = {}

    def stir(self) -> None:
        """There may be something to deliver."""
        self._alarm.stir()

    async def run(self) -> None:
        """Deliver, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for delivery in self._take():
                        task = group.create_task(self._deliver(delivery))
                        self._tasks.add(task)
                        task.add_done_callback(self._done)
                    await self._alarm.sleep(self._until_next())
        finally:
            for line in chain.from_iterable(self._lines.values()):
                line.close()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._alarm.stir()

    def _blocked(self) -> list[str]:
        now = self._world.clock()
        return [user for user, again in self._again.items() if again > now]

    def _take(self) -> list[Delivery]:
        """What may be sent now; of a user that did not answer before, one message."""
        free = self._concurrency - len(self._tasks)
        if free <= 0:
            return []
        taken = self._world.store.deliverable(self._world.clock(), 1 if self._again else free, self._blocked())
        # Until its answer comes, a user that is asked again gets no second message.
        for delivery in taken:
            if delivery.user in self._again:
                self._again[delivery.user] = self._world.clock() + _TIMEOUT
        return taken

    def _until_next(self) -> float:
        if len(self._tasks) >= self._concurrency:
            return _LONGEST_SLEEP
        due = self._world.store.next_delivery(self._blocked())
        return _LONGEST_SLEEP if due is None else due - self._world.clock()

    async def _deliver(self, delivery: Delivery) -> None:
        url, status = self._receivers.get(delivery.user), 0
        if url is not None:
            kept = self._lines.setdefault(url, [])
            line = kept.pop() if kept else Line(url, self._tls)
            try:
                status = await line.post(delivery.body)
                kept.append(line)
            except OSError as error:
                _LOG.info("%s cannot be reached: %s", url, error)
        self._settle(delivery, status)

    def _settle(self, delivery: Delivery, status: int) -> None:
        world, now = self._world, self._world.clock()
        if 200 <= status < 300:
            self._again.pop(delivery.user, None)
            world.store.query(
                "UPDATE delivery SET state = 'delivered', tries = tries + 1, body = NULL WHERE id = ?", delivery.id
            )
            return
        again = now + world.delays.draw("retry", "", delivery.id, delivery.tries)
        # A 4xx is about this message; anything else is about the endpoint.
        if 400 <= status < 500:
            self._again.pop(delivery.user, None)
        else:
            self._again[delivery.user] = again
        state = "expired" if again > delivery.expires else "waiting"
        world.store.query(
            "UPDATE delivery SET state = ?, tries = tries + 1, due = ? WHERE id = ?", state, again, delivery.id
        )
