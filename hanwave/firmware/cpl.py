"""Import of the Central Products List: strict, bounded, and nothing lost without a word.

Every row of the file ends as an entry or as a refusal with its line and reason. Rows that contradict each other (one
model, hardware and firmware version with two hashes or statuses; one entry id for two products) and rows that repeat
each other are all refused, since nobody here can say which of them is meant.

The file comes in as lines, so it is never whole in memory; the entries are, and MAX_ROWS bounds them.
"""

import csv
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hanwave.firmware.columns import ColumnMap
from hanwave.firmware.errors import CplError, TermError
from hanwave.firmware.terms import (
    UPDATABLE,
    CplStatus,
    DeviceType,
    FirmwareVersion,
    GbcsVersion,
    Model,
    read_octets,
)

MAX_ROWS = 200_000
"""Entries and refusals held at most: 100 MB, and 170 MB while clashes are sought. The CPL has some thousands."""

MAX_LINE = 65_536
"""Octets of a line, and so of a cell; a row of the CPL has some hundreds."""

_Row = dict[str, list[str]]
"""The cells of each field, in the column map's order."""

_Word = TypeVar("_Word")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 3  # missing columns that a refusal names


@dataclass(frozen=True, slots=True)
class CplEntry:
    """One row of the CPL: a Device Model with one firmware version, its hash and its status.

    hardware is the hardware version and revision as one 16-bit number. The hash is absent only for device types that
    no supplier updates.
    """

    line: int
    device_type: DeviceType
    model: Model
    hardware: int
    firmware_version: FirmwareVersion
    hash: bytes | None
    status: CplStatus
    entry_id: str | None = None
    gbcs_version: GbcsVersion | None = None

    def __str__(self) -> str:
        return f"model {self.model}, hardware {self.hardware:04X}, firmware {self.firmware_version}"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A row that was not taken: its first line in the file (the header is line 1), and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class CplImport:
    """What became of a file: its entries and its refusals, both by line."""

    entries: tuple[CplEntry, ...]
    refusals: tuple[Refusal, ...]


def read_cpl(lines: Iterable[bytes], columns: ColumnMap) -> CplImport:
    """Read a CPL file from its lines, in UTF-8 with or without a byte order mark, by a column map.

    CplError when the file as a whole cannot be read: no header, a column missing, a line or the file too long.
    """
    rows = _rows(lines, columns.delimiter)
    header = next(rows, None)
    if header is None or isinstance(header, Refusal):
        raise CplError(f"the CPL file has no header: {header.reason if header else 'it is empty'}")
    reader = _RowReader(columns, header[1])
    entries: list[CplEntry] = []
    refusals: list[Refusal] = []
    for count, row in enumerate(rows, 1):
        if count > MAX_ROWS:
            raise CplError(f"the CPL file has more than {MAX_ROWS} rows")
        outcome = row if isinstance(row, Refusal) else reader.read(*row)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        else:
            entries.append(outcome)
    clashes = _clashes(entries)
    refusals += [Refusal(line, reason) for line, reason in clashes.items()]
    return CplImport(tuple(entry for entry in entries if entry.line not in clashes), tuple(sorted(refusals)))


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise CplError(f"line {number} of the CPL file is longer than {MAX_LINE} octets")
        # Octets that are not UTF-8 become lone surrogates, so that only their own row is refused.
        yield (line.removeprefix(_BOM) if number == 1 else line).decode("utf-8", "surrogateescape")


