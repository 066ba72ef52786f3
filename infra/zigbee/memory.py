"""What a simulated device keeps through a power cut, what it was made to be, and its own books.

The books are the device's side of the story: a test holds what hanwave claims against them.
"""

import struct
from dataclasses import dataclass, field
from enum import StrEnum

from hanwave.identifiers import EUI64
from infra.zigbee.frames import NO_VERSION, Profile, Status, UpgradeStatus

# The fixed part of an OTA header (ZCL 11.4.2), read here without the code under test.
_HEADER = struct.Struct("<IHHHHHIH32sI")
_HARDWARE = struct.Struct("<HH")
_MAGIC, _HEADER_VERSION = 0x0BEEF11E, 0x0100


class Failure(StrEnum):
    """What goes wrong on a device with one version of firmware."""

    REJECTED = "rejected"
    """Its verification fails: it ends the upgrade with INVALID_IMAGE."""
    KEPT_OLD = "kept_old"
    """It takes the image, restarts, and runs what it ran before."""
    SILENT = "silent"
    """It takes the image, restarts, and is never heard again."""


@dataclass(frozen=True, slots=True)
class Make:
    """What a device is. Codes are those of its OTA requests and of its Basic cluster."""

    model: str = "PPMID-SIM"
    manufacturer: str = "ACME HAN"
    manufacturer_code: int = 0x121D
    image_type: int = 0x0084
    hardware: int | None = 0x1111
    """What its Query Next Image tells; None: it tells none."""
    endpoint: int = 1
    profile: int = Profile.HOME_AUTOMATION
    is_mains: bool = True


@dataclass(slots=True)
class Memory:
    """What survives a power cut."""

    version: int
    image: bytearray = field(default_factory=bytearray)
    size: int = 0
    """Octets of the image that it fetches; 0: none."""
    next_version: int = 0
    downloaded_version: int = NO_VERSION
    status: UpgradeStatus = UpgradeStatus.NORMAL

    def begin(self, version: int, size: int) -> None:
        """Make room for an image; what is held of that same image is kept."""
        if (self.status, self.next_version, self.size) != (UpgradeStatus.DOWNLOADING, version, size):
            self.image, self.size, self.next_version = bytearray(), size, version
        self.status = UpgradeStatus.DOWNLOADING

    def discard(self) -> None:
        """Throw the image away."""
        self.image, self.size, self.next_version = bytearray(), 0, 0
        self.status, self.downloaded_version = UpgradeStatus.NORMAL, NO_VERSION


@dataclass(slots=True)
class Books:
    """What the device itself saw. Times are the loop's, in seconds."""

    blocks: int = 0
    """Blocks taken into the image, each octet of it once a download."""
    octets: int = 0
    offsets: list[int] = field(default_factory=list)
    """Each offset that it asked for, in order, repeats included."""
    retries: int = 0
    queries: int = 0
    notifies: int = 0
    waits: int = 0
    """How often it was told to wait for data."""
    aborts: int = 0
    discards: int = 0
    """How often it threw octets away that it had fetched."""
    ends: list[Status] = field(default_factory=list)
    """The status of each Upgrade End Request, repeats of one not counted."""
    boots: int = 0
    versions: list[tuple[float, int]] = field(default_factory=list)
    """Each version that it began to run, and when; the first is the one that it was made with."""
    last: str = ""
    """What happened last, in words."""


def judge(image: bytes, make: Make, eui: EUI64, version: int) -> Status:
    """How a device ends the upgrade: by what the image's header says of itself, as a client must (ZCL 11.11.4)."""
    if len(image) < _HEADER.size:
        return Status.INVALID_IMAGE
    magic, header_version, length, control, code, kind, file, _stack, _text, size = _HEADER.unpack_from(image)
    held = (magic, header_version, code, kind, file, size)
    if held != (_MAGIC, _HEADER_VERSION, make.manufacturer_code, make.image_type, version, len(image)):
        return Status.INVALID_IMAGE
    offset = _HEADER.size + (control & 1)
    if control & 2:
        if image[offset : offset + 8] != eui.octets[::-1]:
            return Status.NOT_AUTHORIZED
        offset += 8
    if control & 4:
        low, high = _HARDWARE.unpack_from(image, offset)
        if make.hardware is None or not low <= make.hardware <= high:
            return Status.INVALID_IMAGE
        offset += _HARDWARE.size
    return Status.SUCCESS if offset == length else Status.INVALID_IMAGE
