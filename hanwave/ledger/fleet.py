"""The fleet's import: a whole feed or a delta, staged by COPY and merged in SQL, in one transaction.

Guarantees: the good rows are in and each bad one is reported; the same file again changes nothing, not even a row
version; what a file does not name stays as it is, devices and columns alike; memory does not grow with the file. The
facts of an open update stay what they were, but for what the file says of it: that its device has left, or that its hub was
exchanged. Imports take turns; the fleet's rows are locked for the merge alone, not while the file is read.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

import psycopg
from sqlalchemy import Connection, text

from hanwave.ledger import leavers, notes
from hanwave.ledger.database import LedgerError
from hanwave.ledger.fleet_file import COLUMNS, FleetFile, Refusal

KEPT = 1000
"""Refusals held in memory: some 200 kB. Where there are more, all of them are written to a file."""


@dataclass(frozen=True, slots=True)
class FleetImport:
    """What became of a file: rows = added + changed + unchanged + repeated + refused."""

    rows: int
    added: int
    changed: int
    unchanged: int
    repeated: int
    """Rows that only say again what an earlier row of the file said."""
    refused: int
    refusals: tuple[Refusal, ...]
    """The first KEPT of them."""
    refusals_file: Path | None
    """Where all of them are, if there are more than KEPT."""
    seconds: float


class _Refusals:
    """Keeps the first refusals, and from the next one on writes all of them to a file: "line,reason" in CSV."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[Refusal] = []
        self.count = 0
        self._file: TextIO | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._closing.close()

    @property
    def written_to(self) -> Path | None:
        return self.path if self._file else None

    def add(self, refusal: Refusal) -> None:
        self.count += 1
        if len(self.kept) < KEPT:
            self.kept.append(refusal)
            return
        try:
            if self._file is None:
                self._file = self._closing.enter_context(self.path.open("w", encoding="utf-8"))
                self._file.write("line,reason\n")
                self._file.writelines(map(_csv, self.kept))
            self._file.write(_csv(refusal))
        except OSError as error:
            raise LedgerError(f"the refused rows cannot be written to {self.path}: {error.strerror}") from error


def _csv(refusal: Refusal) -> str:
    reason = refusal.reason.replace('"', '""')
    return f'{refusal.line},"{reason}"\n'


def import_fleet(connection: Connection, file: BinaryIO, refusals_file: Path, actor: str, now: datetime) -> FleetImport:
    """Import a fleet file (see fleet_file for its form); refusals_file is made only where more than KEPT are refused.

    LedgerError where the file as a whole cannot be taken; nothing is changed then.
    """
    began = time.monotonic()
    fleet = FleetFile(file)
    with _Refusals(refusals_file) as refusals:
        staged = _stage(connection, fleet, refusals)
        repeated = _settle_repetitions(connection, fleet, refusals)
        merged = staged - repeated - (contradicted := _count(connection, "contradicted"))
        leavers.hubs_exchanged(connection, now)
        added, changed = _merge(connection, fleet, now)
        leavers.leave(connection, now)
        done = FleetImport(
            rows=staged + refusals.count - contradicted,
            added=added,
            changed=changed,
            unchanged=merged - added - changed,
            repeated=repeated,
            refused=refusals.count,
            refusals=tuple(refusals.kept),
            refusals_file=refusals.written_to,
            seconds=round(time.monotonic() - began, 3),
        )
    counts = {name: getattr(done, name) for name in ("rows", "added", "changed", "unchanged", "repeated", "refused")}
    if done.rows > done.refused:
        notes.add(connection, notes.Said(actor, "import_fleet", "fleet", document=counts), now)
    return done


def _stage(connection: Connection, fleet: FleetFile, refusals: _Refusals) -> int:
    """Copy the rows that can be read into a temporary table; their number."""
    # A million EUI-64s are grouped and joined in 64 MB; the server's usual 4 MB would spill to its disk.
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    columns = ", ".join(f"{name} {COLUMNS[name].kind}" for name in fleet.columns)
    connection.execute(text(f"CREATE TEMP TABLE staged (line bigint, {columns}) ON COMMIT DROP"))
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    count = 0
    with driver.cursor() as cursor, cursor.copy("COPY staged FROM STDIN") as copy:
        for block in _blocks(fleet, refusals):
            copy.write("".join(block))
            count += len(block)
    connection.execute(text("ANALYZE staged"))
    return count


