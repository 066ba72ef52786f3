"""A campaign's plan as a person is shown it before anything is kept: what it would do, to how many, and where it stops.

Guarantee: drawing one changes nothing; the database itself refuses to write in that transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hanwave.ledger import budgets, campaigns, planning
from hanwave.rollout.budget import days_needed
from hanwave.rollout.difference import Side
from hanwave.rollout.plan import Plan
from hanwave.rollout.policy import Policy
from hanwave.rollout.request import CampaignRequest, check_name
from hanwave.rollout.statement import Statement, WaveStatement, demands


@dataclass(frozen=True, slots=True)
class Against:
    """What a plan sends of one variant, against a threshold of the supplier's."""

    variant: str
    """By its reference: "11.3"."""
    a_day: int
    """Of the plan, the most on one day."""
    limit: int
    """Of the threshold, in its period."""
    period: timedelta
    """The threshold's own: a day, or shorter."""
    days_needed: float
    """The fewest days in which it fits under the threshold, nobody else sending."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A drawn plan; its digest is the one that `start` under that name would freeze, while nothing else changes."""

    name: str
    """The campaign's, to be."""
    release: str
    """By its name: the one that the plan installs."""
    device_type: str
    """ESME, GSME, PPMID or HCALCS."""
    version: str
    """What its devices then run, eight hexadecimal digits."""
    digest: str
    """What approvals, and every act that widens, name the plan by."""
    statement: Statement
    """What a person approves, beside the policy."""
    left_out: dict[str, int]
    """How many devices are left out, by reason."""
    policy: Policy
    """How it would be run, with every default filled in."""
    approvals: int
    """How many people, other than its author, must approve it."""
    thresholds: tuple[Against, ...]
    """What it sends, against each anomaly-detection threshold that it comes under."""
    longer: dict[str, tuple[str, ...]]
    """The releases that each member of several hops installs, in order."""
    members: tuple[tuple[str, ...], ...]
    """EUI-64s by wave."""
    left_out_devices: dict[str, str]
    """EUI-64s, each with its reason."""

    @property
    def devices(self) -> int:
        """Members in all."""
        return self.statement.devices

    @property
    def waves(self) -> tuple[WaveStatement, ...]:
        """What is stated of each wave."""
        return self.statement.waves

    @property
    def requests(self) -> dict[str, int]:
        """Service Requests if nothing goes wrong, by reference ("11.3")."""
        return {load.variant: load.requests for load in self.statement.loads}


def draft(connection: Connection, name: str, request: CampaignRequest, user_id: str, now: datetime) -> Draft:
    """Draw a campaign's plan, of a connection that has not been used yet; LedgerError or PlanError says why not."""
    connection.execute(text("SET TRANSACTION READ ONLY"))
    check_name(name)
    release = planning.release(connection, request.release)
    plan = planning.draw(connection, name, request, user_id, now)
    return Draft(
        name=name,
        release=release.name,
        device_type=release.device_type.value,
        version=str(release.firmware_version),
        digest=plan.digest,
        statement=plan.statement,
        left_out=planning.summary(name, plan).left_out,
        policy=request.policy,
        approvals=request.approvals,
        thresholds=_against(connection, plan, user_id),
        longer=plan.longer,
        members=plan.waves,
        left_out_devices=plan.left_out,
    )


def _against(connection: Connection, plan: Plan, user_id: str) -> tuple[Against, ...]:
    a_day = {load.variant: load.a_day for load in plan.statement.loads}
    return tuple(
        Against(
            each.variant, a_day[each.variant], each.limit, each.period, days_needed(demands(plan.statement), [each])
        )
        for each in budgets.thresholds(connection, user_id)
        if each.variant in a_day
    )


def kept_side(connection: Connection, name: str) -> Side:
    """A campaign's frozen plan, to be held against another; LedgerError where there is no such campaign."""
    frame = campaigns.frame(connection, name)
    rows = connection.execute(
        text("SELECT eui, wave, path FROM campaign_device WHERE campaign = :name"), {"name": name}
    ).all()
    releases = [tuple(hop.release for hop in path) for path in frame.paths]
    return Side(
        name=name,
        digest=frame.digest,
        release=frame.release,
        policy=frame.policy.model_dump(mode="json"),
        members={row.eui: row.wave for row in rows},
        left_out=planning.left_out(connection, name),
        longer={row.eui: releases[row.path - 1] for row in rows if row.path > 1},
    )
