"""What a wave asks of the ledger and of the engine. Thin: the ledger decides, these carry."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine
from temporalio import activity
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from hanwave import names
from hanwave.client import search
from hanwave.ledger import judging, pacing, service_checks, waves
from hanwave.rollout.device import ENDED, State
from hanwave.rollout.gate import Judgement
from hanwave.rollout.rank import rank
from hanwave.rollout.route import DCC

MARGIN = timedelta(minutes=10)
"""A device's workflow sleeps this much longer than its deadline: the wave's sweep comes first, and usually wakes it."""
_AT_ONCE = 20
_CHUNK = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WaveRef:
    """A wave, by campaign and number."""

    campaign: str
    wave: int


@dataclass(frozen=True)
class SweepAsk:
    """A wave, and how many seconds ago its last sweep was."""

    campaign: str
    wave: int
    since: float


@dataclass(frozen=True)
class Devices:
    """Some of a campaign's devices, by EUI-64."""

    campaign: str
    euis: list[str]


@dataclass(frozen=True)
class DeviceStart:
    """The input of a device's workflow."""

    campaign: str
    update_id: int
    eui: str
    route: str = DCC


# Made once a process: the sandbox reads a workflow's own module anew for each run, and each of these takes half a
# millisecond to make.
DEVICE_INPUT = TypeAdapter(DeviceStart)
WAKE_INPUT = TypeAdapter(names.Wake)


def now() -> datetime:
    """The time, aware UTC: the one clock of the activities."""
    return datetime.now(UTC)


class WaveActivities:
    """The activities of a wave, over a ledger and an engine."""

    def __init__(self, ledger: Engine, client: Client) -> None:
        """Keep what they work with."""
        self.ledger = ledger
        self.client = client

    @activity.defn(no_thread_cancel_exception=True)
    def open_wave(self, ref: WaveRef) -> None:
        """Record that the wave began."""
        with self.ledger.begin() as connection:
            waves.open_wave(connection, ref.campaign, ref.wave, now())

    @activity.defn(no_thread_cancel_exception=True)
    def sweep_wave(self, ask: SweepAsk) -> waves.Sweep:
        """Let time act on the wave's devices, and say what is due."""
        with self.ledger.begin() as connection:
            if activity.info().attempt > 1:
                pacing.take_back(connection, ask.campaign, ask.wave)
            return waves.sweep(connection, ask.campaign, ask.wave, now(), timedelta(seconds=ask.since))

    @activity.defn(no_thread_cancel_exception=True)
    def close_wave(self, ref: WaveRef) -> Judgement:
        """Judge the wave, with what its service checks say now, and keep the verdict."""
        found = service_checks.run(self.ledger, ref.campaign, ref.wave, now())
        with self.ledger.begin() as connection:
            return judging.close_wave(connection, ref.campaign, ref.wave, now(), found.services, found.observed)

    @activity.defn
    async def start_devices(self, devices: Devices) -> None:
        """Start the workflow of each device, asleep until past its deadline. Again: those already started stay."""
        await self._each(devices, self._start, waves.mark_started)

    @activity.defn
    async def wake_devices(self, devices: Devices) -> None:
        """Wake each device: its turn has come."""
        await self._each(devices, self._wake, None)

    @activity.defn
    async def tell_devices(self, devices: Devices) -> None:
        """Tell each device's workflow that its update has ended."""
        await self._each(devices, self._tell, waves.mark_told)

    async def _each(
        self,
        devices: Devices,
        act: Callable[[str, waves.StartFact], Awaitable[None]],
        mark: Callable[[Connection, str, list[str]], None] | None,
    ) -> None:
        for first in range(0, len(devices.euis), _CHUNK):
            chunk = devices.euis[first : first + _CHUNK]
            facts = await asyncio.to_thread(self._facts, devices.campaign, chunk)
            for group in _groups(facts, _AT_ONCE):
                await asyncio.gather(*(act(devices.campaign, fact) for fact in group))
            if mark:
                await asyncio.to_thread(self._mark, mark, devices.campaign, chunk)
            activity.heartbeat(first + len(chunk))

    def _facts(self, campaign: str, euis: list[str]) -> list[waves.StartFact]:
        with self.ledger.connect() as connection:
            return waves.start_facts(connection, campaign, euis)

    def _mark(self, mark: Callable[[Connection, str, list[str]], None], campaign: str, euis: list[str]) -> None:
        with self.ledger.begin() as connection:
            mark(connection, campaign, euis)

    async def _start(self, campaign: str, fact: waves.StartFact) -> None:
        await start_device(self.client, campaign, fact)

    async def _wake(self, campaign: str, fact: waves.StartFact) -> None:
        # Its turn has come by the ledger: a workflow that somebody ended, or told that it was over, is begun again.
        again = fact.state not in (State.CONFIRMED, *ENDED)
        await start_device(self.client, campaign, fact, names.Wake(fact.state, reason=fact.reason), again=again)

    async def _tell(self, campaign: str, fact: waves.StartFact) -> None:
        await start_device(self.client, campaign, fact, names.Wake(fact.state, True, fact.outcome, fact.reason))


async def start_device(
    client: Client, campaign: str, fact: waves.StartFact, wake: names.Wake | None = None, *, again: bool = False
) -> None:
    """Start a device's workflow, asleep until past its deadline, or wake it, where it runs already.

    One that has ended stays so, unless again: only who has seen that the ledger has the update open may ask for that.
    """
    delay = (fact.due_at - now() if fact.due_at else timedelta(0)) + MARGIN * (1 + rank(campaign, fact.eui))
    reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
    try:
        await client.start_workflow(
            names.DEVICE_WORKFLOW,
            DeviceStart(campaign, fact.update_id, fact.eui, fact.route),
            id=names.device_id(campaign, fact.eui),
            task_queue=names.CAMPAIGN_QUEUE,
            id_reuse_policy=reuse,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # A wake does not end the delay of its own start: whoever is not there yet is started awake.
            start_delay=None if wake else max(delay, MARGIN),
            start_signal=names.WAKE if wake else None,
            start_signal_args=[wake] if wake else [],
            static_summary=f"{fact.device_type} {fact.eui} in wave {fact.wave} of {campaign}",
            search_attributes=_attributes(campaign, fact),
        )
    except WorkflowAlreadyStartedError:
        _LOG.info("the workflow of %s in %s has ended", fact.eui, campaign)


def _attributes(campaign: str, fact: waves.StartFact) -> TypedSearchAttributes:
    return search.attributes(
        {
            "Campaign": campaign,
            "Wave": fact.wave,
            "DeviceType": fact.device_type,
            "Model": fact.model,
            "Region": fact.region,
            "Supplier": fact.supplier,
            "FirmwareVersion": fact.version,
            "Route": fact.route,
        }
    )


def _groups(facts: Sequence[waves.StartFact], size: int) -> list[Sequence[waves.StartFact]]:
    return [facts[first : first + size] for first in range(0, len(facts), size)]
