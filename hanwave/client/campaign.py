"""A campaign in a program's hands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from hanwave.client import engine
from hanwave.client.errors import NoCampaignError, RefusedError
from hanwave.client.link import Link, now
from hanwave.ledger import cancel, control, progress, story
from hanwave.ledger.cancel import CancelledDevice
from hanwave.ledger.control import BeyondRecall
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By
from hanwave.ledger.progress import DeviceOutcome, Progress
from hanwave.ledger.rollback import Restore
from hanwave.ledger.stops import Scope
from hanwave.ledger.story import Story
from hanwave.rollout.events import Leg


@dataclass(frozen=True, slots=True)
class Halted:
    """A halt. From recorded_at on no forward POST begins; at quiet_at none was under way (None: not within the wait)."""

    stop_id: int
    recorded_at: datetime
    quiet_at: datetime | None
    beyond_recall: list[BeyondRecall]
    engine_told: bool
    """Whether Temporal answered; if not, the halt holds all the same, and its pages show it later."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause; it holds from when this is returned."""

    stop_id: int
    engine_told: bool


class Campaign:
    """One campaign, by name. What only looks asks the ledger, and costs the engine nothing.

    Stopping (halt, pause, cancel_device) goes straight to the ledger. Going on (approve, resume, go_on, change_pace,
    roll_back) is an Update of the campaign's workflow, which checks it, and says at once what came of it;
    NotRunningError or EngineError where nobody is there. It takes the digest of the plan that was read: all of it to
    approve, else its first 16 digits at least. Each verb takes a key: the same act again under the same key is done once.
    """

    def __init__(self, link: Link, name: str) -> None:
        """Made by a Client."""
        self._link = link
        self.name = name

    def __repr__(self) -> str:
        return f"Campaign({self.name!r})"

    async def status(self) -> Progress:
        """How it stands; NoCampaignError where the ledger has none of that name."""
        try:
            return await self._link.ask(
                lambda connection: progress.progress(connection, self.name, now(), self._link.user_id)
            )
        except LedgerError as error:
            raise NoCampaignError(str(error)) from error

    async def watch(self, every: float = 2.0) -> AsyncIterator[Progress]:
        """How it stands, now and whenever that has changed (looked at each so many seconds), until it is over."""
        last: Progress | None = None
        while last is None or not last.over:
            found = await self.status()
            if found != last:
                yield found
            last = found
            if not last.over:
                await asyncio.sleep(every)

    async def wait(self, every: float = 2.0) -> Progress:
        """Wait until it is over; how it ended."""
        return [found async for found in self.watch(every)][-1]

    async def outcomes(self) -> AsyncIterator[DeviceOutcome]:
        """Each device whose update has ended so far, then those that were dormant; a page in memory at a time."""
        await self.status()
        after: int | None = 0
        while page := await self._link.ask(partial(progress.outcomes, campaign=self.name, after=after or 0)):
            for each in page:
                yield each
            after = page[-1].update_id
        last = ""
        while page := await self._link.ask(partial(progress.dormant, campaign=self.name, after=last)):
            for each in page:
                yield each
            last = page[-1].eui

    async def outcomes_table(self) -> dict[str, list[Any]]:
        """The outcomes as columns of one length, by name: pandas.DataFrame and polars.DataFrame take them as they are.

        All of it is in memory, some 500 octets a device.
        """
        table: dict[str, list[Any]] = {each.name: [] for each in fields(DeviceOutcome)}
        async for device in self.outcomes():
            for name, column in table.items():
                column.append(getattr(device, name))
        return table

    async def story(self, eui: str) -> Story:
        """Everything that is known of one of its devices."""
        return await self._link.ask(lambda connection: story.story(connection, eui, self.name, self._link.user_id))

    async def halt(self, *, reason: str, actor: str, patience: float = 90.0, key: str | None = None) -> Halted:
        """Stop everything forward in it, wait for quiet (at most so many seconds), and list what is beyond recall."""
        await self.status()
        return await halt(self._link, Scope("campaign", self.name), reason, actor, patience, key)

    async def pause(self, *, reason: str, actor: str, leg: Leg | str | None = None, key: str | None = None) -> Paused:
        """Stop one leg (distribute or activate), or every forward one, for a while."""
        check(reason, actor, "a pause")
        only = _leg(leg)
        if (await self.status()).over:
            raise RefusedError(f"campaign {self.name!r} is over: there is nothing to pause")
        stop_id = await self._link.run(lambda ledger: control.pause(ledger, self.name, only, reason, actor, key=key))
        return Paused(stop_id, await self._link.tell(Scope("campaign", self.name), f"paused by {actor}: {reason}"))

    async def cancel_device(self, eui: str, *, reason: str, actor: str, key: str | None = None) -> CancelledDevice:
        """End one device's update: at once, or once it is known what comes of what was sent; nothing more is."""
        check(reason, actor, "cancelling a device")
        await self.status()
        done = await self._link.run(lambda ledger: cancel.cancel_device(ledger, self.name, eui, reason, actor, key=key))
        await self._link.tell(Scope("campaign", self.name), f"{done.eui} cancelled by {actor}: {reason}")
        return done

    async def approve(self, *, digest: str, actor: str, reason: str = "approved", key: str | None = None) -> int:
        """Approve its plan, by the digest that was read; how many people have. Its author cannot."""
        check(reason, actor, "an approval")
        return int(await self._update("approve", By(actor, reason, digest, key)))

    async def resume(
        self, *, reason: str, actor: str, digest: str, leg: Leg | str | None = None, key: str | None = None
    ) -> list[str]:
        """Lift its own halts, pauses and breakers, or the pauses of one leg alone; what was lifted."""
        check(reason, actor, "resuming")
        return list(await self._update("resume", By(actor, reason, digest, key), leg=_leg(leg)))

    async def go_on(self, *, reason: str, actor: str, digest: str, key: str | None = None) -> str:
        """Let the next wave begin although the gate did not pass; a sentence that says which gate."""
        check(reason, actor, "going on")
        return str(await self._update("go_on", By(actor, reason, digest, key)))

    async def change_pace(
        self, per_second: float, *, reason: str, actor: str, digest: str, key: str | None = None
    ) -> str:
        """Set how many activations a second it may have, at most its plan's; a sentence that says what it had."""
        check(reason, actor, "changing the pace")
        return str(await self._update("change_pace", By(actor, reason, digest, key), per_second=per_second))

    async def roll_back(
        self, *, reason: str, actor: str, digest: str, releases: Sequence[str] = (), key: str | None = None
    ) -> Restore:
        """End it, and take its devices back: each to the first of those releases that its model takes.

        Without releases, to the fallbacks that its request named.
        """
        check(reason, actor, "a rollback")
        done = await self._update("roll_back", By(actor, reason, digest, key), releases=list(releases))
        restored: Restore = _RESTORE.validate_python(done)
        return restored

    async def _update(self, verb: str, by: By, **more: Any) -> Any:
        await self.status()
        return await engine.update(self._link.temporal, self.name, verb, asdict(by) | more, self._link.patience)


