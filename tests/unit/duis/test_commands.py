"""`hanwave duis`: what it prints and writes, and that every refusal is one sentence."""

import hashlib
import json
import sys
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from hanwave.cli.duis import app
from hanwave.cli.main import main
from hanwave.credentials import Role
from hanwave.duis import (
    CANCEL,
    Acknowledgement,
    ActivateFirmware,
    DCCAlertMessage,
    DecodedMessage,
    DeviceAlertMessage,
    FirmwareDistributionFailure,
    GBCSPayload,
    PropertyFilter,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    Response,
    ResponseMessage,
    SignedPreCommand,
    TrustStore,
    Unrecognised,
    UpdateFirmware,
    UpdatePPMIDFirmware,
    read,
    read_signed,
    sign,
    write,
)
from hanwave.duis.decoded import DecodedResponse, ReadFirmwareVersionRsp
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64, RequestID
from infra.pki import Authority
from tests.unit.duis.conftest import ACB, AT, DEVICE, SUPPLIER

pytestmark = pytest.mark.unit

ID = RequestID(SUPPLIER, ACB, 7)
DEVICES = tuple(EUI64(n.to_bytes(8, "big")) for n in range(30))
HASH = "ab" * 32
NOW = datetime.now(UTC)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False).stdout


def facts(*arguments):
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def file(tmp_path):
    def write_it(data, name="message.xml"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write_it


@pytest.fixture
def identity():
    # The command signs by today's clock.
    return Authority().organisation(SUPPLIER, Role.XML_SIGN)


@pytest.fixture
def keys(identity, file):
    return ("--key", file(identity.key_pem, "key.pem"), "--certificate", file(identity.certificate_pem, "cert.pem"))


def to_acb(service, *more):
    return ("build", service, "--originator", SUPPLIER, "--acb", ACB, "--counter", 7, *more)


def to_device(service, *more):
    return ("build", service, "--originator", SUPPLIER, "--target", DEVICE, "--counter", 7, *more)


# Reading


def test_an_image_is_summarised_unless_it_is_asked_for(file):
    path = file(write(Request.of(ID, UpdateFirmware(b"image", "0123ABCD", DEVICES))))
    read_facts = facts("read", path)
    assert read_facts["body"]["image"] == {"octets": 5, "sha256": hashlib.sha256(b"image").hexdigest().upper()}
    assert read_facts["body"]["device_ids"] == [str(device) for device in DEVICES]
    assert (read_facts["kind"], read_facts["signed"], read_facts["schema_version"]) == ("request", False, "5.4")
    assert facts("read", path, "--full")["body"]["image"] == b"image".hex().upper()


def test_a_person_sees_how_many_devices(file):
    path = file(write(Request.of(ID, UpdateFirmware(b"image", "0123ABCD", DEVICES))))
    assert "30 devices, from 00-00" in run("read", path)
    whole = run("read", path, "--full")
    assert all(str(device) in whole for device in DEVICES)


def test_what_a_code_means_is_told_for_responses_and_alerts():
    assert facts("codes", "E20")["E20"] | {"retry": "backoff", "unreached": True} == facts("codes", "E20")["E20"]
    assert facts("codes", "8f72")["8f72"]["confidence"] == "V"
    assert facts("codes", "N60")["N60"]["structure"] == "CSPFirmwareDeliveryStatus"
    assert facts("codes", "E4711")["E4711"]["retry"] == "inspect"
    assert {"I0", "E110102", "W110401"} <= facts("codes").keys()


def test_a_claimed_signer_is_shown_as_unverified(file, identity):
    path = file(sign(Request.of(ID, ReadFirmwareVersion()), identity.key, identity.certificate, NOW))
    shown = facts("read", path)
    assert shown["signed"]
    assert shown["claimed_signer"] == {
        "issuer": identity.certificate.issuer,
        "serial": str(identity.certificate.serial),
        "verified": False,
    }


def test_codes_are_explained(file):
    alert = DCCAlertMessage("N18", FirmwareDistributionFailure(ID, DEVICES[:2]))
    shown = facts("read", file(write(Response("E4", AT, alert, ID))))
    assert shown["code_means"]["retry"] == "never"
    assert shown["alert_means"]["structure"] == "FirmwareDistributionFailure"
    assert shown["body"]["alert"]["type"] == "FirmwareDistributionFailure"
    shown = facts("read", file(write(Response("I0", AT, DeviceAlertMessage("8F72", b"\1")))))
    assert shown["alert_means"]["meaning"].startswith("Firmware verification successful")
    assert shown["body"]["payload"] == "01"


def test_a_cancelled_activation_is_called_one(file):
    shown = facts("read", file(write(Request.of(ID, ActivateFirmware(bytes(32), CANCEL)))))
    assert shown["body"]["cancels"] is True
    assert shown["body"]["at"] == "3000-12-31T00:00:00Z"


def test_what_is_not_recognised_is_shown_whole(file):
    raw = b'<sr:New xmlns:sr="http://www.dccinterface.co.uk/ServiceUserGateway">1</sr:New>'
    shown = facts("read", file(write(Request(ID, 1, "2.2", Unrecognised("New", raw)))))
    assert shown["body"] == {"type": "Unrecognised", "name": "New", "xml": raw.decode()}


def test_a_decoded_message_is_read_too(file):
    message = DecodedMessage(
        DEVICE, SUPPLIER, 7, DecodedResponse(ReadFirmwareVersionRsp("0123ABCD", message_success=True))
    )
    shown = facts("read", file(write(message)))
    assert shown["kind"] == "decoded message"
    assert shown["body"]["data"] == {
        "type": "ReadFirmwareVersionRsp",
        "firmware_version": "0123ABCD",
        "message_success": True,
    }


# Building


def built(path):
    return read(path.read_bytes())


def test_an_11_1_counts_devices_and_duplicates(tmp_path, file, keys, identity):
    listed = file(f"\ufeff{DEVICE}\n{str(DEVICE).lower()}, {ACB} # the ACB\n\n# end\n".encode(), "devices.txt")
    out = tmp_path / "out.xml"
    options = ("--image", file(b"image", "image"), "--firmware-version", "0123ABCD", "--devices", listed)
    shown = facts(*to_acb("11.1", *options, "--device", DEVICES[1], *keys, "--out", out))
    assert (shown["devices"], shown["duplicates_removed"], shown["signed"]) == (3, 1, True)
    assert shown["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest().upper()
    trust = TrustStore([identity.certificate], Role.XML_SIGN)
    signed = read_signed(out.read_bytes(), trust, NOW)
    assert signed.message == Request.of(ID, UpdateFirmware(b"image", "0123ABCD", (DEVICES[1], DEVICE, ACB)))


def test_an_11_4(tmp_path, file):
    out = tmp_path / "out.xml"
    options = ("--image", file(b"image", "image"), "--firmware-version", "1", "--device", DEVICE, "--unsigned")
    run(*to_acb("11.4", *options, "--out", out))
    assert built(out) == Request.of(ID, UpdatePPMIDFirmware(b"image", "1", (DEVICE,)))


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--device", DEVICE), ReadInventory(DEVICE)),
        (("--mpxn", "1200012345678"), ReadInventory(mpxn="1200012345678")),
        (("--uprn", 100012345678), ReadInventory(uprn=100012345678)),
        (("--postcode", "AB1 2CD", "--address", "7"), ReadInventory(property_filter=PropertyFilter("AB1 2CD", "7"))),
    ],
)
def test_an_8_2(options, body):
    printed = run(*to_acb("8.2", *options, "--unsigned"))
    assert read(printed.strip().encode()) == Request.of(ID, body)


