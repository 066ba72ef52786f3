"""`hanwave outage`: what network operators report of their supply, for the gates."""

from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Database, now, open_ledger
from hanwave.cli.output import AsJson, emit, read_file
from hanwave.errors import HanwaveError

app = typer.Typer(no_args_is_help=True, help="Network operators' reports of outages of supply.")


@app.callback()
def _outage() -> None:
    """Network operators' reports of outages of supply."""


@app.command("import", epilog="Example: hanwave outage import outages.csv")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: scope,value,from,to,reference.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Bring reports into the ledger: whole or, where a row is wrong, not at all. The same file again changes nothing.

    The scope is device, mpxn, hub or region; the times have a zone; to is empty while the end is not known.
    """
    from hanwave.ledger import outages  # noqa: PLC0415
    from hanwave.ledger.database import connect  # noqa: PLC0415

    try:
        lines = read_file(file, "the reports").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise HanwaveError(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    reports = outages.read_outages(lines, str(file))
    with open_ledger(database) as ledger, connect(ledger) as connection:
        changed = outages.import_outages(connection, reports, now())
    emit({"reports": len(reports), "new_or_changed": changed}, as_json=as_json)
