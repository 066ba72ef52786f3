"""Responses of every kind: acknowledgements, Service Responses, Device Alerts and DCC Alerts (DUIS XSD 5.4 Response).

An I0 says that DCC got an answer, not that the device did what it was told: that stands in the GBCS payload.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from hanwave.duis._elements import Unrecognised
from hanwave.duis._grammar import Alone, Sequence, duis
from hanwave.duis._kinds import (
    ALERT_CODE,
    ANY_TEXT,
    BASE64,
    DEVICES,
    REQUEST_ID,
    TIME,
    UNSIGNED_INT,
    integer,
    text,
)
from hanwave.duis.alerts import DCCAlertMessage
from hanwave.duis.inventory import Inventory
from hanwave.identifiers import EUI64, RequestID

_REFERENCE = text(1, 10)
_UNSIGNED_SHORT = integer(0, 2**16 - 1)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A ResponseMessage with nothing in it: the code says it all."""


@dataclass(frozen=True, slots=True)
class UpdateFirmwareWarning:
    """W110101: the devices of an 11.1 that DCC left out, and why; it goes ahead with the others."""

    invalid: tuple[EUI64, ...] | None = None
    not_commissioned: tuple[EUI64, ...] | None = None
    not_applicable: tuple[EUI64, ...] | None = None
    other_request_in_progress: tuple[EUI64, ...] | None = None
    invalid_gbcs_version: tuple[EUI64, ...] | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.maybe("InvalidDeviceIDList", "invalid", DEVICES),
        duis.maybe("NotCommissionedDeviceIDList", "not_commissioned", DEVICES),
        duis.maybe("NotApplicableFirmwareDeviceIDList", "not_applicable", DEVICES),
        duis.maybe("OtherRequestInProgressList", "other_request_in_progress", DEVICES),
        duis.maybe("InvalidGBCSVersionList", "invalid_gbcs_version", DEVICES),
    )


@dataclass(frozen=True, slots=True)
class UpdatePPMIDFirmwareWarning(UpdateFirmwareWarning):
    """W110401: the same for an 11.4."""


@dataclass(frozen=True, slots=True)
class PreCommand:
    """The answer of the Transform Service: GBCS octets to be compared with one's own, then signed."""

    gbcs_version: str
    payload: bytes

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("GBCSVersion", "gbcs_version", ANY_TEXT),
        duis.one("GBCSPayload", "payload", BASE64),
    )


@dataclass(frozen=True, slots=True)
class GBCSPayload:
    """A device's response, as GBCS octets."""

    payload: bytes

    XML: ClassVar[Alone] = duis.alone("payload", BASE64)


@dataclass(frozen=True, slots=True)
class FutureDatedDeviceAlert:
    """The outcome of a future-dated command: alert_code 8F66 (done) or 8F67 (not), instruction of total."""

    alert_code: str
    payload: bytes
    instruction: int
    total: int

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("FutureDatedAlertCode", "alert_code", ALERT_CODE),
        duis.one("GBCSPayload", "payload", BASE64),
        duis.one("InstructionNumber", "instruction", _UNSIGNED_SHORT),
        duis.one("TotalCommandInstructions", "total", _UNSIGNED_SHORT),
    )


ResponseContent = (
    Acknowledgement
    | UpdateFirmwareWarning
    | UpdatePPMIDFirmwareWarning
    | PreCommand
    | GBCSPayload
    | FutureDatedDeviceAlert
    | Inventory
    | Unrecognised
)

_CONTENTS: Mapping[str, type[Any]] = {
    "DSPInventory": Inventory,
    "DSPUpdateFirmwareWarning": UpdateFirmwareWarning,
    "DSPUpdatePPMIDFirmwareWarning": UpdatePPMIDFirmwareWarning,
    "FutureDatedDeviceAlertMessage": FutureDatedDeviceAlert,
    "GBCSPayload": GBCSPayload,
    "PreCommand": PreCommand,
}


@dataclass(frozen=True, slots=True)
class ResponseMessage:
    """The answer to a Service Request; variant is the Service Reference Variant: the reference if not given."""

    service_reference: str
    content: ResponseContent
    variant: str | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("ServiceReference", "service_reference", _REFERENCE),
        duis.one("ServiceReferenceVariant", "variant", _REFERENCE),
        duis.chosen("content", _CONTENTS, absent=Acknowledgement()),
    )

    def __post_init__(self) -> None:
        """Take the reference for the variant, as every service of hanwave's has it."""
        if self.variant is None:
            object.__setattr__(self, "variant", self.service_reference)


@dataclass(frozen=True, slots=True)
class DeviceAlertMessage:
    """An alert that a device sent: its code in upper-case hexadecimal, and the GBCS octets."""

    alert_code: str
    payload: bytes
    throttled_sequence: int | None = None
    throttled_count: int | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("AlertCode", "alert_code", ALERT_CODE),
        duis.maybe("ThrottledAlertSequenceId", "throttled_sequence", UNSIGNED_INT),
        duis.maybe("ThrottledAlertCount", "throttled_count", UNSIGNED_INT),
        duis.one("GBCSPayload", "payload", BASE64),
    )


ResponseBody = ResponseMessage | DeviceAlertMessage | DCCAlertMessage | Unrecognised

_BODIES: Mapping[str, type[Any]] = {b.__name__: b for b in (ResponseMessage, DeviceAlertMessage, DCCAlertMessage)}


@dataclass(frozen=True, slots=True)
class Response:
    """What DCC sends (DUIS XSD 5.4 Response). code may be one that the schema does not list: see duis.codes."""

    code: str
    at: datetime
    body: ResponseBody
    request_id: RequestID | None = None
    response_id: RequestID | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.group(
            "Header",
            duis.maybe("RequestID", "request_id", REQUEST_ID),
            duis.maybe("ResponseID", "response_id", REQUEST_ID),
            duis.one("ResponseCode", "code", text(1, 20)),
            duis.one("ResponseDateTime", "at", TIME),
        ),
        duis.one("Body", "body", duis.holder(_BODIES)),
    )
