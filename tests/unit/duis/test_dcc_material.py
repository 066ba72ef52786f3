"""DCC's own schema, examples and templates, beside the checkout; skipped where they are not."""

import pytest
from hypothesis import given, settings
from lxml import etree

from hanwave.duis import (
    MAX_REQUEST_BYTES,
    DecodedMessage,
    Request,
    Unrecognised,
    UpdateFirmware,
    codes,
    examine,
    read,
    sign,
    write,
)
from hanwave.duis.codes import AlertTable, CodeTable
from hanwave.identifiers import EUI64, RequestID
from tests.support.dcc_material import ABSENT, DOMAIN, MESSAGES, assert_valid
from tests.unit.duis import strategies
from tests.unit.duis.conftest import ACB, AT, PATIENT, SUPPLIER

pytestmark = pytest.mark.dcc

XS = "{http://www.w3.org/2001/XMLSchema}"

if not MESSAGES:
    pytest.skip(ABSENT, allow_module_level=True)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_every_example_and_template_is_read(path):
    envelope = examine(path.read_bytes())
    message = envelope.message
    assert not isinstance(message.body, Unrecognised)
    assert not isinstance(getattr(message.body, "alert", None), Unrecognised)
    assert not isinstance(getattr(message.body, "content", None), Unrecognised)
    assert examine(write(message)).message == message
    if not isinstance(message, DecodedMessage):
        assert_valid(write(message))


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_signed_or_not_the_templates_hold_what_the_xml_says(path):
    root = etree.fromstring(path.read_bytes())
    message = examine(path.read_bytes()).message
    identifier = root.findtext(".//{*}Header/{*}RequestID")
    expected = getattr(message, "request_id", None)
    assert (identifier or "None") == str(expected)


def _known(message):
    """Whether the schema knows every element: what is Unrecognised here is our own invention, and so are its codes."""
    return b"NewThing" not in write(message) and b"AnotherThing" not in write(message)


@settings(PATIENT, max_examples=200)
@given(request=strategies.requests().filter(_known))
def test_every_request_is_valid(request):
    assert_valid(write(request))


@settings(PATIENT, max_examples=200)
@given(response=strategies.responses.filter(_known))
def test_every_response_is_valid_but_for_codes_newer_than_the_schema(response):
    data = write(response)
    for new, old in ((b"E999999", b"E1"), (b"N1234", b"N1")):
        data = data.replace(new, old)
    if b"ANewValue" not in data:
        assert_valid(data)


def test_a_signed_request_of_fifty_thousand_devices_is_valid(supplier):
    devices = tuple(EUI64(n.to_bytes(8, "big")) for n in range(50_000))
    request = Request.of(RequestID(SUPPLIER, ACB, 2**64 - 1), UpdateFirmware(bytes(10_240_000), "0123ABCD", devices))
    data = sign(request, supplier.key, supplier.certificate, AT)
    assert_valid(data)
    assert read(data, MAX_REQUEST_BYTES) == request


def _enumeration(schema_root, name):
    (found,) = [e for e in schema_root.iter(f"{XS}simpleType") if e.get("name") == name]
    return {value.get("value") for value in found.iter(f"{XS}enumeration")}


def test_every_code_of_the_schema_is_in_the_tables():
    root = etree.parse(DOMAIN / "schema" / "duis-5.4.xsd").getroot()
    assert set(CodeTable.load().codes) == _enumeration(root, "ResponseCode")
    alerts = [e for e in root.iter(f"{XS}complexType") if e.get("name") == "DCCAlertMessage"]
    assert set(AlertTable.load().dcc) == {value.get("value") for value in alerts[0].iter(f"{XS}enumeration")}
    structures = {e.get("name") for e in root.iter(f"{XS}element")}
    assert {row.structure for row in AlertTable.load().dcc.values()} - {None} <= structures
    assert codes.classify("I0") in CodeTable.load().codes.values()
