"""The straight way to the DCC, against real servers that misbehave: it ends in time, and knows what may have left."""

import contextlib
import socket
import ssl
import threading
import time
from datetime import timedelta

import pytest

from activities import dcc as dcc_route
from activities.dcc import POST_SECONDS, NeverSent, NoAnswer, RouteError, StraightRoute
from hanwave import settings
from hanwave.duis import MAX_MESSAGE_BYTES
from hanwave.ledger import outbox
from hanwave.ledger.stops import BEGIN_BOUND, POST_BOUND
from tests.support.receiving import HOST, Tls, free_port

pytestmark = [pytest.mark.part, pytest.mark.fault]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return Tls(tmp_path_factory.mktemp("tls"))


class Server:
    """Takes connections one after another and does with each what it is told; seen: the octets that came."""

    def __init__(self, tls: Tls, act) -> None:
        self.seen: list[bytes] = []
        self._act = act
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.file("ca.pem"))
        self._context.load_cert_chain(tls.file("server.pem"), tls.file("server.key"))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener:
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(10)
                    if not connection.recv(1, socket.MSG_PEEK):
                        return
                    with self._context.wrap_socket(connection, server_side=True) as secure:
                        self.seen.append(self._read(secure))
                        self._act(secure)

    def _read(self, secure: ssl.SSLSocket) -> bytes:
        data = b""
        while b"<end/>" not in data:
            if not (part := secure.recv(65536)):
                break
            data += part
        return data

    def stop(self) -> None:
        socket.create_connection((HOST, self.port)).close()
        self._thread.join(15)


@contextlib.contextmanager
def served(tls: Tls, act, client: str = "dcc", **more):
    server = Server(tls, act)
    try:
        with StraightRoute(dcc(tls, server.port, client), **more) as route:
            yield server, route
    finally:
        server.stop()


def dcc(tls: Tls, port: int, client: str = "dcc") -> settings.Dcc:
    base = f"https://{HOST}:{port}/"
    return settings.Dcc(
        transform_url=base + "t",
        send_command_url=base + "s",
        non_device_url=base + "d",
        certificate=tls.file(f"{client}.pem"),
        key=tls.file(f"{client}.key"),
        ca=tls.file("ca.pem"),
    )


def answer(status: str = "200 OK", body: bytes = b"<reply/>", more: str = ""):
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return lambda secure: secure.sendall(head.encode() + body)


def test_each_service_has_its_url_and_gets_the_bytes_as_they_are(tls):
    with served(tls, answer(more="Connection: close\r\n")) as (server, route):
        for post in (route.transform, route.send_command, route.non_device):
            assert post(b"<request/><end/>") == b"<reply/>"
    assert [seen.split()[1] for seen in server.seen] == [b"/t", b"/s", b"/d"]
    assert all(seen.endswith(b"\r\n\r\n<request/><end/>") for seen in server.seen)
    assert all(b"application/xml" in seen for seen in server.seen)


def test_a_server_that_is_not_there_got_nothing(tls):
    with StraightRoute(dcc(tls, free_port())) as route, pytest.raises(NeverSent):
        route.send_command(b"<end/>")


def test_a_server_that_is_not_the_dccs_gets_nothing(tls, tmp_path):
    other = Tls(tmp_path)
    server = Server(other, answer())
    try:
        with StraightRoute(dcc(tls, server.port)) as route, pytest.raises(NeverSent):
            route.send_command(b"<end/>")
    finally:
        server.stop()
    assert server.seen == []


@pytest.mark.parametrize(
    "act",
    [
        lambda _: None,
        lambda secure: secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<half"),
        lambda secure: secure.sendall(b"SSH-2.0-hello\r\n"),
        answer("503 Service Unavailable"),
        answer("302 Found", more="Location: https://127.0.0.1:1/elsewhere\r\n"),
        answer("204 No Content", b""),
        answer(body=b" " * (MAX_MESSAGE_BYTES + 1)),
    ],
    ids=["hangs up", "half an answer", "no HTTP", "overloaded", "a redirect", "no content", "too long an answer"],
)
def test_whatever_else_goes_wrong_the_request_may_have_arrived(tls, act):
    with served(tls, act) as (server, route), pytest.raises(NoAnswer):
        route.non_device(b"<end/>")
    assert len(server.seen) == 1


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "dripping"])
def test_a_server_that_keeps_us_waiting_is_given_up_in_time(tls, drip):
    def stall(secure):
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(30):
            time.sleep(0.1)
            secure.sendall(drip or b"")

    began = time.monotonic()
    with served(tls, stall, post_seconds=1.0) as (_, route), pytest.raises(NoAnswer):
        route.non_device(b"<end/>")
    assert time.monotonic() - began < 10


def test_a_post_ends_before_a_halt_counts_it_as_over():
    assert POST_BOUND.total_seconds() > POST_SECONDS


@pytest.mark.parametrize("kept_alive", [False, True], ids=["a new connection", "a kept one"])
def test_a_post_that_was_frozen_on_its_way_does_not_begin_when_it_thaws(tls, monkeypatch, kept_alive):
    """A halt counts on it: what was marked and has not begun by BEGIN_BOUND never will, and SIGSTOP knows of no timeout."""
    assert outbox.SEND_WITHIN + timedelta(seconds=dcc_route.BEGIN_SECONDS) < BEGIN_BOUND

    def act(secure):
        answer()(secure)
        server.seen.append(secure.recv(1000))

    with served(tls, act if kept_alive else answer()) as (server, route):
        if kept_alive:
            route.send_command(b"<end/>")
        monkeypatch.setattr(dcc_route, "BEGIN_SECONDS", -1.0)
        with pytest.raises(NeverSent, match="went by"):
            route.send_command(b"<end/>")
    assert b"".join(server.seen[kept_alive:]) == b""


def test_files_that_cannot_be_used_are_named(tls, tmp_path):
    told = dcc(tls, 1).model_copy(update={"key": tmp_path / "absent.key"})
    with pytest.raises(RouteError, match=r"absent\.key"):
        StraightRoute(told)
