"""The DLMS payloads of an ESME or a Communications Hub: the version read (ECS52) and the FDRA alert.

The forms are fixed, so they are compared, not interpreted. The invoke id is written as GBCS has it (the counter's low
three octets) and skipped when read: it says nothing that the grouping header does not say.
"""

from hanwave.gbcs.bodies import (
    AlertCode,
    DataAccessResult,
    FirmwareVersion,
    ImageVerification,
    ReadFirmwareVersion,
    known,
)
from hanwave.gbcs.clock import decode_date_time, encode_date_time
from hanwave.gbcs.header import Header
from hanwave.gbcs.octets import Cursor, GbcsError
from hanwave.gbcs.values import HASH_LENGTH, check_hash, number_octets, octets_of_version, version_of_octets

# One get of attribute 2 of Data (class 1) at 0.0.0.2.1.255, the executing firmware's version.
_GET_VERSION = bytes.fromhex("00010100010000000201FF02" + "0100")
_OCTET_STRING, _NULL_DATA = 0x09, 0x00
_HASH = bytes([_OCTET_STRING, HASH_LENGTH])
_VERSION = bytes([_OCTET_STRING, 4])


def _invoke_id(header: Header) -> bytes:
    return b"\x20" + (header.counter & 0xFFFFFF).to_bytes(3, "big")


def _open(content: bytes, tag: bytes, what: str) -> Cursor:
    cursor = Cursor(content, what)
    cursor.expect(tag, "the tag")
    cursor.take(4, "the invoke id")
    return cursor


def read_version_command(content: bytes, _: Header) -> ReadFirmwareVersion:
    """The ECS52 command, an access request."""
    cursor = _open(content, b"\xd9", "an ECS52 command")
    cursor.expect(_GET_VERSION, "the access request")
    cursor.end()
    return ReadFirmwareVersion()


def write_version_command(_: ReadFirmwareVersion, header: Header) -> bytes:
    """The ECS52 command, an access request."""
    return b"\xd9" + _invoke_id(header) + _GET_VERSION


def read_version(content: bytes, _: Header) -> FirmwareVersion:
    """The ECS52 response, an access response: a version and success, or no data and the reason."""
    cursor = _open(content, b"\xda", "an ECS52 response")
    cursor.expect(bytes.fromhex("000001"), "the list of data")
    tag, version = cursor.number(1, "the tag of the data"), None
    if tag == _OCTET_STRING:
        cursor.expect(b"\x04", "the length of the firmware version")
        version = version_of_octets(cursor.take(4, "the firmware version"))
    elif tag != _NULL_DATA:
        raise GbcsError(f"the data of an ECS52 response should be an octet string or null, its tag is {tag:02X}")
    cursor.expect(bytes.fromhex("0101"), "the list of results")
    result = cursor.number(1, "the result")
    cursor.end()
    return FirmwareVersion(version, known(DataAccessResult, result))


def write_version(body: FirmwareVersion, header: Header) -> bytes:
    """The ECS52 response, an access response."""
    data = b"\0" if body.firmware_version is None else _VERSION + octets_of_version(body.firmware_version)
    head = b"\xda" + _invoke_id(header) + bytes.fromhex("000001")
    return head + data + bytes.fromhex("0101") + number_octets(body.status, 1, "a result")


def read_verification(content: bytes, _: Header) -> ImageVerification:
    """The FDRA alert of an ESME, a data notification; MMC allows one without the hash."""
    cursor = _open(content, b"\x0f", "an FDRA alert")
    cursor.expect(bytes.fromhex("0002"), "the structure")
    fields = cursor.number(1, "the number of fields")
    if fields not in (2, 3):
        raise GbcsError(f"an FDRA alert should have 2 or 3 fields, it has {fields}")
    cursor.expect(b"\x12", "the tag of the alert code")
    alert = known(AlertCode, cursor.number(2, "the alert code"))
    cursor.expect(bytes([_OCTET_STRING, 12]), "the tag of the time")
    at, image_hash = decode_date_time(cursor.take(12, "the time")), None
    if fields == 3:
        cursor.expect(_HASH, "the tag of the hash")
        image_hash = cursor.take(HASH_LENGTH, "the hash")
    cursor.end()
    return ImageVerification(alert, at, image_hash)


def write_verification(body: ImageVerification, header: Header) -> bytes:
    """The FDRA alert of an ESME, a data notification."""
    fields = [
        b"\x12" + number_octets(body.alert_code, 2, "an alert code"),
        bytes([_OCTET_STRING, 12]) + encode_date_time(body.at),
        *([] if body.image_hash is None else [_HASH + check_hash(body.image_hash)]),
    ]
    return b"\x0f" + _invoke_id(header) + bytes([0, 2, len(fields)]) + b"".join(fields)
