"""Ports of this machine, each claimed by one stack at a time.

Free ports are drawn below the range that the kernel gives to outgoing connections, and a claim is a name in the
kernel's own space (unix(7), abstract sockets): it holds for every user of the machine, and ends with the process that
made it, however that ends. So two stacks that start at the same moment never take the same port.
"""

import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

from hanwave.errors import HanwaveError

HOST = "127.0.0.1"
_FREE = range(20000, 30000)
_TRIES = 200


class PortError(HanwaveError):
    """A port that was asked for is taken."""


class Ports:
    """The ports that this process has claimed; let go by close or by its end."""

    def __init__(self) -> None:
        """Claim nothing yet."""
        self._claims: list[socket.socket] = []

    def claim(self, names: Iterable[str], *, base: int | None = None, before: Mapping[str, int]) -> dict[str, int]:
        """A port for each name: counted up from base; else the one it had before; else a free one.

        PortError when one counted from base is taken or is no port.
        """
        if base is None:
            return {name: self._again(before.get(name)) or self._free() for name in names}
        return {name: self._counted(name, base + offset) for offset, name in enumerate(names)}

    def _counted(self, name: str, port: int) -> int:
        if not 1024 <= port <= 65535:
            raise PortError(f"port {port} for {name} is outside 1024 to 65535: choose another --port-base")
        if not self._take(port):
            raise PortError(f"port {port} for {name} is taken by another program: choose another --port-base")
        return port

    def _again(self, port: int | None) -> int | None:
        return port if port is not None and self._take(port) else None

    def _free(self) -> int:
        for port in random.sample(_FREE, _TRIES):
            if self._take(port):
                return port
        raise PortError(f"no free port among {_TRIES} tried from {_FREE.start} to {_FREE.stop}")

    def _take(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0hanwave-port-{port}")
            with socket.socket() as trial:
                # As servers do: a port whose last connections still time out is free.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((HOST, port))
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True

    def close(self) -> None:
        """Let every claim go."""
        for claim in self._claims:
            with suppress(OSError):
                claim.close()
        self._claims.clear()
