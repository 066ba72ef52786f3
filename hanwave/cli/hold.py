"""`hanwave hold`: keep everything forward away from a device, a model, a region, a hub or a home."""

from dataclasses import asdict
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, Ended, actor_or_user, now, open_ledger, own_user_id, time_option
from hanwave.cli.output import AsJson, emit
from hanwave.ledger import holds
from hanwave.ledger.database import connect

app = typer.Typer(no_args_is_help=True, help="Keep updates away from a device, a model, a region, a hub or a home.")


@app.command(epilog="Example: hanwave hold place region South --reason 'storm' --until 2026-12-01T08:00:00Z")
def place(
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="device, model, region, hub or home.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="An EUI-64, a model such as 121D/1111, a region, or a home's key.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is shown wherever the hold holds something back.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="When it expires; not given: never.")] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Place a hold: from now on no permit is given for what it names."""
    hold = holds.NewHold(scope, value, reason, actor_or_user(actor), time_option(until, "--until"), own_user_id())
    with open_ledger(database) as ledger, connect(ledger) as connection:
        emit({"id": holds.place(connection, hold, now())}, as_json=as_json)


@app.command(epilog="Example: hanwave hold lift 12 --reason 'the storm is over'")
def lift(
    hold: Annotated[int, typer.Argument(metavar="ID", help="The hold's number.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Lift a hold."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        holds.lift(connection, hold, reason, actor_or_user(actor), now(), own_user_id())
    emit({"id": hold, "lifted": True}, as_json=as_json)


@app.command("list", epilog="Example: hanwave hold list --all")
def list_(
    ended: Ended = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List the holds that are in force: of the setting user_id, if any, and those of all."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = holds.listed(connection, now(), ended=ended, user_id=own_user_id())
    emit({"holds": [asdict(hold) for hold in found]}, as_json=as_json)
