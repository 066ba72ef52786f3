"""A fleet file, read strictly and row by row: CSV in UTF-8, one device a line, a header that names the columns.

Guarantees: every line after the header ends as a row or as a refusal with its line number and reason; one bad line
costs no other line (a cell cannot hold a line break); no reason repeats what a cell held, since a shifted row may hold a
customer's number anywhere; a line is never held beyond MAX_LINE octets.

Columns: eui, device_type, manufacturer, model, hardware_version, firmware_version, smi_status, hub and region must be
there. home, mpxn, payment_mode, protected_class, import_supplier, gas_supplier, supplier_certificate, hub_firmware
(of its Communications Hub), gbcs_version, leaves_at (when it changes supplier, where that is known: a date, which begins in
the zone of Great Britain, or a time with its offset) and last_heard (by the supplier's own systems, as leaves_at) may be
left out, which leaves what is known of a device as it is; an empty cell under one of them says that there is none. Of
last_heard the later is kept, the file's or what hanwave heard itself; a time that is yet to come is none.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import BinaryIO
from zoneinfo import ZoneInfo

from hanwave.duis.inventory import DeviceStatus, Region
from hanwave.duis.inventory import DeviceType as InventoryType
from hanwave.firmware.errors import TermError
from hanwave.firmware.terms import GbcsVersion
from hanwave.identifiers import EUI64, IdentifierError
from hanwave.ledger.database import LedgerError
from hanwave.rollout.policy import DeviceType

MAX_LINE = 8192
"""Octets; a row has some three hundred."""
_BOM = b"\xef\xbb\xbf"
_CANONICAL = re.compile(r"[0-9A-F]{2}(?:-[0-9A-F]{2}){7}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A line that was not taken (the header is line 1), and why."""

    line: int
    reason: str


class _CellError(Exception):
    """A cell does not hold what it should; the text says what it should hold."""


_Read = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class _Column:
    read: _Read
    required: bool = False
    kind: str = "text"
    """PostgreSQL's type of what `read` gives."""


def _eui(text: str) -> str:
    # Nearly every cell is in DCC's own form already; the parser reads the others.
    if _CANONICAL.fullmatch(text):
        return text
    try:
        return str(EUI64.parse(text))
    except IdentifierError:
        raise _CellError("should be an EUI-64: 8 hexadecimal octets joined by '-'") from None


def _form(pattern: str, should: str) -> _Read:
    form = re.compile(pattern, re.ASCII)

    def read(text: str) -> str:
        if not form.fullmatch(text):
            raise _CellError(f"should be {should}")
        return text

    return read


def _hexadecimal(digits: int) -> _Read:
    read = _form(rf"[0-9A-Fa-f]{{{digits}}}", f"{digits} hexadecimal digits")
    return lambda text: (read(text) or "").upper()


def _word(words: type[DeviceStatus] | type[Region]) -> _Read:
    known = {str(word) for word in words}

    def read(text: str) -> str:
        if text not in known:
            raise _CellError(f"should be one of {', '.join(sorted(known))}")
        return text

    return read


def _region(text: str) -> str:
    if text == Region.SMETS1:
        raise _CellError("is SMETS1, whose devices are out of hanwave's scope: it updates SMETS2 devices alone")
    return _word(Region)(text) or ""


def _device_type(text: str) -> str:
    if text in set(DeviceType):
        return text
    ours = ", ".join(DeviceType)
    if text in set(InventoryType):
        raise _CellError(
            f"is {text}, a type whose firmware no supplier updates through hanwave: it should be one of {ours}"
        )
    raise _CellError(f"should be one of {ours}")


def _payment_mode(text: str) -> str:
    if text not in {"", "credit", "prepayment"}:
        raise _CellError("should be credit or prepayment")
    return text or "credit"


def _home(text: str) -> str:
    if len(text) > 64:
        raise _CellError("should have at most 64 characters")
    return text


_GREAT_BRITAIN = ZoneInfo("Europe/London")


def _time(text: str) -> str:
    """A time in UTC, as PostgreSQL reads it."""
    wrong = "should be a date (2027-01-31) or a time with its offset (2027-01-31T00:00:00Z)"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _CellError(wrong) from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        time = time.replace(tzinfo=_GREAT_BRITAIN)
    if time.tzinfo is None or not 2000 <= time.year <= 2100:
        raise _CellError(f"{wrong}, from 2000 to 2100")
    return time.astimezone(UTC).isoformat()


def _gbcs(text: str) -> str:
    try:
        return str(GbcsVersion.parse(text))
    except TermError:
        raise _CellError("should be a GBCS version such as 4.1") from None


def _optional(read: _Read, kind: str = "text") -> _Column:
    return _Column(lambda text: read(text) if text else None, kind=kind)


