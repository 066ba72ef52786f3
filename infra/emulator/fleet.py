"""Invented fleets: homes with a hub, meters and PPMIDs, from a seed; the same seed gives the same fleet.

What comes out is the CSV that the product imports; the emulator's own file has the same rows and two columns more, which
the product would refuse.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import IO

from infra.emulator.intake import COLUMNS, OWN_COLUMNS
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER

Row = dict[str, str]
ALL_COLUMNS = (*COLUMNS, *OWN_COLUMNS)


@dataclass(frozen=True, slots=True)
class Model:
    """A device model of the invented market: identifiers in hexadecimal, and the versions that it runs."""

    manufacturer: str
    model: str
    hardware: str
    versions: tuple[str, ...]
    weight: int = 1


MODELS: dict[str, tuple[Model, ...]] = {
    "ESME": (
        Model("0A01", "1001", "0100", ("01020003", "01020004"), 5),
        Model("0A01", "1002", "0101", ("01030000",), 3),
        Model("0B02", "2001", "0200", ("20000107", "20000110"), 2),
    ),
    "GSME": (
        Model("0A01", "1101", "0100", ("01010002",), 3),
        Model("0C03", "3101", "0300", ("00090001", "00090005"), 2),
    ),
    "PPMID": (
        Model("0D04", "4201", "0400", ("04000001", "04000002"), 3),
        Model("0B02", "2201", "0200", ("20010000",), 1),
    ),
    "HCALCS": (Model("0E05", "5301", "0500", ("05000100",), 1),),
}
"""The models of a generated fleet. Their image headers carry the same manufacturer code and hardware version."""

_TYPE_CODE = {"CHF": 0x01, "ESME": 0x02, "GSME": 0x03, "PPMID": 0x04, "HCALCS": 0x05}
_IN_A_HOME = {"GSME": 0.6, "PPMID": 0.7, "HCALCS": 0.12}
_REGIONS = ("North", "Central", "South")
_REGION_WEIGHTS = (30, 40, 30)
_UNPLUGGED = 0.2
_COMES_BACK = 0.5
_WITHIN_SECONDS = (20, 120)
_STATUSES = ("Commissioned", "InstalledNotCommissioned", "Suspended")
_STATUS_WEIGHTS = (97, 2, 1)


def homes(seed: str, second_share: float) -> Iterator[list[Row]]:
    """Homes without end, each the rows of its devices; second_share of them have another gas supplier."""
    draw = Random(seed)
    number = 0
    while True:
        number += 1
        yield _home(draw, number, second_share)


def _home(draw: Random, number: int, second_share: float) -> list[Row]:
    types = ["ESME", *(kind for kind, share in _IN_A_HOME.items() if draw.random() < share)]
    # Small fleets have all four types too.
    types = ["ESME", "GSME", "PPMID", "HCALCS"] if number == 1 else types
    second = draw.random() < second_share
    common = {
        "smi_status": "Commissioned" if number == 1 else draw.choices(_STATUSES, _STATUS_WEIGHTS)[0],
        "hub": _eui("CHF", number),
        "region": draw.choices(_REGIONS, _REGION_WEIGHTS)[0],
        "home": f"H{number:07d}",
        "payment_mode": "prepayment" if draw.random() < 0.15 else "credit",
        "protected_class": draw.choices(("", "PSR", "MED"), (95, 4, 1))[0],
        "import_supplier": str(SUPPLIER),
        "gas_supplier": str(SECOND_SUPPLIER if second else SUPPLIER) if "GSME" in types else "",
        "supplier_certificate": "",
        "gbcs_version": "4.1",
    }
    return [_device(draw, number, kind, common) for kind in types]


def _device(draw: Random, number: int, kind: str, common: Row) -> Row:
    models = MODELS[kind]
    model = draw.choices(models, [each.weight for each in models])[0]
    unplugged = ""
    if kind == "PPMID" and draw.random() < _UNPLUGGED:
        unplugged = str(draw.randint(*_WITHIN_SECONDS)) if draw.random() < _COMES_BACK else "never"
    return {
        **common,
        "eui": _eui(kind, number),
        "device_type": kind,
        "manufacturer": model.manufacturer,
        "model": model.model,
        "hardware_version": model.hardware,
        "firmware_version": draw.choice(model.versions),
        # Invented: no distributor has the number 99, and MPRNs do not begin with a 0.
        "mpxn": f"0{number:09d}" if kind == "GSME" else f"99{number:011d}",
        "unplugged": unplugged,
    }


def _eui(kind: str, number: int) -> str:
    return bytes.fromhex(f"024857{_TYPE_CODE[kind]:02X}{number:08X}").hex("-").upper()


def write_fleet(
    file: IO[str], size: int, seed: str, second_share: float = 0.1, *, columns: Sequence[str] = COLUMNS
) -> None:
    """Write a fleet of that many devices as CSV: as the product imports it, or with ALL_COLUMNS for the emulator."""
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    devices = (row for home in homes(seed, second_share) for row in home)
    writer.writerows(islice(devices, size))
