"""Messages of devices as DCC's Parse and Correlate software decodes them (MMC XSD 5.4, ra:GBCSResponse).

They are files that people hold, not what the gateway sends: those about firmware are typed, others Unrecognised.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hanwave.duis._elements import Unrecognised
from hanwave.duis._grammar import Alone, Sequence, mmc
from hanwave.duis._kinds import ALERT_CODE, ANY_TEXT, BOOLEAN, EUI, HEX, TIME, integer, text
from hanwave.identifiers import EUI64, MAX_COUNTER

_COUNTER = integer(0, MAX_COUNTER)
_SUCCESS = {"MessageSuccess": ("message_success", BOOLEAN)}


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """A time by a device's clock, and what the device says of that clock."""

    at: datetime
    from_gsme: bool | None = None
    clock_status: str | None = None

    XML: ClassVar[Alone] = mmc.alone(
        "at", TIME, {"isFromGSME": ("from_gsme", BOOLEAN), "ClockStatus": ("clock_status", text(0, 25))}
    )


@dataclass(frozen=True, slots=True)
class ActivationStatus:
    """How an activation ended: success, noImageHeld, hashMismatch, activationFailure ...; code 0 is success."""

    status: str
    code: int | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.one("ASN1Status", "status", text(1, 100)), attributes={"ResponseCode": ("code", integer(0, 2**31))}
    )


@dataclass(frozen=True, slots=True)
class ActivateFirmwareRsp:
    """The device's answer to an 11.3; without a status it only accepted a future-dated command."""

    status: ActivationStatus | None = None
    firmware_version: str | None = None
    message_success: bool | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.maybe("ActivateImageResponseCode", "status", ActivationStatus),
        mmc.maybe("FirmwareVersion", "firmware_version", text(1, 8)),
        attributes=_SUCCESS,
    )


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersionRsp:
    """The device's answer to an 11.2."""

    firmware_version: str | None = None
    message_success: bool | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.maybe("FirmwareVersion", "firmware_version", ANY_TEXT), attributes=_SUCCESS
    )


@dataclass(frozen=True, slots=True)
class DecodedResponse:
    """A device's response to a command."""

    data: ActivateFirmwareRsp | ReadFirmwareVersionRsp | Unrecognised | None = None
    gbcs_data: tuple[Unrecognised, ...] = ()
    debug: Unrecognised | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.many("GBCSData", "gbcs_data", mmc.raw(), 0, 100),
        mmc.maybe(
            "SMETSData", "data", mmc.holder({k.__name__: k for k in (ActivateFirmwareRsp, ReadFirmwareVersionRsp)})
        ),
        mmc.maybe("DebugInfo", "debug", mmc.raw()),
    )


@dataclass(frozen=True, slots=True)
class FirmwareVerificationDeviceAlert:
    """8F72 and 8F1C: the hash of the Manufacturer Image that the device verified."""

    image_hash: bytes | None = None

    XML: ClassVar[Sequence] = mmc.sequence(mmc.maybe("ManufacturerImageHash", "image_hash", HEX))


@dataclass(frozen=True, slots=True)
class FirmwareActivationDeviceAlert:
    """8F66 and 8F67: how a future-dated activation ended."""

    at: datetime | None = None
    command_counter: int | None = None
    status: ActivationStatus | None = None
    firmware_version: str | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.maybe("ExecutionDateTime", "at", TIME),
        mmc.maybe("OriginatorCounterFromCommand", "command_counter", _COUNTER),
        mmc.maybe("ActivateImageResponseCode", "status", ActivationStatus),
        mmc.maybe("FirmwareVersion", "firmware_version", text(1, 8)),
    )


@dataclass(frozen=True, slots=True)
class FutureDatedCommandOutcome:
    """How a future-dated command ended; of those, hanwave knows the activation of firmware."""

    outcome: FirmwareActivationDeviceAlert | Unrecognised

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.chosen("outcome", {"FirmwareActivationDeviceAlert": FirmwareActivationDeviceAlert})
    )


@dataclass(frozen=True, slots=True)
class DeviceAlertContent:
    """What a device's alert says."""

    description: str
    at: DeviceTime
    alert_code: str | None = None
    payload: FirmwareVerificationDeviceAlert | FutureDatedCommandOutcome | Unrecognised | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.maybe("GBCSHexAlertCode", "alert_code", ALERT_CODE),
        mmc.one("AlertDescription", "description", text(0, 250)),
        mmc.one("Timestamp", "at", DeviceTime),
        mmc.maybe(
            "Payload",
            "payload",
            mmc.holder(
                {
                    "FirmwareVerificationDeviceAlert": FirmwareVerificationDeviceAlert,
                    "FutureDatedCommandOutcomeDeviceAlert": FutureDatedCommandOutcome,
                }
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class DecodedAlert:
    """A device's alert."""

    content: DeviceAlertContent | None = None
    gbcs_data: tuple[Unrecognised, ...] = ()

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.many("GBCSData", "gbcs_data", mmc.raw(), 0, 100),
        mmc.maybe("DeviceAlertContent", "content", DeviceAlertContent),
    )


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A decoded GBCS message: who sent it to whom, and what it says."""

    originator: EUI64
    target: EUI64
    counter: int
    body: DecodedResponse | DecodedAlert | Unrecognised
    supplementary_party: EUI64 | None = None
    supplementary_party_counter: int | None = None
    supplementary_counter: int | None = None
    message_code: str | None = None
    service_reference: str | None = None
    variant: str | None = None
    at: DeviceTime | None = None

    XML: ClassVar[Sequence] = mmc.sequence(
        mmc.group(
            "Header",
            mmc.one("BusinessOriginatorID", "originator", EUI),
            mmc.one("BusinessTargetID", "target", EUI),
            mmc.one("OriginatorCounter", "counter", _COUNTER),
            mmc.maybe("SupplementaryRemotePartyID", "supplementary_party", EUI),
            mmc.maybe("SupplementaryRemotePartyCounter", "supplementary_party_counter", _COUNTER),
            mmc.maybe("SupplementaryOriginatorCounter", "supplementary_counter", _COUNTER),
            mmc.maybe("GBCSHexadecimalMessageCode", "message_code", ALERT_CODE),
            mmc.maybe("ServiceReference", "service_reference", text(1, 10)),
            mmc.maybe("ServiceReferenceVariant", "variant", text(1, 10)),
            mmc.maybe("Timestamp", "at", DeviceTime),
        ),
        mmc.one("Body", "body", mmc.holder({"ResponseMessage": DecodedResponse, "DeviceAlertMessage": DecodedAlert})),
    )
