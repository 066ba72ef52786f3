"""DCC Alerts about firmware and about what a rollout must know (DUIS XSD 5.4 DCCAlert).

What an alert means is told by its structure, never by its N-code: the schema does not tie one to the other, and which
code carries which structure is mostly unverified. Codes are for the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from hanwave.duis._elements import Unrecognised
from hanwave.duis._grammar import Sequence, duis
from hanwave.duis._kinds import (
    ANY_TEXT,
    EUI,
    REQUEST_ID,
    TIME,
    UNSIGNED_INT,
    integer,
    text,
)
from hanwave.duis.firmware_alerts import (
    CommsHubAlert,
    CommsHubFirmwareActivation,
    CSPFirmwareDeliveryStatus,
    FirmwareDistributionFailure,
    FirmwareUpgradeRequested,
    FirmwareVersionMismatch,
    PPMIDAlert,
    SMETS1CHFirmwareNotification,
)
from hanwave.duis.requests import MPXN
from hanwave.identifiers import EUI64, RequestID


@dataclass(frozen=True, slots=True)
class DeviceSuspended:
    """The device's model left the Central Products List: commands are refused until that is mended."""

    XML: ClassVar[Sequence] = duis.sequence()


@dataclass(frozen=True, slots=True)
class DeviceRestored:
    """The device is back in the status that it had before it was suspended."""

    XML: ClassVar[Sequence] = duis.sequence()


@dataclass(frozen=True, slots=True)
class DeviceStatusChangeEvent:
    """A device changed its status in the Smart Metering Inventory."""

    device_id: EUI64
    change: DeviceSuspended | DeviceRestored | Unrecognised

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "device_id", EUI),
        duis.one(
            "DeviceStatusChange",
            "change",
            duis.holder({"DeviceSuspended": DeviceSuspended, "DeviceRestored": DeviceRestored}),
        ),
    )


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """A command could not be delivered, or its outcome never came."""

    request_id: RequestID
    device_id: EUI64
    schedule_id: int | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("CommandRequestID", "request_id", REQUEST_ID),
        duis.maybe("DSPScheduleID", "schedule_id", integer(0, 10**12)),
        duis.one("DeviceID", "device_id", EUI),
    )


@dataclass(frozen=True, slots=True)
class _Breach:
    request_id: RequestID
    event_ref: int

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("RequestID", "request_id", REQUEST_ID),
        duis.one("QuarantineEventRef", "event_ref", integer(0, 10**20 - 1)),
    )


class ADUserThresholdBreach(_Breach):
    """The supplier's own anomaly threshold was passed; event_ref names the quarantine to release or delete."""

    __slots__ = ()


class ADDCCThresholdBreach(_Breach):
    """DCC's anomaly threshold was passed."""

    __slots__ = ()


class ADAttributeLimitsBreach(_Breach):
    """An attribute of the request lies outside its limits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class QuarantinedRequest:
    """DCC holds a request back: someone may release it days later, or delete it."""

    breach: ADUserThresholdBreach | ADDCCThresholdBreach | ADAttributeLimitsBreach | Unrecognised

    XML: ClassVar[Sequence] = duis.sequence(
        duis.chosen(
            "breach", {b.__name__: b for b in (ADUserThresholdBreach, ADDCCThresholdBreach, ADAttributeLimitsBreach)}
        )
    )


@dataclass(frozen=True, slots=True)
class PowerOutageEvent:
    """The power at a Communications Hub was out for more than three minutes."""

    hub_id: EUI64
    started: datetime
    mpxn: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("CommsHubDeviceID", "hub_id", EUI),
        duis.one("StartDateTime", "started", TIME),
        duis.one("MPxN", "mpxn", MPXN),
    )


@dataclass(frozen=True, slots=True)
class DCCAlertVersionMismatch:
    """An alert that the user's DUIS version cannot carry."""

    alert_code: str
    device_id: EUI64 | None = None
    request_id: RequestID | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DCCAlertCode", "alert_code", ANY_TEXT),
        duis.maybe("DeviceID", "device_id", EUI),
        duis.maybe("RequestID", "request_id", REQUEST_ID),
    )


@dataclass(frozen=True, slots=True)
class ServiceResponseVersionMismatch:
    """A response that the user's DUIS version cannot carry."""

    request_id: RequestID
    service_reference: str
    variant: str
    request_version: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("RequestID", "request_id", REQUEST_ID),
        duis.one("ServiceReference", "service_reference", ANY_TEXT),
        duis.one("ServiceReferenceVariant", "variant", ANY_TEXT),
        duis.one("ServiceRequestDUISVersion", "request_version", ANY_TEXT),
    )


@dataclass(frozen=True, slots=True)
class DUISVersionMismatch:
    """DCC had something to say that the user's DUIS version cannot carry."""

    mismatch: DCCAlertVersionMismatch | ServiceResponseVersionMismatch | Unrecognised
    user_version: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.chosen("mismatch", {m.__name__: m for m in (DCCAlertVersionMismatch, ServiceResponseVersionMismatch)}),
        duis.one("ServiceUserDUISVersion", "user_version", ANY_TEXT),
    )


DCCAlert = (
    CommandFailure
    | CommsHubAlert
    | CommsHubFirmwareActivation
    | CSPFirmwareDeliveryStatus
    | DeviceStatusChangeEvent
    | DUISVersionMismatch
    | FirmwareDistributionFailure
    | FirmwareUpgradeRequested
    | FirmwareVersionMismatch
    | PowerOutageEvent
    | PPMIDAlert
    | QuarantinedRequest
    | SMETS1CHFirmwareNotification
    | Unrecognised
)

_ALERTS: Mapping[str, type[Any]] = {
    alert.__name__: alert
    for alert in (
        CommandFailure,
        CommsHubAlert,
        CommsHubFirmwareActivation,
        CSPFirmwareDeliveryStatus,
        DeviceStatusChangeEvent,
        DUISVersionMismatch,
        FirmwareDistributionFailure,
        FirmwareUpgradeRequested,
        FirmwareVersionMismatch,
        PowerOutageEvent,
        PPMIDAlert,
        QuarantinedRequest,
        SMETS1CHFirmwareNotification,
    )
}


@dataclass(frozen=True, slots=True)
class DCCAlertMessage:
    """A DCC Alert: its code for the log, its structure for what it means.

    Throttled alerts stand for `throttled_count` of their kind (SECMP0062).
    """

    code: str
    alert: DCCAlert
    throttled_sequence: int | None = None
    throttled_count: int | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DCCAlertCode", "code", text(1, 20)),
        duis.maybe("ThrottledAlertSequenceId", "throttled_sequence", UNSIGNED_INT),
        duis.maybe("ThrottledAlertCount", "throttled_count", UNSIGNED_INT),
        duis.one("DCCAlert", "alert", duis.holder(_ALERTS)),
    )
