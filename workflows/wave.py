"""RolloutWave: sends distribution batches, starts and wakes devices as their turn comes, and closes when all have ended.

It learns how the wave stands from one sweep of the ledger, never from its devices' workflows; what a sweep finds is done
by activities that can be repeated. It continues as new often, and carries one small object.
"""

from datetime import timedelta
from typing import Annotated, Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import Field, TypeAdapter
    from pydantic.dataclasses import dataclass

    from activities.beat import BEAT
    from activities.gateway import GatewayActivities
    from activities.wave import Devices, SweepAsk, WaveActivities, WaveRef
    from hanwave import names
    from hanwave.ledger.waves import Sweep
    from hanwave.rollout.gate import Judgement
    from hanwave.rollout.request import RequestError, check_id, check_name, parse
    from workflows import pages

_EXAMPLE = '{"campaign": "spring", "wave": 1}'
_PATIENT = RetryPolicy(maximum_interval=timedelta(seconds=30))
_OPENING = RetryPolicy(maximum_interval=timedelta(seconds=30), non_retryable_error_types=["LedgerError"])
"""A wave that may not begin says so and ends; the rest of a wave waits for a ledger that comes back."""
_SHORT = timedelta(minutes=2)
_LONG = timedelta(minutes=30)


@dataclass(frozen=True)
class WaveStart:
    """The input of a wave: which one, how often (in seconds) it sweeps at least, and how many sweeps a run has."""

    campaign: str
    wave: Annotated[int, Field(ge=1)]
    sweep: Annotated[float, Field(ge=0.1, le=timedelta(days=365).total_seconds())] = 30.0
    sweeps: Annotated[int, Field(ge=1, le=1000)] = 200  # some twelve events each, well under the history's limits


_INPUT = TypeAdapter(WaveStart)


@workflow.defn(name=names.WAVE_WORKFLOW)
class RolloutWave:
    """One wave of a campaign."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._nudged = False
        self._stopped: str | None = None
        self._seen = Sweep()
        self._swept = workflow.now()

    @workflow.run
    async def run(self, raw: Any = None) -> Judgement:
        """Run the wave to its end; the result is its gate's judgement."""
        start = _read(raw)
        ref = WaveRef(start.campaign, start.wave)
        await workflow.execute_activity_method(
            WaveActivities.open_wave,
            ref,
            start_to_close_timeout=_SHORT,
            heartbeat_timeout=BEAT,
            retry_policy=_OPENING,
            summary=f"wave {ref.wave} begins",
        )
        done, sweeps = False, 0
        while not done and sweeps < start.sweeps:
            done, sweeps = await self._round(start), sweeps + 1
        if not done:
            workflow.continue_as_new(start)
        judgement = await workflow.execute_activity_method(
            WaveActivities.close_wave,
            ref,
            start_to_close_timeout=_SHORT,
            heartbeat_timeout=BEAT,
            retry_policy=_PATIENT,
            summary=f"the gate of wave {ref.wave} judges",
        )
        workflow.set_current_details(pages.wave(start.campaign, start.wave, self._seen, judgement))
        await self._tell_campaign(start, "")
        return judgement

    async def _round(self, start: WaveStart) -> bool:
        """Sweep, do what was found, rest; True once every device has ended."""
        self._nudged = False
        since, self._swept = self._swept, workflow.now()
        ask = SweepAsk(start.campaign, start.wave, max(0.1, (self._swept - since).total_seconds()))
        sweep = await workflow.execute_activity_method(
            WaveActivities.sweep_wave,
            ask,
            start_to_close_timeout=_SHORT,
            heartbeat_timeout=BEAT,
            retry_policy=_PATIENT,
            summary="sweep",
        )
        self._seen = sweep
        workflow.set_current_details(pages.wave(start.campaign, start.wave, sweep))
        await self._report(start, sweep)
        busy = await self._act(WaveRef(start.campaign, start.wave), sweep)
        if not busy and sweep.open:
            await self._rest(start, sweep)
        return not busy and sweep.open == 0

    async def _report(self, start: WaveStart, sweep: Sweep) -> None:
        """Tell the campaign when the wave is stopped and when it goes on: its page is where people look."""
        if sweep.stopped == self._stopped:
            return
        self._stopped = sweep.stopped
        await self._tell_campaign(start, sweep.stopped or "")

    async def _tell_campaign(self, start: WaveStart, why: str) -> None:
        campaign = workflow.get_external_workflow_handle(names.campaign_id(start.campaign))
        try:
            await campaign.signal(names.WAVE_STOPPED, why)
        except ApplicationError:
            workflow.logger.warning("campaign %s is not running", start.campaign)

    async def _act(self, ref: WaveRef, sweep: Sweep) -> bool:
        """Do what the sweep found; True where more of the same is likely at once."""
        for activity, euis in (
            (WaveActivities.start_devices, sweep.start),
            (WaveActivities.wake_devices, sweep.wake),
            (WaveActivities.tell_devices, sweep.ended),
        ):
            if euis:
                await workflow.execute_activity_method(
                    activity,
                    Devices(ref.campaign, euis),
                    start_to_close_timeout=_LONG,
                    heartbeat_timeout=BEAT,
                    retry_policy=_PATIENT,
                    summary=f"{len(euis)} devices",
                )
        asked = 0
        if sweep.read:
            asked = await workflow.execute_activity_method(
                GatewayActivities.read_versions,
                sweep.read,
                task_queue=names.queue_of(sweep.route),
                start_to_close_timeout=_LONG,
                heartbeat_timeout=BEAT,
                retry_policy=_PATIENT,
                summary=f"reads {len(sweep.read)} versions",
            )
        return await self._distribute(ref, sweep) or bool(sweep.ended or asked)

    async def _distribute(self, ref: WaveRef, sweep: Sweep) -> bool:
        if not sweep.distribute:
            return False
        batch = await workflow.execute_activity_method(
            GatewayActivities.distribute,
            ref,
            task_queue=names.GATEWAY_QUEUE,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=BEAT,
            retry_policy=_PATIENT,
            summary=f"{sweep.distribute} devices wait for their image",
        )
        return batch.granted > 0 and not batch.reason

    async def _rest(self, start: WaveStart, sweep: Sweep) -> None:
        """Until the next deadline, but no longer than the sweep's interval; a nudge ends it."""
        seconds = start.sweep
        if sweep.next_due:
            seconds = min(seconds, max(0.5, (sweep.next_due - workflow.now()).total_seconds()))
        try:
            await workflow.wait_condition(
                lambda: self._nudged, timeout=timedelta(seconds=seconds), timeout_summary="until the next sweep"
            )
        except TimeoutError:
            return

    @workflow.signal(name=names.NUDGE, description="Look at the ledger now: something was stopped, resumed or changed.")
    def nudge(self, *_: Any) -> None:
        """Look at the ledger now, whatever was sent: something was stopped, resumed or changed."""
        self._nudged = True


def _read(raw: Any) -> WaveStart:
    try:
        start: WaveStart = parse(_INPUT, raw, _EXAMPLE)
        check_name(start.campaign)
        check_id(workflow.info().workflow_id, names.wave_id(start.campaign, start.wave))
    except RequestError as error:
        raise ApplicationError(str(error), type="BadInput", non_retryable=True) from error
    return start
