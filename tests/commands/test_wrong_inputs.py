"""What a person gets for a wrong file, option or value: one sentence, exit code 1, and no output file."""

import json
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hanwave import duis
from hanwave.credentials import Role
from hanwave.firmware.columns import default_map_text
from hanwave.identifiers import EUI64, RequestID
from infra.pki import Authority
from tests.unit.firmware.making import BODY, signed, supplier, unsigned
from tests.unit.firmware.test_cpl import GOOD, HEADER

pytestmark = pytest.mark.unit

SUPPLIER, DEVICE, ACB = (EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002"))
HASH = "AB" * 32
NOW = datetime.now(UTC)

BUILD = "image build app.bin --out out --manufacturer 121D --type 0 --version 1 --hardware-min 1 --hardware-max 2"
SIGN = "image sign signed.ota --out out"
KEYS = "--key gbcs.key --certificate gbcs.pem"
XML = "--key xml.key --certificate xml.pem --out out"
ACTIVATE = f"duis build 11.3 --originator {SUPPLIER} --target {DEVICE} --counter 1 {XML}"
READ_VERSION = f"duis build 11.2 --target {DEVICE} --counter 1"
DISTRIBUTE = f"duis build 11.1 --originator {SUPPLIER} --acb {ACB} --counter 1 --firmware-version 1"
INVENTORY = f"duis build 8.2 --originator {SUPPLIER} --acb {ACB} --counter 1 {XML}"
CS06 = f"gbcs cs06 --originator {SUPPLIER} --target {DEVICE}"

CASES = {
    # name: (command line, a part of the sentence)
    "image: no such file": ("image inspect none.ota", "none.ota cannot be read: No such file"),
    "image: a folder": ("image inspect .", "cannot be read: Is a directory"),
    "image: an empty file": ("image inspect empty", "octets"),
    "image: not an image": ("image inspect rubbish", "file identifier"),
    "image: cut short": ("image inspect cut.ota", "total image size"),
    "image: something after it": ("image inspect longer.ota", "total image size"),
    "image: of another form": ("image inspect ppmid.ota --form signed", "forceReplace"),
    "image: no sub-elements": ("image inspect signed.ota --form zigbee", "sub-element"),
    "image: another hash": (f"image inspect signed.ota --hash {HASH}", HASH),
    "image: a short hash": ("image inspect signed.ota --hash AB", "--hash holds 'AB'"),
    "build: no key": (BUILD, "needs --key and --certificate"),
    "build: a manufacturer code too wide": (f"{BUILD} {KEYS} --manufacturer 12345", "--manufacturer holds '12345'"),
    "build: a version that is no number": (f"{BUILD} {KEYS} --version 1.2", "--version holds '1.2'"),
    "build: an empty type": (f"{BUILD} {KEYS} --type 0x", "--type holds '0x'"),
    "build: hardware the wrong way round": (f"{BUILD} {KEYS} --hardware-min 3", "hardware"),
    "build: a title too long": (f"{BUILD} {KEYS} --header-string {'x' * 33}", "header string"),
    "build: a title in Greek": (f"{BUILD} {KEYS} --header-string αβγ", "header string"),
    "build: an empty Manufacturer Image": (
        BUILD.replace("app.bin", "empty") + f" {KEYS}",
        "Manufacturer Image is empty",
    ),
    "build: an image that was built before": (BUILD.replace("app.bin", "signed.ota") + f" {KEYS}", "OTA header"),
    "build: an image beyond what DUIS carries": (BUILD.replace("app.bin", "huge") + f" {KEYS}", "at most"),
    "build: a certificate as the key": (f"{BUILD} --key gbcs.pem --certificate gbcs.pem", "gbcs.pem holds no readable"),
    "build: a key as the certificate": (f"{BUILD} --key gbcs.key --certificate gbcs.key", "gbcs.key holds no readable"),
    "build: a key with a passphrase": (f"{BUILD} --key locked.key --certificate gbcs.pem", "no readable unencrypted"),
    "build: a key of another curve": (f"{BUILD} --key p384.key --certificate gbcs.pem", "not P-256"),
    "build: a key of another certificate": (f"{BUILD} --key xml.key --certificate gbcs.pem", "the key is not the one"),
    "build: a certificate for XML": (f"{BUILD} --key xml.key --certificate xml.pem", "role 135, not 2"),
    "build: an expired certificate": (f"{BUILD} --key late.key --certificate late.pem", "valid from"),
    "build: nowhere to write": (BUILD.replace("--out out", "--out none/out") + f" {KEYS}", "cannot be written"),
    "sign: over what it reads": (f"image sign signed.ota --out signed.ota {KEYS}", "is the file that is read"),
    "sign: a PPMID's image": (f"image sign ppmid.ota --out out {KEYS}", "no supplier signature to replace"),
    "sign: a signed image as unsigned": (f"{SIGN} {KEYS} --unsigned", "would sign the old signature too"),
    "verify: another supplier": ("image verify signed.ota --certificate other.pem", "is not that of"),
    "verify: a time without a zone": (f"image verify signed.ota --cert other.pem --at {NOW:%Y-%m-%d}", "with its zone"),
    "verify: a PPMID's image without a hash": ("image verify ppmid.ota --form ppmid", "by --hash alone"),
    "gbcs: nothing": ("gbcs read ''", "message"),
    "gbcs: odd digits": ("gbcs read DF0", "neither"),
    "gbcs: no message": ("gbcs read 00", "tag"),
    "gbcs: cut short": ("gbcs read DF0901", "ends inside"),
    "gbcs: beyond the bound": ("gbcs read @huge", "too long"),
    "gbcs: no such file": ("gbcs read @none", "none cannot be read"),
    "gbcs: an empty file": ("gbcs read @empty", "message"),
    "cs06: a target that is none": (
        f"gbcs cs06 --originator {SUPPLIER} --target x --counter 1 --hash {HASH}",
        "EUI-64",
    ),
    "cs06: a counter below zero": (f"{CS06} --counter -1 --hash {HASH}", "counter"),
    "cs06: a counter past 2^63-1": (f"{CS06} --counter {2**63} --hash {HASH}", "counter"),
    "cs06: a hash that is none": (f"{CS06} --counter 1 --hash {HASH}00", "64 hexadecimal digits"),
    "cs06: a time without a zone": (f"{CS06} --counter 1 --hash {HASH} --at 2030-01-15T09:00:00", "zone"),
    "cs06: a part of a second": (f"{CS06} --counter 1 --hash {HASH} --at 2030-01-15T09:00:00.5Z", "second"),
    "cs06: dated and cancelled": (f"{CS06} --counter 1 --hash {HASH} --at 2030-01-15T09:00:00Z --cancel", "exclude"),
    "duis: no such file": ("duis read none.xml", "none.xml cannot be read"),
    "duis: an empty file": ("duis read empty", "not well-formed"),
    "duis: not XML": ("duis read rubbish", "message"),
    "duis: HTML": ("duis read page.html", "document type"),
    "duis: an entity": ("duis read entity.xml", "document type"),
    "duis: cut short": ("duis read cut.xml", "not well-formed"),
    "duis: another document": ("duis read other.xml", "namespace"),
    "duis: an image beyond the bound": ("duis read huge", "at most"),
    "duis verify: not signed": ("duis verify unsigned.xml --trust xml.pem", "not signed"),
    "duis verify: changed": ("duis verify changed.xml --trust xml.pem", "changed after it was signed"),
    "duis verify: a stranger": ("duis verify signed.xml --trust other-xml.pem", "no trusted certificate"),
    "duis verify: a role that is none": ("duis verify signed.xml --trust xml.pem --role x", "--role 'x'"),
    "duis verify: another role": ("duis verify signed.xml --trust xml.pem --role 89", "role 135, not 137"),
    "duis verify: after the certificate's end": (
        "duis verify signed.xml --trust xml.pem --at 2999-01-01T00:00:00Z",
        "valid from",
    ),
    "duis verify: a certificate that is none": ("duis verify signed.xml --trust rubbish", "rubbish holds no readable"),
    "8.2: nothing to ask for": (INVENTORY, "one of UPRN"),
    "8.2: two things at once": (f"{INVENTORY} --device {DEVICE} --mpxn 1", "one of UPRN"),
    "8.2: a postcode without a house": (f"{INVENTORY} --postcode AB12CD", "belong together"),
    "8.2: a meter point too long": (f"{INVENTORY} --mpxn 12345678901234", "MPxN"),
    "11.1: no device": (f"{DISTRIBUTE} --image signed.ota {XML}", "the devices are missing"),
    "11.1: a file without devices": (f"{DISTRIBUTE} --image signed.ota --devices empty {XML}", "names 0 devices"),
    "11.1: a device that is none": (f"{DISTRIBUTE} --image signed.ota --devices bad.txt {XML}", "bad.txt, line 2"),
    "11.1: one device too many": (f"{DISTRIBUTE} --image signed.ota --devices many.txt {XML}", "names 50001 devices"),
    "11.1: no image": (f"{DISTRIBUTE} --image none --device {DEVICE} {XML}", "none cannot be read"),
    "11.1: an image too large": (
        f"{DISTRIBUTE} --image huge --device {DEVICE} {XML}",
        "FirmwareImage cannot hold 17000000 octets",
    ),
    "11.1: a version too long": (
        f"{DISTRIBUTE}23456789 --image signed.ota --device {DEVICE} {XML}",
        "FirmwareVersion",
    ),
    "11.2: not signed and not said so": (
        f"{READ_VERSION} --originator {SUPPLIER} --out out",
        "--key and --certificate",
    ),
    "11.2: for another supplier": (f"{READ_VERSION} --originator {ACB} {XML}", "the signing certificate of"),
    "11.2: signed with the GBCS key": (
        f"{READ_VERSION} --originator {SUPPLIER} {KEYS} --out out",
        "has role 2, not 135",
    ),
    "11.2: a counter past 2^64-1": (
        f"duis build 11.2 --originator {SUPPLIER} --target {DEVICE} --counter {2**64} {XML}",
        "a counter is from 0",
    ),
    "11.2: a schema version that is none": (f"{READ_VERSION} --originator {SUPPLIER} {XML} --schema-version x", "'x'"),
    "11.2: nowhere to write": (
        f"{READ_VERSION} --originator {SUPPLIER} {XML.replace('--out out', '--out none/out')}",
        "cannot be written",
    ),
    "11.3: neither hash nor pre-command": (ACTIVATE, "one of --hash"),
    "11.3: both": (f"{ACTIVATE} --hash {HASH} --payload DF", "one of --hash"),
    "11.3: a hash that is none": (f"{ACTIVATE} --hash {HASH}0", "64 hexadecimal digits"),
    "11.3: a pre-command that is no file": (f"{ACTIVATE} --payload none", "none cannot be read"),
    "11.3: dated and cancelled": (f"{ACTIVATE} --hash {HASH} --cancel --at 2030-01-01T00:00:00Z", "exclude"),
    "11.3: a time that is none": (f"{ACTIVATE} --hash {HASH} --at tomorrow", "--at 'tomorrow'"),
    "cpl: no such file": ("cpl check none.csv", "none.csv cannot be read"),
    "cpl: an empty file": ("cpl check empty", "no header"),
    "cpl: another file": ("cpl check rubbish", "header"),
    "cpl: a row that is wrong": ("cpl check wrong.csv", "1 of 2 rows are refused"),
    "cpl: a column map that is none": ("cpl check good.csv --columns signed.ota", "column map"),
    "cpl: a column map without columns": ("cpl check good.csv --columns empty", "column map"),
    "cpl: a column map with a wrong word": ("cpl check good.csv --columns wrong.yaml", "column map"),
    "cpl: no such column map": ("cpl check good.csv --columns none.yaml", "none.yaml cannot be read"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a person may have it, with what is right and what is wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, data in files().items():
        (folder / name).write_bytes(data)
    return folder


def files():
    authority = Authority(at=NOW)
    xml, other = (authority.organisation(SUPPLIER, Role.XML_SIGN) for _ in range(2))
    gbcs_ = authority.organisation(SUPPLIER, Role.SUPPLIER)
    late = authority.organisation(SUPPLIER, Role.SUPPLIER, start=NOW - timedelta(days=9), life=timedelta(days=1))
    request = duis.Request.of(RequestID(SUPPLIER, DEVICE, 1), duis.ReadFirmwareVersion())
    message = duis.sign(request, xml.key, xml.certificate, NOW)
    image = signed().pack()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return {
        "empty": b"",
        "rubbish": b"\x93\x00 rubbish \xff" * 10,
        "huge": bytes(17_000_000),
        "app.bin": BODY,
        "signed.ota": image,
        "ppmid.ota": unsigned().pack(),
        "cut.ota": image[:-1],
        "longer.ota": image + b"\0",
        "gbcs.key": gbcs_.key_pem,
        "gbcs.pem": gbcs_.certificate_pem,
        "xml.key": xml.key_pem,
        "xml.pem": xml.certificate_pem,
        "late.key": late.key_pem,
        "late.pem": late.certificate_pem,
        "other.pem": supplier(2).certificate_pem,
        "other-xml.pem": other.certificate_pem,
        "locked.key": gbcs_.key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")),
        "p384.key": ec.generate_private_key(ec.SECP384R1()).private_bytes(pem, pkcs8, serialization.NoEncryption()),
        "signed.xml": message,
        "unsigned.xml": duis.write(request),
        "changed.xml": message.replace(b":1<", b":2<"),
        "cut.xml": message[:-5],
        "other.xml": b"<a/>",
        "page.html": b"<!DOCTYPE html><html></html>",
        "entity.xml": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
        "bad.txt": f"{DEVICE}\n00-DB-12\n".encode(),
        "many.txt": "\n".join(f"{n:016X}" for n in range(50_001)).encode(),
        "good.csv": f"{HEADER}\n{GOOD}\n".encode(),
        "wrong.csv": f"{HEADER}\n{GOOD}\n{GOOD.replace('4.1', 'four')}\n".encode(),
        "wrong.yaml": default_map_text().replace("status: Status", "stauts: Status").encode(),
    }


@pytest.fixture
def refused(hanwave, monkeypatch, folder):
    """Runs a command line that must be refused, and looks at what it left behind."""
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.chdir(folder)

    def run(line):
        outcome = hanwave(*("" if word == "''" else word for word in line.split()))
        assert outcome.code == 1
        assert outcome.err.startswith("hanwave: ")
        assert outcome.err.count("\n") == 1
        assert len(outcome.err) < 400
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        return outcome

    return run


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_is_refused_in_one_sentence_and_leaves_no_file(name, refused):
    line, sentence = CASES[name]
    assert sentence in refused(line).err


@pytest.mark.parametrize("name", [name for name in CASES if name != "cpl: a row that is wrong"][::7])
def test_with_json_the_same_sentence_stands_in_an_object(name, refused):
    outcome = refused(f"{CASES[name][0]} --json")
    assert json.loads(outcome.out) == {"error": outcome.err.removeprefix("hanwave: ").removesuffix("\n")}


def test_no_sentence_stands_on_standard_output(refused):
    assert not refused("duis read none.xml").out


@pytest.fixture
def almost_full():
    """No file can grow beyond 200 octets, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "line", [f"{BUILD} {KEYS}", f"{SIGN} {KEYS}", f"{READ_VERSION} --originator {SUPPLIER} {XML}"], ids=str.split
)
def test_a_full_disk_leaves_no_half_of_a_file(line, refused, almost_full):
    assert "cannot be written: File too large" in refused(line).err


def test_a_full_disk_leaves_the_file_that_was_there(folder, hanwave, monkeypatch, almost_full):
    monkeypatch.chdir(folder)
    before = (folder / "unsigned.xml").read_bytes()
    assert hanwave(*BUILD.replace("--out out", "--out unsigned.xml").split(), *KEYS.split()).code == 1
    assert (folder / "unsigned.xml").read_bytes() == before


def test_a_device_is_written_to_and_not_replaced(hanwave):
    line = f"{READ_VERSION} --originator {SUPPLIER} --unsigned --out /dev/null"
    assert hanwave(*line.split()).code == 0
    assert Path("/dev/null").is_char_device()
