"""DeviceUpdate: one device's firmware lifecycle, from the request to the proof.

It sleeps for free (start delay), is woken by one signal, does one step in one activity, and ends when the ledger says that the
device is confirmed or its update over. It infers nothing from being awake: an early wake finds nothing due and sleeps on.
The happy path of an ESME is sixteen events, a PPMID's six.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.beat import BEAT
    from activities.gateway import GatewayActivities
    from activities.wave import DEVICE_INPUT, WAKE_INPUT, DeviceStart
    from hanwave import names
    from hanwave.client import search
    from hanwave.rollout.device import State
    from hanwave.rollout.request import RequestError, check_id, check_name, parse
    from hanwave.rollout.route import is_bench

    # Not `from workflows import pages`: the sandbox would execute that anew, 36 kB of it, for each cached device.
    from workflows.pages import device as page
    from workflows.pages import end

_EXAMPLE = '{"campaign": "spring", "update_id": 1, "eui": "00-DB-12-34-56-78-90-A0"}'
_SAYS_OUTCOME = "a device that did not end well says so in the Web UI's list"
_AT_THE_GATEWAY, _AT_A_BENCH = timedelta(minutes=3), timedelta(days=28)
"""A request; or a whole transfer, to a device that may be asleep for most of it."""
_BENCH_BEAT = timedelta(seconds=10)
"""A coordinator has one worker: how soon its progress is seen, a cancel reaches it, and a killed one's devices go on."""
_TOLD = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
_PROVEN = (State.CONFIRMED, State.SETTLED, State.CLOSED)


@workflow.defn(name=names.DEVICE_WORKFLOW)
class DeviceUpdate:
    """One device in one campaign."""

    def __init__(self) -> None:
        """Nothing is heard yet."""
        self._wakes: list[names.Wake] = []
        self._state = ""

    @workflow.run
    async def run(self, raw: Any = None) -> str:
        """Take the device to its end; the result is the state that the ledger has for it, or how it ended and why."""
        start = _read(raw)
        # Whether the start delay ended by itself, by a signal or by an Update cannot be known: the ledger is asked.
        heard = self._hear()
        while not (heard and _over(heard)):
            found = await workflow.execute_activity_method(
                GatewayActivities.advance,
                start,
                task_queue=names.queue_of(start.route),
                start_to_close_timeout=_AT_A_BENCH if is_bench(start.route) else _AT_THE_GATEWAY,
                heartbeat_timeout=_BENCH_BEAT if is_bench(start.route) else BEAT,
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=5)),
                # What is cancelled on a bench ends when its device was told.
                cancellation_type=_TOLD if is_bench(start.route) else workflow.ActivityCancellationType.TRY_CANCEL,
                summary=heard.state if heard else "asks the ledger what is due",
            )
            heard = names.Wake(found.state, found.ended, found.outcome, found.reason)
            self._show(start, heard)
            if not _over(heard):
                if workflow.info().is_continue_as_new_suggested() and not self._wakes:
                    workflow.continue_as_new(start)
                await workflow.wait_condition(lambda: bool(self._wakes))
                heard = self._hear()
        self._show(start, heard)
        if heard.outcome and workflow.patched(_SAYS_OUTCOME):
            workflow.upsert_search_attributes([search.OUTCOME.value_set(heard.outcome)])
        return end(heard.state, heard.outcome, heard.reason)

    def _show(self, start: DeviceStart, now: names.Wake) -> None:
        self._state = now.state
        details = page(start.campaign, start.eui, now.state, now.outcome, now.reason)
        workflow.set_current_details(details)

    def _hear(self) -> names.Wake | None:
        """The wake that counts of those that came: one look at the ledger answers them all."""
        heard, self._wakes = self._wakes, []
        return next(filter(_over, heard), heard[-1] if heard else None)

    @workflow.signal(
        name=names.WAKE, description="hanwave's own: look at the ledger now. Sent by hand, it does no harm."
    )
    def wake(self, *said: Any) -> None:
        """The device's turn has come, or evidence decides: look at the ledger. So it does where no Wake was sent."""
        try:
            self._wakes.append(WAKE_INPUT.validate_python(said[0] if said else None))
        except ValidationError:
            self._wakes.append(names.Wake("it was woken by hand"))

    @workflow.query(description="The state as this workflow last knew it; the ledger knows more.")
    def state(self) -> str:
        """The state as this workflow last knew it; the ledger knows more."""
        return self._state


def _over(wake: names.Wake) -> bool:
    return wake.ended or wake.state in _PROVEN


def _read(raw: Any) -> DeviceStart:
    try:
        start: DeviceStart = parse(DEVICE_INPUT, raw, _EXAMPLE)
        check_name(start.campaign)
        check_id(workflow.info().workflow_id, names.device_id(start.campaign, start.eui))
    except RequestError as error:
        raise ApplicationError(str(error), type="BadInput", non_retryable=True) from error
    return start
