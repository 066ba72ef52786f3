"""What the emulator keeps: the schema of its SQLite file, and the rows that its code handles as objects.

A device's row holds the truth about the device (firmware_version, held_hash) beside what the DCC believes of it
(smi_version, smi_status). EUI-64s are text in DCC's form, hashes upper-case hexadecimal, times seconds since 1970.
"""

from dataclasses import dataclass, fields
from typing import Any

NEVER = 1e12
"""Later than anything."""


@dataclass(slots=True)
class Device:
    """A device, as it is and as the DCC knows it."""

    eui: str
    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    smi_version: str
    smi_status: str
    hub: str
    region: str
    home: str
    mpxn: str
    import_supplier: str
    gas_supplier: str
    gbcs_version: str = "4.1"
    unplugged_until: float = 0.0
    status_before: str = ""
    """What smi_status was before it was Suspended."""
    held_hash: str = ""
    """Of the image that waits for its activation; empty: none."""
    held_version: str = ""
    distribution: str = ""
    """The RequestID of the last 11.1 or 11.4 accepted: an image of an earlier one is dropped on its way."""
    in_progress: bool = False
    """Whether that image is still on its way to the hub."""
    scheduled: str = ""
    """The RequestID of the stored future-dated 11.3."""
    last_counter: int = 0
    alert_counter: int = 2000
    distributions: int = 0
    activations: int = 0
    reads: int = 0
    others: int = 0
    delivered: int = 0
    """Images that reached the hub."""
    transferred: int = 0
    """Images that reached the device."""
    successes: int = 0
    """Images that the device began to run, or said so."""
    reboot_until: float = 0.0
    quiet_version: str = ""
    """While it runs this version it answers nothing and raises no alert."""
    load_stuck_on: bool = False

    @property
    def responsible(self) -> str:
        """The User ID that the device takes critical commands from, and sends its alerts to."""
        return self.gas_supplier if self.device_type == "GSME" else self.import_supplier

    @property
    def is_quiet(self) -> bool:
        """Whether it runs the version that made it go quiet."""
        return bool(self.quiet_version) and self.quiet_version == self.firmware_version

    def is_of(self, user: str) -> bool:
        """Whether that user is responsible for it; a PPMID is shared by the home's suppliers."""
        shared = self.device_type == "PPMID" and user == self.gas_supplier
        return user == self.responsible or shared


@dataclass(frozen=True, slots=True)
class Upload:
    """An image that was accepted for distribution."""

    request_id: str
    user: str
    service: str
    version: str
    image_hash: str
    signed_by: str
    """The User ID whose signature the image bears; empty: nobody's."""
    hardware_low: int
    hardware_high: int


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that falls due for a device."""

    id: int
    due: float
    leg: str
    eui: str
    request_id: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to a user."""

    id: int
    user: str
    body: bytes
    expires: float
    tries: int


DEVICE_COLUMNS = tuple(field.name for field in fields(Device))
_SQL_TYPES: dict[Any, str] = {str: "TEXT", int: "INTEGER", bool: "INTEGER", float: "REAL"}
_COLUMNS = ", ".join(f"{f.name} {_SQL_TYPES[f.type]} NOT NULL" for f in fields(Device) if f.name != "eui")

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS device (eui TEXT PRIMARY KEY, {_COLUMNS}) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS device_home ON device (home);
CREATE INDEX IF NOT EXISTS device_mpxn ON device (mpxn);
CREATE TABLE IF NOT EXISTS cpl (
    device_type TEXT, manufacturer TEXT, model TEXT, hardware TEXT, version TEXT, image_hash TEXT, status TEXT, gbcs TEXT,
    PRIMARY KEY (device_type, manufacturer, model, hardware, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request (
    request_id TEXT, command_variant INTEGER, service TEXT, user TEXT, digest TEXT, at REAL, posts INTEGER, code TEXT,
    PRIMARY KEY (request_id, command_variant)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS request_rate ON request (user, service, at);
CREATE TABLE IF NOT EXISTS violation (id INTEGER PRIMARY KEY, at REAL, request_id TEXT, what TEXT);
CREATE TABLE IF NOT EXISTS upload (
    request_id TEXT PRIMARY KEY, user TEXT, service TEXT, version TEXT, image_hash TEXT, signed_by TEXT,
    hardware_low INTEGER, hardware_high INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timer (id INTEGER PRIMARY KEY, due REAL, leg TEXT, eui TEXT, request_id TEXT, data TEXT);
CREATE INDEX IF NOT EXISTS timer_due ON timer (due);
CREATE INDEX IF NOT EXISTS timer_eui ON timer (eui);
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY, user TEXT, eui TEXT, request_id TEXT, response_id TEXT, code TEXT, kind TEXT,
    state TEXT, due REAL, expires REAL, tries INTEGER, body BLOB);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (state, due);
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, at REAL, eui TEXT, what TEXT, request_id TEXT, detail TEXT);
CREATE INDEX IF NOT EXISTS history_eui ON history (eui);
CREATE TABLE IF NOT EXISTS quarantine (ref INTEGER PRIMARY KEY, at REAL, request_id TEXT, body BLOB, state TEXT);
"""
