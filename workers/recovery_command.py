"""`hanwave recover`: start campaigns again in Temporal, with no input but the ledger."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import Engine

from hanwave import settings
from hanwave.cli.ledger_option import Database, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.client import engine
from hanwave.errors import HanwaveError
from workers.recovery import Recovered, open_campaigns
from workers.recovery import recover as recover_campaign

_PATIENCE = 600.0  # seconds a campaign: some 300 devices a second are started


def recover(
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The campaign.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every campaign that is not over.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Start a campaign, its open wave and its devices again in Temporal, from the ledger alone. What runs is left alone.

    Example: hanwave recover spring-e470
    """
    if (name is None) is not everything:
        raise HanwaveError("name one campaign, or give --all: which campaigns should be recovered?")
    with open_ledger(database) as ledger:
        found = asyncio.run(_recover(ledger, name))
    emit({"recovered": [asdict(each) for each in found]}, as_json=as_json)


async def _recover(ledger: Engine, name: str | None) -> list[Recovered]:
    client = await engine.connect(settings.load().temporal, lazy=True)
    await engine.is_up(client, 10)
    with ledger.connect() as connection:
        wanted = [name] if name else open_campaigns(connection)
    done = []
    for campaign in wanted:
        async with engine.asking(client, _PATIENCE):
            done.append(await recover_campaign(client, ledger, campaign))
    return done
