"""FirmwareCampaign: freezes the plan, takes approvals, runs the waves in order, judges each gate, rolls back.

What it knows, the ledger knows: started again without an input it goes on from there, which is also how it continues as
new and how it is recovered. Its waves outlive it (ABANDON), so nothing done to this workflow can lose a device. Every
Update has a validator that refuses a wrong input with a sentence that shows a right one; halting is never gated.
"""

from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.beat import BEAT
    from activities.campaign import Act, CampaignActivities, FreezeAsk, Stopped
    from hanwave import names
    from hanwave.client import search
    from hanwave.errors import fitted
    from hanwave.ledger.cancel import CancelledDevice
    from hanwave.ledger.overview import View, WaveView
    from hanwave.ledger.progress import waits_at_gate, waits_for_approvals, waits_for_wave
    from hanwave.ledger.rollback import Restore
    from hanwave.rollout.request import EXAMPLE, RequestError, check_id, check_name, parse_request
    from hanwave.words import line, person
    from workflows import pages, verbs
    from workflows.wave import WaveStart

_PATIENT = RetryPolicy(
    maximum_interval=timedelta(seconds=30),
    # What hanwave refuses stays refused; a database or an engine that is down comes back.
    non_retryable_error_types=["LedgerError", "RequestError", "ReleaseError", "PlanError", "IdentifierError"],
)
_SHORT = timedelta(minutes=2)


