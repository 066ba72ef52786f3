from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given

from hanwave.duis import (
    CANCEL,
    MAX_REQUEST_BYTES,
    Acknowledgement,
    ActivateFirmware,
    CommsHubAlert,
    DCCAlertMessage,
    DuisError,
    GBCSPayload,
    Inventory,
    MalformedMessage,
    PropertyFilter,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    Response,
    ResponseMessage,
    SignedPreCommand,
    Unrecognised,
    UpdateFirmware,
    UpdateFirmwareWarning,
    examine,
    read,
    read_decoded,
    write,
)
from hanwave.duis._parser import canonical, parse
from hanwave.duis.decoded import DecodedResponse
from hanwave.identifiers import EUI64, RequestID
from tests.unit.duis import strategies
from tests.unit.duis.conftest import PATIENT
from tests.unit.duis.strategies import RA, SR

pytestmark = pytest.mark.unit

SUPPLIER, DEVICE, ACB = (EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002"))
ID = RequestID(SUPPLIER, DEVICE, 1000)
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def request_xml(body, *, reference="11.2", header="", attributes=' schemaVersion="5.4"'):
    return (
        f'<sr:Request xmlns:sr="{SR}"{attributes}><sr:Header><sr:RequestID>{ID}</sr:RequestID>'
        f"<sr:CommandVariant>1</sr:CommandVariant><sr:ServiceReference>{reference}</sr:ServiceReference>"
        f"<sr:ServiceReferenceVariant>{reference}</sr:ServiceReferenceVariant>{header}</sr:Header>"
        f"<sr:Body>{body}</sr:Body></sr:Request>"
    ).encode()


def response_xml(body, *, code="I0", at="2026-11-22T10:00:00.000Z"):
    return (
        f'<sr:Response xmlns:sr="{SR}" schemaVersion="5.4"><sr:Header><sr:ResponseCode>{code}</sr:ResponseCode>'
        f"<sr:ResponseDateTime>{at}</sr:ResponseDateTime></sr:Header><sr:Body>{body}</sr:Body></sr:Response>"
    ).encode()


@PATIENT
@given(strategies.messages)
def test_what_is_written_is_read_back(message):
    assert read(write(message)) == message


@PATIENT
@given(strategies.messages)
def test_what_is_written_is_canonical(message):
    data = write(message)
    assert data.split(b"?>", 1)[1] == canonical(parse(data))


@PATIENT
@given(strategies.decoded_messages)
def test_decoded_messages_are_read_back(message):
    assert read_decoded(write(message)) == message


@PATIENT
@given(strategies.messages)
def test_examine_reads_what_read_reads(message):
    envelope = examine(write(message, "5.3"))
    assert (envelope.message, envelope.schema_version, envelope.claimed_signer) == (message, "5.3", None)


def test_a_request_has_the_bytes_that_dcc_wants():
    body = ActivateFirmware(bytes(31) + b"\xab", CANCEL)
    assert write(Request.of(ID, body)).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<sr:Request xmlns:sr="{SR}" schemaVersion="5.4">'
        "<sr:Header><sr:RequestID>90-B3-D5-1F-30-01-00-00:00-DB-12-34-56-78-90-A0:1000</sr:RequestID>"
        "<sr:CommandVariant>4</sr:CommandVariant><sr:ServiceReference>11.3</sr:ServiceReference>"
        "<sr:ServiceReferenceVariant>11.3</sr:ServiceReferenceVariant></sr:Header><sr:Body><sr:ActivateFirmware>"
        "<sr:ExecutionDateTime>3000-12-31T00:00:00.00Z</sr:ExecutionDateTime>"
        f"<sr:FirmwareHash>{'0' * 62}AB</sr:FirmwareHash></sr:ActivateFirmware></sr:Body></sr:Request>"
    )


@pytest.mark.parametrize(
    ("body", "reference", "variant"),
    [
        (ReadInventory(DEVICE), "8.2", 8),
        (UpdateFirmware(b"", "1", (DEVICE,)), "11.1", 8),
        (ReadFirmwareVersion(), "11.2", 1),
        (ActivateFirmware(bytes(32)), "11.3", 4),
        (SignedPreCommand(b""), "11.3", 5),
    ],
)
def test_a_body_knows_its_service(body, reference, variant):
    request = Request.of(ID, body)
    assert (request.service_reference, request.variant, request.command_variant) == (reference, reference, variant)


def test_a_pretty_printed_message_with_comments_reads_the_same():
    body = "\n  <!-- who -->\n  <sr:ReadFirmwareVersion>\n  </sr:ReadFirmwareVersion>\n"
    assert read(b"\xef\xbb\xbf" + request_xml(body)) == Request(ID, 1, "11.2", ReadFirmwareVersion())


