"""Service Requests of SR 8.2, 11.1, 11.2, 11.3 and 11.4, and Signed Pre-Commands (DUIS XSD 5.4).

A Request's reference and its body belong together: an 11.1 never holds the body of an 11.4. Requests of other services
are read whole, with their body as Unrecognised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Final, Self

from hanwave.duis._elements import Unrecognised
from hanwave.duis._grammar import Sequence, duis
from hanwave.duis._kinds import (
    BASE64,
    BOOLEAN,
    EUI,
    FIRMWARE_VERSION,
    HASH,
    MAX_DEVICES,
    REQUEST_ID,
    TIME,
    devices,
    integer,
    text,
)
from hanwave.duis.errors import DuisError
from hanwave.identifiers import EUI64, RequestID

CANCEL: Final = datetime(3000, 12, 31, tzinfo=UTC)
"""As the time of an 11.3 it cancels the device's future-dated activation (DCC template CANCELLATION)."""

MPXN = text(1, 13, private=True)
UPRN = integer(1, 10**12 - 1, private=True)


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """A property by postcode and house (DUIS XSD 5.4 PropertyFilter)."""

    postcode: str
    address: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("PostCode", "postcode", text(6, 8, private=True)),
        duis.one("AddressIdentifier", "address", text(0, 30, private=True)),
    )


@dataclass(frozen=True, slots=True)
class ReadInventory:
    """SR 8.2: the devices of one property, meter point or device; exactly one of the four is given."""

    device_id: EUI64 | None = None
    uprn: int | None = None
    mpxn: str | None = None
    property_filter: PropertyFilter | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.maybe("UPRN", "uprn", UPRN),
        duis.maybe("DeviceID", "device_id", EUI),
        duis.maybe("MPxN", "mpxn", MPXN),
        duis.maybe("PropertyFilter", "property_filter", PropertyFilter),
    )

    def __post_init__(self) -> None:
        """Refuse none, and more than one."""
        given = sum(v is not None for v in (self.device_id, self.uprn, self.mpxn, self.property_filter))
        if given != 1:
            raise DuisError(f"an 8.2 asks by one of UPRN, DeviceID, MPxN and PropertyFilter, this has {given}")


@dataclass(frozen=True, slots=True)
class UpdateFirmware:
    """SR 11.1: distribute an OTA Upgrade Image to ESMEs, GSMEs or HCALCSs.

    image: the whole OTA Upgrade Image; device_ids: 1 to 50,000 after duplicates are removed, `duplicates` of them.
    """

    image: bytes
    firmware_version: str
    device_ids: tuple[EUI64, ...]
    duplicates: int = field(init=False, compare=False, default=0)

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("FirmwareImage", "image", BASE64),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("DeviceIDList", "device_ids", devices(MAX_DEVICES)),
    )

    def __post_init__(self) -> None:
        """Remove duplicates, count them, and refuse none or too many devices."""
        # By octets: hashing bytes is many times faster than hashing the objects.
        distinct = tuple({device.octets: device for device in self.device_ids}.values())
        if not 1 <= len(distinct) <= MAX_DEVICES:
            raise DuisError(f"the request names {len(distinct)} devices; DUIS allows 1 to {MAX_DEVICES}")
        object.__setattr__(self, "duplicates", len(self.device_ids) - len(distinct))
        object.__setattr__(self, "device_ids", distinct)


@dataclass(frozen=True, slots=True)
class UpdatePPMIDFirmware(UpdateFirmware):
    """SR 11.4: distribute an image to PPMIDs, which activate it by themselves; else as UpdateFirmware."""


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersion:
    """SR 11.2: the version that a device runs; DCC holds the request until `at` when that is given."""

    at: datetime | None = None

    XML: ClassVar[Sequence] = duis.sequence(duis.maybe("ExecutionDateTime", "at", TIME))


@dataclass(frozen=True, slots=True)
class ActivateFirmware:
    """SR 11.3, Command Variant 4: ask for the pre-command that activates the held image of that hash.

    image_hash: SHA-256 of the Manufacturer Image, 32 octets; at: when the device should do it, CANCEL, or None for now.
    """

    image_hash: bytes
    at: datetime | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.maybe("ExecutionDateTime", "at", TIME),
        duis.one("FirmwareHash", "image_hash", HASH),
    )


@dataclass(frozen=True, slots=True)
class SignedPreCommand:
    """Command Variants 5 to 7: the pre-command with the supplier's GBCS signature, sent to the device.

    payload: GBCS octets from the grouping header to the signature; at: as in the request for the pre-command.
    """

    payload: bytes
    at: datetime | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.maybe("ExecutionDateTime", "at", TIME),
        duis.one("GBCSPayload", "payload", BASE64),
    )


RequestBody = (
    ReadInventory
    | UpdateFirmware
    | UpdatePPMIDFirmware
    | ReadFirmwareVersion
    | ActivateFirmware
    | SignedPreCommand
    | Unrecognised
)

_BODIES: Mapping[str, type[RequestBody]] = {
    body.__name__: body
    for body in (
        ReadInventory,
        UpdateFirmware,
        UpdatePPMIDFirmware,
        ReadFirmwareVersion,
        ActivateFirmware,
        SignedPreCommand,
    )
}

# Body -> Service Reference and the Command Variant in which a supplier sends it (DUIS request matrix).
_SERVICES: Mapping[type[RequestBody], tuple[str, int]] = {
    ReadInventory: ("8.2", 8),
    UpdateFirmware: ("11.1", 8),
    ReadFirmwareVersion: ("11.2", 1),
    ActivateFirmware: ("11.3", 4),
    UpdatePPMIDFirmware: ("11.4", 8),
}

_REFERENCE = text(1, 10)


@dataclass(frozen=True, slots=True)
class Request:
    """A Service Request (DUIS XSD 5.4 Request). variant is the Service Reference Variant: the reference if not given."""

    request_id: RequestID
    command_variant: int
    service_reference: str
    body: RequestBody
    variant: str | None = None
    first_in_sequence: bool | None = None
    preceding: RequestID | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.group(
            "Header",
            duis.one("RequestID", "request_id", REQUEST_ID),
            duis.maybe("FirstInSequence", "first_in_sequence", BOOLEAN),
            duis.maybe("PrecedingServiceRequestID", "preceding", REQUEST_ID),
            duis.one("CommandVariant", "command_variant", integer(1, 9)),
            duis.one("ServiceReference", "service_reference", _REFERENCE),
            duis.one("ServiceReferenceVariant", "variant", _REFERENCE),
        ),
        duis.one("Body", "body", duis.holder(_BODIES)),
    )

    def __post_init__(self) -> None:
        """Refuse a body that belongs to another service."""
        expected, _ = _SERVICES.get(type(self.body), (self.service_reference, 0))
        if expected != self.service_reference:
            raise DuisError(
                f"{type(self.body).__name__} belongs to service {expected}, the header says {self.service_reference}"
            )
        if self.variant is None:
            object.__setattr__(self, "variant", self.service_reference)

    @classmethod
    def of(cls, request_id: RequestID, body: RequestBody) -> Self:
        """The request as a supplier sends it: the reference and Command Variant that belong to the body.

        A SignedPreCommand is taken to be of 11.3, in Command Variant 5.
        """
        reference, command_variant = _SERVICES.get(type(body), ("11.3", 5))
        return cls(request_id, command_variant, reference, body)