@pytest.mark.parametrize(
    ("service", "options", "body"),
    [
        ("11.2", (), ReadFirmwareVersion()),
        ("11.2", ("--at", "2026-11-22T10:00:00Z"), ReadFirmwareVersion(AT)),
        ("11.3", ("--hash", HASH), ActivateFirmware(bytes.fromhex(HASH))),
        ("11.3", ("--hash", HASH, "--at", "2026-11-22T11:00:00+01:00"), ActivateFirmware(bytes.fromhex(HASH), AT)),
        ("11.3", ("--hash", HASH, "--cancel"), ActivateFirmware(bytes.fromhex(HASH), CANCEL)),
        ("11.3", ("--payload", "DF09"), SignedPreCommand(b"\xdf\x09")),
        ("11.3", ("--payload", "DF09", "--cancel"), SignedPreCommand(b"\xdf\x09", CANCEL)),
    ],
)
def test_a_request_to_a_device(service, options, body):
    shown = facts(*to_device(service, *options, "--unsigned"))
    request = Request.of(RequestID(SUPPLIER, DEVICE, 7), body)
    assert read(shown["xml"].encode()) == request
    assert (shown["service"], shown["command_variant"]) == (service, request.command_variant)


@pytest.mark.parametrize("content", [b"DF 09\n", b"\xdf\x09"])
def test_a_pre_command_from_a_file(file, content):
    path = file(content, "precommand")
    printed = run(*to_device("11.3", "--payload", path, "--unsigned"))
    assert read(printed.strip().encode()).body == SignedPreCommand(b"\xdf\x09")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (to_device("11.2"), "--key and --certificate are needed"),
        (to_device("11.2", "--unsigned", "--key", "k"), "--unsigned excludes"),
        (to_device("11.2", "--unsigned", "--at", "soon"), "--at 'soon' should be"),
        (to_device("11.2", "--unsigned", "--at", "2030-01-01T00:00:00"), "names no zone"),
        (to_device("11.3", "--unsigned"), "takes one of --hash"),
        (to_device("11.3", "--unsigned", "--hash", HASH, "--payload", "DF"), "takes one of --hash"),
        (to_device("11.3", "--unsigned", "--hash", "AB"), "64 hexadecimal digits"),
        (to_device("11.3", "--unsigned", "--hash", HASH, "--cancel", "--at", "2030-01-01T00:00:00Z"), "exclude each"),
        (to_device("11.3", "--unsigned", "--payload", "nothing"), "--payload is not hexadecimal"),
        (to_acb("8.2", "--unsigned"), "one of UPRN"),
        (to_acb("8.2", "--unsigned", "--postcode", "AB1 2CD"), "belong together"),
        (("build", "11.2", "--originator", "x", "--target", DEVICE, "--counter", 1, "--unsigned"), "not an EUI-64"),
        (("build", "11.2", "--originator", ACB, "--target", DEVICE, "--counter", 2**64, "--unsigned"), "a counter is"),
    ],
)
def test_a_wrong_command_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(HanwaveError, match=sentence):
        run(*arguments)


