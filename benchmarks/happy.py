"""The world of the happy path: a fleet that the emulator and the ledger both know, its releases, and a policy without waiting."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from hanwave.credentials import Certificate, load_private_key
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release
from hanwave.identifiers import EUI64
from hanwave.ledger import fleet, releases
from hanwave.ledger.cpl import import_cpl
from infra.emulator.intake import COLUMNS
from infra.emulator.pki import SUPPLIER
from infra.stack.processes import Process
from infra.stack.stack import Stack

RELEASES = {"ESME": "acme-esme-0104", "PPMID": "delta-ppmid-0401"}
_MODELS = {"ESME": ("0A01", "1001", "0100", "01020003"), "PPMID": ("0D04", "4201", "0400", "04000001")}


def write_fleet(folder: Path, sizes: dict[str, int]) -> None:
    """A fleet that has nothing to complain of, where the stack looks for it: each device in a home of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [device_row(kind, number) for kind, size in sizes.items() for number in range(size)]
    for name in ("fleet.csv", "emulator-fleet.csv"):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def device_row(kind: str, number: int) -> dict[str, str]:
    manufacturer, model, hardware, version = _MODELS[kind]
    code = {"ESME": 2, "PPMID": 4}[kind]
    return {
        "eui": str(EUI64.parse(f"024857{code:02X}{number:08X}")),
        "device_type": kind,
        "manufacturer": manufacturer,
        "model": model,
        "hardware_version": hardware,
        "firmware_version": version,
        "smi_status": "Commissioned",
        "hub": str(EUI64.parse(f"0248570{code + 4:01X}{number:08X}")),
        "region": "South",
        "home": f"{kind}-{number}",
        "mpxn": f"99{code}{number:010d}",
        "payment_mode": "credit",
        "protected_class": "",
        "import_supplier": str(SUPPLIER),
        "gas_supplier": "",
        "supplier_certificate": "",
    }


def load(ledger: Engine, samples: Path) -> None:
    """Import the fleet, the CPL and the releases, and sign."""
    now = datetime.now(UTC)
    pki = samples / "pki"
    key = load_private_key((pki / "supplier-gbcs.key").read_bytes(), "the supplier's GBCS key")
    certificate = Certificate.load((pki / "supplier-gbcs.pem").read_bytes(), "the supplier's GBCS certificate")
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        fleet.import_fleet(connection, file, samples / "refused.csv", "bench", now)
    entries = read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries
    with ledger.begin() as connection:
        import_cpl(connection, entries, "bench", now)
        # All of them: a campaign names the release that it would fall back to.
        for document in sorted((samples / "releases").glob("*.json")):
            releases.import_release(connection, read_release(document.read_bytes()), (), "bench", now)
        releases.sign_release(connection, RELEASES["ESME"], key, certificate, "bench", now)


def policy(*, to_the_end: bool) -> dict[str, Any]:
    """One wave, as fast as it goes. Without an end the soak is longer than anything that is measured."""
    return {
        "waves": [{"share": 1}],
        "sweep": "2s",
        "pace": {"overall": 1000},
        "exposure_cap": 50_000,
        "soak": "5s" if to_the_end else "1d",
    }


def instant(process: Process) -> Process:
    """The emulator answers at once."""
    more = {"HANWAVE_EMULATOR_PROFILE": "instant"} if process.name == "emulator" else {}
    return replace(process, environment={**process.environment, **more})


@contextmanager
def started(folder: Path, table: tuple[Process, ...], told: dict[str, str]) -> Iterator[Stack]:
    """A stack, up until the block ends."""
    with Stack(folder, processes=table, settings=told) as stack:
        yield stack
