"""`hanwave fleet`: bring the supplier's devices into the ledger, and show what they run."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger
from hanwave.cli.load_calendars import load_calendars
from hanwave.cli.output import AsJson, emit, naming
from hanwave.cli.progress import reading
from hanwave.errors import HanwaveError
from hanwave.ledger.database import connect
from hanwave.ledger.exposure import exposure as by_exposure
from hanwave.ledger.fleet import import_fleet
from hanwave.ledger.fleet_file import COLUMNS

app = typer.Typer(no_args_is_help=True, help="Bring the supplier's devices into the ledger, and show what they run.")
app.command("load-calendars", epilog="Example: hanwave fleet load-calendars switching.csv")(load_calendars)
_SHOWN = 20


@app.command("import", epilog="Example: hanwave fleet import fleet.csv --json")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV in UTF-8; `hanwave fleet columns` lists the columns.")
    ],
    refused: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write the refused rows if there are more than 1,000."),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Import a fleet, or a part of it: what the file does not name stays. Ends with code 1 if a row was refused."""
    try:
        with (
            file.open("rb") as lines,
            reading(lines),
            open_ledger(database) as ledger,
            connect(ledger) as connection,
        ):
            refusals = refused or Path(f"{file}.refused.csv")
            with naming(file):
                done = import_fleet(connection, lines, refusals, actor_or_user(actor), now())
    except OSError as error:
        raise HanwaveError(f"the fleet file {file} cannot be read: {error.strerror}") from error
    facts = {"file": str(file), **asdict(done)}
    if not as_json:
        facts["refusals"] = facts["refusals"][:_SHOWN]
    emit(facts | {"refusals": list(facts["refusals"])}, as_json=as_json)
    if done.refused:
        sys.stderr.write(f"hanwave: {file}: {done.refused} of {done.rows} rows are refused\n")
        raise typer.Exit(1)


@app.command(epilog="Example: hanwave fleet columns")
def columns(as_json: AsJson = False) -> None:
    """List the columns of a fleet file, and which of them must be there."""
    needed = [name for name, column in COLUMNS.items() if column.required]
    emit({"needed": needed, "optional": [name for name in COLUMNS if name not in needed]}, as_json=as_json)


@app.command(epilog="Example: hanwave fleet exposure")
def exposure(database: Database = None, as_json: AsJson = False) -> None:
    """List devices by model, version and the version's status on the CPL; what is not Active comes first."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = by_exposure(connection)
    if as_json:
        emit({"exposure": [asdict(each) for each in found]}, as_json=True)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("type", "model", "version", "CPL", "devices", "homes", "suspended"):
        table.add_column(name)
    for each in found:
        table.add_row(*(Text(str(value)) for value in asdict(each).values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