def _needed(read: _Read) -> _Column:
    return _Column(read, required=True)


def _few(read: _Read) -> _Read:
    """For columns of few distinct values: a million rows are read once each."""
    return lru_cache(maxsize=4096)(read)


COLUMNS: Mapping[str, _Column] = MappingProxyType(
    {
        "eui": _needed(_eui),
        "device_type": _needed(_few(_device_type)),
        "manufacturer": _needed(_few(_hexadecimal(4))),
        "model": _needed(_few(_hexadecimal(4))),
        "hardware_version": _needed(_few(_hexadecimal(4))),
        "firmware_version": _needed(_few(_hexadecimal(8))),
        "smi_status": _needed(_few(_word(DeviceStatus))),
        "hub": _needed(_eui),
        "region": _needed(_few(_region)),
        "home": _optional(_home),
        "mpxn": _optional(_form(r"[0-9]{6,13}", "an MPAN of 13 digits or an MPRN of 6 to 10")),
        "payment_mode": _Column(_few(_payment_mode)),
        "protected_class": _optional(
            _few(_form(r"[A-Za-z0-9_-]{1,16}", "a code of at most 16 letters and digits, never the reason"))
        ),
        "import_supplier": _optional(_few(_eui)),
        "gas_supplier": _optional(_few(_eui)),
        "supplier_certificate": _optional(
            _few(_form(r"[1-9][0-9]{0,49}", "a serial number in decimal, as X509SerialNumber writes it"))
        ),
        "hub_firmware": _optional(_few(_hexadecimal(8))),
        "gbcs_version": _optional(_few(_gbcs)),
        "leaves_at": _optional(_few(_time), "timestamptz"),
        "last_heard": _optional(_time, "timestamptz"),
    }
)


class FleetFile:
    """A fleet file whose header was read: its columns, and then its rows, once."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the header; LedgerError when the file has none, or it names a column that is unknown, twice or missing."""
        self._lines = enumerate(_lines(file), 1)
        header = next(self._lines, None)
        if header is None:
            raise LedgerError("the fleet file is empty, its first line should name the columns")
        try:
            self.columns = tuple(_cells(header[1].removeprefix(_BOM), None))
        except _CellError as wrong:
            raise LedgerError(f"the fleet file's header {wrong}") from None
        self._check_header()

    def _check_header(self) -> None:
        # A strange name may be a first row of data: only names that look like one are repeated.
        shown = [name if re.fullmatch(r"[A-Za-z_ ]{1,40}", name) else "(no name)" for name in self.columns]
        if unknown := [name for name, held in zip(shown, self.columns, strict=True) if held not in COLUMNS]:
            raise LedgerError(
                f"the fleet file's header has the column {unknown[0]!r}: `hanwave fleet columns` lists those it may have"
            )
        if twice := [name for name in self.columns if self.columns.count(name) > 1]:
            raise LedgerError(f"the fleet file's header has the column {twice[0]!r} twice")
        if missing := [name for name, column in COLUMNS.items() if column.required and name not in self.columns]:
            raise LedgerError(f"the fleet file's header has no column {', '.join(missing)}")

    def __iter__(self) -> Iterator[tuple[int, list[str | None]] | Refusal]:
        """Each row as its line and its values in the order of `columns`, or its refusal; blank lines are no rows."""
        width = len(self.columns)
        columns = [(name, COLUMNS[name].read) for name in self.columns]
        for line, raw in self._lines:
            if not raw.strip(b" ,\t\r\n"):
                continue
            try:
                cells = _cells(raw, width)
            except _CellError as wrong:
                yield Refusal(line, f"the line {wrong}")
                continue
            yield _row(line, columns, cells)


def _row(line: int, columns: list[tuple[str, _Read]], cells: list[str]) -> tuple[int, list[str | None]] | Refusal:
    name = ""
    try:
        values = []
        for (name, read), cell in zip(columns, cells, strict=True):  # noqa: B007 - the handler names the column
            values.append(read(cell))
    except _CellError as wrong:
        return Refusal(line, f"{name} {wrong}")
    return line, values


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE + 1):
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE + 1)
        yield line


def _cells(line: bytes, width: int | None) -> list[str]:
    if len(line) > MAX_LINE:
        raise _CellError(f"is longer than {MAX_LINE} octets")
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _CellError("is not UTF-8") from None
    if not text.isprintable():
        raise _CellError("holds control characters, it should be printable text")
    cells = _split(text)
    if width is not None and len(cells) != width:
        raise _CellError(f"has {len(cells)} cells, the header has {width}")
    return [cell.strip() for cell in cells]


def _split(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _CellError(f"is not CSV: {error}") from None