def _rows(lines: Iterable[bytes], delimiter: str) -> Iterator[tuple[int, list[str]] | Refusal]:
    reader = csv.reader(_decoded(lines), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Refusal(first, _up_to(first, reader.line_num) + f"the line is not CSV: {error}")
            continue
        cells = [cell.strip() for cell in cells]
        # A spreadsheet ends in lines of bare delimiters: a line without any text is no row.
        if any(cells):
            yield first, cells


def _up_to(first: int, last: int) -> str:
    # An open quote swallows what follows it: say how far, so that no line is lost in silence.
    return f"lines {first} to {last}: " if last > first else ""


class _RowReader:
    """Reads rows by a column map, once its columns were found in the header."""

    def __init__(self, columns: ColumnMap, header: list[str]) -> None:
        """Find the columns; CplError names all that are missing, or one that stands twice."""
        self.map = columns
        self.width = len(header)
        fields = columns.columns.named()
        names = [name for columns in fields.values() for name in columns]
        if missing := [repr(name) for name in names if name not in header]:
            some = ", ".join(missing[:_SHOWN]) + (f" and {n} more" if (n := len(missing) - _SHOWN) > 0 else "")
            raise CplError(f"the CPL file's header has no column {some}, which the column map names")
        if twice := [repr(name) for name in names if header.count(name) > 1]:
            raise CplError(f"the CPL file's header has the column {twice[0]} twice")
        self.places = {field: [header.index(name) for name in columns] for field, columns in fields.items()}

    def read(self, line: int, cells: list[str]) -> CplEntry | Refusal:
        """The entry of a row, or why it is refused."""
        if len(cells) != self.width:
            return Refusal(line, f"the row has {len(cells)} cells, the header has {self.width}")
        try:
            return self._entry(line, {field: [cells[place] for place in at] for field, at in self.places.items()})
        except CplError as error:
            return Refusal(line, str(error))

    def _entry(self, line: int, row: _Row) -> CplEntry:
        for field, cells in row.items():
            if not all(cell.isprintable() for cell in cells):
                raise CplError(f"{field} holds {''.join(cells)[:40]!a}, it should be printable text in UTF-8")
        device_type = _word(row, "device_type", self.map.values.device_type)
        return CplEntry(
            line,
            device_type,
            Model(self._number(row, "manufacturer", 2), self._number(row, "model", 2)),
            self._number(row, "hardware", 2),
            FirmwareVersion(self._number(row, "firmware_version", 4)),
            self._hash(row, device_type),
            _word(row, "status", self.map.values.status),
            "".join(row.get("entry_id", ())) or None,
            _gbcs_version(row),
        )

    def _octets(self, row: _Row, field: str, size: int) -> bytes:
        prefix = self.map.hex_prefix
        if unprefixed := [cell for cell in row[field] if not cell.startswith(prefix)]:
            raise CplError(f"{field} holds {unprefixed[0][:80]!r}, it should start with {prefix!r}")
        try:
            return read_octets("".join(cell.removeprefix(prefix) for cell in row[field]), size)
        except TermError as error:
            raise CplError(f"{field} holds {error}") from error

    def _number(self, row: _Row, field: str, size: int) -> int:
        return int.from_bytes(self._octets(row, field, size), "big")

    def _hash(self, row: _Row, device_type: DeviceType) -> bytes | None:
        if not any(row["hash"]) and device_type not in UPDATABLE:
            return None
        return self._octets(row, "hash", 32)


def _word(row: _Row, field: str, meanings: Mapping[str, _Word]) -> _Word:
    text = "".join(row[field])
    if text not in meanings:
        raise CplError(f"{field} holds {text[:80]!r}, the column map knows {', '.join(sorted(meanings))}")
    return meanings[text]


def _gbcs_version(row: _Row) -> GbcsVersion | None:
    if not (text := "".join(row.get("gbcs_version", ()))):
        return None
    try:
        return GbcsVersion.parse(text)
    except TermError as error:
        raise CplError(f"gbcs_version holds {error}") from error


def _clashes(entries: list[CplEntry]) -> dict[int, str]:
    """The lines that contradict or repeat each other, each with the reason."""
    products: dict[Hashable, list[CplEntry]] = defaultdict(list)
    ids: dict[Hashable, list[CplEntry]] = defaultdict(list)
    for entry in entries:
        products[entry.model, entry.hardware, entry.firmware_version].append(entry)
        if entry.entry_id:
            ids[entry.entry_id].append(entry)
    reasons: dict[int, str] = {}
    for same in filter(lambda group: len(group) > 1, ids.values()):
        reasons |= dict.fromkeys((e.line for e in same), f"entry_id {same[0].entry_id!r} is given {_on_lines(same)}")
    for same in filter(lambda group: len(group) > 1, products.values()):
        reasons |= dict.fromkeys((e.line for e in same), f"{same[0]} {_difference(same)} {_on_lines(same)}")
    return reasons


def _difference(same: list[CplEntry]) -> str:
    for what in ("hash", "status", "device_type", "entry_id", "gbcs_version"):
        if len({getattr(entry, what) for entry in same}) > 1:
            return f"is listed with different values of {what}"
    return "is listed more than once"


def _on_lines(same: list[CplEntry]) -> str:
    lines = [str(entry.line) for entry in same]
    return f"on lines {', '.join(lines[:10])}{' and more' if len(lines) > 10 else ''}"
