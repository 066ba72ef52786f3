"""An emulated USB stick: a co-processor behind a serial line, which hosts open by TCP or as a terminal (pty).

Guarantee: one host at a time has the line, the newest. What the line damages, the protocol mends; a stick that was
pulled out is silent on both sides, and comes back with its network and nothing else.
"""

import asyncio
import contextlib
import os
import tty
from random import Random
from typing import Protocol

from infra.zigbee.air import Air
from infra.zigbee.ash import FLAG, AshLink, ResetCause
from infra.zigbee.coprocessor import Coprocessor
from infra.zigbee.settings import FORMED, Network

_LOCAL = "127.0.0.1"
_CHUNK = 4096


class Line(Protocol):
    """An open serial line, as asyncio's transports are."""

    def write(self, data: bytes) -> None:
        """Send octets."""

    def close(self) -> None:
        """Close it."""


class Stick:
    """One stick; plug_in() before a host opens `path`."""

    def __init__(self, air: Air, version: int = 13, *, network: Network | None = FORMED, seed: int = 1) -> None:
        self.ncp = Coprocessor(air, version, network)
        self.noise = 0.0
        """The share of the frames, each way, that the line damages."""
        self.damaged = 0
        self.path = ""
        """What a host opens, in bellows' words."""
        self._random = Random(seed)
        self._line: Line | None = None
        self._link: AshLink | None = None
        self._socket: asyncio.Server | None = None
        self._port = 0

    async def plug_in(self, port: int = 0) -> None:
        """Give it power, and listen for a host on a port of this machine; 0: any, and the same one the next time."""
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(lambda: _TcpLine(self), _LOCAL, port or self._port)
        self._port = self._socket.sockets[0].getsockname()[1]
        self.path = f"socket://{_LOCAL}:{self._port}"

    def plug_in_as_terminal(self) -> None:
        """Give it power, behind a terminal as a serial port has one."""
        line = _Terminal(self)
        self.path = line.path
        self.opened(line, resets=False)

    def unplug(self) -> None:
        """Pull it out: it loses power, and its host the port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._line is not None:
            self._line.close()
            self.closed(self._line)
        self.ncp.restart()

    def brown_out(self, cause: ResetCause = ResetCause.POWER_ON) -> None:
        """Let its power fail for a moment: it restarts, and the port stays open."""
        self.ncp.restart()
        if self._link is not None:
            self._link.restart(cause)

    # What its lines tell it

    def opened(self, line: Line, *, resets: bool) -> None:
        """Take a host's line; opening a serial port resets most sticks, by its control lines."""
        if self._line is not None:
            self._line.close()
        self._line = line
        self._link = AshLink(self._write, self.ncp.hear_command, self.ncp.restart)
        self.ncp.to_host = self._link.send
        if resets:
            self.brown_out()

    def closed(self, line: Line) -> None:
        """Let go of a line."""
        if line is self._line and self._link is not None:
            self._link.close()
            self._line = self._link = self.ncp.to_host = None

    def received(self, line: Line, data: bytes) -> None:
        """Take a host's octets."""
        if line is self._line and self._link is not None:
            self._link.receive(self._damage(data))

    def _write(self, data: bytes) -> None:
        if self._line is not None:
            self._line.write(self._damage(data))

    def _damage(self, data: bytes) -> bytes:
        octets = bytearray(data)
        for _ in range(data.count(FLAG)):
            if self.noise and self._random.random() < self.noise:
                octets[self._random.randrange(len(octets))] ^= 1 << self._random.randrange(8)
                self.damaged += 1
        return bytes(octets)


class _TcpLine(asyncio.Protocol):
    """A host's connection."""

    def __init__(self, stick: Stick) -> None:
        self._stick = stick
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._stick.opened(self, resets=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._stick.closed(self)

    def data_received(self, data: bytes) -> None:
        self._stick.received(self, data)

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class _Terminal:
    """A pair of terminals: the stick has one end, a host opens the other."""

    def __init__(self, stick: Stick) -> None:
        self._stick = stick
        self._own, self._other = os.openpty()
        # Held open too: the own end of a pair whose other end nobody has cannot be read.
        tty.setraw(self._other)
        os.set_blocking(self._own, False)
        self.path = os.ttyname(self._other)
        asyncio.get_running_loop().add_reader(self._own, self._read)

    def _read(self) -> None:
        self._stick.received(self, os.read(self._own, _CHUNK))

    def write(self, data: bytes) -> None:
        # A host that does not read loses octets, as on a line without flow control.
        with contextlib.suppress(BlockingIOError):
            os.write(self._own, data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._own)
        for each in (self._own, self._other):
            os.close(each)
