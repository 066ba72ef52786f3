"""`hanwave cpl`: check a Central Products List file before anything relies on it."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from hanwave.cli.output import AsJson, emit, naming, read_file
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import MAX_LINE, read_cpl

app = typer.Typer(no_args_is_help=True, help="Check a Central Products List (CPL) file, and import it.")


@app.command(epilog="Example: hanwave cpl columns > map.yaml && hanwave cpl check cpl.csv --columns map.yaml")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The CPL as CSV, in UTF-8.")],
    columns: Annotated[
        Path | None,
        typer.Option(metavar="MAP", help="The column map, in YAML. Not given: the one that is shipped, unconfirmed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read every row; list each refused row with its line and reason, and end with code 1 if there is one."""
    text: bytes | str = read_file(columns, "the column map") if columns else default_map_text()
    known = read_column_map(text)
    with naming(file, "the CPL file"):
        found = read_cpl(lines_of(file), known)
    facts: dict[str, Any] = {
        "file": str(file),
        "columns": str(columns) if columns else "as shipped",
        "rows": len(found.entries) + len(found.refusals),
        "entries": len(found.entries),
        "by_device_type": dict(sorted(Counter(entry.device_type.value for entry in found.entries).items())),
        "by_status": dict(sorted(Counter(entry.status.value for entry in found.entries).items())),
        "refused": len(found.refusals),
        "refusals": [{"line": refusal.line, "reason": refusal.reason} for refusal in found.refusals],
    }
    emit(facts, as_json=as_json)
    if found.refusals:
        sys.stderr.write(f"hanwave: {file}: {len(found.refusals)} of {facts['rows']} rows are refused\n")
        raise typer.Exit(1)


@app.command(epilog="Example: hanwave cpl columns > map.yaml")
def columns(as_json: AsJson = False) -> None:
    """Print the column map that is shipped, with its comments: copy it, and correct it for your file."""
    text = default_map_text()
    if as_json:
        emit(yaml.safe_load(text), as_json=True)
    else:
        sys.stdout.write(text)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a CPL file, each cut off one octet beyond MAX_LINE; OSError when it cannot be read."""
    with path.open("rb") as file:
        # One octet more than may be: a longer line is refused without being read to its end.
        while line := file.readline(MAX_LINE + 1):
            yield line
