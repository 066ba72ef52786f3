"""Plain ZigBee OTA images, made of sub-elements (ZigBee OTA 6.3.3): for the bench only.

GB's own images have no sub-elements and are never read by this module; nothing here verifies a ZigBee signature.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from hanwave.firmware.errors import ImageError, TermError
from hanwave.firmware.header import MAX_IMAGE_SIZE, Header
from hanwave.firmware.terms import check_uint

MAX_ELEMENTS = 1_000
"""Real images have one to four. The bound keeps 10 MB of empty elements from becoming 1.7 million objects."""

_ELEMENT = struct.Struct("<HI")


class Tag(IntEnum):
    """The sub-element tags that ZigBee gives a meaning; manufacturers use others, from 0xF000."""

    UPGRADE_IMAGE = 0x0000
    ECDSA_SIGNATURE_1 = 0x0001
    ECDSA_CERTIFICATE_1 = 0x0002
    INTEGRITY_CODE = 0x0003
    PICTURE_DATA = 0x0004
    ECDSA_SIGNATURE_2 = 0x0005
    ECDSA_CERTIFICATE_2 = 0x0006


@dataclass(frozen=True, slots=True)
class SubElement:
    """A tag (a Tag, or a manufacturer's own) and its data."""

    tag: int
    data: bytes

    def __post_init__(self) -> None:
        """Refuse (ImageError) a tag that two octets cannot hold."""
        try:
            check_uint(self.tag, 2, "the sub-element's tag")
        except TermError as error:
            raise ImageError(str(error)) from error

    def pack(self) -> bytes:
        """Tag, length, data."""
        return _ELEMENT.pack(self.tag, len(self.data)) + self.data


@dataclass(frozen=True, slots=True)
class ZigbeeImage:
    """A header and its sub-elements, in order; pack() and read() are each other's inverse."""

    header: Header
    elements: tuple[SubElement, ...]

    def __post_init__(self) -> None:
        """Refuse (ImageError) none or too many elements, and an image above the size that anything here carries."""
        if not 1 <= len(self.elements) <= MAX_ELEMENTS:
            raise ImageError(f"the image has {len(self.elements)} sub-elements, it should have 1 to {MAX_ELEMENTS}")
        size = self.header.length + sum(_ELEMENT.size + len(element.data) for element in self.elements)
        if size > MAX_IMAGE_SIZE:
            raise ImageError(f"the image has {size} octets, it should have at most {MAX_IMAGE_SIZE}")

    def pack(self) -> bytes:
        """The whole image."""
        body = b"".join(element.pack() for element in self.elements)
        return self.header.pack(len(body)) + body

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a whole image; its sub-elements must fill it to the last octet. ImageError names the field."""
        header = Header.read(data)
        return cls(header, tuple(_elements(data, header.length)))


def _elements(data: bytes, offset: int) -> Iterator[SubElement]:
    for number in range(1, MAX_ELEMENTS + 2):
        if offset == len(data):
            return
        if len(data) - offset < _ELEMENT.size:
            raise ImageError(f"sub-element {number} has {len(data) - offset} octets, its tag and length alone need 6")
        tag, length = _ELEMENT.unpack_from(data, offset)
        offset += _ELEMENT.size
        if length > len(data) - offset:
            raise ImageError(
                f"the length of sub-element {number} (tag 0x{tag:04X}) holds {length},"
                f" it should be at most the {len(data) - offset} octets that are left"
            )
        yield SubElement(tag, data[offset : offset + length])
        offset += length
