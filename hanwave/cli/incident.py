"""`hanwave incident`: the DCC's maintenance and incidents, which close the permit and stop the clocks where they are."""

from dataclasses import asdict
from typing import Annotated

import typer

from hanwave.cli.incident_pack import pack
from hanwave.cli.ledger_option import Actor, Database, Ended, actor_or_user, now, open_ledger, time_option
from hanwave.cli.output import AsJson, emit
from hanwave.ledger import incidents
from hanwave.ledger.database import connect

app = typer.Typer(
    no_args_is_help=True, help="Record the DCC's maintenance and incidents, and pack what they need to know of ours."
)
app.command("pack", epilog="Example: hanwave incident pack spring-e470 --cause quiet --ticket INC0042")(pack)


@app.command(epilog="Example: hanwave incident add INC0042 --region North --service activation --reason 'SRs time out'")
def add(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The DCC's own reference of it.")],
    reason: Annotated[str, typer.Option(help="What is known of it.")],
    region: Annotated[str | None, typer.Option(help="The CSP region; not given: all of them.")] = None,
    service: Annotated[str, typer.Option(help="all, distribution (11.1, 11.4) or activation (11.3).")] = "all",
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Not given: now.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Not given: nobody knows.")] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Record one: while it lasts nothing that needs the service is sent there, and no device is late."""
    incident = incidents.NewIncident(
        service=service,
        reference=reference,
        reason=reason,
        actor=actor_or_user(actor),
        starts_at=time_option(since, "--from") or now(),
        ends_at=time_option(until, "--to"),
        region=region,
    )
    with open_ledger(database) as ledger, connect(ledger) as connection:
        emit({"id": incidents.add(connection, incident, now())}, as_json=as_json)


@app.command(epilog="Example: hanwave incident end 7 --reason 'the DCC has closed INC0042'")
def end(
    incident: Annotated[int, typer.Argument(metavar="ID", help="The number of the record.")],
    reason: Annotated[str, typer.Option(help="By whose word.")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="When it ended; not given: now.")] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End one; what waited for it is looked at again at once."""
    said = (actor_or_user(actor), reason)
    with open_ledger(database) as ledger, connect(ledger) as connection:
        ended = incidents.end(connection, incident, time_option(at, "--at") or now(), said, now())
    emit({"id": incident, "ended": ended}, as_json=as_json)


@app.command("list", epilog="Example: hanwave incident list --all")
def list_(
    ended: Ended = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List those that last, and those that are announced."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = incidents.listed(connection, now(), ended=ended)
    emit({"incidents": [asdict(incident) for incident in found]}, as_json=as_json)
