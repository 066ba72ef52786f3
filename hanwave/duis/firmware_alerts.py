"""The structures of DCC Alerts that tell of firmware: distribution, transfer, activation, versions (DUIS XSD 5.4)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from hanwave.duis._grammar import Sequence, duis
from hanwave.duis._kinds import ALERT_CODE, DEVICES, EUI, FIRMWARE_VERSION, REQUEST_ID, TIME, open_enum
from hanwave.duis.inventory import DEVICE_TYPE, DeviceType
from hanwave.identifiers import EUI64, RequestID


class TransferStatus(StrEnum):
    """Whether DCC's communications provider brought the image to the Communications Hub."""

    SUCCESS = "Success"
    FAILURE = "Failure"


class TransferResponse(StrEnum):
    """What became of an image between the Communications Hub and its device (GBCS CCS08)."""

    SUCCESS = "FileTransferSuccess"
    DISCARDED = "FirmwareImageDiscarded"
    HARDWARE_MISMATCH = "HardwareVersionMismatch"
    FAILURE = "FileTransferFailure"


class ActivationResult(StrEnum):
    """What a PPMID reports of its new image (GBCS CS09)."""

    SUCCESS = "ActivationSuccess"
    FAILURE = "ActivationFailure"


class HubUpdateStatus(StrEnum):
    """What happens to a SMETS1 Communications Hub's firmware."""

    REQUESTED = "UpdateRequested"
    SUCCESSFUL = "ActivationSuccessful"


@dataclass(frozen=True, slots=True)
class FirmwareDistributionFailure:
    """The devices of a distribution that DCC could not hand on."""

    request_id: RequestID
    device_ids: tuple[EUI64, ...]

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("UpdateFirmwareRequestID", "request_id", REQUEST_ID),
        duis.one("MeterIDs", "device_ids", DEVICES),
    )


@dataclass(frozen=True, slots=True)
class CSPFirmwareDeliveryStatus:
    """Whether the image for a device reached its Communications Hub."""

    request_id: RequestID
    hub_id: EUI64
    device_id: EUI64
    firmware_version: str
    at: datetime
    status: TransferStatus | str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("UpdateFirmwareRequestID", "request_id", REQUEST_ID),
        duis.one("CommsHubDeviceID", "hub_id", EUI),
        duis.one("TargetDeviceID", "device_id", EUI),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("TimeStamp", "at", TIME),
        duis.one("CommsHubTransferStatus", "status", open_enum(TransferStatus)),
    )


@dataclass(frozen=True, slots=True)
class FirmwareTransferAlert:
    """How the transfer from the hub to a device ended; without request_id, match by device and version."""

    device_id: EUI64
    firmware_version: str
    result: TransferResponse | str
    request_id: RequestID | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.maybe("UpdateFirmwareRequestID", "request_id", REQUEST_ID),
        duis.one("OtherDeviceID", "device_id", EUI),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("TransferResponseCode", "result", open_enum(TransferResponse)),
    )


@dataclass(frozen=True, slots=True)
class CommsHubAlert:
    """An alert of a Communications Hub; alert_code in upper-case hexadecimal, 8F8A or 8F89 about firmware."""

    hub_id: EUI64
    alert_code: str
    at: datetime | None = None
    transfer: FirmwareTransferAlert | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("CommsHubDeviceID", "hub_id", EUI),
        duis.one("AlertCode", "alert_code", ALERT_CODE),
        duis.maybe("TimeStamp", "at", TIME),
        duis.maybe("FirmwareTransferAlert", "transfer", FirmwareTransferAlert),
    )


@dataclass(frozen=True, slots=True)
class PPMIDFirmwareUpgradeAlert:
    """The version that a PPMID runs after an activation, and whether that went well."""

    firmware_version: str
    result: ActivationResult | str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("ActivateImageResultCode", "result", open_enum(ActivationResult)),
    )


@dataclass(frozen=True, slots=True)
class PPMIDAlert:
    """An alert of a PPMID; alert_code in upper-case hexadecimal, 8F8B about firmware."""

    device_id: EUI64
    alert_code: str
    at: datetime | None = None
    upgrade: PPMIDFirmwareUpgradeAlert | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "device_id", EUI),
        duis.one("DeviceAlertCode", "alert_code", ALERT_CODE),
        duis.maybe("Timestamp", "at", TIME),
        duis.maybe("PPMIDFirmwareUpgradeAlert", "upgrade", PPMIDFirmwareUpgradeAlert),
    )


@dataclass(frozen=True, slots=True)
class FirmwareUpgradeRequested:
    """Another responsible supplier asked for an upgrade of shared devices."""

    device_type: DeviceType | str
    firmware_version: str
    device_ids: tuple[EUI64, ...]

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceType", "device_type", DEVICE_TYPE),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("DeviceList", "device_ids", DEVICES),
    )


@dataclass(frozen=True, slots=True)
class FirmwareVersionMismatch:
    """A device reported another version than the Smart Metering Inventory holds."""

    device_id: EUI64
    device_type: DeviceType | str
    inventory_version: str
    device_version: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "device_id", EUI),
        duis.one("DeviceType", "device_type", DEVICE_TYPE),
        duis.one("FirmwareVersionSMI", "inventory_version", FIRMWARE_VERSION),
        duis.one("FirmwareVersionDevice", "device_version", FIRMWARE_VERSION),
    )


@dataclass(frozen=True, slots=True)
class CommsHubFirmwareActivation:
    """DCC updated a Communications Hub."""

    hub_id: EUI64
    firmware_version: str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "hub_id", EUI),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
    )


@dataclass(frozen=True, slots=True)
class SMETS1CHFirmwareNotification:
    """The firmware of a SMETS1 Communications Hub is to change, or did."""

    hub_id: EUI64
    firmware_version: str
    status: HubUpdateStatus | str

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "hub_id", EUI),
        duis.one("FirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.one("FirmwareVersionUpdateStatus", "status", open_enum(HubUpdateStatus)),
    )
