"""The gateway worker: `python -m workers.gateway`. It alone holds the signing keys, and alone speaks to the DCC."""

import asyncio
from datetime import UTC, datetime

from activities.dcc import StraightRoute
from activities.requests import Sender
from hanwave.keys import load_credentials
from hanwave.ledger import database
from hanwave.settings import Settings, needed
from workers.process import run
from workers.wiring import connect, gateway_worker


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    ledger = database.engine(needed(settings.postgres, "postgres").dsn.get_secret_value())
    credentials = load_credentials(needed(settings.signing, "signing"), needed(settings.trust, "trust"))
    with StraightRoute(needed(settings.dcc, "dcc")) as route:
        sender = Sender(ledger, route, credentials, lambda: datetime.now(UTC))
        client = await connect(settings.temporal)
        async with gateway_worker(client, ledger, sender, needed(settings.acb_id, "acb_id")):
            await stop.wait()


if __name__ == "__main__":
    run(main)
