"""`hanwave audit`: where the chain stands, an export of it, and its verification without a database."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Database, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.cli.progress import reading
from hanwave.errors import HanwaveError
from hanwave.ledger import audit
from hanwave.ledger.audit_verify import MAX_LINE
from hanwave.ledger.audit_verify import verify as verify_lines
from hanwave.ledger.database import connect

app = typer.Typer(no_args_is_help=True, help="Export the audit chain, and verify an export.")


@app.command(epilog="Example: hanwave audit status --json")
def status(database: Database = None, as_json: AsJson = False) -> None:
    """Show the chain's length, its head (keep it elsewhere: it is a checkpoint), and what is not chained yet."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        emit(asdict(audit.status(connection)), as_json=as_json)


@app.command(epilog="Example: hanwave audit export --out audit.jsonl")
def export(
    out: Annotated[Path, typer.Option(help="Where to write the export, JSON lines.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole chain with the rows behind it; whoever holds the file needs nothing else to verify it."""
    lines = 0
    with open_ledger(database) as ledger:
        try:
            with out.open("wb") as file:
                for line in audit.export(ledger):
                    file.write(line)
                    lines += 1
        except OSError as error:
            raise HanwaveError(f"the export {out} cannot be written: {error.strerror}") from error
    emit({"file": str(out), "lines": lines}, as_json=as_json)


@app.command(epilog="Example: hanwave audit verify audit.jsonl --head $(cat head.of.march)")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export.")],
    head: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A head that was kept elsewhere: the chain must pass through it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify an export alone; the first row that is not what the chain says is named, and ends it with code 1."""
    found = verify_lines(_lines(file), head)
    emit({"file": str(file), "verified": True, **asdict(found)}, as_json=as_json)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file, reading(file):
            # One octet more than may be: a longer line is refused without being read to its end.
            while line := file.readline(MAX_LINE + 1):
                yield line
    except OSError as error:
        raise HanwaveError(f"the export {path} cannot be read: {error.strerror}") from error
