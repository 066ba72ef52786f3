"""The files of the budget: thresholds (YAML or CSV) and what other systems sent (CSV), read whole and strictly.

Guarantee: a file with a wrong row changes nothing; the refusal names the first, its field, and how many there are. A table of
thresholds that is half in force would be worse than none.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ValidationError

from hanwave.errors import HanwaveError
from hanwave.ledger.budgets import OthersRow
from hanwave.plain_yaml import read_yaml
from hanwave.rollout.budget import Count, Threshold, Variant
from hanwave.rollout.policy import Device
from hanwave.rollout.terms import Strict
from hanwave.times import read_time

MAX_OCTETS = 5_000_000
"""A year of five variants, hour by hour, has 3,000,000."""


class BudgetFileError(HanwaveError):
    """A file of thresholds or of others' use cannot be taken; the sentence names the row and the field."""


def _time(value: Any) -> Any:
    # Pydantic would take a bare number for seconds since 1970.
    try:
        return read_time(value)
    except (TypeError, ValueError):
        raise ValueError("should be a time with its zone, such as 2026-01-31T12:00:00Z") from None


class _Others(Strict):
    user_id: Device
    variant: Variant
    at: Annotated[AwareDatetime, BeforeValidator(_time)]
    units: Count


def read_thresholds(data: bytes, name: str) -> list[Threshold]:
    """The thresholds of a file (a list of YAML, or CSV with a header, by its ending); BudgetFileError."""
    found = _read(Threshold, _yaml(data, name) if _is_yaml(name) else _csv(data, name), name)
    keys = Counter((each.user_id, each.variant, each.period) for each in found)
    if twice := next((key for key, times in keys.items() if times > 1), None):
        raise BudgetFileError(f"{name} has SR {twice[1]} of {twice[0]} in {twice[2]} twice: one threshold a period")
    return found


def read_others(data: bytes, name: str) -> list[OthersRow]:
    """What other systems sent, by a CSV file with user_id, variant, at and units; BudgetFileError."""
    rows = _read(_Others, _csv(data, name), name)
    kept = {(row.user_id, row.variant, row.at): row.units for row in rows}
    if len(kept) < len(rows):
        raise BudgetFileError(
            f"{name} has a User ID, variant and time twice: one figure each, please add them together"
        )
    return [OthersRow(*key, units) for key, units in kept.items()]


def _is_yaml(name: str) -> bool:
    return PurePath(name).suffix.lower() in {".yaml", ".yml"}


def _yaml(data: bytes, name: str) -> Sequence[Any]:
    found = read_yaml(data, name, BudgetFileError)
    if not isinstance(found, list):
        raise BudgetFileError(f"{name} should hold a list of thresholds, each with user_id, variant, period and limit")
    return found


def _csv(data: bytes, name: str) -> Sequence[Any]:
    if len(data) > MAX_OCTETS:
        raise BudgetFileError(f"{name} has {len(data)} octets, it should have at most {MAX_OCTETS}")
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        # An empty cell leaves the field as if it were not there; a row too long has cells under None.
        return [{str(key): cell for key, cell in row.items() if cell != ""} for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BudgetFileError(f"{name} is no CSV in UTF-8: {error}") from error


_Row = TypeVar("_Row", bound=BaseModel)


def _read(model: type[_Row], rows: Sequence[Any], name: str) -> list[_Row]:
    if not rows:
        raise BudgetFileError(f"{name} holds no row: it should have a header and a row a figure, or a list")
    wrong: list[str] = []
    found = [_row(model.model_validate, row, number, wrong) for number, row in enumerate(rows, 1)]
    if wrong:
        more = f" ({len(wrong)} rows are wrong)" if len(wrong) > 1 else ""
        raise BudgetFileError(f"{name[-60:]}, {wrong[0]}{more}")
    return [row for row in found if row is not None]


def _row(read: Callable[[Any], _Row], row: Any, number: int, wrong: list[str]) -> _Row | None:
    try:
        return read(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the row"
        held = "" if first["type"] == "missing" else f", it holds {first['input']!r:.40}"
        wrong.append(f"row {number}, {where}: {first['msg']}{held}"[:150])
        return None
