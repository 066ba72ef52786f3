"""The gateway worker: `python -m workers.gateway`. It alone holds the signing keys, and alone speaks to the DCC.

What a halt can still recall it withdraws by itself, from the ledger alone: that begins before Temporal is asked for, and
goes on while Temporal is down.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.runtime import Runtime

from activities.clocks import LedgerTime, Timed
from activities.dcc import StraightRoute
from activities.guard import Guarded
from activities.requests import Sender
from activities.wave import now
from activities.withdraw import Withdrawals
from hanwave import settings
from hanwave.keys import load_keys
from hanwave.ledger import database
from hanwave.ledger.witness import Witness
from hanwave.settings import Settings, needed
from workers.process import run
from workers.wiring import connect, gateway_worker, telemetry

_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 2.0
_LOG = logging.getLogger("hanwave.gateway")


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    ledger = database.engine(needed(settings.postgres, "postgres").dsn.get_secret_value(), pool=16)
    keys = load_keys(settings)
    acb = needed(settings.acb_id, "acb_id")
    with StraightRoute(needed(settings.dcc, "dcc")) as route:
        witness = Witness(settings.state / "witness" / "gateway.json")

        def deliver(clock: Callable[[], datetime]) -> Guarded:
            return Guarded(ledger, Sender(ledger, route, keys, clock), witness, clock)

        # What is recalled cannot wait until somebody sets this machine's clock.
        theirs = LedgerTime(ledger)
        async with looking(deliver(theirs)), withdrawing(Withdrawals(ledger, deliver(theirs), theirs)):
            runtime = telemetry(settings.metrics, settings.metrics.gateway)
            client = await _connect(settings.temporal, stop, runtime)
            if client is None:
                return
            async with gateway_worker(client, ledger, Timed(ledger, deliver(now), now), acb):
                await stop.wait()


@asynccontextmanager
async def looking(guard: Guarded) -> AsyncIterator[None]:
    """Look whether the ledger was put back, for as long as the block lasts: nothing may ask to leave for days."""
    looks = asyncio.create_task(_look(guard))
    try:
        yield
    finally:
        looks.cancel()
        with suppress(asyncio.CancelledError):
            await looks


async def _look(guard: Guarded) -> None:
    while True:
        try:
            await asyncio.to_thread(guard.look)
        except SQLAlchemyError as error:
            _LOG.warning("the ledger could not be looked at: %s", type(error).__name__)
        await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def withdrawing(withdrawals: Withdrawals) -> AsyncIterator[None]:
    """Withdraw, in a thread of its own, for as long as the block lasts."""
    end = threading.Event()
    thread = asyncio.create_task(asyncio.to_thread(withdrawals.run, end))
    try:
        yield
    finally:
        end.set()
        await thread


async def _connect(temporal: settings.Temporal, stop: asyncio.Event, runtime: Runtime | None) -> Client | None:
    """A client of the engine, once there is one; None where we are told to stop before."""
    while not stop.is_set():
        try:
            return await connect(temporal, runtime=runtime)
        except RuntimeError as error:
            _LOG.warning("Temporal at %s cannot be reached, withdrawals go on without: %s", temporal.address, error)
        try:
            await asyncio.wait_for(stop.wait(), _AGAIN_SECONDS)
        except TimeoutError:
            continue
    return None


if __name__ == "__main__":
    run(main)
