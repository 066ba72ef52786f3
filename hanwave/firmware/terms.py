"""The words that images, releases, the CPL and upgrade paths share: device types, versions, models, hardware.

A value of these types is always well formed. Numbers that the field writes in hexadecimal are read from exactly their
own number of digits, in either case and without a prefix, and printed in upper case: a short value is a mistake.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from hanwave.firmware.errors import TermError

_GBCS_VERSION = re.compile(r"(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


class DeviceType(StrEnum):
    """The device types of DUIS (XSD 5.4 DeviceType)."""

    ESME = "ESME"
    GSME = "GSME"
    GPF = "GPF"
    CHF = "CHF"
    HCALCS = "HCALCS"
    PPMID = "PPMID"
    IHD = "IHD"
    CAD = "CAD"


UPDATABLE = frozenset({DeviceType.ESME, DeviceType.GSME, DeviceType.HCALCS, DeviceType.PPMID})
"""The types whose firmware a supplier sends over the air, by SR 11.1 or 11.4 (SECMP0007)."""


class CplStatus(StrEnum):
    """The status of a CPL entry (DUIS XSD 5.4 CPLStatus and FirmwareVersionStatus)."""

    ACTIVE = "Active"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"


def read_octets(text: str, size: int) -> bytes:
    """Read size octets written as exactly 2 * size hexadecimal digits; else TermError."""
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        raise TermError(f"{text[:80]!r} should be {2 * size} hexadecimal digits")
    return bytes.fromhex(text)


def read_uint16(text: str) -> int:
    """Read a 16-bit number written as exactly four hexadecimal digits; else TermError."""
    return int.from_bytes(read_octets(text, 2), "big")


def check_uint(value: int, octets: int, what: str) -> None:
    """Refuse (TermError) a number that does not fit that many octets."""
    if not 0 <= value < 1 << (8 * octets):
        raise TermError(f"{what} holds {value}, it should be from 0 to 0x{'FF' * octets}")


def version_digits(text: str) -> str:
    """A firmware version as its eight upper-case digits: DUIS takes 1 to 8 characters, so leading zeros may be missing [I]."""
    return text.strip().upper().rjust(8, "0")


@dataclass(frozen=True, slots=True, order=True)
class FirmwareVersion:
    """The four octets that OTA headers, GBCS payloads, DUIS and the CPL call the firmware version.

    The order is numeric. GBCS fixes no order of its own, so it is used for one thing: to call an upgrade a downgrade.
    """

    value: int

    def __post_init__(self) -> None:
        """Refuse what four octets cannot hold."""
        check_uint(self.value, 4, "the firmware version")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read eight hexadecimal digits, as DUIS writes it: "0123ABCD"; else TermError."""
        return cls(int.from_bytes(read_octets(text, 4), "big"))

    def __str__(self) -> str:
        return f"{self.value:08X}"


@dataclass(frozen=True, slots=True, order=True)
class GbcsVersion:
    """A version of GBCS, ordered: "4.1"."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "major.minor"; else TermError."""
        match = _GBCS_VERSION.fullmatch(text)
        if not match:
            raise TermError(f"{text[:40]!r} should be a GBCS version such as '4.1'")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, order=True)
class Model:
    """The CPL's Manufacturer Identifier and Model Identifier, two octets each: prints as "121D/1111"."""

    manufacturer: int
    identifier: int

    def __post_init__(self) -> None:
        """Refuse what two octets cannot hold."""
        check_uint(self.manufacturer, 2, "the manufacturer identifier")
        check_uint(self.identifier, 2, "the model identifier")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "121D/1111"; else TermError."""
        manufacturer, slash, identifier = text.partition("/")
        if not slash:
            raise TermError(f"{text[:40]!r} should be a model such as '121D/1111', manufacturer/model")
        return cls(read_uint16(manufacturer), read_uint16(identifier))

    def __str__(self) -> str:
        return f"{self.manufacturer:04X}/{self.identifier:04X}"


@dataclass(frozen=True, slots=True, order=True)
class HardwareRange:
    """The hardware versions that an image is for, both ends included (ZigBee OTA 6.3.2): prints as "1111-1211"."""

    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        """Refuse ends that do not fit two octets, or are the wrong way round."""
        check_uint(self.minimum, 2, "the minimum hardware version")
        check_uint(self.maximum, 2, "the maximum hardware version")
        if self.minimum > self.maximum:
            raise TermError(
                f"the minimum hardware version holds 0x{self.minimum:04X},"
                f" it should not be above the maximum, 0x{self.maximum:04X}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "1111-1211"; else TermError."""
        minimum, dash, maximum = text.partition("-")
        if not dash:
            raise TermError(f"{text[:40]!r} should be a range of hardware versions such as '1111-1211'")
        return cls(read_uint16(minimum), read_uint16(maximum))

    def __contains__(self, hardware: int) -> bool:
        return self.minimum <= hardware <= self.maximum

    def __str__(self) -> str:
        return f"{self.minimum:04X}-{self.maximum:04X}"
