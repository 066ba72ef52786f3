"""The simple types of DUIS XSD 5.4: each reads its text strictly, and writes only what the schema takes.

White space around a value is dropped where the schema's type collapses it, and kept in strings.
"""

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from hanwave.identifiers import EUI64, RequestID

MAX_DEVICES = 50_000
"""The most devices of one request: DeviceIDList is at most 1,199,999 characters (DUIS XSD 5.4 UpdateFirmware)."""

MAX_IMAGE = 10_240_000
"""The largest FirmwareImage, octets (DUIS XSD 5.4 UpdateFirmware)."""

_SPACE = " \t\r\n"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_EUI = re.compile(r"(?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}", re.ASCII)
_REQUEST_ID = re.compile(rf"{_EUI.pattern}:{_EUI.pattern}:[0-9]{{1,20}}", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A simple type. parse and write raise ValueError (or HanwaveError); private values stand in no error."""

    should: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    private: bool = False


def _matched(pattern: re.Pattern[str], text: str) -> str:
    text = text.strip(_SPACE)
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def text(least: int, most: int, *, private: bool = False) -> Kind:
    """A string of least to most characters, kept as it stands."""

    def check(value: str) -> str:
        if not least <= len(value) <= most or _NOT_XML.search(value):
            raise ValueError
        return value

    def write(value: str) -> str:
        value = check(value)
        # The escapes of Canonical XML for text, so that what is written is already canonical.
        for character, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#xD;")):
            value = value.replace(character, escape)
        return value

    return Kind(f"{least} to {most} characters", check, write, private=private)


def integer(least: int, most: int, *, private: bool = False) -> Kind:
    """A decimal number without a sign."""

    def check(value: int) -> int:
        if not least <= value <= most:
            raise ValueError
        return value

    return Kind(
        f"a number from {least} to {most}",
        lambda raw: check(int(_matched(_INTEGER, raw))),
        lambda value: str(check(value)),
        private=private,
    )


def _parse_base64(raw: str) -> bytes:
    packed = raw.encode("ascii").translate(None, _SPACE.encode())
    octets = base64.b64decode(packed, validate=True)
    # b64decode takes padding bits that are not zero, and so two texts for one value; they stand in the last four.
    if len(packed) % 4 or base64.b64encode(octets[-(len(octets) % 3 or 3) :]) != packed[-4:]:
        raise ValueError
    return octets


def octets(most: int) -> Kind:
    """Base64 of at most that many octets; line breaks are tolerated, nothing else."""

    def check(value: bytes) -> bytes:
        if len(value) > most:
            raise ValueError
        return value

    return Kind(
        f"base64 of at most {most} octets",
        lambda raw: check(_parse_base64(raw)),
        lambda value: base64.b64encode(check(value)).decode("ascii"),
    )


def _parse_hex(raw: str) -> bytes:
    return bytes.fromhex(_matched(_HEX, raw))


def _write_hex(value: bytes) -> str:
    return value.hex().upper()


def _hash(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError
    return value


def _upper_hex(raw: str) -> str:
    return _matched(_HEX, raw).upper()


def open_enum(known: type[StrEnum]) -> Kind:
    """One of an enumeration, or a value that a later schema may add: kept as plain text, equal to no member."""
    plain = text(1, 100)

    def parse(raw: str) -> str:
        try:
            return known(raw)
        except ValueError:
            return str(plain.parse(raw))

    return Kind(plain.should, parse, plain.write)


def _parse_time(raw: str) -> datetime:
    found = _TIME.fullmatch(raw.strip(_SPACE))
    if not found:
        raise ValueError
    whole, fraction, zone = found.groups()
    # DUIS times are UTC; one without a zone is read so.
    moment = datetime.fromisoformat(whole + (zone or "Z"))
    try:
        return moment.astimezone(UTC) + timedelta(microseconds=int((fraction or "").ljust(6, "0")[:6]))
    except OverflowError as error:
        raise ValueError from error


def _parse_date(raw: str) -> date:
    found = _DATE.fullmatch(raw.strip(_SPACE))
    if not found:
        raise ValueError
    # DCC writes the zone (2025-12-28Z), as xs:date may; the day is the one that stands there.
    return date.fromisoformat(found[1])


def _write_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError
    value = value.astimezone(UTC)
    # Hundredths, as DUIS writes them; more digits only where dropping them would change the value.
    fraction = f"{value.microsecond:06d}"
    return f"{value.replace(microsecond=0, tzinfo=None).isoformat()}.{fraction[:2]}{fraction[2:].rstrip('0')}Z"


def _write_devices(values: Iterable[EUI64]) -> str:
    written = ",".join(map(str, values))
    if not written:
        raise ValueError
    return written


def devices(most: int) -> Kind:
    """EUI-64s joined by commas, at most that many."""

    def parse(raw: str) -> tuple[EUI64, ...]:
        # By slices: a regular expression over 50,000 EUI-64s needs 50 MB to remember where it might go back to.
        count, rest = divmod(len(raw) + 1, 24)
        hyphens = all(raw[at::24] == "-" * count for at in range(2, 21, 3))
        if rest or not 1 <= count <= most or not hyphens or raw[23::24] != "," * (count - 1):
            raise ValueError
        packed = bytes.fromhex(raw.replace("-", "").replace(",", ""))
        # fromhex passes over white space, which has no place here.
        if len(packed) != 8 * count:
            raise ValueError
        return tuple(EUI64(packed[i : i + 8]) for i in range(0, len(packed), 8))

    return Kind(f"1 to {most} EUI-64s joined by ',' without spaces", parse, _write_devices)


def _parse_bool(raw: str) -> bool:
    word = raw.strip(_SPACE)
    if word not in {"true", "1", "false", "0"}:
        raise ValueError
    return word in {"true", "1"}


def _write_bool(value: object) -> str:
    return "true" if value else "false"


EUI = Kind("an EUI-64 of 8 octets joined by '-'", lambda raw: EUI64.parse(_matched(_EUI, raw)), str)
# An alert or a warning has no bound of its own: the message's holds.
DEVICES = devices(10**6)
REQUEST_ID = Kind("originator:target:counter", lambda raw: RequestID.parse(_matched(_REQUEST_ID, raw)), str)
TIME = Kind("a time as YYYY-MM-DDThh:mm:ss.ffZ", _parse_time, _write_time)
DATE = Kind("a date as YYYY-MM-DD", _parse_date, date.isoformat)
BOOLEAN = Kind("true or false", _parse_bool, _write_bool)
HEX = Kind("octets in hexadecimal", _parse_hex, _write_hex)
HASH = Kind(
    "a SHA-256 hash in 64 hexadecimal digits",
    lambda raw: _hash(_parse_hex(raw)),
    lambda value: _write_hex(_hash(value)),
)
ALERT_CODE = Kind("an alert code in hexadecimal", _upper_hex, _upper_hex)
FIRMWARE_VERSION = text(1, 8)
UNSIGNED_INT = integer(0, 2**32 - 1)
ANY_TEXT = text(0, 10_000)
BASE64 = octets(MAX_IMAGE)
