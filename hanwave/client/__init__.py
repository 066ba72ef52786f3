"""The SDK: hanwave.Client plans, starts, watches and steers campaigns. The one part of the library that knows Temporal.

    async with hanwave.Client.connect() as client:
        campaign = await client.start("spring", {"release": "acme-e470-0200", "author": "ann"})
        async for progress in campaign.watch():
            print(progress.funnel, progress.waits_for)

Guarantees: every refusal is a HanwaveError with one sentence; planning changes nothing; starting the same request under
the same name again gives the same campaign; whatever stops is written into the ledger straight, so that it holds with
Temporal down, its workers gone, or the campaign's workflow terminated.
"""

from hanwave.client.blocking import BlockingCampaign, BlockingClient
from hanwave.client.campaign import Campaign, Halted, Paused
from hanwave.client.client import Client
from hanwave.client.errors import (
    EngineError,
    LedgerLostError,
    NameTakenError,
    NoCampaignError,
    NotRunningError,
    RefusedError,
)

__all__ = [
    "BlockingCampaign",
    "BlockingClient",
    "Campaign",
    "Client",
    "EngineError",
    "Halted",
    "LedgerLostError",
    "NameTakenError",
    "NoCampaignError",
    "NotRunningError",
    "Paused",
    "RefusedError",
]
