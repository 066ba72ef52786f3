"""A supplier's own system: a real HTTPS server that takes webhooks, checks their signatures, and answers as a test says."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hanwave.ledger import notes
from tests.support.ledger import World
from tests.support.receiving import HOST, Tls


@dataclass(frozen=True)
class Posted:
    path: str
    message: str
    timestamp: int
    signatures: list[str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return self.event["type"]

    def is_signed_with(self, secret: str) -> bool:
        """As Standard Webhooks has it, written down here once more."""
        key = base64.b64decode(secret.strip().removeprefix("whsec_"))
        signed = f"{self.message}.{self.timestamp}.".encode() + self.body
        return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() in self.signatures


@dataclass
class Receiver:
    url: str = ""
    posted: list[Posted] = field(default_factory=list)
    answer: Callable[[Posted], int] = lambda _: 204

    def of(self, path: str) -> list[Posted]:
        return [each for each in self.posted if each.path == path]

    @property
    def types(self) -> list[str]:
        return [each.type for each in self.posted]


@contextmanager
def receiver(tls: Tls) -> Iterator[Receiver]:
    """The server, up; what `answer` gives for a post is its status, and an exception in it an answer that is never sent."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            signatures = self.headers["webhook-signature"].split()
            sent = Posted(
                self.path, self.headers["webhook-id"], int(self.headers["webhook-timestamp"]), signatures, body
            )
            received.posted.append(sent)
            try:
                status = received.answer(sent)
            except ConnectionError:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("location", "https://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.file("server.pem"), tls.file("server.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    received.url = f"https://{HOST}:{server.server_address[1]}"
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def say(world: World, verb: str, campaign: str = "spring", reason: str = "", **document: object) -> None:
    """Something that happens to a campaign, of which hooks may be told."""
    with world.engine.begin() as connection:
        notes.add(connection, notes.Said("ann", verb, f"campaign/{campaign}", reason, document), world.now)
