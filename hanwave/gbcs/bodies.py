"""What the firmware messages say, as objects: the payloads of CS06, FDRA, CCS08, CS09 and the three version reads.

A device may answer with a number that hanwave does not know: it stays a plain number, and is no error. Firmware
versions are eight upper-case hexadecimal digits, as DUIS and the CPL write them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import TypeVar

from hanwave.gbcs.octets import GbcsError
from hanwave.identifiers import EUI64

_E = TypeVar("_E", bound=IntEnum)


class Cancel(Enum):
    """The execution time that withdraws a future-dated activation (GBCS: the last second of the year 9999)."""

    CANCEL = "99991231235959Z"


CANCEL = Cancel.CANCEL


class AlertCode(IntEnum):
    """The alerts about firmware that GBCS messages carry."""

    IMAGE_NOT_VERIFIED = 0x8F1C
    FUTURE_DATED_SUCCESS = 0x8F66
    FUTURE_DATED_FAILURE = 0x8F67
    IMAGE_VERIFIED = 0x8F72
    TRANSFER_FAILURE = 0x8F89
    TRANSFER_SUCCESS = 0x8F8A
    PPMID_ACTIVATION = 0x8F8B


class ActivateImageResponseCode(IntEnum):
    """What came of an activation (GBCS 11.5 ExecutionOutcome)."""

    SUCCESS = 0
    NO_IMAGE_HELD = 1
    HASH_MISMATCH = 2
    ACTIVATION_FAILURE = 3


class TransferResponseCode(IntEnum):
    """What came of the Communications Hub's transfer to the device (GBCS CCS08)."""

    SUCCESS = 0
    IMAGE_DISCARDED = 1
    HARDWARE_VERSION_MISMATCH = 2
    FILE_TRANSFER_FAILURE = 3


class ActivateImage(IntEnum):
    """What came of a PPMID's own activation (GBCS 11.9)."""

    SUCCESS = 0
    FAILURE = 1


class ReadResponseCode(IntEnum):
    """What came of reading a PPMID's or an HCALCS's version (GBCS 11.8)."""

    READ_SUCCESS = 0
    READ_FAILURE = 1


class DataAccessResult(IntEnum):
    """What came of a DLMS read (IEC 62056-5-3 Data-Access-Result)."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_GET_ABORTED = 15
    NO_LONG_GET_IN_PROGRESS = 16
    OTHER_REASON = 250


class ZclStatus(IntEnum):
    """What came of a ZigBee read (ZCL status enumerations)."""

    SUCCESS = 0x00
    FAILURE = 0x01
    NOT_AUTHORIZED = 0x7E
    MALFORMED_COMMAND = 0x80
    UNSUP_CLUSTER_COMMAND = 0x81
    UNSUP_GENERAL_COMMAND = 0x82
    INVALID_FIELD = 0x85
    UNSUPPORTED_ATTRIBUTE = 0x86
    INSUFFICIENT_SPACE = 0x89
    WRITE_ONLY = 0x8F
    TIMEOUT = 0x94
    HARDWARE_FAILURE = 0xC0
    SOFTWARE_FAILURE = 0xC1


def known(kind: type[_E], number: int) -> _E | int:
    """The member of kind with that number, or the number where there is none."""
    try:
        return kind(number)
    except ValueError:
        return number


@dataclass(frozen=True, slots=True)
class ActivateFirmware:
    """CS06: activate the image with this hash, now (None), at a time, or withdraw what was future-dated (CANCEL)."""

    image_hash: bytes
    counter: int
    at: datetime | Cancel | None = None


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """CS06: the device will act at the time that the command gave, and raise an alert then."""


@dataclass(frozen=True, slots=True)
class ExecutionOutcome:
    """CS06: what came of an activation, and the version that the device runs now."""

    code: ActivateImageResponseCode | int
    firmware_version: str

    @property
    def succeeded(self) -> bool:
        """Whether the device says that it activated the image."""
        return self.code == ActivateImageResponseCode.SUCCESS


@dataclass(frozen=True, slots=True)
class FutureDatedOutcome:
    """8F66 or 8F67: what came of a future-dated activation, and the counter of the command that asked for it."""

    alert_code: AlertCode | int
    at: datetime
    counter: int
    outcome: ExecutionOutcome


@dataclass(frozen=True, slots=True)
class ImageVerification:
    """FDRA, 8F72 or 8F1C: whether a distributed image has a good signature, and the hash that the device calculated."""

    alert_code: AlertCode | int
    at: datetime | None
    image_hash: bytes | None


@dataclass(frozen=True, slots=True)
class FirmwareTransfer:
    """CCS08, 8F8A or 8F89: what came of a Communications Hub's transfer to a device."""

    alert_code: AlertCode | int
    at: datetime
    device: EUI64
    firmware_version: str
    code: TransferResponseCode | int


@dataclass(frozen=True, slots=True)
class PpmidActivation:
    """CS09, 8F8B: what came of a PPMID's activation."""

    alert_code: AlertCode | int
    at: datetime
    firmware_version: str
    code: ActivateImage | int


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersion:
    """ECS52, GCS38 or CS08: which version does the device run."""


@dataclass(frozen=True, slots=True)
class FirmwareVersion:
    """ECS52, GCS38 or CS08: the version that the device runs; a failed ECS52 or GCS38 names none, CS08 one of zeros."""

    firmware_version: str | None
    status: ReadResponseCode | DataAccessResult | ZclStatus | int

    def __post_init__(self) -> None:
        """Refuse a success that names no version: it would be no evidence of anything."""
        if self.succeeded and self.firmware_version is None:
            raise GbcsError("a firmware version was read with success, but the answer holds none")

    @property
    def succeeded(self) -> bool:
        """Whether the version was read."""
        return self.status == 0


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """The payload of a message that hanwave does not read, whole."""

    content: bytes


Body = (
    ActivateFirmware
    | CommandAccepted
    | ExecutionOutcome
    | FutureDatedOutcome
    | ImageVerification
    | FirmwareTransfer
    | PpmidActivation
    | ReadFirmwareVersion
    | FirmwareVersion
    | Unrecognised
)
