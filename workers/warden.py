"""The warden: `python -m workers.warden`. It holds the ledger's open rows against the engine, and keeps the house.

Guarantees: its heartbeat says that it completed a round, and nothing forward is permitted without a fresh one; a
campaign or wave that was closed in the engine without its closing row is halted; a device's workflow that was closed
without an end of its update is started again from the ledger; a ledger that was put back to an earlier copy is stopped
whole. It decides nothing else.
"""

import asyncio
import itertools
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities import clocks
from activities.guard import stop_if_restored
from activities.wave import start_device
from hanwave import names
from hanwave.errors import HanwaveError
from hanwave.ledger import audit, beats, budgets, campaigns, control, database, stops, waves
from hanwave.ledger.witness import Witness
from hanwave.rollout.device import ENDED
from hanwave.settings import Settings, needed
from workers.process import run
from workers.wiring import connect, telemetry

ROUND = timedelta(seconds=30)
_WHOLE = 120
"""Rounds, an hour of them, of which the first chains what committed late, behind others' rows, too."""
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
_LOG = logging.getLogger("hanwave.warden")
_ENDED_BY_HAND = "ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Make rounds until told to stop; a round that fails is logged, and beats no heart."""
    ledger = database.engine(needed(settings.postgres, "postgres").dsn.get_secret_value())
    witness = Witness(settings.state / "witness" / "warden.json")
    client = await connect(settings.temporal, runtime=telemetry(settings.metrics, settings.metrics.warden))
    for number in itertools.count():
        if stop.is_set():
            return
        try:
            # A heart that beats ahead of the time would be heard long after it has stopped.
            await asyncio.to_thread(clocks.check, ledger, lambda: datetime.now(UTC))
            await asyncio.to_thread(stop_if_restored, ledger, witness, "warden", datetime.now(UTC))
            await make_round(client, ledger, datetime.now(UTC), whole=number % _WHOLE == 0)
            await asyncio.to_thread(_remember, ledger, witness)
        except (HanwaveError, OperationalError, RPCError) as error:
            _LOG.error("the round failed, and the heart stays still: %s", str(error).partition("\n")[0])
        except Exception:  # noqa: BLE001 - whatever it was, the next round may do better
            _LOG.exception("the round failed")
        try:
            await asyncio.wait_for(stop.wait(), ROUND.total_seconds())
        except TimeoutError:
            continue


async def make_round(client: Client, ledger: Engine, now: datetime, *, whole: bool = False) -> None:
    """One round: look after campaigns, waves and devices, then the tallies and the audit chain, then beat the heart.

    whole: no row is too old to be chained.
    """
    for workflow_id, scope in await asyncio.to_thread(_expected, ledger):
        if await _closed(client, workflow_id):
            await asyncio.to_thread(_halt, ledger, scope, f"{workflow_id} was closed in the engine without its end")
    await _restart_devices(client, ledger, now)
    await asyncio.to_thread(_keep_house, ledger, now, whole=whole)


def _expected(ledger: Engine) -> list[tuple[str, stops.Scope]]:
    """The workflows that should run by the ledger, each with what is halted when it does not."""
    with ledger.connect() as connection:
        running = connection.execute(
            text(
                "SELECT name FROM campaign WHERE closed_at IS NULL AND status IN ('running', 'withdrawn') ORDER BY name"
            )
        )
        found = [(names.campaign_id(name), stops.Scope("campaign", name)) for name in running.scalars()]
        opened = connection.execute(
            text("SELECT campaign, number FROM wave WHERE opened_at IS NOT NULL AND closed_at IS NULL ORDER BY 1, 2")
        )
        found += [
            (names.wave_id(row.campaign, row.number), stops.Scope("wave", f"{row.campaign}/{row.number}"))
            for row in opened
        ]
        return found


async def _closed(client: Client, workflow_id: str) -> bool:
    try:
        found = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return True
        raise
    return found.status is not WorkflowExecutionStatus.RUNNING


def _halt(ledger: Engine, scope: stops.Scope, reason: str) -> None:
    """Halt, unless it ended properly since it was looked up, or is halted already."""
    with ledger.begin() as connection:
        if connection.execute(_ENDED_SINCE[scope.kind], {"value": scope.value}).scalar_one():
            return
        known = connection.execute(
            text("SELECT 1 FROM stop WHERE scope = :s AND value = :v AND kind = 'halt' AND lifted_at IS NULL"),
            {"s": scope.kind, "v": scope.value},
        ).first()
    if known is None:
        control.halt(ledger, scope, reason, "warden", patience=0)
        _LOG.warning("halted %s %s: %s", scope.kind, scope.value, reason)


_ENDED_SINCE = {
    "campaign": text("SELECT closed_at IS NOT NULL FROM campaign WHERE name = :value"),
    "wave": text("SELECT closed_at IS NOT NULL FROM wave WHERE campaign || '/' || number = :value"),
}


async def _restart_devices(client: Client, ledger: Engine, now: datetime) -> None:
    """Start the workflows again that somebody closed while their updates are open."""
    # What was closed while no warden was there is as lost as what was closed just now.
    last = await asyncio.to_thread(_last_round, ledger)
    since = (min(last, now) - 4 * ROUND).strftime("%Y-%m-%dT%H:%M:%SZ")
    query = f"WorkflowType = '{names.DEVICE_WORKFLOW}' AND {_ENDED_BY_HAND} AND CloseTime > '{since}'"
    ids = [execution.id async for execution in client.list_workflows(query)]
    for campaign, euis in _by_campaign(ids).items():
        for fact in await asyncio.to_thread(_open_updates, ledger, campaign, euis):
            _LOG.warning("starts the workflow of %s in %s again: its update is open", fact.eui, campaign)
            await start_device(client, campaign, fact, names.Wake(fact.state), again=True)


def _last_round(ledger: Engine) -> datetime:
    with ledger.connect() as connection:
        return beats.last(connection, beats.WARDEN) or _EVER


def _open_updates(ledger: Engine, campaign: str, euis: list[str]) -> list[waves.StartFact]:
    with ledger.connect() as connection:
        return [f for f in waves.start_facts(connection, campaign, euis) if f.state not in ENDED]


def _by_campaign(ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for workflow_id in ids:
        if device := names.of_device_id(workflow_id):
            found.setdefault(device[0], []).append(device[1])
    return found


def _keep_house(ledger: Engine, now: datetime, *, whole: bool) -> None:
    with ledger.begin() as connection:
        campaigns.roll_up(connection)
        budgets.roll_up(connection, now)
        budgets.forget(connection, now)
    # Of two wardens one chains: the other's round is as good without.
    with suppress(audit.BusyError):
        audit.catch_up(ledger, whole=whole)
    with ledger.begin() as connection:
        beats.beat(connection, beats.WARDEN, now)


def _remember(ledger: Engine, witness: Witness) -> None:
    with ledger.connect() as connection:
        witness.sees_chain(connection, datetime.now(UTC))


if __name__ == "__main__":
    run(main)