def test_times_of_any_zone_are_utc_and_one_without_is_utc():
    for text in ("2026-11-22T11:00:00+01:00", " 2026-11-22T10:00:00Z\n", "2026-11-22T10:00:00.0000000"):
        assert read(response_xml("<sr:NewThing/>", at=text)).at == AT
    paris = AT.astimezone(timezone(timedelta(hours=1)))
    assert b"2026-11-22T10:00:00.00Z" in write(Response("I0", paris, ResponseMessage("11.1", Acknowledgement())))


def inventory_xml(commissioned):
    return response_xml(
        "<sr:ResponseMessage><sr:ServiceReference>8.2</sr:ServiceReference><sr:ServiceReferenceVariant>8.2"
        "</sr:ServiceReferenceVariant><sr:DSPInventory><sr:Device>"
        f"<sr:DeviceID>{DEVICE}</sr:DeviceID><sr:DeviceType>ESME</sr:DeviceType><sr:DeviceManufacturer>106C"
        "</sr:DeviceManufacturer><sr:DeviceModel>433100AC</sr:DeviceModel>"
        f"<sr:DateCommissioned>{commissioned}</sr:DateCommissioned>"
        "</sr:Device></sr:DSPInventory></sr:ResponseMessage>"
    )


@pytest.mark.parametrize("text", ["2025-12-28", "2025-12-28Z", " 2025-12-28+01:00\n", "2025-12-28-00:30"])
def test_a_date_has_a_zone_or_none(text):
    # DCC Boxed of DUIS 5.4 answers an 8.2 with 2025-12-28Z.
    (device,) = read(inventory_xml(text)).body.content.devices
    assert device.commissioned == date(2025, 12, 28)


@pytest.mark.parametrize("text", ["2025-02-30", "2025-12-28T00:00:00Z", "28-12-2025", "2025-12-28+1", ""])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(MalformedMessage, match="DateCommissioned"):
        read(inventory_xml(text))


def test_an_unknown_code_alert_and_value_are_kept():
    structure = (
        "<sr:DCCAlertMessage><sr:DCCAlertCode>N77</sr:DCCAlertCode><sr:DCCAlert><sr:CommsHubAlert>"
        f"<sr:CommsHubDeviceID>{DEVICE}</sr:CommsHubDeviceID><sr:AlertCode>8f89</sr:AlertCode><sr:FirmwareTransferAlert>"
        f"<sr:OtherDeviceID>{DEVICE}</sr:OtherDeviceID><sr:FirmwareVersion>1</sr:FirmwareVersion>"
        "<sr:TransferResponseCode>Melted</sr:TransferResponseCode></sr:FirmwareTransferAlert></sr:CommsHubAlert>"
        "</sr:DCCAlert></sr:DCCAlertMessage>"
    )
    response = read(response_xml(structure, code="E4711"))
    assert response.code == "E4711"
    assert isinstance(response.body, DCCAlertMessage)
    assert isinstance(response.body.alert, CommsHubAlert)
    assert response.body.alert.alert_code == "8F89"
    assert response.body.alert.transfer.result == "Melted"


def test_an_unknown_body_is_kept_whole():
    body = read(request_xml('<sr:TopUp a="1"><sr:X/> y</sr:TopUp>\n ', reference="2.2")).body
    assert body == Unrecognised("TopUp", f'<sr:TopUp xmlns:sr="{SR}" a="1"><sr:X></sr:X> y</sr:TopUp>'.encode())


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (Unrecognised("A", f'<sr:B xmlns:sr="{SR}"/>'.encode()), "not of an element A"),
        (Unrecognised("A", b"</sr:Body>"), "not well-formed"),
        (Unrecognised("A", b"<A/>"), "namespace"),
    ],
)
def test_raw_xml_that_is_not_one_element_of_its_name_is_not_written(raw, sentence):
    with pytest.raises(DuisError, match=sentence):
        write(Request(ID, 1, "2.2", raw))


