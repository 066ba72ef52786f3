"""The bench's activities: what a device's workflow asks for by the names that it uses at the gateway, done over ZigBee.

Guarantees: each may be done again at any point of a crash, and goes on where the device stands; a cancel of the workflow
reaches the device, and a worker that is only stopped tells it nothing; the ledger has the end before the workflow does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.gateway import Advanced
from activities.wave import DeviceStart
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from hanwave.ledger import bench as books
from hanwave.ledger.bench import Due
from hanwave.ledger.database import LedgerError
from hanwave.rollout.bench import BenchPolicy, BenchReport, Outcome
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.route import bench as route_of
from hanwave.settings import Bench as BenchSettings
from workers.bench.bench import Bench
from workers.bench.errors import BusyError
from workers.bench.image import BenchImage
from workers.bench.ledger import Books, now, write
from workers.bench.link import Link
from workers.bench.transfer import Progress

AGAIN = timedelta(seconds=30)
"""A device that is not on the network now is asked for again after this long."""
_BEAT_SECONDS = 2.0
_TELL_SECONDS = 3600.0
"""How long a cancelled activity waits for its device, which sleeps, to be told; a worker that is stopped does not."""


class BenchTasks:
    """The activities of one coordinator; policy holds what differs from the usual of a device's kind."""

    def __init__(self, ledger: Engine, link: Link, bench: BenchSettings, policy: dict[str, Any]) -> None:
        self._ledger = ledger
        self._link = link
        self._route, self._radio = route_of(bench.name), bench.radio
        self._policy = policy

    @activity.defn
    async def advance(self, device: DeviceStart) -> Advanced:
        """Do what is due to a device, or go on with it: transfer, install, or read its version."""
        of = (device.campaign, device.eui)
        due = await self._due(device.update_id, of)
        reason = due if isinstance(due, str) else await self._do(due)
        return await write(self._ledger, lambda c: Advanced.now(c, device.update_id, reason))

    async def _due(self, update_id: int, of: tuple[str, str] | None = None) -> Due | str:
        try:
            return await write(self._ledger, lambda c: books.due(c, update_id, self._route, now(), of))
        except LedgerError as error:
            raise ApplicationError(str(error), type="BadInput", non_retryable=True) from error

    @activity.defn
    async def read_versions(self, updates: list[int]) -> int:
        """Read the version of each device at the end of its soak; how many were asked."""
        return sum(await asyncio.gather(*map(self._read_at_the_end, updates)))

    async def _read_at_the_end(self, update_id: int) -> bool:
        due = await self._due(update_id)
        return isinstance(due, Due) and due.leg is Leg.READ and not await self._do(due)

    async def _do(self, due: Due) -> str:
        """Do it; a sentence where it could not be done now, and its turn comes again."""
        try:
            return await (self._read(due) if due.leg is Leg.READ else self._update(due))
        except HanwaveError as error:
            # What was begun is gone on with, however long it takes: the engine tries this very activity again.
            if isinstance(error, BusyError) or await self._has_begun(due):
                raise
            sentence = str(error)
        await write(self._ledger, lambda c: books.not_now(c, due, sentence, now() + AGAIN, now()))
        return sentence

    async def _has_begun(self, due: Due) -> bool:
        found = await self._due(due.update_id)
        return isinstance(found, Due) and found.granted

    # The transfer, and the word to install

    async def _update(self, due: Due) -> str:
        data, form = await write(self._ledger, lambda c: books.image(c, due))
        image = BenchImage.gb(data, form, bytes.fromhex(due.image_hash))
        step = Books(self._ledger, due, self._radio)
        beat = _Beat(step)
        updating = asyncio.ensure_future(self._link.run(lambda bench: self._on(bench, due, image, step, beat)))
        async with _beside(step.watch(), beat.run()):
            try:
                report = await asyncio.shield(updating)
            except asyncio.CancelledError:
                await self._cancelled(updating, step)
                raise
        await self._ended(step, report)
        return step.reason

    async def _on(self, bench: Bench, due: Due, image: BenchImage, step: Books, beat: "_Beat") -> BenchReport:
        eui = EUI64.parse(due.eui)
        policy = policy_of(due, self._policy, sleeps=bench.device(eui).sleeps)
        return await bench.update(eui, image, policy, control=step.control, on_progress=beat)

    async def _cancelled(self, updating: asyncio.Future[BenchReport], step: Books) -> None:
        """A person's cancel is told to the device; a worker that is stopped leaves it as it is."""
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            step.control.abort()
            # Of a worker that is stopped meanwhile the engine says nothing to what it has cancelled already.
            stopping = asyncio.ensure_future(activity.wait_for_worker_shutdown())
            either: set[asyncio.Future[Any]] = {updating, stopping}
            await asyncio.wait(either, timeout=_TELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if updating.done() and not updating.exception():
                await self._ended(step, updating.result())
        updating.cancel()
        await asyncio.gather(updating, return_exceptions=True)

    async def _ended(self, step: Books, report: BenchReport) -> None:
        activity.logger.info("%s in %s: %s", step.step.eui, step.step.campaign, report)
        # Where nothing was granted, nothing was sent.
        if step.granted or report.outcome not in {Outcome.CANCELLED, Outcome.NOT_PERMITTED}:
            await step.write(lambda c: books.ended(c, step.step, report, now()))

    # The version

    async def _read(self, due: Due) -> str:
        eui = EUI64.parse(due.eui)
        async with _beside(_Beat(None).run()):
            await self._link.run(lambda bench: _is_there(bench, eui))
            if not due.granted:
                why = await write(self._ledger, lambda c: books.ask(c, due, now(), self._radio))
                if why:
                    return why
            version = await self._link.run(lambda bench: bench.version(eui))
        await write(self._ledger, lambda c: books.read(c, due, version, now()))
        return ""


def policy_of(due: Due, policy: dict[str, Any], *, sleeps: bool) -> BenchPolicy:
    """How a device is updated: as its kind usually is, but for what the bench's settings say; what is done, its plan says."""
    kind = DeviceType(due.device_type)
    usual = BenchPolicy.usual(kind, sleeps=sleeps).model_dump()
    planned = {"hold": due.leg is Leg.DISTRIBUTE and not kind.one_step, "may_downgrade": due.may_downgrade}
    return BenchPolicy.model_validate(usual | policy | planned)


async def _is_there(bench: Bench, eui: EUI64) -> None:
    bench.device(eui)


class _Beat:
    """An activity's heart: what it tells the engine is how far its device is, for whoever watches."""

    def __init__(self, step: Books | None) -> None:
        self._step = step
        self._progress: dict[str, Any] = {}

    def __call__(self, progress: Progress) -> None:
        """Keep how it stands."""
        self._progress = asdict(progress)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            waits = self._step.reason if self._step else ""
            activity.heartbeat(self._progress | {"waits_for": waits})
            await asyncio.sleep(_BEAT_SECONDS)


@contextlib.asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have it done for as long as the block lasts."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
