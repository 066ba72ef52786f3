"""DCC's own material through the commands that people use, and what the commands build against DCC's schema."""

import base64
import hashlib
from datetime import datetime

import pytest
from lxml import etree

from hanwave.credentials import Role
from hanwave.gbcs import Unrecognised
from hanwave.identifiers import EUI64
from infra.pki import Authority
from tests.support.dcc_material import ABSENT, DOMAIN, MESSAGES, SAMPLE_REQUEST, VECTORS, assert_valid

pytestmark = pytest.mark.dcc

if not MESSAGES or not VECTORS:
    pytest.skip(ABSENT, allow_module_level=True)

SUPPLIER, DEVICE, ACB = (EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002"))
HASH = "AA758690730934FF0685AA758690730934FF0685657788990011223344556677"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


# Reading


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_every_vector_is_read(path, hanwave):
    octets = bytes.fromhex(path.read_text())
    outcome = hanwave("gbcs", "read", f"@{path}", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    facts, header = outcome.facts, outcome.facts["grouping_header"]
    assert facts["octets"] == len(octets)
    assert facts["payload"]["type"] != Unrecognised.__name__
    assert header["use_case"]
    # What the facts name stands in the octets.
    assert bytes.fromhex(facts["payload"]["octets"]) in octets
    assert bytes.fromhex(header["message_code"]) in octets
    for party in ("originator", "target"):
        assert EUI64.parse(header[party]).octets in octets
    assert header["counter"].to_bytes(8, "big") in octets
    assert hanwave("gbcs", "read", octets.hex(), "--json").facts == facts
    assert hanwave("gbcs", "read", base64.b64encode(octets).decode(), "--json").facts == facts


def leaves(value):
    """Every value in an answer."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        return {leaf for item in value for leaf in leaves(item)}
    return {value if isinstance(value, (bool, int)) else str(value)}


def forms(text):
    """How the text of an element may stand in an answer."""
    yield text
    yield text.upper()
    for reading in (
        int,
        lambda raw: {"true": True, "false": False}[raw],
        lambda raw: base64.b64decode(raw, validate=True).hex().upper(),
        lambda raw: datetime.fromisoformat(raw).isoformat().replace("+00:00", "Z"),
    ):
        try:
            yield reading(text)
        except (ValueError, KeyError):
            continue


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_every_value_of_every_example_and_template_is_read(path, hanwave):
    outcome = hanwave("duis", "read", path, "--full", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    said = leaves(outcome.facts)
    root = etree.fromstring(path.read_bytes())
    assert outcome.facts["schema_version"] == root.get("schemaVersion")
    for element in root.iter(etree.Element):
        inside_signature = any(parent.tag == f"{DS}Signature" for parent in (element, *element.iterancestors()))
        if len(element) or inside_signature or not (element.text or "").strip():
            continue
        text = element.text.strip()
        # A list of devices stands as a list.
        assert said & set(forms(text)) or set(text.split(",")) <= said, f"{element.tag} {text} is not in the answer"


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_every_payload_within_them_is_read(path, hanwave):
    for payload in etree.fromstring(path.read_bytes()).iter("{*}GBCSPayload"):
        outcome = hanwave("gbcs", "read", "".join(payload.text.split()), "--json")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.facts["payload"]["type"] != Unrecognised.__name__


@pytest.fixture
def sample_image(hanwave, tmp_path):
    facts = hanwave("duis", "read", SAMPLE_REQUEST, "--full", "--json").facts
    (tmp_path / "sample.ota").write_bytes(bytes.fromhex(facts["body"]["image"]))
    return tmp_path / "sample.ota"


def test_the_sample_image_is_inspected(sample_image, hanwave):
    facts = hanwave("image", "inspect", sample_image, "--json").facts
    expected = {
        "form": "signed",
        "manufacturer_code": "0x121D",
        "image_type": "0x0000",
        "file_version": "0xACDCACDC",
        "header_string": "I am a GFI ESME[] firmware image",
        "total_image_size": 361,
        "manufacturer_image_size": 235,
        "minimum_hardware_version": "0x1111",
        "maximum_hardware_version": "0x1211",
        "signature_present": True,
    }
    assert facts | expected == facts
    assert facts["manufacturer_image_hash"] == hashlib.sha256(sample_image.read_bytes()[60:295]).hexdigest().upper()


@pytest.mark.parametrize(
    ("kind", "counter", "options"), [("IMMEDIATE", 1000, ()), ("FUTURE_DATED", 1001, ("--at", "2030-01-15T09:00:00Z"))]
)
def test_the_precommand_of_the_command_is_dccs_octet_for_octet(kind, counter, options, hanwave):
    expected = (DOMAIN / "vectors" / f"CS06_11.3_{kind}_SUCCESS_PRECOMMAND_GBCS.hex").read_text()
    given = ("--originator", SUPPLIER, "--target", DEVICE, "--counter", counter, "--hash", HASH, *options)
    assert hanwave("gbcs", "cs06", *given).out == expected.strip().upper() + "\n"


# Building


@pytest.fixture
def keys(tmp_path):
    identity = Authority().organisation(SUPPLIER, Role.XML_SIGN)
    (tmp_path / "xml.key").write_bytes(identity.key_pem)
    (tmp_path / "xml.pem").write_bytes(identity.certificate_pem)
    return ("--key", tmp_path / "xml.key", "--certificate", tmp_path / "xml.pem")


TO_ACB = ("--originator", SUPPLIER, "--acb", ACB, "--counter", 2**64 - 1)
TO_DEVICE = ("--originator", SUPPLIER, "--target", DEVICE, "--counter", 7)
THEN = ("--at", "2030-01-15T09:00:00Z")
PRE_COMMAND = "DF0901" + "00" * 70

BUILT = [
    ("8.2", *TO_ACB, "--device", DEVICE),
    ("8.2", *TO_ACB, "--mpxn", "1200012345678"),
    ("8.2", *TO_ACB, "--uprn", 100012345678),
    ("8.2", *TO_ACB, "--postcode", "AB1 2CD", "--address", "The Mill <East> & Co"),
    ("11.1", *TO_ACB, "--image", "sample.ota", "--firmware-version", "ACDCACDC", "--device", DEVICE),
    ("11.4", *TO_ACB, "--image", "sample.ota", "--firmware-version", "ACDCACDC", "--device", DEVICE),
    ("11.2", *TO_DEVICE),
    ("11.2", *TO_DEVICE, *THEN),
    ("11.3", *TO_DEVICE, "--hash", HASH),
    ("11.3", *TO_DEVICE, "--hash", HASH, *THEN),
    ("11.3", *TO_DEVICE, "--hash", HASH, "--cancel"),
    ("11.3", *TO_DEVICE, "--payload", PRE_COMMAND),
    ("11.3", *TO_DEVICE, "--payload", PRE_COMMAND, *THEN),
    ("11.3", *TO_DEVICE, "--payload", PRE_COMMAND, "--cancel"),
]


@pytest.mark.parametrize("words", BUILT, ids=lambda words: f"{words[0]} {' '.join(map(str, words[7:]))[:40]}")
def test_every_request_that_is_built_is_valid_and_verifies(words, hanwave, keys, sample_image, tmp_path):
    out = tmp_path / "out.xml"
    assert hanwave("duis", "build", *words, *keys, "--out", out).code == 0
    assert_valid(out.read_bytes())
    assert hanwave("duis", "verify", out, "--trust", keys[3]).code == 0
    facts = hanwave("duis", "read", out, "--json").facts
    assert (facts["service_reference"], facts["signed"]) == (words[0], True)
    assert facts["request_id"].startswith(f"{SUPPLIER}:{words[4]}:{words[6]}")


def test_an_11_1_to_fifty_thousand_devices(hanwave, keys, sample_image, tmp_path):
    devices = [f"00-DB-{n >> 24:02X}-{n >> 16 & 255:02X}-{n >> 8 & 255:02X}-{n & 255:02X}-AA-01" for n in range(50_001)]
    out, listed = tmp_path / "out.xml", tmp_path / "devices.txt"
    build = ("duis", "build", "11.1", *TO_ACB, "--image", sample_image, "--firmware-version", "ACDCACDC", *keys)
    build = (*build, "--devices", listed, "--out", out)

    listed.write_text("\n".join(devices))
    refused = hanwave(*build)
    assert (refused.code, refused.err) == (1, "hanwave: the request names 50001 devices; DUIS allows 1 to 50000\n")
    assert not out.exists()

    listed.write_text("\n".join([*devices[:50_000], *map(str.lower, devices[:7])]))
    facts = hanwave(*build, "--json").facts
    assert (facts["devices"], facts["duplicates_removed"]) == (50_000, 7)
    assert_valid(out.read_bytes())
    assert hanwave("duis", "verify", out, "--trust", keys[3]).code == 0
    body = etree.fromstring(out.read_bytes(), etree.XMLParser(huge_tree=True))
    assert body.findtext(".//{*}DeviceIDList") == ",".join(devices[:50_000])
    assert base64.b64decode(body.findtext(".//{*}FirmwareImage")) == sample_image.read_bytes()