def test_raw_parts_of_a_decoded_message_are_kept():
    inner = f'<ra:GBCSResponse xmlns:ra="{RA}" schemaVersion="5.4"><ra:Header>' + "".join(
        f"<ra:{name}>{value}</ra:{name}>"
        for name, value in (("BusinessOriginatorID", DEVICE), ("BusinessTargetID", SUPPLIER), ("OriginatorCounter", 7))
    )
    data = (
        f"{inner}</ra:Header><ra:Body><ra:ResponseMessage><ra:GBCSData>x</ra:GBCSData><ra:DebugInfo><ra:Y/>"
        "</ra:DebugInfo></ra:ResponseMessage></ra:Body></ra:GBCSResponse>"
    ).encode()
    message = read_decoded(data)
    assert isinstance(message.body, DecodedResponse)
    assert (message.body.gbcs_data[0].name, message.body.debug.name) == ("GBCSData", "DebugInfo")
    assert read_decoded(write(message)) == message
    wrong = DecodedResponse(debug=message.body.gbcs_data[0])
    with pytest.raises(DuisError, match="should be DebugInfo"):
        write(type(message)(DEVICE, SUPPLIER, 7, wrong))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (request_xml(""), "Body is empty"),
        (request_xml("<sr:ReadFirmwareVersion/><sr:ReadFirmwareVersion/>"), "twice"),
        (request_xml("<sr:ReadFirmwareVersion/>", header="<sr:CommandVariant>1</sr:CommandVariant>"), "twice"),
        (request_xml("<sr:ReadFirmwareVersion/>", header="<sr:FirstInSequence>1</sr:FirstInSequence>"), "no place"),
        (request_xml("<sr:ReadFirmwareVersion/>").replace(b"CommandVariant", b"Wrong"), "no CommandVariant"),
        (request_xml("<sr:ReadFirmwareVersion/>").replace(b"sr:Header", b"sr:Head"), "no Header"),
        (request_xml("<sr:ReadFirmwareVersion/>", attributes=""), "schemaVersion is ''"),
        (request_xml("<sr:ReadFirmwareVersion/>", attributes=' schemaVersion="five"'), "schemaVersion is 'five'"),
        (request_xml("<sr:ReadFirmwareVersion/>", attributes=' schemaVersion="5.4" a="1"'), "attribute 'a'"),
        (request_xml('<sr:ReadFirmwareVersion a="1"/>'), "attribute 'a'"),
        (request_xml("<sr:ReadFirmwareVersion>x</sr:ReadFirmwareVersion>"), "text between"),
        (request_xml("<sr:ReadFirmwareVersion/>x"), "text between"),
        (request_xml("<sr:ReadFirmwareVersion/>", reference="<sr:X/>"), "holds elements"),
        (request_xml("<sr:ReadFirmwareVersion/>", reference="11.1"), "belongs to service 11.2"),
        (request_xml("<sr:ReadInventory/>", reference="8.2"), "this has 0"),
        (request_xml('<x:A xmlns:x="urn:x"/>'), "namespace 'urn:x'"),
        (request_xml("<sr:ReadFirmwareVersion/>").replace(SR.encode(), b"urn:x"), "namespace 'urn:x'"),
        (request_xml("<sr:ReadFirmwareVersion/>").replace(b"sr:Request ", b"sr:S1SPAlert ")
         .replace(b"sr:Request>", b"sr:S1SPAlert>"), "S1SPAlert, not a Request"),
        (response_xml("<sr:DSPInventory/>", at="yesterday"), "holds 'yesterday'"),
        (response_xml("<sr:A/>", at="2026-13-22T10:00:00Z"), "ResponseDateTime"),
        (response_xml("<sr:A/>", at="0001-01-01T00:00:00+14:00"), "ResponseDateTime"),
        (response_xml("<sr:DCCAlertMessage><sr:DCCAlertCode>N46</sr:DCCAlertCode><sr:DCCAlert><sr:QuarantinedRequest/>"
                      "</sr:DCCAlert></sr:DCCAlertMessage>"), "QuarantinedRequest is empty"),
        (response_xml("<sr:ResponseMessage><sr:ServiceReference>8.2</sr:ServiceReference><sr:ServiceReferenceVariant>8.2"
                      "</sr:ServiceReferenceVariant><sr:DSPInventory/></sr:ResponseMessage>"), "there are 0 Device"),
    ],
)  # fmt: skip
def test_a_message_of_another_structure_is_refused(data, sentence):
    with pytest.raises(MalformedMessage, match=sentence):
        read(data)


@pytest.mark.parametrize(
    ("element", "wrong"),
    [
        ("FirmwareHash", "AB"),
        ("FirmwareHash", "GG" * 32),
        ("ExecutionDateTime", "2026-W47-1"),
        ("FirmwareHash", ""),
    ],
)
def test_a_value_that_the_schema_refuses_is_refused(element, wrong):
    parts = {"ExecutionDateTime": "2030-01-01T00:00:00Z", "FirmwareHash": "00" * 32} | {element: wrong}
    body = "".join(f"<sr:{name}>{value}</sr:{name}>" for name, value in parts.items())
    with pytest.raises(MalformedMessage, match=element):
        read(request_xml(f"<sr:ActivateFirmware>{body}</sr:ActivateFirmware>", reference="11.3"))


@pytest.mark.parametrize("flag", [("true", True), ("1", True), ("false", False), (" 0 ", False), ("yes", None)])
def test_a_boolean_has_four_spellings(flag):
    text, value = flag
    data = request_xml("<sr:ReadFirmwareVersion/>").replace(
        b"<sr:CommandVariant>", f"<sr:FirstInSequence>{text}</sr:FirstInSequence><sr:CommandVariant>".encode()
    )
    if value is None:
        with pytest.raises(MalformedMessage, match="true or false"):
            read(data)
    else:
        assert read(data).first_in_sequence is value


