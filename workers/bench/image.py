"""An image as the bench sends it: its octets, its header, and the two hashes that must agree before any is sent.

Both forms are read by hanwave.firmware, whole and strictly; the session itself never looks past the header.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from hanwave.firmware.elements import ZigbeeImage
from hanwave.firmware.header import Header
from hanwave.firmware.image import Form, OtaImage


@dataclass(frozen=True, slots=True)
class BenchImage:
    """An image and what was approved; made by gb() or zigbee()."""

    data: bytes
    header: Header
    digest: bytes
    approved: bytes
    """The digest that a release or a person approved, 32 octets."""

    @property
    def version(self) -> int:
        """The file version that its header names."""
        return self.header.file_version.value

    @classmethod
    def gb(cls, data: bytes, form: Form, approved: bytes) -> Self:
        """An image as SR 11.1 or 11.4 carries it; approved is the Manufacturer Image Hash. Else ImageError."""
        image = OtaImage.read(data, form)
        return cls(data, image.header, image.hash, approved)

    @classmethod
    def zigbee(cls, data: bytes, approved: bytes) -> Self:
        """A plain ZigBee image of sub-elements; approved is the SHA-256 of the whole file. Else ImageError."""
        return cls(data, ZigbeeImage.read(data).header, hashlib.sha256(data).digest(), approved)
