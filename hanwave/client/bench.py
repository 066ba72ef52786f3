"""A bench in a program's hands: who is on its network, and how far each update is.

Guarantees: an order is one workflow of the engine, which keeps who asked for it, and a note of the ledger where it changes
anything; what only looks at updates asks the engine alone, and so works while no bench worker does.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as Late

from hanwave import names
from hanwave.client import engine, search
from hanwave.client.errors import EngineError, RefusedError
from hanwave.client.link import Link
from hanwave.identifiers import EUI64
from hanwave.rollout import route as routes
from hanwave.rollout.bench_desk import DeskAnswer, DeskOrder, OnBench, Verb

_PATIENCE = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One device's update on a bench, as its worker last told the engine. Times are in seconds, sizes in octets."""

    campaign: str
    eui: str
    stage: str
    """queued, probing, notified, offered, downloading, paused, confirming; "waits" where no worker has it in hand."""
    offset: int = 0
    size: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    silent_for: float = 0.0
    waits_for: str = ""


class Bench:
    """One bench, by its name."""

    def __init__(self, link: Link, name: str) -> None:
        """Made by a Client."""
        self._link = link
        self.name = name

    async def devices(self) -> list[OnBench]:
        """Who is on the bench's network; EngineError where nobody works at it, RefusedError where it has no coordinator."""
        return (await self._order(DeskOrder(self.name))).devices

    async def permit_join(self, seconds: int = 240, *, actor: str) -> int:
        """Let devices join for so many seconds, at most 254; the seconds. Errors as of devices."""
        order = DeskOrder(self.name, Verb.PERMIT_JOIN, actor, seconds=seconds)
        return (await self._order(order)).joining_for

    async def forget(self, eui: str, *, actor: str) -> None:
        """Take a device off the network; RefusedError where it is not on it, or is being updated."""
        await self._order(DeskOrder(self.name, Verb.FORGET, actor, str(EUI64.parse(eui))))

    async def transfers(self) -> list[Transfer]:
        """Every update on the bench that is not over, by campaign and device."""
        client = self._link.temporal
        query = (
            f"WorkflowType = '{names.DEVICE_WORKFLOW}' AND Route = '{routes.bench(self.name)}'"
            " AND ExecutionStatus = 'Running'"
        )
        async with engine.asking(client, self._link.patience):
            found = [await self._transfer(each) async for each in client.list_workflows(query)]
        return sorted((each for each in found if each), key=lambda each: (each.campaign, each.eui))

    async def _transfer(self, execution: WorkflowExecution) -> Transfer | None:
        if (of := names.of_device_id(execution.id)) is None:
            return None
        client = self._link.temporal
        described = await client.get_workflow_handle(execution.id).describe()
        pending = described.raw_description.pending_activities
        if not pending or not pending[0].heartbeat_details.payloads:
            return Transfer(*of, "waits")
        told: dict[str, Any] = (await client.data_converter.decode(pending[0].heartbeat_details.payloads))[0]
        names_of = set(Transfer.__slots__) & set(told)
        return Transfer(*of, **({"stage": "waits"} | {name: told[name] for name in names_of}))

    async def _order(self, order: DeskOrder) -> DeskAnswer:
        client = self._link.temporal
        try:
            async with engine.asking(client, _PATIENCE.total_seconds()):
                answer: DeskAnswer = await client.execute_workflow(
                    names.DESK_WORKFLOW,
                    order,
                    id=names.bench_id(self.name, uuid.uuid4().hex),
                    task_queue=names.CAMPAIGN_QUEUE,
                    result_type=DeskAnswer,
                    execution_timeout=_PATIENCE,
                    static_summary=f"{order.verb} at bench {self.name}, for {order.actor or 'whoever asked'}",
                    search_attributes=search.attributes({"Route": routes.bench(self.name)}),
                )
        except WorkflowFailureError as error:
            raise self._refusal(error) from error
        return answer

    def _refusal(self, error: WorkflowFailureError) -> EngineError | RefusedError:
        cause = error.cause.cause if isinstance(error.cause, ActivityError) else error.cause
        if isinstance(cause, Late) and cause.type is TimeoutType.SCHEDULE_TO_START:
            return EngineError(
                f"nobody works at bench {self.name!r}: start `python -m workers.bench` where its coordinator is, or name"
                " another with --bench"
            )
        return RefusedError(cause.message if isinstance(cause, ApplicationError) else str(cause))


def one_device(release: str, eui: str, bench: str, actor: str) -> dict[str, Any]:
    """The request of a campaign that updates one device on a bench, whose gate bears what one device can show."""
    return {
        "release": release,
        "cohort": {"devices": [str(EUI64.parse(eui))]},
        "route": routes.bench(bench),
        "author": actor,
        "policy": {
            "waves": [{"share": 1}],
            "gate": {"harm": 0.5, "silence": 0.5, "confidence": 0.5},
            "attempts": {"distribute": 1, "activate": 1},
            "sweep": "1s",
            "soak": "1s",
        },
    }


def name_of(eui: str) -> str:
    """A name for the campaign of one device that is begun now."""
    return f"bench-{EUI64.parse(eui).octets.hex()}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


async def watched(bench: Bench, every: float) -> AsyncIterator[list[Transfer]]:
    """Every update on a bench, again and again, each so many seconds, until there is none."""
    while found := await bench.transfers():
        yield found
        await asyncio.sleep(every)
