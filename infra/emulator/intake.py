"""What the emulator is given: a fleet as the product imports it, and a Central Products List."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import CplEntry, read_cpl
from hanwave.identifiers import EUI64, IdentifierError
from infra.emulator import activation
from infra.emulator.errors import EmulatorError
from infra.emulator.tables import NEVER, Device
from infra.emulator.world import World

COLUMNS = (
    "eui",
    "device_type",
    "manufacturer",
    "model",
    "hardware_version",
    "firmware_version",
    "smi_status",
    "hub",
    "region",
    "home",
    "mpxn",
    "payment_mode",
    "protected_class",
    "import_supplier",
    "gas_supplier",
    "supplier_certificate",
)
"""The columns of the product's fleet import."""
OWN_COLUMNS = ("gbcs_version", "unplugged")
"""Columns that the emulator writes for itself alone, and that may be left out. unplugged: seconds until the device is back, or never."""

_NEEDED = (*COLUMNS[:10], "import_supplier", "gas_supplier")


def read_fleet(lines: Iterable[str], name: str, now: float) -> Iterator[Device]:
    """The devices of a CSV file; EmulatorError names the line that is wrong."""
    rows = csv.DictReader(lines, strict=True)
    if missing := [column for column in _NEEDED if column not in (rows.fieldnames or ())]:
        raise EmulatorError(f"{name}: the header has no column {', '.join(missing)}")
    for row in rows:
        try:
            yield _device(row, now)
        except (IdentifierError, ValueError, TypeError) as error:
            raise EmulatorError(f"{name}, line {rows.line_num}: {error}") from error


def _device(row: dict[str, str], now: float) -> Device:
    unplugged = row.get("unplugged") or ""
    return Device(
        eui=_eui(row["eui"]),
        device_type=row["device_type"],
        manufacturer=row["manufacturer"].upper(),
        model=row["model"].upper(),
        hardware_version=f"{int(row['hardware_version'], 16):04X}",
        firmware_version=f"{int(row['firmware_version'], 16):08X}",
        smi_version=f"{int(row['firmware_version'], 16):08X}",
        smi_status=row["smi_status"],
        hub=_eui(row["hub"]),
        region=row["region"],
        home=row["home"],
        mpxn=row.get("mpxn") or "",
        import_supplier=_eui(row["import_supplier"]),
        gas_supplier=_eui(row["gas_supplier"]),
        gbcs_version=row.get("gbcs_version") or "4.1",
        unplugged_until=NEVER if unplugged == "never" else now + float(unplugged) if unplugged else 0.0,
    )


def _eui(text: str) -> str:
    return str(EUI64.parse(text)) if text else ""


def add_fleet(world: World, lines: Iterable[str], name: str) -> int:
    """Add the devices that are not there yet; how many that were. All of the file, or nothing."""
    with world.store.transaction():
        return world.store.add_devices(read_fleet(lines, name, world.clock()))


def set_cpl(world: World, lines: Iterable[bytes], name: str) -> int:
    """Replace the Central Products List by a file of the packaged column map; how many entries it has."""
    imported = read_cpl(lines, read_column_map(default_map_text()))
    if imported.refusals:
        first = imported.refusals[0]
        raise EmulatorError(f"{name}, line {first.line}: {first.reason}")
    with world.store.transaction():
        world.store.query("DELETE FROM cpl")
        for entry in imported.entries:
            world.store.query("INSERT INTO cpl VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *_row(entry))
    return len(imported.entries)


def withdraw_model(world: World, device_type: str, manufacturer: str, model: str, version: str | None) -> int:
    """A model, or one version of it, leaves the list: the devices that the DCC thinks run it are Suspended; how many."""
    named = (device_type, manufacturer, model, version, version)
    where = "WHERE device_type = ? AND manufacturer = ? AND model = ? AND (? IS NULL OR {} = ?)"
    with world.store.transaction():
        world.store.query(f"UPDATE cpl SET status = 'Withdrawn' {where.format('version')}", *named)  # noqa: S608
        devices = list(world.store.devices(where.format("smi_version"), *named))
        for device in devices:
            activation.suspend(world, device)
            world.store.save(device)
    return len(devices)


def _row(entry: CplEntry) -> tuple[str, ...]:
    return (
        str(entry.device_type),
        f"{entry.model.manufacturer:04X}",
        f"{entry.model.identifier:04X}",
        f"{entry.hardware:04X}",
        str(entry.firmware_version),
        (entry.hash or b"").hex().upper(),
        str(entry.status),
        str(entry.gbcs_version or ""),
    )


def read_text(path: Path) -> str:
    """A file that a setting names; EmulatorError when it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EmulatorError(f"{path} cannot be read: {error}") from error
