"""The load calendars of HCALCSs, from a file of the supplier's: when each one's load is on, so that it is left alone then.

Guarantee: a file is taken whole or not at all, and says for each device that it names what holds from now on.
"""

import csv
import json
from collections.abc import Iterable
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64, IdentifierError
from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.rollout.windows import Hours

COLUMNS = ["eui", "hours"]
_HOURS: TypeAdapter[list[str]] = TypeAdapter(list[Hours])


def take(connection: Connection, lines: Iterable[str], actor: str, now: datetime) -> int:
    """Keep the calendars of a CSV file with the columns eui and hours; how many devices it names.

    hours are ranges of local time with semicolons between them, such as "00:30-07:30;13:00-16:00"; none: the policy's hold.
    LedgerError names the first line that is wrong, and nothing is kept.
    """
    found = _read(lines)
    connection.execute(_KEEP, {"euis": list(found), "hours": list(found.values()), "now": now})
    notes.add(connection, notes.Said(actor, "load_calendars", "fleet", document={"devices": len(found)}), now)
    return len(found)


def _read(lines: Iterable[str]) -> dict[str, str]:
    reader, found = csv.reader(lines), dict[str, str]()
    try:
        if (header := next(reader, [])) != COLUMNS:
            raise LedgerError(f"line 1 holds {','.join(header)[:60]!r}, it should hold the columns eui,hours")
        for cells in reader:
            eui, hours = _row(cells, reader.line_num)
            if eui in found:
                raise LedgerError(f"line {reader.line_num}: {eui} stands twice, it should stand once")
            found[eui] = json.dumps(hours)
    except csv.Error as error:
        raise LedgerError(f"line {reader.line_num} is not CSV: {error}") from error
    return found


_KEEP = text(
    "INSERT INTO load_calendar (eui, hours, updated_at) SELECT f.eui, CAST(f.hours AS jsonb), :now"
    " FROM unnest(CAST(:euis AS text[]), CAST(:hours AS text[])) AS f(eui, hours) ORDER BY f.eui"
    " ON CONFLICT (eui) DO UPDATE SET hours = EXCLUDED.hours, updated_at = EXCLUDED.updated_at"
)


def _row(cells: list[str], line: int) -> tuple[str, list[str]]:
    if len(cells) != len(COLUMNS):
        raise LedgerError(f"line {line} has {len(cells)} cells, it should have eui and hours")
    try:
        return str(EUI64.parse(cells[0])), _HOURS.validate_python([h for h in cells[1].split(";") if h.strip()])
    except IdentifierError as error:
        raise LedgerError(f"line {line}, eui: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise LedgerError(f"line {line}, hours: {first}") from error