def test_devices_that_are_wrong_are_named_by_line(file):
    options = ("--image", file(b"image", "image"), "--firmware-version", "1", "--unsigned")
    listed = file(f"{DEVICE}\n\nnot one\n".encode(), "devices.txt")
    with pytest.raises(HanwaveError, match=r"devices\.txt, line 3: 'not one' is not an EUI-64"):
        run(*to_acb("11.1", *options, "--devices", listed))
    with pytest.raises(HanwaveError, match="the devices are missing"):
        run(*to_acb("11.1", *options))


def test_one_device_too_many(file):
    listed = file("\n".join(f"{n:016x}" for n in range(50_001)).encode(), "devices.txt")
    options = ("--image", file(b"image", "image"), "--firmware-version", "1", "--devices", listed, "--unsigned")
    with pytest.raises(HanwaveError, match=r"^the request names 50001 devices; DUIS allows 1 to 50000$"):
        run(*to_acb("11.1", *options))


# Verifying


@pytest.fixture
def response(dcc):
    message = Response("I0", AT, ResponseMessage("11.3", GBCSPayload(b"\1")), ID)
    return sign(message, dcc.key, dcc.certificate, AT)


def test_a_trusted_signature_is_told(file, response, dcc):
    trusted = file(dcc.certificate_pem, "dcc.pem")
    shown = facts("verify", file(response), "--trust", trusted, "--at", "2026-11-22T10:00:00Z")
    assert shown == {
        "verified": True,
        "kind": "response",
        "signer": str(ACB),
        "role": 137,
        "ou": "89",
        "issuer": "CN=T1,OU=07",
        "serial": str(dcc.certificate.serial),
    }


def test_a_request_is_verified_for_the_role_of_a_supplier(file, identity):
    data = sign(Request.of(ID, ReadFirmwareVersion()), identity.key, identity.certificate, NOW)
    trusted = file(identity.certificate_pem, "supplier.pem")
    assert facts("verify", file(data), "--trust", trusted)["role"] == 135
    for role in ("xml-sign", "87"):
        assert facts("verify", file(data), "--trust", trusted, "--role", role)["verified"]
    with pytest.raises(HanwaveError, match="role 135, not 137"):
        run("verify", file(data), "--trust", trusted, "--role", "dsp-xml-sign")
    with pytest.raises(HanwaveError, match="--role 'xyz' should be"):
        run("verify", file(data), "--trust", trusted, "--role", "xyz")


def test_the_exit_code_says_whether_it_verifies(file, response, dcc, monkeypatch, capsys):
    trusted = file(dcc.certificate_pem, "dcc.pem")
    changed = file(response.replace(b"I0", b"I1"))
    command = [
        "hanwave",
        "duis",
        "verify",
        str(changed),
        "--trust",
        str(trusted),
        "--at",
        "2026-11-22T10:00:00Z",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    assert left.value.code == 1
    assert json.loads(printed.out)["error"].startswith("the message was changed after it was signed")
    assert printed.err.count("\n") == 1


def test_an_unsigned_message_does_not_verify(file, dcc):
    message = write(Response("I99", AT, ResponseMessage("11.1", Acknowledgement())))
    with pytest.raises(HanwaveError, match="not signed"):
        run("verify", file(message), "--trust", file(dcc.certificate_pem, "dcc.pem"))
