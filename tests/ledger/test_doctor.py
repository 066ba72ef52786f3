"""`hanwave doctor` on what an installation works with: the ledger and what stands in it, keys, webhooks, the DCC's door."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities import clocks
from hanwave import webhook_secrets
from hanwave.ledger import beats, notes, stops, webhooks
from hanwave.ledger.stops import Scope
from hanwave.ledger.webhooks import Refused
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIER
from infra.pki import Authority
from infra.stack import others
from tests.support.command import run
from tests.support.ledger import World
from tests.support.receiving import HOST, Tls, free_port

pytestmark = pytest.mark.ledger
BUSY = Refused("it answered 503")
UNCHECKED = "it cannot be checked"


@pytest.fixture
def doctor(world: World, ledger_dsn: str, tmp_path, monkeypatch) -> World:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("HANWAVE_ENVIRONMENT", "production")
    return world


def findings() -> dict[str, dict[str, Any]]:
    ran = run("doctor", "--json")
    told = json.loads(ran.out)
    assert ran.code == (1 if told["wrong"] else 0)
    assert told["wrong"] == sum(not each["well"] for each in told["findings"])
    return {each["check"]: each for each in told["findings"]}


def test_in_production_nothing_of_the_embedded_stack_is_asked_for(doctor):
    found = findings()
    assert {"PostgreSQL", "Temporal"}.isdisjoint(found)
    assert found["packages"]["well"]
    for name in ("database", "clock", "warden", "stopped campaigns"):
        assert found[name]["well"], found[name]


def test_a_silent_warden_and_what_stops_everybody_are_named_with_what_to_do(doctor):
    with doctor.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, datetime.now(UTC) - timedelta(hours=1))
        stops.stop(connection, Scope("all"), "halt", "meters fall silent", "ann", doctor.now)
        stops.stop(connection, Scope("campaign", "spring"), "pause", "storm", "ann", doctor.now)
    found = findings()
    assert "nothing forward is permitted without it" in found["warden"]["found"]
    assert found["warden"]["remedy"] == "start it: python -m workers.warden"
    assert "halt of all by ann: meters fall silent" in found["stops"]["found"]
    assert "hanwave campaign lift 1 --reason" in found["stops"]["remedy"]
    assert found["stopped campaigns"] == {"check": "stopped campaigns", "well": True, "found": "spring", "remedy": ""}


def test_a_clock_that_is_off_the_ledgers_is_named(doctor, monkeypatch):
    monkeypatch.setattr(clocks, "LIMIT", timedelta(seconds=-1))
    assert "s off the ledger's" in findings()["clock"]["found"]


def test_a_ledger_that_is_lost_in_between_is_a_finding_and_ends_nothing(doctor, monkeypatch):
    def lost(_: object) -> None:
        with doctor.engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM nothing")

    monkeypatch.setattr(others, "_clock", lost)
    found = [each for each in json.loads(run("doctor", "--json").out)["findings"] if each["check"] == "database"]
    assert [each["well"] for each in found] == [True, False]
    assert "temporal" in findings()


def test_a_webhook_without_its_secret_or_given_up_is_named(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("HANWAVE_WEBHOOKS__SECRETS", str(tmp_path / "secrets"))
    for name in ("good", "dead", "mute"):
        with doctor.engine.begin() as connection:
            webhooks.add(connection, name, "https://127.0.0.1/", "ann", doctor.now)
    for name in ("good", "dead"):
        webhook_secrets.ensure(tmp_path / "secrets", name)
    with doctor.engine.begin() as connection:
        notes.add(connection, notes.Said("ann", "plan", "campaign/spring"), doctor.now)
        webhooks.webhook_events.number(connection)
    gone = lambda *_: Refused("it answered 410", gone=True)
    webhooks.tell_one(doctor.engine, "dead", gone, lambda: doctor.now, timedelta(days=3))
    found = findings()
    assert found["webhook good"]["well"]
    assert found["webhook dead"]["found"] == "it is told no more of 1 campaigns: it answered 410"
    assert found["webhook dead"]["remedy"] == "mend that, then: hanwave webhook resend dead"
    assert "cannot be read from" in found["webhook mute"]["found"]
    assert found["webhooks"]["found"] == "they were never heard of, and nobody is told anything"
    with doctor.engine.begin() as connection:
        beats.beat(connection, beats.WEBHOOKS, datetime.now(UTC))
    assert "webhooks" not in findings()


def test_the_error_that_is_shown_is_of_a_campaign_that_was_given_up(doctor, tmp_path, monkeypatch):
    with doctor.engine.begin() as connection:
        webhooks.add(connection, "billing", "https://127.0.0.1/", "ann", doctor.now)
        for campaign in ("autumn", "spring"):
            notes.add(connection, notes.Said("ann", "plan", f"campaign/{campaign}"), doctor.now)
        webhooks.webhook_events.number(connection)
    answer = lambda _name, _url, event: Refused("it answered 410", gone=True) if b"spring" in event.body else BUSY
    while webhooks.tell_one(doctor.engine, "billing", answer, lambda: doctor.now, timedelta(days=3)) is not None:
        continue
    assert findings()["webhook billing"]["found"] == "it is told no more of 1 campaigns: it answered 410"


def dcc(monkeypatch: pytest.MonkeyPatch, tls: Tls, port: int, name: str = "dcc") -> None:
    for service in ("transform", "send_command", "non_device"):
        monkeypatch.setenv(f"HANWAVE_DCC__{service.upper()}_URL", f"https://{HOST}:{port}/{service}")
    monkeypatch.setenv("HANWAVE_DCC__CA", str(tls.file("ca.pem")))
    monkeypatch.setenv("HANWAVE_DCC__CERTIFICATE", str(tls.file(f"{name}.pem")))
    monkeypatch.setenv("HANWAVE_DCC__KEY", str(tls.file(f"{name}.key")))


@contextmanager
def door(tls: Tls, name: str = "server") -> Iterator[int]:
    """A server that asks for a certificate, and says nothing once it is content."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.file("ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tls.file(f"{name}.pem"), tls.file(f"{name}.key"))

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), listener:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)

    listener = socket.create_server((HOST, 0))
    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)


