"""The bench's process: one coordinator, one task queue."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.worker import Worker
from zigpy.application import ControllerApplication

from hanwave.client.engine import connect
from hanwave.ledger import database
from hanwave.rollout.bench import VIRTUAL, BenchPolicy
from hanwave.rollout.route import bench as route_of
from hanwave.settings import Bench, Environment, Settings, SettingsError, needed
from workers.bench import metrics
from workers.bench.desk import Desk
from workers.bench.link import Link
from workers.bench.radios import open_radio, quieten, radio_class, radio_config
from workers.bench.tasks import BenchTasks
from workers.bench.training import Lab

_AT_ONCE = 200
"""Activities at once: all but as many as the coordinator has slots for wait in its queue, and beat."""
_LEDGER_CONNECTIONS = 8
_TOLD_EVERY = timedelta(seconds=2)
"""How old what the engine knows of a device's progress may be; a cancel reaches it as soon."""
_LOG = logging.getLogger("hanwave.bench")


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    bench = settings.bench or Bench()
    quieten()
    link = Link(_opener(bench, settings))
    metrics.serve(settings.metrics, link, bench)
    # As many threads as connections: who waits for one holds none of the other.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_LEDGER_CONNECTIONS))
    dsn = needed(settings.postgres, "postgres").dsn.get_secret_value()
    ledger = database.engine(dsn, pool=_LEDGER_CONNECTIONS)
    client = await connect(settings.temporal)
    async with link.kept(), bench_worker(client, ledger, link, bench):
        _LOG.info("bench %s works with the radio %s", bench.name, bench.radio)
        await stop.wait()


def bench_worker(client: Client, ledger: Engine, link: Link, bench: Bench) -> Worker:
    """Runs the activities of one coordinator; SettingsError where the bench's policy is none."""
    tasks, desk = BenchTasks(ledger, link, bench, read_policy(bench)), Desk(ledger, link, bench.radio)
    return Worker(
        client,
        task_queue=route_of(bench.name),
        activities=[tasks.advance, tasks.read_versions, desk.desk],
        max_concurrent_activities=_AT_ONCE,
        max_heartbeat_throttle_interval=_TOLD_EVERY,
    )


def _opener(bench: Bench, settings: Settings) -> Callable[[], Coroutine[Any, Any, ControllerApplication]]:
    """How the coordinator is opened; what is wrong with its settings is said at once, and not tried again."""
    if bench.radio == VIRTUAL:
        if settings.environment is Environment.PRODUCTION:
            raise SettingsError(
                f"bench.radio holds {VIRTUAL!r}, in the environment production it should be a coordinator's: bellows, znp, ..."
            )
        return Lab(bench).open
    radio_class(bench.radio)
    radio_config(bench, settings.state)
    return partial(open_radio, bench, settings.state)


def read_policy(bench: Bench) -> dict[str, Any]:
    """What differs from the usual of a device's kind; SettingsError where it is none of a policy's."""
    try:
        read = BenchPolicy.model_validate(bench.policy)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise SettingsError(f"the setting bench.policy is wrong: {where}: {first['msg']}") from None
    return read.model_dump(exclude_unset=True)
