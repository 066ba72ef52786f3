"""What a campaign asks of the ledger: freeze its plan, stop, go on, undo, and show how it stands."""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import Engine
from temporalio import activity

from activities.wave import now
from hanwave.ledger import campaigns, cancel, control, overview, planning, rollback, stops
from hanwave.ledger.cancel import CancelledDevice
from hanwave.ledger.notes import By
from hanwave.ledger.overview import View
from hanwave.ledger.planning import Planned
from hanwave.rollout.events import Leg
from hanwave.rollout.request import CampaignRequest


@dataclass(frozen=True)
class FreezeAsk:
    """A campaign's name and its request."""

    name: str
    request: CampaignRequest


@dataclass(frozen=True)
class Act:
    """A verb on a campaign: by whom and why, under which idempotency key, and what that verb needs besides."""

    campaign: str
    actor: str
    reason: str
    key: str | None = None
    digest: str = ""
    leg: Leg | None = None
    releases: list[str] = field(default_factory=list)
    device: str = ""
    per_second: float = 0

    @property
    def widening(self) -> By:
        """Who lets more happen, and on which plan."""
        return By(self.actor, self.reason, self.digest, self.key)


@dataclass(frozen=True)
class Stopped:
    """What a halt did: when it was recorded and quiet, how many devices are beyond recall, and the first of them."""

    recorded_at: str
    quiet_at: str | None
    beyond_recall: int
    first: list[str]


_SHOWN = 20  # EUI-64s in an Update's result: the whole list is one command away


class CampaignActivities:
    """The activities of a campaign, over a ledger.

    A cancel, or the end of a worker, does not interrupt one: an exception that is thrown into the midst of the driver leaves
    a connection with a command under way. Each is one short transaction, or can be repeated.
    """

    def __init__(self, ledger: Engine, user_id: str) -> None:
        """Keep what they work with; user_id is the installation's own."""
        self.ledger = ledger
        self.user_id = user_id

    @activity.defn(no_thread_cancel_exception=True)
    def freeze_plan(self, ask: FreezeAsk) -> Planned:
        """Freeze the campaign's plan; the one that is kept, where it was frozen before by the same request."""
        with self.ledger.begin() as connection:
            return planning.freeze(connection, ask.name, ask.request, ask.request.user_id or self.user_id, now())

    @activity.defn(no_thread_cancel_exception=True)
    def view_campaign(self, campaign: str) -> View | None:
        """How the campaign stands; None where the ledger has none of that name."""
        with self.ledger.connect() as connection:
            return overview.view(connection, campaign, now())

    @activity.defn
    async def halt_campaign(self, act: Act) -> Stopped:
        """Stop everything forward in the campaign, and say what is beyond recall."""
        scope = stops.Scope("campaign", act.campaign)
        halted = await asyncio.to_thread(control.halt, self.ledger, scope, act.reason, act.actor, key=act.key)
        euis = [device.eui for device in halted.beyond_recall]
        quiet = halted.quiet_at.isoformat() if halted.quiet_at else None
        return Stopped(halted.recorded_at.isoformat(), quiet, len(euis), euis[:_SHOWN])

    @activity.defn(no_thread_cancel_exception=True)
    def pause_campaign(self, act: Act) -> None:
        """Stop one leg, or all forward ones, for a while."""
        control.pause(self.ledger, act.campaign, act.leg, act.reason, act.actor, key=act.key)

    @activity.defn(no_thread_cancel_exception=True)
    def resume_campaign(self, act: Act) -> list[str]:
        """Lift the campaign's own stops, or the pauses of one leg; what was lifted."""
        return control.resume(self.ledger, act.campaign, act.widening, act.leg)

    @activity.defn(no_thread_cancel_exception=True)
    def close_campaign(self, campaign: str) -> None:
        """Record that the campaign is over."""
        with self.ledger.begin() as connection:
            campaigns.close(connection, campaign, now())

    @activity.defn(no_thread_cancel_exception=True)
    def approve_plan(self, act: Act) -> int:
        """Keep an approval of the plan of that digest; how many approved."""
        return control.approve(self.ledger, act.campaign, act.digest, act.actor, act.reason, key=act.key)

    @activity.defn(no_thread_cancel_exception=True)
    def let_go_on(self, act: Act) -> int:
        """Let the next wave begin although the gate did not pass; the wave whose gate it was."""
        return control.go_on(self.ledger, act.campaign, act.widening)

    @activity.defn(no_thread_cancel_exception=True)
    def change_pace(self, act: Act) -> float:
        """Set how fast the campaign activates, never above its plan; how fast it did."""
        return control.change_pace(self.ledger, act.campaign, act.per_second, act.widening)

    @activity.defn(no_thread_cancel_exception=True)
    def cancel_device(self, act: Act) -> CancelledDevice:
        """End one device's update: at once where nothing of it is in flight."""
        return cancel.cancel_device(self.ledger, act.campaign, act.device, act.reason, act.actor, key=act.key)

    @activity.defn(no_thread_cancel_exception=True)
    def are_closed(self, campaigns_: list[str]) -> bool:
        """Whether all those campaigns are over."""
        with self.ledger.connect() as connection:
            return overview.closed(connection, campaigns_)

    @activity.defn(no_thread_cancel_exception=True)
    def plan_rollback(self, act: Act) -> rollback.Restore:
        """Withdraw the campaign, and plan a campaign for each fallback release over the devices that take it."""
        return rollback.plan_rollback(self.ledger, act.campaign, act.releases, act.widening)
