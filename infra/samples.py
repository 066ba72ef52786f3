"""Sample material for the demo and for trying hanwave by hand: a fleet, a Central Products List, releases and campaigns.

`python -m infra.samples FOLDER` writes fleet.csv, emulator-fleet.csv, cpl.csv, pki/, releases/NAME.json, campaigns/NAME.json
(requests) and behaviour.json (for rehearsals), if they are not there. The images have real sizes and no meaning: their octets are drawn from the seed. All of it is invented.
"""

import csv
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random

from hanwave.firmware.document import release_to_dict
from hanwave.firmware.image import manufacturer_image_hash
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion, HardwareRange, Model
from infra.emulator.fleet import ALL_COLUMNS, MODELS, write_fleet
from infra.emulator.fleet import Model as MarketModel
from infra.emulator.pki import make_pki
from infra.sample_campaigns import BEHAVIOUR, CAMPAIGNS

MADE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CPL_HEADER = (
    *("CPL Entry ID", "Device Type", "Manufacturer Identifier", "Model Identifier", "Hardware Version"),
    *("Hardware Revision", "Firmware Version", "GBCS Version", "Manufacturer Image Hash", "Status"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A release of the invented market."""

    name: str
    device_type: str
    models: tuple[str, ...]
    version: str
    size: int
    may_downgrade: bool = False
    fallback: str | None = None
    predecessors: tuple[str, ...] = ()


SAMPLES = (
    Sample("acme-gsme-0102", "GSME", ("0A01/1101",), "01020000", 300_000),
    Sample("delta-ppmid-0401", "PPMID", ("0D04/4201",), "04010000", 420_000),
    Sample("echo-hcalcs-0502", "HCALCS", ("0E05/5301",), "05000200", 310_000),
    Sample("acme-esme-0104", "ESME", ("0A01/1001", "0A01/1002"), "01040000", 700_000, fallback="acme-esme-0103"),
    # The way back. Model 1002 refuses a lower version, so the old one is not for it: it takes the old code anew.
    Sample("acme-esme-0103", "ESME", ("0A01/1001",), "01030000", 650_000, may_downgrade=True),
    Sample("acme-esme-0105", "ESME", ("0A01/1002",), "01050000", 650_000),
    # Model 1002 comes to it in one hop, 1001 by way of 0104.
    Sample(
        "acme-esme-0106", "ESME", ("0A01/1001", "0A01/1002"), "01060000", 90_000, predecessors=("01030000", "01040000")
    ),
)


def image_of(sample: Sample) -> bytes:
    """The Manufacturer Image of a sample: octets from its name."""
    return Random(sample.name).randbytes(sample.size)


def release_of(sample: Sample) -> Release:
    """The release, as it stands when its CPL entry is Active."""
    image = image_of(sample)
    digest = manufacturer_image_hash(image)
    models = tuple(Model.parse(model) for model in sample.models)
    hardware = [int(each.hardware, 16) for each in _market(sample)]
    return Release(
        name=sample.name,
        device_type=DeviceType(sample.device_type),
        manufacturer_code=models[0].manufacturer,
        image_type=0,
        models=models,
        hardware=HardwareRange(min(hardware), max(hardware)),
        firmware_version=FirmwareVersion.parse(sample.version),
        manufacturer_image_hash=digest,
        manufacturer_image_length=len(image),
        life=(
            Step(Stage.RECEIVED, "demo", MADE, "made by the demo"),
            Step(Stage.VERIFIED, "demo", MADE, "the hash by a second channel: itself", digest),
            Step(Stage.LAB_PASSED, "demo", MADE, "there is no lab here"),
            Step(Stage.CPL_SUBMITTED, "demo", MADE, "to the demo's own list"),
            Step(Stage.CPL_ACTIVE, "demo", MADE, "on the demo's own list"),
        ),
        predecessors=tuple(map(FirmwareVersion.parse, sample.predecessors)),
        may_downgrade=sample.may_downgrade,
        cpl_entry=f"CPL-{sample.name}",
        cpl_status=CplStatus.ACTIVE,
        fallback=sample.fallback,
        manufacturer_image=image,
    )


def _market(sample: Sample) -> list[MarketModel]:
    return [each for each in MODELS[sample.device_type] if f"{each.manufacturer}/{each.model}" in sample.models]


def make_samples(folder: Path, size: int = 400, seed: str = "demo") -> None:
    """Write what is not there; again, nothing."""
    make_pki(folder / "pki")
    (folder / "releases").mkdir(parents=True, exist_ok=True)
    if not (folder / "emulator-fleet.csv").exists():
        _write_fleets(folder, size, seed)
    if not (folder / "cpl.csv").exists():
        _write_cpl(folder / "cpl.csv")
    for sample in SAMPLES:
        path = folder / "releases" / f"{sample.name}.json"
        if not path.exists():
            path.write_text(json.dumps(release_to_dict(release_of(sample))))
    _write_campaigns(folder)


def _write_campaigns(folder: Path) -> None:
    """Requests that may be changed by hand: what is there stays as it is."""
    (folder / "campaigns").mkdir(exist_ok=True)
    wanted = {"behaviour.json": BEHAVIOUR} | {f"campaigns/{name}.json": each for name, each in CAMPAIGNS.items()}
    for name, facts in wanted.items():
        if not (folder / name).exists():
            (folder / name).write_text(json.dumps(facts, indent=2) + "\n")


def _write_fleets(folder: Path, size: int, seed: str) -> None:
    with (folder / "fleet.csv").open("w", newline="") as file:
        write_fleet(file, size, seed)
    fresh = folder / "emulator-fleet.csv.new"
    with fresh.open("w", newline="") as file:
        write_fleet(file, size, seed, columns=ALL_COLUMNS)
    fresh.rename(folder / "emulator-fleet.csv")


def _write_cpl(path: Path) -> None:
    """The sample releases, and the versions that the fleet runs when it is new."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CPL_HEADER)
        for kind, models in MODELS.items():
            for each in models:
                for version in each.versions:
                    writer.writerow(_cpl_row(kind, each, version, sha256(version.encode()).digest()))
        for sample in SAMPLES:
            digest = manufacturer_image_hash(image_of(sample))
            for each in _market(sample):
                if sample.version not in each.versions:
                    writer.writerow(_cpl_row(sample.device_type, each, sample.version, digest))


def _cpl_row(kind: str, model: MarketModel, version: str, digest: bytes) -> tuple[str, ...]:
    entry = f"{kind}-{model.manufacturer}-{model.model}-{version}"
    hardware = (model.hardware[:2], model.hardware[2:])
    return (entry, kind, model.manufacturer, model.model, *hardware, version, "4.1", digest.hex().upper(), "Active")


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
