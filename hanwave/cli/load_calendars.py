"""`hanwave fleet load-calendars`: when the loads of HCALCSs are on."""

from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.errors import HanwaveError
from hanwave.ledger.database import connect
from hanwave.ledger.load_calendars import take


def load_calendars(
    file: Annotated[Path, typer.Argument(metavar="FILE", help='CSV: eui,hours, as in "00:30-07:30;13:00-16:00".')],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Import when the loads of HCALCSs are on: a policy's `switching` window leaves each one alone then."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HanwaveError(f"the file of load calendars {file} cannot be read: {error}") from error
    with open_ledger(database) as ledger, connect(ledger) as connection:
        devices = take(connection, lines, actor_or_user(actor), now())
    emit({"devices": devices}, as_json=as_json)
