"""How much of the receive service a caller can take, who has a certificate of the DCC's and means no good (or has gone mad).

Guarantees: a connection that sends no whole head of a request within twice HEAD_SECONDS is closed, so _CONNECTIONS of them
are no way to shut the DCC out; what is refused fills the disk by no more than ROOM_PER_HOUR.
"""

import asyncio
import threading
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from hanwave.errors import HanwaveError

HEAD_SECONDS = 10.0
ROOM = 256 * 1024 * 1024
"""Octets of refused messages that are kept at once: a day's, should our trust store have become stale (4 kB a message)."""
ROOM_PER_HOUR = ROOM // 24


class Prompt(H11Protocol):
    """HTTP/1.1 with an end to waiting for a request's head, for which uvicorn has none."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._look, None)

    def _look(self, answered: Any) -> None:
        """Hang up where no request has begun since the last look."""
        if self.transport.is_closing():
            return
        if self.cycle is answered and (answered is None or answered.response_complete):
            self.transport.close()
            return
        self.loop.call_later(HEAD_SECONDS, self._look, self.cycle)


class NoRoomError(HanwaveError):
    """More is refused than is kept."""


class Room:
    """Octets that may yet be kept of what is refused; threads may share one."""

    def __init__(self) -> None:
        """All of it is free."""
        self._lock = threading.Lock()
        self._free, self._at = float(ROOM), time.monotonic()

    def take(self, octets: int) -> None:
        """Take so many; NoRoomError, and nothing is taken, where there are not so many left."""
        with self._lock:
            now = time.monotonic()
            self._free = min(ROOM, self._free + (now - self._at) * ROOM_PER_HOUR / 3600)
            self._at = now
            if octets > self._free:
                raise NoRoomError(
                    f"it is refused, and there is no room to keep its {octets} octets: look at what comes in"
                )
            self._free -= octets
