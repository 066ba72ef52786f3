"""What a campaign asks of the ledger: freeze its plan, stop, go on, undo, and show how it stands."""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import Engine
from temporalio import activity

from activities.wave import now
from hanwave.ledger import campaigns, control, overview, planning, rollback, stops
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


@dataclass(frozen=True)
class Stopped:
    """What a halt did: when it was recorded and quiet, how many devices are beyond recall, and the first of them."""

    recorded_at: str
    quiet_at: str | None
    beyond_recall: int
    first: list[str]


_SHOWN = 20  # EUI-64s in an Update's result: the whole list is one command away


class CampaignActivities:
    """The activities of a campaign, over a ledger."""

    def __init__(self, ledger: Engine, user_id: str) -> None:
        """Keep what they work with; user_id is the installation's own."""
        self.ledger = ledger
        self.user_id = user_id

    @activity.defn
    def freeze_plan(self, ask: FreezeAsk) -> Planned:
        """Freeze the campaign's plan; the one that is kept, where it was frozen before by the same request."""
        with self.ledger.begin() as connection:
            return planning.freeze(connection, ask.name, ask.request, ask.request.user_id or self.user_id, now())

    @activity.defn
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

    @activity.defn
    def pause_campaign(self, act: Act) -> None:
        """Stop one leg, or all forward ones, for a while."""
        control.pause(self.ledger, act.campaign, act.leg, act.reason, act.actor, key=act.key)

    @activity.defn
    def resume_campaign(self, act: Act) -> list[str]:
        """Lift the campaign's own stops; what was lifted."""
        return control.resume(self.ledger, act.campaign, act.reason, act.actor, key=act.key)

    @activity.defn
    def close_campaign(self, campaign: str) -> None:
        """Record that the campaign is over."""
        with self.ledger.begin() as connection:
            campaigns.close(connection, campaign, now())

    @activity.defn
    def approve_plan(self, act: Act) -> int:
        """Keep an approval of the plan of that digest; how many approved."""
        return control.approve(self.ledger, act.campaign, act.digest, act.actor, act.reason, key=act.key)

    @activity.defn
    def let_go_on(self, act: Act) -> int:
        """Let the next wave begin although the gate did not pass; the wave whose gate it was."""
        return control.go_on(self.ledger, act.campaign, act.reason, act.actor, key=act.key)

    @activity.defn
    def are_closed(self, campaigns_: list[str]) -> bool:
        """Whether all those campaigns are over."""
        with self.ledger.connect() as connection:
            return overview.closed(connection, campaigns_)

    @activity.defn
    def plan_rollback(self, act: Act) -> rollback.Restore:
        """Withdraw the campaign, and plan a campaign for each fallback release over the devices that take it."""
        return rollback.plan_rollback(self.ledger, act.campaign, act.releases, act.reason, act.actor, key=act.key)
