"""The pack of an incident: the devices of one cause with their requests and raw messages, and nobody's customer data."""

import csv
import hashlib
import io
import json
import zipfile
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.ledger import incident_pack
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from tests.support.command import run
from tests.support.ledger import World

pytestmark = pytest.mark.ledger
ALERT = b"<Response>8F1C</Response>"
IMAGE = b"x" * (incident_pack.MAX_MESSAGE + 1)


@pytest.fixture
def failed(world: World) -> World:
    """Three devices: one whose image did not verify, one that fell silent, one that settled; each sent an 11.1."""
    euis = world.fleet(3)
    updates = world.campaign(euis)
    digest = hashlib.sha256(ALERT).hexdigest()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET mpxn = '1900000000001'"))
        outbox = connection.execute(
            text(
                "INSERT INTO outbox (request_id, service_reference, permit_class, leg, user_id, campaign, wave, parameters,"
                " state, granted_at, sending_at, sends, code) VALUES ('US:HUB:1', '11.1', 'forward', 'distribute', 'US',"
                " 'spring', 1, '{}', 'acknowledged', :now, :now, 1, 'I99') RETURNING id"
            ),
            {"now": world.now},
        ).scalar_one()
        connection.execute(
            text("INSERT INTO outbox_body VALUES (:id, :image, :answer)"),
            {"id": outbox, "image": IMAGE, "answer": b"<Response>I99</Response>"},
        )
        for update_id, eui in zip(updates, euis, strict=True):
            connection.execute(
                text("INSERT INTO outbox_device VALUES (:outbox, :id, :eui, 1, 'distribute', 1)"),
                {"outbox": outbox, "id": update_id, "eui": eui},
            )
        connection.execute(
            text(
                "INSERT INTO inbox (key, digest, raw, verified, received_at, copies) VALUES ('k', :digest, :raw, true, :now, 1)"
            ),
            {"digest": digest, "raw": ALERT, "now": world.now},
        )
        refused = Event(
            Kind.VERIFICATION_FAILED, world.now, Leg.DISTRIBUTE, attempt=1, evidence=Evidence.DEVICE, detail="8F1C"
        )
        record(connection, [Fact(updates[0], refused, digest)], world.now)
        end = world.now + timedelta(hours=1)
        ends = [
            Event(Kind.CLOSED, end, detail=Outcome.NOT_VERIFIED, reason="it refused the image"),
            Event(Kind.CLOSED, end, detail=Outcome.QUIET, reason="not heard from"),
            Event(Kind.SETTLED, end),
        ]
        record(connection, [Fact(u, e) for u, e in zip(updates, ends, strict=True)], end)
    return world


def packed(world: World, cause: str) -> tuple[incident_pack.Packed, zipfile.ZipFile]:
    out = io.BytesIO()
    with world.engine.begin() as connection:
        found = incident_pack.write(connection, "spring", cause, out)
    return found, zipfile.ZipFile(out)


@pytest.mark.parametrize("cause", ["not_verified", "8F1C", "8f1c"])
def test_a_cause_is_an_outcome_or_a_code(failed, cause):
    found, pack = packed(failed, cause)
    assert found.devices == ["00-DB-00-00-00-00-00-00"]
    (device,) = csv.DictReader(io.StringIO(pack.read("devices.csv").decode()))
    assert (device["outcome"], device["hub"], device["region"]) == ("not_verified", "home-0", "South")
    (request,) = csv.DictReader(io.StringIO(pack.read("requests.csv").decode()))
    assert (request["request_id"], request["code"]) == ("US:HUB:1", "I99")
    assert request["sending_at"].endswith("Z")


def test_messages_stand_in_it_to_the_byte_but_for_an_image(failed):
    found, pack = packed(failed, "not_verified")
    assert (found.messages, found.too_long) == (2, 1)
    raw = {name: pack.read(name) for name in pack.namelist() if name.startswith("messages/")}
    assert raw[f"messages/{hashlib.sha256(ALERT).hexdigest()}.xml"] == ALERT
    assert str(len(IMAGE)).encode() in raw[f"messages/{hashlib.sha256(IMAGE).hexdigest()}.txt"]


def test_no_customer_data_is_in_it(failed):
    _, pack = packed(failed, "quiet")
    assert not any(b"1900000000001" in pack.read(name) for name in pack.namelist())


def test_the_same_facts_make_the_same_pack(failed):
    first, second = io.BytesIO(), io.BytesIO()
    with failed.engine.begin() as connection:
        incident_pack.write(connection, "spring", "quiet", first)
        incident_pack.write(connection, "spring", "quiet", second)
    assert first.getvalue() == second.getvalue()


def test_a_cause_that_nobody_has_is_refused_with_those_there_are(failed):
    with pytest.raises(LedgerError, match=r"has the cause 'E99': .* it has not_verified \(1\), quiet \(1\)"):
        packed(failed, "E99")


def test_the_ticket_lands_on_a_hold_of_each_device_once(failed, ledger_dsn, tmp_path):
    out = tmp_path / "pack.zip"
    command = ["incident", "pack", "spring", "--cause", "quiet", "--ticket", "INC0042", "--out", str(out)]
    answers = []
    for _ in range(2):
        ran = run(*command, "--actor", "ann", "--database", ledger_dsn, "--json")
        assert ran.code == 0, ran.err
        answers.append(json.loads(ran.out)["held"])
    assert answers == [1, 0]
    with failed.engine.connect() as connection:
        (hold,) = connection.execute(text("SELECT scope, reason, owner FROM hold")).all()
    assert tuple(hold) == ("device", "INC0042: quiet in spring", "ann")
    assert zipfile.is_zipfile(out)
