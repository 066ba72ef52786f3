"""`hanwave reconcile`: what a person does after PostgreSQL was restored to an earlier copy, in two steps."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import Engine

from activities import clocks
from hanwave import settings
from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.client import engine
from hanwave.errors import HanwaveError
from hanwave.ledger import reconcile as ledger_side
from workers.recovery import begin_anew, open_campaigns

_PATIENCE = 600.0
_AT_ONCE = 200


def reconcile(
    *,
    reason: Annotated[str, typer.Option(help="Why: it is written down.")],
    go_on: Annotated[bool, typer.Option("--go-on", help="The second step: begin again, and lift the stop.")] = False,
    actor: Actor = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """After the ledger was restored from a backup: find out what happened since, then go on.

    The first step stops all, and asks each device of open campaigns, and the DCC's inventory, what it runs; given again, it
    shows who has answered. The second, with --go-on, starts the campaigns anew and lifts the stop; devices that have not
    answered, or that the DCC lets us command no more, are put on hold.

    Example: hanwave reconcile --reason "restored after INC0042"
    """
    if not reason.strip():
        raise HanwaveError("--reason is empty: it should say why")
    who = actor_or_user(actor)
    with open_ledger(database) as ledger:
        # By the time of the stop it is known which restore something was lost in.
        clocks.check(ledger, now)
        found = _go_on(ledger, reason, who) if go_on else _find_out(ledger, reason, who)
        left = f"{found.unsent} questions wait to be sent, {found.unrouted} messages to be routed; "
        done = "it goes on" if go_on else f"{left}`hanwave reconcile --go-on` once enough have answered"
        emit({**asdict(found), "next": done}, as_json=as_json)


def _find_out(ledger: Engine, reason: str, actor: str) -> ledger_side.Reconciled:
    with ledger.begin() as connection:
        ledger_side.stop_all(connection, reason, actor, now())
    acb = settings.needed(settings.load().acb_id, "acb_id")
    busy = True
    while busy:
        with ledger.begin() as connection:
            busy = ledger_side.ask_devices(connection, _AT_ONCE, acb, now()) > 0
    with ledger.connect() as connection:
        return ledger_side.standing(connection)


def _go_on(ledger: Engine, reason: str, actor: str) -> ledger_side.Reconciled:
    with ledger.connect() as connection:
        ledger_side.check(connection)
    asyncio.run(_begin_anew(ledger))
    with ledger.begin() as connection:
        return ledger_side.go_on(connection, reason, actor, now())


async def _begin_anew(ledger: Engine) -> None:
    client = await engine.connect(settings.load().temporal, lazy=True)
    await engine.is_up(client, 10)
    with ledger.connect() as connection:
        wanted = open_campaigns(connection)
    for campaign in wanted:
        async with engine.asking(client, _PATIENCE):
            await begin_anew(client, ledger, campaign)
