"""Starting campaigns again from the ledger alone: after Temporal's database was lost, or somebody closed what should run.

Guarantees: what runs already is left alone, and what has ended by the ledger is not begun again; a device's workflow that
is started again repeats nothing, since the permit refuses every step that was granted before.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.wave import start_device
from hanwave import names
from hanwave.client import search
from hanwave.ledger import campaigns, waves
from hanwave.ledger.database import LedgerError
from workflows.wave import WaveStart

_PAGE = 500
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was seen to: each of these runs now, whether it did before or not."""

    campaign: str
    over: bool
    """True where the ledger says that it is over, and nothing was started."""
    waves: list[int]
    devices: int


async def recover(client: Client, ledger: Engine, campaign: str) -> Recovered:
    """Have a campaign, its open wave and its devices in an open update run; LedgerError where there is none of that name."""
    found = await asyncio.to_thread(_read, ledger, campaign)
    if found.over:
        return Recovered(campaign, over=True, waves=[], devices=0)
    await asyncio.to_thread(_take_turns_back, ledger, campaign)
    # Devices first: a wave that finds one asleep wakes it, and has nobody to wake otherwise.
    devices = await _devices(client, ledger, campaign)
    for wave in found.waves:
        start = WaveStart(campaign, wave, found.sweep)
        await _start(client, found.route, names.WAVE_WORKFLOW, names.wave_id(campaign, wave), start)
    await _start(client, found.route, names.CAMPAIGN_WORKFLOW, names.campaign_id(campaign), None)
    return Recovered(campaign, over=False, waves=found.waves, devices=devices)


def open_campaigns(connection: Connection) -> list[str]:
    """The campaigns that are not over, oldest first."""
    rows = connection.execute(text("SELECT name FROM campaign WHERE closed_at IS NULL ORDER BY created_at, name"))
    return list(rows.scalars())


@dataclass(frozen=True, slots=True)
class _Open:
    over: bool
    waves: list[int]
    sweep: float
    route: str


def _read(ledger: Engine, campaign: str) -> _Open:
    with ledger.connect() as connection:
        row = connection.execute(text("SELECT closed_at FROM campaign WHERE name = :name"), {"name": campaign}).first()
        if row is None:
            raise LedgerError(campaigns.no_campaign(connection, campaign))
        numbers = connection.execute(
            text(
                "SELECT number FROM wave WHERE campaign = :name AND opened_at IS NOT NULL AND closed_at IS NULL"
                " ORDER BY number"
            ),
            {"name": campaign},
        )
        frame = campaigns.frame(connection, campaign)
        return _Open(
            row.closed_at is not None, list(numbers.scalars()), frame.policy.sweep.total_seconds(), frame.route
        )


def _take_turns_back(ledger: Engine, campaign: str) -> None:
    """Those whose turn it was were woken in an engine that is gone: the wave's next sweep wakes them again."""
    with ledger.begin() as connection:
        connection.execute(
            text("UPDATE campaign_device SET picked_at = NULL WHERE campaign = :name AND picked_at IS NOT NULL"),
            {"name": campaign},
        )


async def begin_anew(client: Client, ledger: Engine, campaign: str) -> Recovered:
    """End what runs of a campaign and its waves in the engine, which may be ahead of the ledger, and recover it."""
    with ledger.connect() as connection:
        statement = text("SELECT number FROM wave WHERE campaign = :name ORDER BY number")
        numbers = list(connection.execute(statement, {"name": campaign}).scalars())
    for workflow_id in (names.campaign_id(campaign), *(names.wave_id(campaign, number) for number in numbers)):
        try:
            await client.get_workflow_handle(workflow_id).terminate(
                "the ledger was restored: it begins anew from there"
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
    return await recover(client, ledger, campaign)


async def _start(client: Client, route: str, workflow: str, workflow_id: str, argument: WaveStart | None) -> None:
    await client.start_workflow(
        workflow,
        argument,
        id=workflow_id,
        task_queue=names.CAMPAIGN_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=names.CAMPAIGN_SUMMARY
        if workflow == names.CAMPAIGN_WORKFLOW
        else f"{workflow_id}, recovered from the ledger",
        search_attributes=search.of_workflow(workflow_id, route),
    )


async def _devices(client: Client, ledger: Engine, campaign: str) -> int:
    """Those that were started once and still have something to do. The wave's sweep starts the others itself."""
    done, after = 0, 0
    while page := await asyncio.to_thread(_page, ledger, campaign, after):
        for first in range(0, len(page), _AT_ONCE):
            group = page[first : first + _AT_ONCE]
            await asyncio.gather(*(start_device(client, campaign, fact, again=True) for fact in group))
        done, after = done + len(page), page[-1].update_id
    return done


def _page(ledger: Engine, campaign: str, after: int) -> list[waves.StartFact]:
    # A device's workflow ends once the device is confirmed: its soak is the wave's affair.
    with ledger.connect() as connection:
        rows = connection.execute(
            text(
                f"{waves.START_FACTS} AND u.id > :after AND u.started"
                " AND u.state NOT IN ('confirmed', 'settled', 'closed') ORDER BY u.id LIMIT :page"
            ),
            {"campaign": campaign, "after": after, "page": _PAGE},
        )
        return [waves.StartFact(*row) for row in rows]
