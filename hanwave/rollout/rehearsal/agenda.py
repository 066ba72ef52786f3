"""What falls due when, for very many devices: arrays of their numbers by tick."""

import heapq
from collections import defaultdict, deque

import numpy as np

from hanwave.rollout.rehearsal.library import Floats, Ints

_NONE: Ints = np.empty(0, dtype=np.int64)


class Agenda:
    """Devices by the tick (of that many seconds) in which something of one kind falls due."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._due: defaultdict[tuple[int, str], list[Ints]] = defaultdict(list)
        self._ticks: list[int] = []

    def add(self, kind: str, devices: Ints, when: Floats, now: int) -> None:
        """Have that kind of thing fall due for those devices at those times (seconds), after this tick; inf: never."""
        known = np.isfinite(when)
        devices, when = devices[known], when[known]
        if not len(devices):
            return
        ticks = np.maximum(np.ceil(when / self._tick).astype(np.int64), now + 1)
        order = np.argsort(ticks, kind="stable")
        devices, ticks = devices[order], ticks[order]
        edges = np.flatnonzero(np.diff(ticks)) + 1
        for group, tick in zip(np.split(devices, edges), ticks[np.concatenate(([0], edges))].tolist(), strict=True):
            self._due[tick, kind].append(group)
            heapq.heappush(self._ticks, tick)

    def next(self) -> int | None:
        """The first tick in which anything falls due."""
        return self._ticks[0] if self._ticks else None

    def take(self, tick: int, *kinds: str) -> tuple[Ints, ...]:
        """What falls due in that tick, of each kind; it is then done with."""
        while self._ticks and self._ticks[0] <= tick:
            heapq.heappop(self._ticks)
        return tuple(np.concatenate(self._due.pop((tick, kind), [_NONE])) for kind in kinds)


class Line:
    """Devices that wait for their turn, first come first served."""

    def __init__(self) -> None:
        self._waiting: deque[Ints] = deque()
        self.length = 0

    def join(self, devices: Ints) -> None:
        """Go to its end."""
        if len(devices):
            self._waiting.append(devices)
            self.length += len(devices)

    def serve(self, most: float) -> Ints:
        """Take so many from its head."""
        served: list[Ints] = [_NONE]
        while self._waiting and most >= 1:
            head = self._waiting.popleft()
            take = int(min(most, len(head)))
            served.append(head[:take])
            if take < len(head):
                self._waiting.appendleft(head[take:])
            most -= take
        found = np.concatenate(served)
        self.length -= len(found)
        return found
