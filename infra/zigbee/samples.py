"""Material for training on a bench: `python -m infra.zigbee.samples FOLDER` writes a fleet and two releases of its devices.

fleet.csv has 20 PPMIDs as both `python -m infra.zigbee` and a worker's radio `virtual` simulate them, of the User ID of
`hanwave up`; each release is verified and no more, as a lab is given it. The images are octets without a meaning.
"""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import typer

from hanwave.firmware.document import release_to_dict
from hanwave.firmware.image import manufacturer_image_hash
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release
from hanwave.firmware.terms import DeviceType, FirmwareVersion, HardwareRange, Model
from hanwave.identifiers import EUI64
from infra.emulator.pki import SUPPLIER

FIRST, DEVICES = 0x00DB120000000001, 20
IMAGE_TYPE = 0
_MANUFACTURER, _MODEL = 0x121D, 0x1111
_VERSIONS = ("00000002", "00000003")
_SIZE = 30_000
_MADE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_HUB = "00-DB-12-FF-00-00-00-01"


def eui(number: int) -> EUI64:
    """The EUI-64 of the device of that number; the first is 0."""
    return EUI64((FIRST + number).to_bytes(8, "big"))


def release(version: str) -> Release:
    """The release of that version."""
    image = Random(version).randbytes(_SIZE)
    digest = manufacturer_image_hash(image)
    return Release(
        name=f"training-ppmid-{version[-4:]}",
        device_type=DeviceType.PPMID,
        manufacturer_code=_MANUFACTURER,
        image_type=IMAGE_TYPE,
        models=(Model(_MANUFACTURER, _MODEL),),
        hardware=HardwareRange(0x1111, 0x1111),
        firmware_version=FirmwareVersion.parse(version),
        manufacturer_image_hash=digest,
        manufacturer_image_length=len(image),
        life=(
            Step(Stage.RECEIVED, "training", _MADE, "made for training"),
            Step(Stage.VERIFIED, "training", _MADE, "the hash by a second channel: itself", digest),
        ),
        manufacturer_image=image,
    )


def _row(number: int) -> dict[str, str]:
    return {
        "eui": str(eui(number)),
        "device_type": "PPMID",
        "manufacturer": f"{_MANUFACTURER:04X}",
        "model": f"{_MODEL:04X}",
        "hardware_version": "1111",
        "firmware_version": "00000001",
        "smi_status": "Decommissioned",
        "hub": _HUB,
        "region": "South",
        "import_supplier": str(SUPPLIER),
    }


def main(folder: Path) -> None:
    """Write a fleet and two releases for training on a bench into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in map(release, _VERSIONS):
        (folder / f"{each.name}.json").write_text(json.dumps(release_to_dict(each)))
    with (folder / "fleet.csv").open("w", newline="") as file:
        rows = [_row(number) for number in range(DEVICES)]
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
