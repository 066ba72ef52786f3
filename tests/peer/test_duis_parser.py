"""DCC's own DUIS parser reads what hanwave writes to the same values.

It is in JavaScript, writes EUI-64s in lower case, and knows neither signatures nor the schema.
"""

import base64
import json

import pytest
from lxml import etree

from hanwave.duis import CANCEL, Request, write
from hanwave.duis._parser import SR
from tests.peer.conftest import run
from tests.peer.messages import COUNTER, DEVICE, DEVICES, HASH, IMAGE, REQUESTS, RESPONSES, VERSION, signed_precommand
from tests.support.npm import program

pytestmark = pytest.mark.peer

SCRIPT = """
const { parseDuis } = require(process.argv[2]);
const fs = require("node:fs");
const folder = process.argv[3];
const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
const read = (name) => parseDuis("simplified", fs.readFileSync(`${folder}/${name}`, "utf-8"));
const all = Object.fromEntries(fs.readdirSync(folder).map((name) => [name, read(name)]));
process.stdout.write(JSON.stringify(all, plain));
"""
MESSAGES = REQUESTS | RESPONSES

_THEN, _NEVER = "2030-01-15T09:00:00.00Z", "3000-12-31T00:00:00.00Z"
_PAYLOAD = base64.b64encode(signed_precommand()).decode()
_IMAGE = base64.b64encode(IMAGE).decode()
_HASH = HASH.hex().upper()

BODIES = {
    "8.2 by device": {"ReadInventory": {"DeviceID": str(DEVICE)}},
    "8.2 by meter point": {"ReadInventory": {"MPxN": "1200012345678"}},
    "8.2 by property": {
        "ReadInventory": {"PropertyFilter": {"PostCode": "AB1 2CD", "AddressIdentifier": "The Mill <East> & Co"}}
    },
    "11.1": {
        "UpdateFirmware": {
            "FirmwareImage": _IMAGE,
            "FirmwareVersion": VERSION,
            "DeviceIDList": ",".join(map(str, DEVICES)),
        }
    },
    "11.2": {"ReadFirmwareVersion": ""},
    "11.2 dated": {"ReadFirmwareVersion": {"ExecutionDateTime": _THEN}},
    "11.3 CV4": {"ActivateFirmware": {"FirmwareHash": _HASH}},
    "11.3 CV4 dated": {"ActivateFirmware": {"ExecutionDateTime": _THEN, "FirmwareHash": _HASH}},
    "11.3 CV4 cancelled": {"ActivateFirmware": {"ExecutionDateTime": _NEVER, "FirmwareHash": _HASH}},
    "11.4": {
        "UpdatePPMIDFirmware": {
            "FirmwareImage": _IMAGE,
            "FirmwareVersion": VERSION,
            "DeviceIDList": str(DEVICES[0]),
        }
    },
}


@pytest.fixture(scope="module")
def parsed(packages, tmp_path_factory):
    """Every message as the parser reads it, from one process."""
    node = program("node")
    folder = tmp_path_factory.mktemp("duis-parser")
    messages = folder / "messages"
    messages.mkdir()
    for name, message in MESSAGES.items():
        (messages / name).write_bytes(write(message))
    (folder / "parse.cjs").write_text(SCRIPT)
    done = run(node, folder / "parse.cjs", packages / "duis-parser", messages)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def split(identifier):
    if identifier is None:
        return None
    return {
        "originatorId": str(identifier.originator).lower(),
        "targetId": str(identifier.target).lower(),
        "counter": str(identifier.counter),
    }


@pytest.mark.parametrize("name", REQUESTS)
def test_a_requests_header_is_read_to_the_same_values(name, parsed):
    request, header = REQUESTS[name], parsed[name]["header"]
    assert header["type"] == "request"
    assert header["requestId"] == split(request.request_id)
    assert header["requestId"]["counter"] == str(COUNTER)
    assert header["commandVariant"]["number"] == request.command_variant
    assert header["serviceReference"] == request.service_reference
    assert header["serviceReferenceVariant"]["Service Reference Variant"] == request.variant


@pytest.mark.parametrize("name", REQUESTS)
def test_the_parsers_request_matrix_allows_the_command_variant(name, parsed):
    # The parser took the matrix from DCC's document: critical is what goes through the Transform Service.
    header = parsed[name]["header"]
    critical = header["serviceReferenceVariant"]["Critical"] == "Yes"
    assert critical == (header["commandVariant"]["number"] in {4, 5, 6, 7})
    device = header["serviceReferenceVariant"]["Non-Device Request"] == "No"
    assert device == (REQUESTS[name].request_id.target == DEVICE)


@pytest.mark.parametrize("name", BODIES)
def test_a_requests_body_is_read_to_the_same_values(name, parsed):
    assert parsed[name]["body"] == BODIES[name]


@pytest.mark.parametrize("name", ["11.3 CV5", "11.3 CV5 dated"])
def test_a_signed_pre_command_is_read_to_the_same_octets(name, parsed):
    body = parsed[name]["body"]["SignedPreCommand"]
    assert base64.b64decode(body["GBCSPayload"]) == REQUESTS[name].body.payload
    assert body.get("ExecutionDateTime") == (_THEN if "dated" in name else None)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_responses_header_is_read_to_the_same_values(name, parsed):
    response, header = RESPONSES[name], parsed[name]["header"]
    assert header["type"] == "response"
    assert header.get("requestId") == split(response.request_id)
    assert header.get("responseId") == split(response.response_id)
    assert (header["responseCode"], header["responseDateTime"]) == (response.code, "2026-11-22T10:00:00.25Z")


@pytest.mark.parametrize("name", RESPONSES)
def test_a_responses_body_is_read_to_the_same_values(name, parsed):
    body = etree.fromstring(write(RESPONSES[name])).find(f"{{{SR}}}Body")
    assert parsed[name]["body"] == as_json(body)


def as_json(element):
    """The element as the parser lays it out: an object of its children, or its text."""
    if not len(element):
        return element.text or ""
    return {etree.QName(child).localname: as_json(child) for child in element}


def test_nothing_was_left_out(parsed):
    assert set(parsed) == set(MESSAGES)
    assert set(BODIES) | {"11.3 CV5", "11.3 CV5 dated"} == set(REQUESTS)
    assert all(isinstance(message, Request) for message in REQUESTS.values())
    assert CANCEL.isoformat().startswith(_NEVER[:10])
