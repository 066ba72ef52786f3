"""`hanwave incident pack`: what the DCC or a manufacturer needs to look into one kind of failure."""

import io
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit, write_file
from hanwave.ledger import incident_pack
from hanwave.ledger.database import connect


def pack(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign.")],
    cause: Annotated[
        str, typer.Option(help="An outcome, such as quiet, or a code that the devices gave, such as E21.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The pack (default: CAMPAIGN-CAUSE.zip).")] = None,
    ticket: Annotated[
        str | None,
        typer.Option(metavar="REFERENCE", help="Hold each of the devices under this reference: from a rollback too."),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Write the devices, requests, codes, times and messages of one cause as a ZIP, without customer data."""
    written, data = out or Path(f"{campaign}-{cause}.zip".replace("/", "-")), io.BytesIO()
    with open_ledger(database) as ledger, connect(ledger) as connection:
        packed = incident_pack.write(connection, campaign, cause, data, own_user_id())
        write_file(written, data.getvalue(), "the pack")
        held = (
            incident_pack.hold(connection, packed, ticket, actor_or_user(actor), now(), own_user_id()) if ticket else 0
        )
    facts = {"pack": str(written), "devices": len(packed.devices), "requests": packed.requests}
    emit(facts | {"messages": packed.messages, "too_long": packed.too_long, "held": held}, as_json=as_json)
