"""`hanwave campaign when`: when next, and why not now."""

from dataclasses import asdict
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Database, check_own, now, open_ledger
from hanwave.cli.output import AsJson, emit


def when(
    name: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say when each leg of the open wave may next be done, where, and why not now."""
    # Here and not above: these take half a second that the help of the group need not wait.
    from hanwave.ledger import windows  # noqa: PLC0415
    from hanwave.ledger.database import connect  # noqa: PLC0415

    with open_ledger(database) as ledger, connect(ledger) as connection:
        check_own(connection, name)
        found = windows.openings(connection, name, now())
    if as_json:
        emit({"openings": [asdict(each) for each in found]}, as_json=True)
    else:
        typer.echo("\n".join(map(str, found)) or "No device waits for a window: no wave is left to be run.")