@pytest.mark.parametrize(
    "message",
    [
        Request.of(ID, UpdateFirmware(b"", "", (DEVICE,))),
        Request.of(ID, UpdateFirmware(b"", "123456789", (DEVICE,))),
        Request.of(ID, UpdateFirmware(bytes(10_240_001), "1", (DEVICE,))),
        Request.of(ID, UpdateFirmware(b"", "\0", (DEVICE,))),
        Request.of(ID, ActivateFirmware(b"short")),
        Request.of(ID, ReadFirmwareVersion(datetime(2026, 1, 1))),  # noqa: DTZ001
        Request.of(ID, ReadInventory(uprn=0)),
        Request(ID, 10, "11.2", ReadFirmwareVersion()),
        Request(ID, 1, "11.2", GBCSPayload(b"")),
        Response("I0", AT, ResponseMessage("8.2", Inventory(()))),
        Response("I0", AT, ResponseMessage("11.1", UpdateFirmwareWarning(invalid=()))),
    ],
)
def test_what_the_schema_takes_not_is_not_written(message):
    with pytest.raises(DuisError):
        write(message)


def test_a_decoded_message_is_of_its_own_namespace_and_name():
    with pytest.raises(MalformedMessage, match="namespace"):
        read_decoded(request_xml("<sr:ReadFirmwareVersion/>"))
    with pytest.raises(MalformedMessage, match="not a GBCSResponse"):
        read_decoded(f'<ra:Other xmlns:ra="{RA}"/>'.encode())


def test_a_signature_alone_is_no_message():
    signature = '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>\n'
    with pytest.raises(MalformedMessage, match="no Header"):
        read(f'<sr:Request xmlns:sr="{SR}" schemaVersion="5.4">{signature}</sr:Request>'.encode())


@pytest.mark.parametrize("devices", ["", f"{DEVICE},", f"{DEVICE}, {ACB}", "0-" * 11 + "0", f"{DEVICE}"[:-2] + "  "])
def test_a_device_list_has_one_form(devices):
    parts = {"FirmwareImage": "", "FirmwareVersion": "1", "DeviceIDList": devices}
    body = "".join(f"<sr:{name}>{value}</sr:{name}>" for name, value in parts.items())
    with pytest.raises(MalformedMessage, match="DeviceIDList"):
        read(request_xml(f"<sr:UpdateFirmware>{body}</sr:UpdateFirmware>", reference="11.1"))


def test_a_schema_version_is_a_number():
    with pytest.raises(DuisError, match=r"^the schema version .* should be a number"):
        write(Request.of(ID, ReadFirmwareVersion()), "5.4\" x='")


def test_errors_show_no_customer():
    for inventory in (ReadInventory(mpxn="1" * 14), ReadInventory(property_filter=PropertyFilter("AB1", "My House"))):
        with pytest.raises(DuisError) as refusal:
            write(Request.of(ID, inventory))
        assert "1" * 14 not in str(refusal.value)
        assert "AB1" not in str(refusal.value)
    with pytest.raises(MalformedMessage) as refusal:
        read(request_xml("<sr:ReadInventory><sr:MPxN>99999999999999</sr:MPxN></sr:ReadInventory>", reference="8.2"))
    assert "9999" not in str(refusal.value)


def test_devices_are_counted_without_duplicates():
    lower = EUI64.parse(str(DEVICE).lower())
    body = UpdateFirmware(b"", "1", (DEVICE, ACB, lower, DEVICE))
    assert (body.device_ids, body.duplicates) == ((DEVICE, ACB), 2)


def test_fifty_thousand_devices_and_not_one_more():
    devices = tuple(EUI64(n.to_bytes(8, "big")) for n in range(50_001))
    with pytest.raises(DuisError, match=r"^the request names 50001 devices; DUIS allows 1 to 50000$"):
        UpdateFirmware(b"", "1", devices)
    with pytest.raises(DuisError, match="names 0 devices"):
        UpdateFirmware(b"", "1", ())
    request = Request.of(ID, UpdateFirmware(b"x", "1", devices[1:] + devices[5:9]))
    assert request.body.duplicates == 4
    assert read(write(request), MAX_REQUEST_BYTES) == request


def test_an_image_of_the_largest_size_is_read_when_the_caller_allows_it():
    request = Request.of(ID, UpdateFirmware(bytes(10_240_000), "1", (DEVICE,)))
    data = write(request)
    assert read(data, MAX_REQUEST_BYTES) == request
    with pytest.raises(MalformedMessage, match="at most 2097152"):
        read(data)
