"""A virtual clock for asyncio: when nothing is ready, the clock jumps to the next timer, so hours take seconds.

For code with no threads and no sockets: a loop whose clock jumps would never wait for them.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_START = 1000.0


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: what the loop would have waited, it adds to the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = _START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let that much time pass at once; without a timeout nothing can ever happen again, so that is an error."""
        if timeout is None:
            raise AssertionError("every task waits, and no timer is set")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock, which starts at 1000 s and shows to what second a test has come."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._jumping.now


_T = TypeVar("_T")


def run_virtually(course: Coroutine[Any, Any, _T]) -> _T:
    """Run it to its end on a virtual clock of its own."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(course)