def _blocks(fleet: FleetFile, refusals: _Refusals, size: int = 1000) -> Iterator[list[str]]:
    """The rows in COPY's text form, some hundreds of kB at a time: psycopg's own row writer takes twice as long."""
    block: list[str] = []
    for row in fleet:
        if isinstance(row, Refusal):
            refusals.add(row)
            continue
        line, values = row
        # Cells are printable, so a backslash is the one character that COPY would read as something else.
        cells = ["\\N" if value is None else value.replace("\\", "\\\\") for value in values]
        block.append(f"{line}\t" + "\t".join(cells) + "\n")
        if len(block) == size:
            yield block
            block = []
    yield block


def _settle_repetitions(connection: Connection, fleet: FleetFile, refusals: _Refusals) -> int:
    """Refuse every row of a device that the file describes in two ways; drop what only repeats, and count it."""
    content = ", ".join(f"s.{name}" for name in fleet.columns)
    connection.execute(
        text(
            "CREATE TEMP TABLE twice ON COMMIT DROP AS"
            " SELECT eui, min(line) AS first FROM staged GROUP BY eui HAVING count(*) > 1"
        )
    )
    connection.execute(
        text(
            "CREATE TEMP TABLE contradicted ON COMMIT DROP AS"
            " SELECT s.line, min(s.line) OVER device AS first, count(*) OVER device AS times FROM staged s"
            " WHERE s.eui IN (SELECT s.eui FROM staged s JOIN twice USING (eui)"
            f" GROUP BY s.eui HAVING count(DISTINCT ({content})) > 1) WINDOW device AS (PARTITION BY s.eui)"
        )
    )
    connection.execute(text("DELETE FROM staged WHERE line IN (SELECT line FROM contradicted)"))
    rows = text("SELECT line, first, times FROM contradicted ORDER BY line").execution_options(yield_per=1000)
    with connection.execute(rows) as contradicted:
        for row in contradicted:
            where = f"stands on {row.times} lines, the first of them {row.first}"
            refusals.add(Refusal(row.line, f"eui {where}, with different content: it should stand once"))
    repeats = "DELETE FROM staged s USING twice t WHERE t.eui = s.eui AND s.line > t.first"
    return connection.execute(text(repeats)).rowcount


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


# Nobody was heard in the future.
_HEARD = "CASE WHEN s.last_heard <= :now THEN s.last_heard END"


def _merge(connection: Connection, fleet: FleetFile, now: datetime) -> tuple[int, int]:
    """Bring what is staged into the fleet; the devices added and the devices changed."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('fleet import'))"))
    names = [name for name in fleet.columns if name != "eui"]
    held = ", ".join(f"d.{name}" for name in names)
    new = ", ".join(_HEARD if name == "last_heard" else f"s.{name}" for name in names)
    both = new.replace(_HEARD, f"greatest(d.last_heard, {_HEARD})")
    changed = connection.execute(
        text(
            f"UPDATE device d SET ({', '.join(names)}, updated_at) = ROW({both}, :now) FROM staged s"
            f" WHERE d.eui = s.eui AND ({held}) IS DISTINCT FROM ({both})"
        ),
        {"now": now},
    )
    fixed = {"updated_at": ":now"} if "payment_mode" in names else {"updated_at": ":now", "payment_mode": "'credit'"}
    added = connection.execute(
        text(
            f"INSERT INTO device (eui, {', '.join(names)}, {', '.join(fixed)})"
            f" SELECT s.eui, {new}, {', '.join(fixed.values())} FROM staged s"
            " WHERE NOT EXISTS (SELECT 1 FROM device d WHERE d.eui = s.eui) ON CONFLICT (eui) DO NOTHING"
        ),
        {"now": now},
    )
    return added.rowcount, changed.rowcount
