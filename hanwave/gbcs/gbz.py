"""The GBZ payloads of a GSME (ZigBee commands in GBCS's wrapper): the version read (GCS38) and the FDRA alert.

The forms are fixed, so they are compared, not interpreted. ZCL numbers inside a component are little-endian, the
wrapper's are big-endian.
"""

from hanwave.gbcs.bodies import AlertCode, FirmwareVersion, ImageVerification, ReadFirmwareVersion, ZclStatus, known
from hanwave.gbcs.clock import decode_utc_time, encode_utc_time
from hanwave.gbcs.header import Header
from hanwave.gbcs.octets import Cursor, GbcsError
from hanwave.gbcs.values import HASH_LENGTH, check_hash, number_octets, octets_of_version, version_of_octets

_PROFILE = bytes.fromhex("0109")
# One component, the last, for the metering cluster.
_COMPONENT = _PROFILE + bytes.fromhex("01010702")
_ATTRIBUTE = bytes.fromhex("0602")
_READ = bytes.fromhex("000000") + _ATTRIBUTE
_READ_RESPONSE = bytes.fromhex("080001") + _ATTRIBUTE
_DEFAULT_RESPONSE = bytes.fromhex("08000B00")
_VERSION = bytes.fromhex("4104")
_HASH = bytes([0x09, HASH_LENGTH])


def _component(octets: bytes) -> bytes:
    return _COMPONENT + number_octets(len(octets), 2, "a component's length") + octets


def _open(content: bytes, what: str) -> Cursor:
    """A cursor over the only component of a payload."""
    cursor = Cursor(content, what)
    cursor.expect(_COMPONENT, "the component's header")
    component = cursor.take(cursor.number(2, "the component's length"), "the component")
    cursor.end()
    return Cursor(component, what)


def read_version_command(content: bytes, _: Header) -> ReadFirmwareVersion:
    """The GCS38 command, a read of one attribute."""
    cursor = _open(content, "a GCS38 command")
    cursor.expect(_READ, "the read")
    cursor.end()
    return ReadFirmwareVersion()


def write_version_command(_: ReadFirmwareVersion, __: Header) -> bytes:
    """The GCS38 command, a read of one attribute."""
    return _component(_READ)


def read_version(content: bytes, _: Header) -> FirmwareVersion:
    """The GCS38 response: a version and success, or a status alone (of the attribute, or of the whole command)."""
    cursor = _open(content, "a GCS38 response")
    answer = _DEFAULT_RESPONSE if cursor.left == len(_DEFAULT_RESPONSE) + 1 else _READ_RESPONSE
    cursor.expect(answer, "the answer")
    status, version = known(ZclStatus, cursor.number(1, "the status")), None
    if status == ZclStatus.SUCCESS and answer == _READ_RESPONSE:
        cursor.expect(_VERSION, "the firmware version's type and length")
        version = version_of_octets(cursor.take(4, "the firmware version"))
    cursor.end()
    return FirmwareVersion(version, status)


def write_version(body: FirmwareVersion, _: Header) -> bytes:
    """The GCS38 response."""
    answer, version = _READ_RESPONSE + number_octets(body.status, 1, "a status"), body.firmware_version
    if version is None:
        return _component(answer)
    if not body.succeeded:
        raise GbcsError(
            f"a GCS38 response that failed (status {body.status}) holds no firmware version, this has {version}"
        )
    return _component(answer + _VERSION + octets_of_version(version))


def read_verification(content: bytes, _: Header) -> ImageVerification:
    """The FDRA alert of a GSME: one component with the hash, or none (MMC allows an alert without it)."""
    cursor = Cursor(content, "an FDRA alert")
    cursor.expect(_PROFILE, "the profile")
    components = cursor.number(1, "the number of components")
    if components > 1:
        raise GbcsError(f"an FDRA alert should have one component or none, it has {components}")
    alert = known(AlertCode, cursor.number(2, "the alert code"))
    at, image_hash = decode_utc_time(cursor.number(4, "the time")), None
    if components:
        cursor.expect(_HASH, "the tag of the hash")
        image_hash = cursor.take(HASH_LENGTH, "the hash")
    cursor.end()
    return ImageVerification(alert, at, image_hash)


def write_verification(body: ImageVerification, _: Header) -> bytes:
    """The FDRA alert of a GSME."""
    components = b"" if body.image_hash is None else _HASH + check_hash(body.image_hash)
    head = _PROFILE + bytes([bool(components)]) + number_octets(body.alert_code, 2, "an alert code")
    return head + number_octets(encode_utc_time(body.at), 4, "a time") + components
