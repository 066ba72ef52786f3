"""A receive service on a real port, with mutual TLS and a real ledger, that a test can start, break and stop."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import Engine

from hanwave import settings
from hanwave.ledger.routing import Waking
from infra.pki import Authority
from tests.support import messages as m
from workers.loops import HandOn
from workers.receive import application, server

HOST = "127.0.0.1"


@dataclass
class Tls:
    """Files of a TLS PKI: the DCC's client, our server, and a stranger's client."""

    folder: Path

    def __post_init__(self) -> None:
        authority, other = Authority("TLS", at=datetime.now(UTC)), Authority("Other", at=datetime.now(UTC))
        (self.folder / "ca.pem").write_bytes(authority.certificate_pem)
        for issuer, name in ((authority, "server"), (authority, "dcc"), (other, "stranger")):
            key, certificate = issuer.tls(name, addresses=(HOST,))
            (self.folder / f"{name}.key").write_bytes(key)
            (self.folder / f"{name}.pem").write_bytes(certificate)

    def receive(self, port: int, **more: object) -> settings.Receive:
        files = {
            "certificate": self.file("server.pem"),
            "key": self.file("server.key"),
            "client_ca": self.file("ca.pem"),
        }
        return settings.Receive(host=HOST, port=port, path="/smartdcc/duis", **files, **more)

    def file(self, name: str) -> Path:
        return self.folder / name

    def client(self, name: str | None = "dcc", **more: object) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.file("ca.pem"))
        if name:
            context.load_cert_chain(self.file(f"{name}.pem"), self.file(f"{name}.key"))
        return httpx.Client(verify=context, trust_env=False, timeout=10, **more)


@dataclass
class Service:
    """A running service and what it was seen to do."""

    url: str
    client: httpx.Client
    woken: list[Waking] = field(default_factory=list)
    engine_is_down: bool = False

    async def wake(self, waking: Waking) -> None:
        if self.engine_is_down:
            raise ConnectionError("the engine is down")
        self.woken.append(waking)

    def post(self, raw: bytes) -> int:
        return self.client.post(self.url, content=raw, headers={"Connection": "close"}).status_code


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def receiving(ledger: Engine, tls: Tls, pki: m.Pki, hand_on: HandOn | None = None) -> Iterator[Service]:
    """The service, up; its loops run until the block ends."""
    told = tls.receive(free_port())
    service = Service(f"https://{HOST}:{told.port}{told.path}", tls.client())
    clock = lambda: datetime.now(UTC)
    running = server(application(ledger, pki.trust, told.path, clock, wake=service.wake, hand_on=hand_on), told)
    with _thread(running), service.client:
        yield service


@contextmanager
def _thread(running: uvicorn.Server) -> Iterator[None]:
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: running.started or not thread.is_alive())
        assert running.started
        yield
    finally:
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def until(true: object, seconds: float = 10.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