_RESTORE: TypeAdapter[Restore] = TypeAdapter(Restore)


async def halt(link: Link, scope: Scope, reason: str, actor: str, patience: float, key: str | None = None) -> Halted:
    """Halt a scope in the ledger, then have the engine look."""
    stopped = await link.run(lambda ledger: control.halt(ledger, scope, reason, actor, patience=patience, key=key))
    told = await link.tell(scope, f"halted by {actor}: {reason}")
    ours = {each.name for each in await link.ask(lambda connection: progress.listed(connection, link.user_id))}
    beyond = [each for each in stopped.beyond_recall if each.campaign in ours]
    return Halted(stopped.stop_id, stopped.recorded_at, stopped.quiet_at, beyond, told)


def _leg(leg: Leg | str | None) -> Leg | None:
    if leg in {None, Leg.DISTRIBUTE, Leg.ACTIVATE}:
        return Leg(leg) if leg else None
    raise RefusedError(f"there is no leg {str(leg)[:40]!r} to pause or resume: it should be distribute or activate")


def check(reason: str, actor: str, what: str) -> None:
    """RefusedError where who does it, or why, is not said."""
    if not reason.strip():
        raise RefusedError(f"{what} needs a reason")
    if not actor.strip():
        raise RefusedError(f"{what} needs an actor: who does it")