@workflow.defn(name=names.CAMPAIGN_WORKFLOW)
class FirmwareCampaign:
    """One campaign."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._name = workflow.info().workflow_id.removeprefix("campaign/")
        self._view: View | None = None
        self._waits_for = "its plan to be frozen"
        self._changed = False
        self._hindered = ""

    @workflow.run
    async def run(self, raw: Any = None) -> dict[str, str]:
        """Run the campaign to its end; the result says how each wave was judged. To cancel it is to halt it."""
        try:
            return await self._run(raw)
        except BaseException as error:
            if is_cancelled_exception(error):
                await self._halt_cancelled()
            raise

    async def _halt_cancelled(self) -> None:
        # What was asked for is a stop: it is recorded before the workflow ends, and its waves outlive it.
        view: View | None = await self._ask(CampaignActivities.view_campaign, self._name)
        if view and view.status != "closed":
            key = f"cancel of run {workflow.info().run_id}"
            act = Act(self._name, "claimed:temporal", "the campaign was cancelled in Temporal", key)
            await self._ask(CampaignActivities.halt_campaign, act)

    async def _run(self, raw: Any) -> dict[str, str]:
        await self._begin(raw)
        await self._until(lambda v: len(v.approvers) >= v.approvals, lambda v: waits_for_approvals(v) or "wave 1")
        for wave in self._known.waves:
            if not self._known.restoring:
                await self._wave(wave.number)
        if self._known.restoring:
            await self._restore()
        await self._ask(CampaignActivities.close_campaign, self._name)
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._look("")
        return {str(w.number): f"{w.verdict}: {w.reason}" if w.verdict else "not run" for w in self._known.waves}

    async def _begin(self, raw: Any) -> None:
        """Freeze the plan of a request; without one, go on from the plan that the ledger keeps."""
        try:
            check_name(self._name)
            self._be_found(_route_of(raw))
            check_id(workflow.info().workflow_id, names.campaign_id(self._name))
            if raw:
                await self._ask(CampaignActivities.freeze_plan, FreezeAsk(self._name, parse_request(raw)))
        except RequestError as error:
            _refuse(str(error))
        self._view = await self._ask(CampaignActivities.view_campaign, self._name)
        if self._view is None:
            _refuse(f"the input is missing, and the ledger has no campaign {self._name!r}; a right one is {EXAMPLE}")
        self._be_found(self._view.route)

    def _be_found(self, route: str | None) -> None:
        """Whoever starts a campaign in the Web UI sets no search attributes, or another campaign's: it copies them."""
        held = workflow.info().typed_search_attributes
        own = search.of_workflow(names.campaign_id(self._name), route)
        if any(held.get(pair.key) != pair.value for pair in own):
            workflow.upsert_search_attributes([pair.key.value_set(pair.value) for pair in own])

    @property
    def _known(self) -> View:
        if self._view is None:
            raise ApplicationError("the plan is not frozen yet: try again in a moment", type="Refused")
        return self._view

    async def _ask(self, activity: Any, argument: Any, summary: str | None = None) -> Any:
        """Run an activity; what the ledger refuses for good fails with the ledger's own sentence."""
        try:
            return await workflow.execute_activity_method(
                activity,
                argument,
                start_to_close_timeout=_SHORT,
                heartbeat_timeout=BEAT,
                retry_policy=_PATIENT,
                summary=summary,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise ApplicationError(fitted(str(error.cause or error)), type="Refused", non_retryable=True) from error

    async def _look(self, waits_for: str) -> View:
        """See how the campaign stands, and bring its page up to date."""
        self._view = await self._ask(CampaignActivities.view_campaign, self._name)
        self._waits_for = waits_for
        workflow.set_current_details(pages.campaign(self._known, waits_for))
        return self._known

    async def _until(self, done: verbs.Test, waits_for: verbs.Says) -> View:
        """Wait until the ledger says so. It is asked when something is heard, and now and then."""
        while True:
            # Before the look: what changes while it is under way is looked at again.
            self._changed = False
            if done(view := await self._look(waits_for(self._known) + self._hindered)):
                return view
            if view.harm and not self._hindered:
                await self._undo(view.harm)
                continue
            self._renew()
            seconds = max(2.0, 10 * view.sweep)
            try:
                await workflow.wait_condition(
                    lambda: self._changed,
                    timeout=timedelta(seconds=seconds),
                    timeout_summary=f"waits for {self._waits_for}",
                )
            except TimeoutError:
                continue

    async def _undo(self, harm: str) -> None:
        """Roll back as the approved plan says; what the ledger refuses is told, and waits for a person."""
        view = self._known
        act = Act(self._name, names.HANWAVE, harm, "on_harm", digest=view.digest, releases=view.fallbacks)
        try:
            await self._ask(CampaignActivities.plan_rollback, act, _said(act))
        except ApplicationError as error:
            self._hindered = f"; it could not be rolled back as its plan says: {error.message}"

    def _renew(self) -> None:
        """Begin a new history where this one is long; the ledger holds all that there is to carry."""
        if workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished():
            workflow.continue_as_new()

    async def _wave(self, number: int) -> None:
        """Run a wave to its end, and wait at its gate for a pass, a person or a rollback."""

        def wave(view: View) -> WaveView:
            return view.waves[number - 1]

        if not wave(self._known).closed:
            await self._start_wave(number)
        await self._until(lambda v: wave(v).closed or bool(v.restoring), lambda v: waits_for_wave(v, wave(v)))
        await self._until(lambda v: wave(v).passed or bool(v.restoring), lambda v: waits_at_gate(wave(v)))

    async def _start_wave(self, number: int) -> None:
        start = WaveStart(self._name, number, self._known.sweep)
        await self._start(
            names.WAVE_WORKFLOW, start, names.wave_id(self._name, number), f"wave {number} of {self._name}"
        )

    async def _start(self, kind: str, argument: Any, workflow_id: str, summary: str) -> None:
        """Start a child that outlives us; one that runs already is the one that we want."""
        try:
            await workflow.start_child_workflow(
                kind,
                argument,
                id=workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=summary,
                search_attributes=search.of_workflow(workflow_id, self._known.route),
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s runs already", workflow_id)

    async def _restore(self) -> None:
        """Run the rollback's campaigns, also those that are planned meanwhile, and wait for their ends."""
        begun: set[str] = set()
        while restoring := self._known.restoring:
            for name in restoring:
                if name not in begun:
                    await self._begin_rollback(name)
            begun.update(restoring)
            if await self._ask(CampaignActivities.are_closed, restoring):
                return
            await self._look(f"the rollback: {', '.join(restoring)}")
            self._renew()
            await workflow.sleep(timedelta(seconds=max(2.0, 2 * self._known.sweep)), summary=self._waits_for)

    async def _begin_rollback(self, name: str) -> None:
        if not await self._ask(CampaignActivities.are_closed, [name]):
            await self._start(names.CAMPAIGN_WORKFLOW, None, names.campaign_id(name), f"rolls {self._name} back")

    # The verbs. Each is an Update, so that whoever sends it learns at once what came of it.

    def _by(self, verb: verbs.Verb, **more: Any) -> Act:
        # An Update that was under way when the run ended is executed again in the next one, under the same id.
        update = workflow.current_update_info()
        key = verb.key or (update.id if update else None)
        return Act(self._name, verb.actor, verb.reason, key, **more)

    async def _act(self, activity: Any, verb: verbs.Verb, act: Act) -> Any:
        # Whoever starts a campaign may act upon it at once: what is refused, the ledger refuses, once there is a plan.
        await workflow.wait_condition(lambda: self._view is not None)
        if verb.user_id not in (None, self._known.user_id):
            _refuse(f"{verb.actor} acts for {verb.user_id}, and this campaign is another User ID's: act upon your own")
        result = await self._ask(activity, act, _said(act))
        self._changed = True
        return result

    @verbs.update
    async def approve(self, raw: Any = None) -> int:
        """Approve the plan: {"actor": "bob", "digest": "<the plan's>"}; the author cannot. Returns how many did."""
        verb = verbs.read(verbs.Approve, raw)
        return int(await self._act(CampaignActivities.approve_plan, verb, self._by(verb, digest=verb.digest)))

    @approve.validator
    def _check_approve(self, raw: Any = None) -> None:
        verb = verbs.read(verbs.Approve, raw)
        if self._view and person(verb.actor) == person(self._view.author):
            _refuse(f"{verb.actor} is the author of this campaign, and cannot approve it")
        if self._view and verb.digest != self._view.digest:
            _refuse(f"the plan's digest is {self._view.digest}, not {verb.digest[:80]}: approve by the whole of it")

    @verbs.update
    async def halt(self, raw: Any = None) -> Stopped:
        """Stop everything forward at once: {"actor": "ann", "reason": "..."}; both may be left out."""
        verb = verbs.read_halt(raw)
        act = self._by(verb)
        stopped: Stopped = await self._ask(CampaignActivities.halt_campaign, act, _said(act))
        self._changed = True
        return stopped

    @halt.validator
    def _check_halt(self, raw: Any = None) -> None:
        verbs.read_halt(raw)

    @verbs.update
    async def pause(self, raw: Any = None) -> str:
        """Stop for a while: {"actor": "ann", "reason": "...", "leg": "distribute" or "activate" (else both)}."""
        verb = verbs.read(verbs.Pause, raw)
        await self._act(CampaignActivities.pause_campaign, verb, self._by(verb, leg=verb.leg))
        return f"{verb.leg or 'every forward leg'} is paused"

    @pause.validator
    def _check_pause(self, raw: Any = None) -> None:
        verbs.read(verbs.Pause, raw)

    @verbs.update
    async def resume(self, raw: Any = None) -> list[str]:
        """Lift what stops this campaign, or with "leg" the pauses of that leg: {"actor": "ann", "reason": "...", "digest"}."""
        verb = verbs.read(verbs.Resume, raw)
        act = self._by(verb, digest=verb.digest, leg=verb.leg)
        lifted: list[str] = await self._act(CampaignActivities.resume_campaign, verb, act)
        return lifted

    @resume.validator
    def _check_resume(self, raw: Any = None) -> None:
        self._check_plan(verbs.read(verbs.Resume, raw))

    @verbs.update
    async def go_on(self, raw: Any = None) -> str:
        """Begin the next wave although the gate did not pass: {"actor": "ann", "reason": "...", "digest": "the plan's"}."""
        verb = verbs.read(verbs.Widen, raw)
        wave = await self._act(CampaignActivities.let_go_on, verb, self._by(verb, digest=verb.digest))
        return f"the gate of wave {wave} is passed by {verb.actor}"

    @go_on.validator
    def _check_go_on(self, raw: Any = None) -> None:
        self._check_plan(verbs.read(verbs.Widen, raw))

    @verbs.update
    async def change_pace(self, raw: Any = None) -> str:
        """Go slower, or again as fast as planned: {"actor": "ann", "reason": "...", "digest": "...", "per_second": 2.5}."""
        verb = verbs.read(verbs.ChangePace, raw)
        act = self._by(verb, digest=verb.digest, per_second=verb.per_second)
        before = await self._act(CampaignActivities.change_pace, verb, act)
        return f"{verb.per_second:g} activations a second at most, after {before:g}"

    @change_pace.validator
    def _check_change_pace(self, raw: Any = None) -> None:
        self._check_plan(verbs.read(verbs.ChangePace, raw))

    @verbs.update
    async def cancel_device(self, raw: Any = None) -> CancelledDevice:
        """End one device's update: {"actor": "ann", "reason": "...", "device": "its EUI-64"}; what was sent is awaited."""
        verb = verbs.read(verbs.CancelDevice, raw)
        act = self._by(verb, device=verb.device)
        cancelled: CancelledDevice = await self._act(CampaignActivities.cancel_device, verb, act)
        return cancelled

    @cancel_device.validator
    def _check_cancel_device(self, raw: Any = None) -> None:
        verbs.read(verbs.CancelDevice, raw)

    @verbs.update
    async def roll_back(self, raw: Any = None) -> Restore:
        """Undo: {"actor": "ann", "reason": "...", "digest": "...", "releases": ["the fallback", "one if that is refused"]}."""
        verb = verbs.read(verbs.RollBack, raw)
        await workflow.wait_condition(lambda: self._view is not None)
        releases = list(verb.releases or self._known.fallbacks)
        act = self._by(verb, digest=verb.digest, releases=releases)
        restored: Restore = await self._act(CampaignActivities.plan_rollback, verb, act)
        return restored

    @roll_back.validator
    def _check_roll_back(self, raw: Any = None) -> None:
        verb = verbs.read(verbs.RollBack, raw)
        self._check_plan(verb)
        if not verb.releases and self._view and not self._view.fallbacks:
            _refuse(f"name the releases to go back to, as in {verbs.example(verbs.RollBack)}")

    def _check_plan(self, verb: verbs.Widen) -> None:
        if self._view and (refusal := self._view.other_plan(verb.digest)):
            _refuse(refusal)

    @workflow.signal(name=names.WAVE_STOPPED, description="A wave's own: it is stopped, goes on, or has closed.")
    def wave_stopped(self, *why: Any) -> None:  # noqa: ARG002 - for the reader of the history
        """A wave says that it is stopped, goes on, or has closed: the ledger is looked at, whatever was sent."""
        self._changed = True

    @workflow.query(description="What the campaign waits for, in a sentence.")
    def waits_for(self) -> str:
        """What the campaign waits for, in a sentence."""
        return self._waits_for

    @workflow.query(
        description="How it stands, with the plan's digest that verbs are about; null until the plan is frozen."
    )
    def view(self) -> View | None:
        """How it stands, with the plan's digest that verbs are about; null until the plan is frozen."""
        return self._view


def _said(act: Act) -> str:
    """By whom and why, for the page's timeline."""
    return f"{act.actor}: {line(act.reason, 80)}"


def _route_of(raw: Any) -> str | None:
    """A request's route; None where there is none, or it cannot be read, which its refusal says in a moment."""
    try:
        return parse_request(raw).route if raw else None
    except RequestError:
        return None


def _refuse(sentence: str) -> NoReturn:
    raise ApplicationError(sentence, type="BadInput", non_retryable=True)
