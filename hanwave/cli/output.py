"""How every command speaks: a table for a person, one JSON object with --json, one sentence on standard error.

Exit codes: 0 done, 1 refused or failed (the sentence says why), 2 the command line itself was wrong, 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanwave.cli.progress import quiet
from hanwave.errors import HanwaveError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def emit(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts: as one line of JSON, or as name and value in two columns (nested ones indented)."""
    quiet()
    if as_json:
        sys.stdout.write(line_of_json(facts) + "\n")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(facts, ""):
        table.add_row(Text(shown(name)), Text(shown(value)))
    # Nobody pipes a table to have its hashes broken at 80 columns.
    Console(width=None if sys.stdout.isatty() else 100_000).print(table)


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
            lines.append((label, ", ".join(map(str, value)) or "-"))
        else:
            lines.append((label, "-" if value is None or value == {} else str(value)))
    return lines


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
