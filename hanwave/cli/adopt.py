"""`hanwave adopt`: go on with a campaign that was begun by other means."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.errors import HanwaveError


def adopt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The campaign, planned here and not yet begun.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: eui,state,at,evidence.")],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Take over how far each device is, from the records of a campaign that was begun by other means.

    A state is requested, delivered, held (not of a PPMID), activating, activated or failed; at is when, with its offset;
    evidence is where that is recorded. All lines are taken, or none. What was activated is read back before it counts.

    Example: hanwave adopt spring-e470 records.csv
    """
    from hanwave.ledger import adopt as adopting  # noqa: PLC0415
    from hanwave.ledger.database import connect  # noqa: PLC0415

    try:
        with (
            open_ledger(database) as ledger,
            connect(ledger) as connection,
            file.open(newline="", encoding="utf-8-sig") as f,
        ):
            found = adopting.adopt(connection, name, f, actor_or_user(actor), now())
    except OSError as error:
        raise HanwaveError(f"{file} cannot be read: {error.strerror}") from error
    emit(asdict(found), as_json=as_json)