@pytest.mark.parametrize(
    ("server", "client", "said"),
    [
        ("server", "dcc", "greets us (TLSv1.3)"),
        ("stranger", "dcc", "is not certified by dcc.ca"),
        ("server", "stranger", "does not take our certificate"),
    ],
)
def test_the_dccs_door_is_tried_and_no_more_than_greeted(doctor, tmp_path, monkeypatch, server, client, said):
    tls = Tls(tmp_path)
    with door(tls, server) as port:
        dcc(monkeypatch, tls, port, client)
        found = findings()
    assert said in found["dcc"]["found"]
    assert found["dcc"]["well"] == said.startswith("greets")
    assert found["dcc TLS key"]["well"]


def test_a_door_that_is_not_there_and_a_key_of_another_certificate_are_named(doctor, tmp_path, monkeypatch):
    tls = Tls(tmp_path)
    dcc(monkeypatch, tls, free_port())
    assert "cannot be reached" in findings()["dcc"]["found"]
    monkeypatch.setenv("HANWAVE_DCC__KEY", str(tls.file("server.key")))
    found = findings()
    assert "is not the key that" in found["dcc TLS key"]["found"]
    assert found["dcc"]["remedy"] == "mend those first"
    tls.file("locked.key").write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    monkeypatch.setenv("HANWAVE_DCC__KEY", str(tls.file("locked.key")))
    assert "is not the key that" in findings()["dcc TLS key"]["found"]


def test_signing_keys_that_do_not_belong_together_or_are_anothers_are_named(doctor, tmp_path, monkeypatch):
    root = Authority("SMKI", at=datetime.now(UTC))
    for name, eui, role in (("xml", SUPPLIER, 135), ("gbcs", SUPPLIER, 2), ("transform", ACCESS_CONTROL_BROKER, 137)):
        made = root.organisation(eui, role)
        (tmp_path / f"{name}.key").write_bytes(made.key_pem)
        (tmp_path / f"{name}.pem").write_bytes(made.certificate_pem)
    for name in ("xml", "gbcs"):
        monkeypatch.setenv(f"HANWAVE_SIGNING__{name.upper()}_KEY", f"{name}.key")
        monkeypatch.setenv(f"HANWAVE_SIGNING__{name.upper()}_CERTIFICATE", f"{name}.pem")
    monkeypatch.setenv("HANWAVE_TRUST__CERTIFICATES", '["transform.pem"]')
    monkeypatch.setenv("HANWAVE_USER_ID", str(SUPPLIER))
    found = findings()
    assert (found["signing keys"]["well"], found["signing keys"]["found"]) == (True, f"they sign for {SUPPLIER}")
    monkeypatch.setenv("HANWAVE_USER_ID", str(ACCESS_CONTROL_BROKER))
    assert f"user_id is {ACCESS_CONTROL_BROKER}" in findings()["signing keys"]["found"]
    monkeypatch.setenv("HANWAVE_SIGNING__XML_KEY", "gbcs.key")
    assert "is not the one that xml.pem certifies" in findings()["signing keys"]["found"]


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        (
            {
                "state": "x" * 300,
                "postgres__dsn": "postgresql://u:T0K3N@h:notaport/db",
                "temporal__certificate": "server.pem",
                "dcc__send_command_url": "https://x..y/",
                "webhooks__ca": "nothere.pem",
            },
            {
                "disk": f"{UNCHECKED} (OSError)",
                "state folder": f"{UNCHECKED} (OSError)",
                "database": "should begin with postgresql://",
                "temporal": f"{UNCHECKED} (ValueError)",
                "dcc": "x..y:443 is no host's name",
                "webhooks.ca": "nothere.pem cannot be read: No such file",
            },
        ),
        (
            {"state": "server.pem", "postgres__dsn": "postgres://u:T0K3N@h/db", "temporal__address": "not an address"},
            {
                "state folder": "server.pem is no folder",
                "database": "should begin with postgresql://",
                "temporal": f"{UNCHECKED} (ValueError)",
            },
        ),
        ({"state": "server.pem/state"}, {"state folder": "server.pem/state cannot be made under"}),
    ],
)
def test_settings_that_make_a_check_impossible_are_findings_and_end_nothing(doctor, tmp_path, monkeypatch, held, wrong):
    tls = Tls(tmp_path)
    tls.file("server.pem")
    dcc(monkeypatch, tls, 1)
    monkeypatch.setenv("HANWAVE_WEBHOOKS__SECRETS", "secrets")
    for name, value in held.items():
        monkeypatch.setenv(f"HANWAVE_{name.upper()}", value)
    told = [each for each in json.loads(run("doctor", "--json").out)["findings"] if not each["well"]]
    assert "T0K3N" not in json.dumps(told)
    for check, found in wrong.items():
        assert [each for each in told if each["check"] == check and found in each["found"] and each["remedy"]], told
