"""How every command speaks: a table for a person, one JSON object with --json, one sentence on standard error.

A list is a table of its own for a person: a line an item, its columns those in which some item has something.

Exit codes: 0 done, 1 refused or failed (the sentence says why), 2 the command line itself was wrong, 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanwave.cli.progress import quiet
from hanwave.errors import HanwaveError

_WHOLE = 100_000
"""Columns in which nothing is broken."""
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def emit(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts: as one line of JSON, or as name and value in two columns (nested ones indented) and lists as tables."""
    quiet()
    if as_json:
        sys.stdout.write(line_of_json(facts) + "\n")
        return
    lists = {name: value for name, value in facts.items() if _is_list_of_items(value)}
    if alone := {name: value for name, value in facts.items() if name not in lists}:
        # Nobody pipes a table to have its hashes broken at 80 columns.
        Console(width=None if sys.stdout.isatty() else _WHOLE).print(_two_columns(alone))
    for name, items in lists.items():
        # Nor on a terminal: it folds a long line by itself, and what is copied from it is whole.
        Console(width=_WHOLE).print(_listing(name if len(facts) > 1 else "", items))


def _two_columns(facts: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(facts, ""):
        table.add_row(Text(shown(name)), Text(shown(value)))
    return table


def _is_list_of_items(value: object) -> bool:
    """Whether it is told as a table: items of which none holds a list of others."""
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return False
    return not any(_is_list_of_items(held) for item in value for held in item.values())


def _listing(name: str, items: list[Mapping[str, Any]]) -> Table:
    rows = [{column.strip(): said for column, said in _lines(item, "")} for item in items]
    told = dict.fromkeys(column for row in rows for column, said in row.items() if said not in {"", "-"})
    title = Text(f"\n{shown(name.replace('_', ' '))}", style="bold") if name else None
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in told:
        table.add_column(Text(shown(column)))
    for row in rows:
        table.add_row(*(Text(shown(row.get(column, "-"))) for column in told))
    return table


def shown(value: str) -> str:
    """The text as a terminal may be given it: what it would obey, or could not print, stands as its escape."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in value)


def line_of_json(facts: Mapping[str, Any]) -> str:
    """Facts as one line of JSON, as the published schemas have them: times by ISO 8601, an identifier as it is written."""
    return json.dumps(facts, default=_told)


def _told(value: object) -> Any:
    # Here and not above: a command's help need not wait for it.
    from pydantic_core import to_jsonable_python  # noqa: PLC0415

    return to_jsonable_python(value) if isinstance(value, date | timedelta) else str(value)


def _lines(facts: Mapping[str, Any], indent: str) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in facts.items():
        label = indent + name.replace("_", " ")
        if isinstance(value, Mapping) and value:
            lines += [(label, ""), *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            lines.append((label, ""))
            for number, item in enumerate(value, 1):
                lines += [(f"{indent}  {number}.", ""), *_lines(item, indent + "    ")]
        elif isinstance(value, list):
            lines.append((label, ", ".join(map(_said, value)) or "-"))
        else:
            lines.append((label, "-" if value is None or value == {} else _said(value)))
    return lines


def _said(value: object) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if isinstance(value, datetime) else str(value)


@contextmanager
def naming(path: Path, what: str = "the file") -> Iterator[None]:
    """Have a refusal of what a file holds, or that it cannot be read, begin with the file's name."""
    try:
        yield
    except OSError as error:
        raise HanwaveError(f"{what} {path} cannot be read: {error.strerror}") from error
    except HanwaveError as error:
        raise HanwaveError(f"{path}: {error}") from error


def read_file(path: Path, what: str) -> bytes:
    """The bytes of a file that a person named; HanwaveError names the file when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise HanwaveError(f"{what} {path} cannot be read: {error.strerror}") from error


def write_file(path: Path, data: bytes, what: str) -> None:
    """Write the bytes to a file that a person named, whole or not at all; HanwaveError names it when that fails."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe, which nothing may take the place of
        else:
            _replace(path.resolve(), data)
    except OSError as error:
        raise HanwaveError(f"{what} {path} cannot be written: {error.strerror}") from error


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
