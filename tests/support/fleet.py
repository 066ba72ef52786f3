"""Fleet files for tests: a good row until a test changes it."""

from io import BytesIO

from hanwave.identifiers import EUI64
from hanwave.ledger.fleet_file import COLUMNS
from tests.support.ledger import US, eui

HUB = str(EUI64((0x00DC_0000_0000_0000).to_bytes(8, "big")))
ROW = {
    "eui": eui(0),
    "device_type": "ESME",
    "manufacturer": "121D",
    "model": "1111",
    "hardware_version": "0001",
    "firmware_version": "00000001",
    "smi_status": "Commissioned",
    "hub": HUB,
    "region": "4G South",
    "home": "home-7",
    "mpxn": "1200012345678",
    "payment_mode": "prepayment",
    "protected_class": "P1",
    "import_supplier": US,
    "gas_supplier": "",
    "supplier_certificate": "1234567890",
    "hub_firmware": "01020304",
    "gbcs_version": "4.1",
    "leaves_at": "2026-12-01T00:00:00+00:00",
    "last_heard": "2026-11-20T10:00:00+00:00",
}
assert tuple(ROW) == tuple(COLUMNS)


def row(number: int = 0, **changes: str) -> dict[str, str]:
    return ROW | {"eui": eui(number)} | changes


def fleet(*rows: dict[str, str] | str, columns: tuple[str, ...] = tuple(ROW)) -> BytesIO:
    """A fleet file of those rows (or of lines that are given as they are)."""
    lines = [each if isinstance(each, str) else ",".join(each[name] for name in columns) for each in rows]
    return BytesIO("".join(f"{line}\n" for line in (",".join(columns), *lines)).encode())
