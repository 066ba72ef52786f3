"""The ZigBee OTA header (ZigBee OTA 6.3.2), little-endian, to and from bytes.

What the header says of itself (its length, the field control bits, the total size) is not stored but derived, so a
Header cannot contradict itself, and reading one refuses bytes that do.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Self

from hanwave.firmware.errors import ImageError, TermError
from hanwave.firmware.terms import FirmwareVersion, HardwareRange, check_uint
from hanwave.identifiers import EUI64

FILE_IDENTIFIER = 0x0BEEF11E
HEADER_VERSION = 0x0100
ZIGBEE_PRO = 0x0002
MAX_IMAGE_SIZE = 10_240_000
"""Octets of a whole image: what SR 11.1 and 11.4 can carry (DUIS XSD 5.4 FirmwareImage)."""

HEADER_STRING_SIZE = 32
_FIXED = struct.Struct("<IHHHHHIH32sI")
_CREDENTIAL, _DESTINATION, _HARDWARE = struct.Struct("<B"), struct.Struct("<8s"), struct.Struct("<HH")


class FieldControl(IntFlag):
    """Which optional fields the header has."""

    SECURITY_CREDENTIAL = 0x0001
    DEVICE_SPECIFIC = 0x0002
    HARDWARE_VERSIONS = 0x0004


def mismatch(field: str, held: object, should: object) -> ImageError:
    """The refusal of one field of an image."""
    return ImageError(f"{field} holds {held}, it should be {should}")


def header_string(text: str) -> bytes:
    """The 32 octets of a header string: printable ASCII, filled up with NULs; else ImageError."""
    if len(text) > HEADER_STRING_SIZE or not (text.isascii() and (text.isprintable() or not text)):
        raise mismatch("the header string", repr(text[:60]), f"at most {HEADER_STRING_SIZE} printable ASCII characters")
    return text.encode().ljust(HEADER_STRING_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class Header:
    """An OTA header without its derived fields; the header string is its 32 octets as they stand."""

    manufacturer_code: int
    image_type: int
    file_version: FirmwareVersion
    header_string: bytes
    hardware: HardwareRange | None = None
    security_credential: int | None = None
    destination: EUI64 | None = None
    stack_version: int = ZIGBEE_PRO

    def __post_init__(self) -> None:
        """Refuse (ImageError) values that their fields cannot hold."""
        try:
            check_uint(self.manufacturer_code, 2, "the manufacturer code")
            check_uint(self.image_type, 2, "the image type")
            check_uint(self.stack_version, 2, "the ZigBee stack version")
            check_uint(self.security_credential or 0, 1, "the security credential version")
        except TermError as error:
            raise ImageError(str(error)) from error
        if len(self.header_string) != HEADER_STRING_SIZE:
            raise mismatch("the header string", f"{len(self.header_string)} octets", HEADER_STRING_SIZE)

    @property
    def field_control(self) -> FieldControl:
        """The bits of the optional fields that are present."""
        control = FieldControl(0)
        if self.security_credential is not None:
            control |= FieldControl.SECURITY_CREDENTIAL
        if self.destination is not None:
            control |= FieldControl.DEVICE_SPECIFIC
        if self.hardware is not None:
            control |= FieldControl.HARDWARE_VERSIONS
        return control

    @property
    def length(self) -> int:
        """The octets of the whole header, optional fields included."""
        return _length(self.field_control)

    @property
    def title(self) -> str:
        """The header string as a person reads it, without its filling; octets that are not ASCII stand escaped."""
        return self.header_string.rstrip(b"\0").decode("ascii", "backslashreplace")

    def pack(self, body_size: int) -> bytes:
        """The header's bytes, before a body of that many octets."""
        packed = _FIXED.pack(
            FILE_IDENTIFIER,
            HEADER_VERSION,
            self.length,
            self.field_control,
            self.manufacturer_code,
            self.image_type,
            self.file_version.value,
            self.stack_version,
            self.header_string,
            self.length + body_size,
        )
        if self.security_credential is not None:
            packed += _CREDENTIAL.pack(self.security_credential)
        if self.destination is not None:
            packed += _DESTINATION.pack(self.destination.octets[::-1])
        if self.hardware is not None:
            packed += _HARDWARE.pack(self.hardware.minimum, self.hardware.maximum)
        return packed

    @classmethod
    def read(cls, image: bytes) -> Self:
        """Read the header of a whole image, and hold its size against the image's; ImageError names the field."""
        if len(image) > MAX_IMAGE_SIZE:
            raise ImageError(f"the image has {len(image)} octets, it should have at most {MAX_IMAGE_SIZE}")
        if len(image) < _FIXED.size:
            raise ImageError(f"the image has {len(image)} octets, its header alone needs {_FIXED.size}")
        identifier, version, length, control, code, kind, file, stack, text, total = _FIXED.unpack_from(image)
        _check("the file identifier", identifier, FILE_IDENTIFIER, 8)
        _check("the OTA header version", version, HEADER_VERSION, 4)
        if control & ~0x0007:
            raise mismatch("the header field control", f"0x{control:04X}", "made of the bits 0x0001, 0x0002, 0x0004")
        present = FieldControl(control)
        if length != _length(present):
            raise mismatch("the header length", length, f"{_length(present)} by its field control 0x{control:04X}")
        if total != len(image):
            raise mismatch("the total image size", total, f"{len(image)}, the octets of the image")
        if total < length:
            raise ImageError(f"the image has {total} octets, its header alone needs {length}")
        credential, destination, hardware = _read_optional(image, present)
        return cls(code, kind, FirmwareVersion(file), text, hardware, credential, destination, stack)


def _length(control: FieldControl) -> int:
    return (
        _FIXED.size
        + (_CREDENTIAL.size if FieldControl.SECURITY_CREDENTIAL in control else 0)
        + (_DESTINATION.size if FieldControl.DEVICE_SPECIFIC in control else 0)
        + (_HARDWARE.size if FieldControl.HARDWARE_VERSIONS in control else 0)
    )


def _check(field: str, held: int, should: int, digits: int) -> None:
    if held != should:
        raise mismatch(field, f"0x{held:0{digits}X}", f"0x{should:0{digits}X}")


def _read_optional(image: bytes, present: FieldControl) -> tuple[int | None, EUI64 | None, HardwareRange | None]:
    credential = destination = hardware = None
    offset = _FIXED.size
    if FieldControl.SECURITY_CREDENTIAL in present:
        (credential,) = _CREDENTIAL.unpack_from(image, offset)
        offset += _CREDENTIAL.size
    if FieldControl.DEVICE_SPECIFIC in present:
        # ZigBee sends an IEEE address with its last octet first.
        destination = EUI64(image[offset : offset + _DESTINATION.size][::-1])
        offset += _DESTINATION.size
    if FieldControl.HARDWARE_VERSIONS in present:
        try:
            hardware = HardwareRange(*_HARDWARE.unpack_from(image, offset))
        except TermError as error:
            raise ImageError(str(error)) from error
    return credential, destination, hardware
