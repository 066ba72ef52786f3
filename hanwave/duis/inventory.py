"""The answer to SR 8.2: what the Smart Metering Inventory holds of a property's devices (DUIS XSD 5.4 DSPInventory)."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar

from hanwave.duis._grammar import Sequence, duis
from hanwave.duis._kinds import ANY_TEXT, DATE, EUI, FIRMWARE_VERSION, open_enum, text
from hanwave.duis.requests import MPXN, UPRN, PropertyFilter
from hanwave.identifiers import EUI64


class DeviceType(StrEnum):
    """DUIS XSD 5.4 DeviceType."""

    ESME = "ESME"
    GSME = "GSME"
    GPF = "GPF"
    CHF = "CHF"
    HCALCS = "HCALCS"
    PPMID = "PPMID"
    IHD = "IHD"
    CAD = "CAD"


class DeviceStatus(StrEnum):
    """A device's status in the Smart Metering Inventory (DUIS XSD 5.4 DeviceStatus)."""

    PENDING = "Pending"
    WHITELISTED = "Whitelisted"
    INSTALLED_NOT_COMMISSIONED = "InstalledNotCommissioned"
    COMMISSIONED = "Commissioned"
    DECOMMISSIONED = "Decommissioned"
    WITHDRAWN = "Withdrawn"
    SUSPENDED = "Suspended"
    RECOVERY = "Recovery"
    RECOVERED = "Recovered"


class ListStatus(StrEnum):
    """A firmware version's or a model's standing on the Central Products List (DUIS XSD 5.4 CPLStatus)."""

    ACTIVE = "Active"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"


class Region(StrEnum):
    """The communications provider's region (DUIS XSD 5.4 CSPRegion)."""

    NORTH = "North"
    CENTRAL = "Central"
    SOUTH = "South"
    NORTH_4G = "4G North"
    CENTRAL_4G = "4G Central"
    SOUTH_4G = "4G South"
    UNKNOWN = "Unknown"
    SMETS1 = "SMETS1"


DEVICE_TYPE = open_enum(DeviceType)
_LIST_STATUS = open_enum(ListStatus)
_MPAN = text(13, 13, private=True)


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the inventory. An enumerated field holds plain text when the value is newer than hanwave."""

    device_id: EUI64
    device_type: DeviceType | str
    manufacturer: str
    model: str
    status: DeviceStatus | str | None = None
    smets_version: str | None = None
    firmware_version: str | None = None
    firmware_status: ListStatus | str | None = None
    cpl_status: ListStatus | str | None = None
    commissioned: date | None = None
    import_mpxn: str | None = None
    secondary_import_mpan: str | None = None
    export_mpan: str | None = None
    esme_variant: str | None = None
    uprn: int | None = None
    property_filter: PropertyFilter | None = None
    region: Region | str | None = None
    gbcs_version: str | None = None
    han_variant: str | None = None
    s1sp: str | None = None
    connectivity: str | None = None

    XML: ClassVar[Sequence] = duis.sequence(
        duis.one("DeviceID", "device_id", EUI),
        duis.one("DeviceType", "device_type", DEVICE_TYPE),
        duis.maybe("DeviceStatus", "status", open_enum(DeviceStatus)),
        duis.one("DeviceManufacturer", "manufacturer", text(0, 30)),
        duis.one("DeviceModel", "model", text(0, 30)),
        duis.maybe("SMETSCHTSVersion", "smets_version", text(1, 20)),
        duis.maybe("DeviceFirmwareVersion", "firmware_version", FIRMWARE_VERSION),
        duis.maybe("DeviceFirmwareVersionStatus", "firmware_status", _LIST_STATUS),
        duis.maybe("CPLStatus", "cpl_status", _LIST_STATUS),
        duis.maybe("DateCommissioned", "commissioned", DATE),
        duis.maybe("ImportMPxN", "import_mpxn", MPXN),
        duis.maybe("SecondaryImportMPAN", "secondary_import_mpan", _MPAN),
        duis.maybe("ExportMPAN", "export_mpan", _MPAN),
        duis.maybe("ESMEVariant", "esme_variant", text(1, 20)),
        duis.maybe("UPRN", "uprn", UPRN),
        duis.maybe("PropertyFilter", "property_filter", PropertyFilter),
        duis.maybe("CSPRegion", "region", open_enum(Region)),
        duis.maybe("DeviceGBCSVersion", "gbcs_version", ANY_TEXT),
        duis.maybe("HANVariant", "han_variant", ANY_TEXT),
        duis.maybe("S1SP", "s1sp", ANY_TEXT),
        duis.maybe("Connectivity", "connectivity", text(1, 20)),
    )


@dataclass(frozen=True, slots=True)
class Inventory:
    """The devices found, 1 to 17."""

    devices: tuple[Device, ...]

    XML: ClassVar[Sequence] = duis.sequence(duis.many("Device", "devices", Device, 1, 17))
