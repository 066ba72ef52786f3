"""What is thrown at the receive service's door: nothing forged gets in, nothing hangs it, and all of it is kept apart."""

import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text

import workers.bounds
import workers.receive
from hanwave import duis
from hanwave.duis import MAX_MESSAGE_BYTES
from hanwave.identifiers import EUI64
from hanwave.rollout.device import State
from tests.support import messages as m
from tests.support.ledger import World
from tests.support.receiving import HOST, Tls, receiving, until
from tests.support.routing import activating, distributed

pytestmark = [pytest.mark.attack, pytest.mark.stack]


@pytest.fixture(scope="module")
def pki():
    return m.Pki()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(ledger):
    return World(ledger, now=datetime.now(UTC))


@pytest.fixture
def service(world, tls, pki):
    with receiving(world.engine, tls, pki) as running:
        yield running


def kept_apart(world: World) -> list[tuple[bytes, str]]:
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT raw, note FROM inbox WHERE NOT verified ORDER BY id"))
        return [(bytes(row.raw), row.note) for row in rows]


def signed(pki: m.Pki, message: duis.Response | duis.Request, by=None) -> bytes:
    return pki.signed(message, by, datetime.now(UTC))


def test_an_unsigned_outcome(world, service):
    update_id, request = activating(world)
    raw = duis.write(m.outcome(request, at=world.now))
    assert service.post(raw) == 400
    assert kept_apart(world) == [(raw, "the message is not signed: a Signature should stand last in its root element")]
    assert world.state(update_id) is State.ACTIVATING


def test_an_outcome_signed_by_somebody_else(world, service, pki):
    update_id, request = activating(world)
    assert service.post(signed(pki, m.outcome(request, at=world.now), pki.stranger)) == 400
    assert "no trusted certificate" in kept_apart(world)[0][1]
    assert world.state(update_id) is State.ACTIVATING


def test_a_failure_changed_into_a_success_after_it_was_signed(world, service, pki):
    raw = signed(pki, m.transferred(at=world.now))
    assert service.post(raw.replace(b"FileTransferSuccess", b"FileTransferFailure")) == 400
    assert "changed after it was signed" in kept_apart(world)[0][1]


def test_our_own_request_sent_back_to_us(world, service, pki):
    raw = signed(pki, duis.Request.of(m.asked(), duis.ReadFirmwareVersion()), pki.ours)
    assert service.post(raw) == 400
    assert kept_apart(world)[0][0] == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff" * 100,
        b"hello",
        b"<a>",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<html><body>a proxy's error</body></html>",
    ],
    ids=["nothing", "octets", "words", "half an element", "an entity", "a web page"],
)
def test_what_is_no_message(world, service, raw):
    assert service.post(raw) == 400
    assert kept_apart(world)[0][0] == raw


def test_rubbish_again_and_again_is_kept_once(world, service):
    assert {service.post(b"rubbish") for _ in range(5)} == {400}
    assert world.count("inbox", "copies = 5") == world.count("inbox") == 1


def test_a_body_without_end(world, service):
    sent = []

    def body():
        while True:
            sent.append(1)
            yield b"<" * 65536

    with contextlib.suppress(httpx.TransportError):  # hanging up on whoever goes on sending is as good
        assert service.client.post(service.url, content=body()).status_code == 413
    assert len(sent) < 20 * MAX_MESSAGE_BYTES / 65536
    assert world.count("inbox") == 0


def test_one_octet_too_many(world, service):
    assert service.post(b" " * (MAX_MESSAGE_BYTES + 1)) == 413
    assert service.post(b" " * MAX_MESSAGE_BYTES) == 400


def test_a_body_that_trickles_is_given_up_and_blocks_nobody(world, service, tls, pki, monkeypatch):
    monkeypatch.setattr(workers.receive, "BODY_SECONDS", 1.0)
    context = ssl.create_default_context(cafile=tls.file("ca.pem"))
    context.load_cert_chain(tls.file("dcc.pem"), tls.file("dcc.key"))
    port = int(service.url.split(":")[2].split("/")[0])
    slow = [context.wrap_socket(socket.create_connection((HOST, port)), server_hostname=HOST) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(b"POST /smartdcc/duis HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n<")
        began = time.monotonic()
        assert service.post(signed(pki, m.verified())) == 204
        assert time.monotonic() - began < 5
        for connection in slow:
            connection.settimeout(10)
            assert b" 408 " in connection.recv(200)
    finally:
        for connection in slow:
            connection.close()


def test_as_many_connections_as_there_may_be_that_never_send_a_head_shut_nobody_out(service, tls, pki, monkeypatch):
    monkeypatch.setattr(workers.bounds, "HEAD_SECONDS", 0.5)
    context = ssl.create_default_context(cafile=tls.file("ca.pem"))
    context.load_cert_chain(tls.file("dcc.pem"), tls.file("dcc.key"))
    port = int(service.url.split(":")[2].split("/")[0])
    slow = [
        context.wrap_socket(socket.create_connection((HOST, port)), server_hostname=HOST)
        for _ in range(workers.receive._CONNECTIONS)
    ]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(b"POST /smartdcc/duis HTTP/1.1\r\nHo" if number % 2 else b"P")
        until(lambda: service.post(signed(pki, m.verified())) == 204)
    finally:
        for connection in slow:
            connection.close()


def test_a_flood_of_rubbish_fills_no_disk_and_keeps_no_message_out(world, service, pki, monkeypatch):
    monkeypatch.setattr(workers.bounds, "ROOM_PER_HOUR", 0)
    monkeypatch.setattr(workers.bounds, "ROOM", 100)
    assert service.post(b"a" * 60) == 400
    assert service.post(b"b" * 60) == 503
    assert service.post(signed(pki, m.verified())) == 204
    assert world.count("inbox", "NOT verified") == 1


def test_a_caller_without_a_certificate_or_with_a_strangers(world, service, tls):
    for name in (None, "stranger"):
        with tls.client(name) as client, pytest.raises(httpx.TransportError):
            client.post(service.url, content=b"x")
    assert world.count("inbox") == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_or_path(world, service, method):
    assert service.client.request(method, service.url).status_code == 405
    assert service.client.post(service.url + "/x", content=b"x").status_code == 404


def test_an_old_success_replayed_for_a_new_attempt(world, service, pki):
    update_id, request = activating(world)
    old = signed(pki, m.error(request, "E21", at=world.now))
    assert [service.post(old) for _ in range(3)] == [204, 204, 204]
    until(lambda: world.state(update_id) is State.UNKNOWN)
    until(lambda: world.count("inbox", "routed_at IS NULL") == 0)
    assert world.count("device_event", "kind = 'unreached'") == 1


def test_another_suppliers_message(world, service, pki):
    (update_id,), _ = distributed(world)
    theirs = m.verified(at=world.now, to=EUI64.parse("90-B3-D5-1F-30-09-00-00"))
    assert service.post(signed(pki, theirs)) == 204
    until(lambda: world.count("inbox", "route = 'foreign'") == 1)
    assert world.state(update_id) is State.REQUESTED
    assert world.count("device", "last_heard IS NOT NULL") == 0


def test_a_genuine_envelope_around_another_devices_payload(world, service, pki):
    update_id, request = activating(world)
    lie = m.reply(request, m.outcome(m.asked(EUI64(bytes(8)), request.counter)).body.content, "11.3", at=world.now)
    assert service.post(signed(pki, lie)) == 204
    until(lambda: world.count("inbox", "route = 'unread'") == 1)
    assert world.state(update_id) is State.ACTIVATING
