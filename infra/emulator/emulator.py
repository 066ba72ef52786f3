"""One emulator: its state opened, its two servers and two loops running, until it is told to stop.

It may be killed at any moment: what was answered is in the store, and a new one over the same folder goes on there.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette

from infra.emulator.admin import admin_app
from infra.emulator.delays import Delays
from infra.emulator.errors import EmulatorError
from infra.emulator.faults import Faults
from infra.emulator.intake import add_fleet, read_text, set_cpl
from infra.emulator.loops import Alarm, Sender, run_timers
from infra.emulator.pki import SUPPLIER, Pki, make_pki
from infra.emulator.services import Gateway
from infra.emulator.settings import EmulatorSettings
from infra.emulator.store import Store
from infra.emulator.web import services_app
from infra.emulator.world import World

LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 2


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever started it: two of them share a process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Emulator:
    """As an async context manager: it serves inside, and is closed after. Its world is open to tests in between."""

    def __init__(self, settings: EmulatorSettings) -> None:
        """Open the state and read what the settings name; EmulatorError says what is wrong."""
        self.settings = settings
        self.pki: Pki = make_pki(settings.pki or settings.state / "pki")
        delays = Delays.load(settings.profile, settings.seed, settings.speed, settings.delays)
        self.world = World(settings.seed, Store(settings.state / "emulator.db"), self.pki, delays)
        self.world.duplicate_code = settings.duplicate_code
        try:
            self._check_seed()
            self._read_files()
            self._sockets = _listen((settings.host, settings.port), (LOOPBACK, settings.admin_port))
        except BaseException:
            self.world.store.close()
            raise
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _check_seed(self) -> None:
        """The devices' keys come from the seed, so a state folder has one for ever."""
        seed = self.world.store.fact("seed")
        if seed not in (None, self.settings.seed):
            raise EmulatorError(f"{self.settings.state} holds a fleet of the seed {seed!r}, not {self.settings.seed!r}")
        self.world.store.remember("seed", self.settings.seed)

    def _read_files(self) -> None:
        """A file is read when it is new or was changed; what the admin port told since then stands otherwise."""
        settings, world = self.settings, self.world
        if settings.fleet and self._is_new(settings.fleet):
            add_fleet(world, read_text(settings.fleet).splitlines(), str(settings.fleet))
        if settings.cpl and self._is_new(settings.cpl):
            set_cpl(world, read_text(settings.cpl).encode().splitlines(), str(settings.cpl))
        if settings.faults and self._is_new(settings.faults):
            world.set_faults(Faults.read(read_text(settings.faults), str(settings.faults)))
        for path in filter(None, (settings.fleet, settings.cpl, settings.faults)):
            world.store.remember(f"file {path}", _digest(path))

    def _is_new(self, path: Path) -> bool:
        return self.world.store.fact(f"file {path}") != _digest(path)

    async def __aenter__(self) -> Self:
        alarm = Alarm()
        sender = Sender(self.world, self._receivers(), self._client_tls(), self.settings.concurrency)

        def stir() -> None:
            alarm.stir()
            sender.stir()

        self.world.stir = stir
        await self._serve(services_app(Gateway(self.world)), self._sockets[0], **self._server_tls())
        await self._serve(admin_app(self.world), self._sockets[1])
        self._tasks += [asyncio.create_task(run_timers(self.world, alarm)), asyncio.create_task(sender.run())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.should_exit = True
        for task in self._tasks[len(self._servers) :]:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.world.store.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop; an error in a loop ends it too."""
        async with self:
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([stopped, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()

    async def _serve(self, app: Starlette, listener: socket.socket, **tls: Any) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            # An idle client's TLS connection would hold the end up for half a minute.
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            **tls,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():
            await asyncio.wait([task], timeout=0.01)
        self._servers.append(server)
        self._tasks.append(task)

    @property
    def url(self) -> str:
        """The base of the three services."""
        return f"https://localhost:{self._port(0)}/api/v1"

    @property
    def admin_url(self) -> str:
        """The base of the admin port."""
        return f"http://{LOOPBACK}:{self._port(1)}"

    def _port(self, index: int) -> int:
        return int(self._sockets[index].getsockname()[1])

    def _receivers(self) -> dict[str, str]:
        receivers = {user: str(url) for user, url in self.settings.receivers.items()}
        if self.settings.receive_url:
            receivers.setdefault(str(SUPPLIER), str(self.settings.receive_url))
        return receivers

    def _tls_paths(self) -> tuple[Path, Path, Path]:
        settings, name = self.settings, "emulator-tls"
        return (
            settings.tls_certificate or self.pki.certificate_path(name),
            settings.tls_key or self.pki.key_path(name),
            settings.tls_ca or self.pki.tls_root,
        )

    def _server_tls(self) -> dict[str, Any]:
        certificate, key, authority = self._tls_paths()
        return {
            "ssl_certfile": certificate,
            "ssl_keyfile": key,
            "ssl_ca_certs": str(authority),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }

    def _client_tls(self) -> ssl.SSLContext:
        certificate, key, authority = self._tls_paths()
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        return context


def _listen(*addresses: tuple[str, int]) -> list[socket.socket]:
    """A listening socket for each address, or none for any: before a server runs, a taken port is one sentence."""
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            sockets.append(socket.create_server(address))
        except OSError as error:
            for each in sockets:
                each.close()
            where = f"{address[0]}:{address[1]}"
            raise EmulatorError(f"{where} cannot be served ({error.strerror}): is the port taken?") from error
    return sockets


def _digest(path: Path) -> str:
    return hashlib.sha256(read_text(path).encode()).hexdigest()
