"""`hanwave gbcs`: every field printed, every form of input taken, every refusal one sentence."""

import base64
import json

import pytest
from typer.testing import CliRunner

from hanwave.cli.gbcs import app
from hanwave.errors import HanwaveError
from hanwave.gbcs import (
    CANCEL,
    CRA,
    ExecutionOutcome,
    Form,
    FutureDatedOutcome,
    Header,
    MessageCode,
    Supplementary,
    Unrecognised,
    build,
    precommand,
    read,
)
from infra.pki import Authority
from tests.unit.gbcs.test_payloads import NINE

pytestmark = pytest.mark.unit

HASH = bytes(range(32))


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [*arguments], input=stdin, catch_exceptions=False).stdout


def facts(*arguments, stdin=None):
    return json.loads(run(*arguments, "--json", stdin=stdin))


@pytest.fixture
def plain(supplier, device):
    return precommand(supplier, device, 1000, HASH, NINE)


@pytest.fixture
def asked(supplier, device):
    return ["cs06", "--originator", str(supplier), "--target", str(device), "--counter", "1000", "--hash", HASH.hex()]


def test_every_field_of_a_precommand_is_printed(plain):
    printed = facts("read", plain.hex())
    assert printed == {
        "form": "pre-command",
        "octets": len(plain),
        "mac_header": None,
        "grouping_header": {
            "cra": "command",
            "counter": 1000,
            "originator": "90-B3-D5-1F-30-01-00-00",
            "target": "00-DB-12-34-56-78-90-A0",
            "date_time": None,
            "at": None,
            "message_code": "0012",
            "use_case": "CS06 Activate Firmware",
        },
        "payload": {
            "type": "ActivateFirmware",
            "image_hash": HASH.hex().upper(),
            "counter": 1000,
            "at": "2030-01-15T09:00:00Z",
            "octets": read(plain).content.hex().upper(),
        },
        "signature": None,
        "mac": None,
    }
    table = run("read", plain.hex())
    assert "originator" in table
    assert "90-B3-D5-1F-30-01-00-00" in table


def test_a_code_stands_with_its_meaning_and_an_unknown_one_says_so(device, supplier, device_key):
    head = Header(CRA.ALERT, 1, device, supplier, MessageCode.CS06_ALERT)
    body = FutureDatedOutcome(0x8F67, NINE, 7, ExecutionOutcome(1, "0123ABCF"))
    payload = facts("read", build(head, body, signing_key=device_key).hex())["payload"]
    assert (payload["alert_code"], payload["alert_code_meaning"]) == ("8F67", "future dated failure")
    assert payload["counter"] == 7
    assert (payload["outcome"]["code"], payload["outcome"]["code_meaning"]) == (1, "no image held")
    body = FutureDatedOutcome(0x8F99, NINE, 7, ExecutionOutcome(9, "0123ABCF"))
    payload = facts("read", build(head, body, signing_key=device_key).hex())["payload"]
    assert (payload["alert_code"], payload["alert_code_meaning"]) == ("8F99", "not known")
    assert (payload["outcome"]["code"], payload["outcome"]["code_meaning"]) == (9, "not known")


def test_a_message_that_hanwave_does_not_read_is_printed_whole(device, supplier):
    head = Header(CRA.RESPONSE, 1, device, supplier, 0x0020, bytes(12), Supplementary(supplier, 5))
    printed = facts("read", build(head, Unrecognised(b"abc"), mac_key=bytes(16)).hex())
    assert printed["payload"] == {"type": "Unrecognised", "octets": "616263"}
    assert printed["grouping_header"]["use_case"] is None
    assert printed["grouping_header"]["date_time"] == "00" * 12
    assert printed["grouping_header"]["supplementary"] == {
        "party": str(supplier),
        "counter": 5,
        "originator_counter": None,
        "certificate": None,
    }
    assert printed["mac_header"] == {"security_header": "1100000000"}
    assert len(printed["mac"]) == 24


def test_hexadecimal_base64_and_files_are_one_message(plain, tmp_path):
    spaced = plain.hex(" ").upper()
    texts = [plain.hex(), "0x" + plain.hex(), spaced, base64.b64encode(plain).decode()]
    expected = facts("read", plain.hex())
    path = tmp_path / "message"
    for text in texts:
        path.write_text(text + "\n")
        assert facts("read", text) == facts("read", f"@{path}") == facts("read", "-", stdin=text) == expected
    path.write_bytes(plain)
    assert facts("read", f"@{path}") == expected


@pytest.mark.parametrize("text", ["hello", "DF0", "DF 09 0", "\udcff", "é"])
def test_what_is_neither_hexadecimal_nor_base64_is_refused(text):
    with pytest.raises(HanwaveError, match="neither whole octets in hexadecimal nor base64"):
        run("read", text)


def test_an_input_without_end_is_refused(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"0" * (4 * 2**20 + 1))
    with pytest.raises(HanwaveError, match="the input is too long"):
        run("read", f"@{path}")
    with pytest.raises(HanwaveError, match=r"the message .*absent cannot be read"):
        run("read", f"@{tmp_path}/absent")


def test_a_precommand_is_printed_as_hexadecimal(asked, supplier, device, plain):
    assert run(*asked) == precommand(supplier, device, 1000, HASH).hex().upper() + "\n"
    assert run(*asked, "--at", "2030-01-15T09:00:00Z") == plain.hex().upper() + "\n"
    assert run(*asked, "--at", "2030-01-15T10:00:00+01:00") == plain.hex().upper() + "\n"
    assert facts(*asked, "--cancel") == {"precommand": precommand(supplier, device, 1000, HASH, CANCEL).hex().upper()}


def test_what_is_immediate_or_cancels_says_so(supplier, device):
    assert facts("read", precommand(supplier, device, 1, HASH).hex())["payload"]["at"] == "immediate"
    assert facts("read", precommand(supplier, device, 1, HASH, CANCEL).hex())["payload"]["at"] == "cancel"


def test_with_a_key_the_signed_precommand_is_printed(asked, supplier, tmp_path):
    path = tmp_path / "gbcs.pem"
    path.write_bytes(Authority().organisation(supplier, 2).key_pem)
    printed = facts(*asked, "--key", str(path))
    assert printed["signed_precommand"].startswith(printed["precommand"] + "40")
    assert read(bytes.fromhex(run(*asked, "--key", str(path)))).form is Form.SIGNED_PRE_COMMAND


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--at", "2030-01-15T09:00:00"], "names no time zone"),
        (["--at", "tomorrow"], "--at 'tomorrow' should be a time in ISO 8601"),
        (["--at", "2030-01-15T09:00:00.5Z"], "whole seconds"),
        (["--at", "2030-01-15T09:00:00Z", "--cancel"], "--at and --cancel exclude each other"),
        (["--hash", "00"], "--hash '00' should be 64 hexadecimal digits"),
        (["--counter", str(2**63)], "from 0 to 9223372036854775807"),
        (["--target", "nobody"], "'nobody' is not an EUI-64"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(asked, arguments, sentence):
    with pytest.raises(HanwaveError, match=sentence):
        run(*asked, *arguments)
