"""The campaign worker: `python -m workers.campaign`. It runs the workflows, and what they ask of ledger and engine."""

import asyncio

from hanwave.ledger import database
from hanwave.settings import Settings, needed
from workers.process import run
from workers.wiring import campaign_worker, connect, telemetry


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    ledger = database.engine(needed(settings.postgres, "postgres").dsn.get_secret_value())
    user_id = needed(settings.user_id, "user_id")
    client = await connect(settings.temporal, runtime=telemetry(settings.metrics, settings.metrics.campaign))
    async with campaign_worker(client, ledger, str(user_id)):
        await stop.wait()


if __name__ == "__main__":
    run(main)
