"""`hanwave quarantine`: what the DCC holds above a threshold, and what became of it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit
from hanwave.errors import HanwaveError
from hanwave.ledger import quarantine

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(no_args_is_help=True, help="Requests that the DCC holds above an anomaly-detection threshold.")


@app.command("list", epilog="Example: hanwave quarantine list")
def list_(database: Database = None, as_json: AsJson = False) -> None:
    """List the requests that are held, the oldest first. Each may still be released, and change its devices then."""
    with open_ledger(database) as ledger, ledger.connect() as connection:
        at, found = now(), quarantine.listed(connection, own_user_id())
    emit({"held": [_facts(each, at) for each in found]}, as_json=as_json)


def _facts(held: "quarantine.Quarantined", at: "datetime") -> dict[str, object]:
    return {
        "request": held.request_id,
        "service": held.service_reference,
        "campaign": f"{held.campaign}/wave/{held.wave}",
        "leg": str(held.leg),
        "devices": held.devices,
        "since": held.since,
        "age": str(timedelta(seconds=round((at - held.since).total_seconds()))),
    }


@app.command(
    epilog="Example: hanwave quarantine resolve 90-B3...:1001 --deleted --reason 'too late' --evidence INC0012"
)
def resolve(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its RequestID, as `list` shows it.")],
    released: Annotated[bool, typer.Option("--released", help="It was released: it may act now.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="It was deleted: it never acts.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="What shows it: the DCC's reference.")] = "",
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Record what was done with a request at the DCC. Nothing is asked of the DCC here."""
    if released is deleted:
        raise HanwaveError("say what was done with the request at the DCC: one of --released and --deleted")
    said = quarantine.Resolution(released, reason, evidence, actor_or_user(actor))
    with open_ledger(database) as ledger, ledger.begin() as connection:
        devices = quarantine.resolve(connection, request, said, now(), own_user_id())
    facts = {"request": request, "recorded": "released" if released else "deleted", "devices": devices}
    emit(facts, as_json=as_json)
