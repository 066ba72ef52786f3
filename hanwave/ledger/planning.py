"""From a campaign request to a frozen plan in the ledger, or to a printed one that changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.firmware.document import release_from_dict
from hanwave.firmware.release import Release
from hanwave.ledger import budgets, campaigns, cohort, lineage, notes, windows
from hanwave.ledger.database import LedgerError
from hanwave.rollout import budget
from hanwave.rollout.cohort import PlanError, Wanted
from hanwave.rollout.plan import Plan, make_plan
from hanwave.rollout.request import CampaignRequest, check_name
from hanwave.rollout.statement import check_sight, demands


@dataclass(frozen=True, slots=True)
class Planned:
    """A frozen plan in short: what a person approves is its digest."""

    name: str
    digest: str
    waves: list[int]
    left_out: dict[str, int]
    """How many devices were left out, by reason."""


def release(connection: Connection, name: str) -> Release:
    """A release as it was imported; LedgerError where there is none."""
    row = connection.execute(text("SELECT document FROM release WHERE name = :name"), {"name": name}).one_or_none()
    if row is None:
        known = connection.execute(text("SELECT name FROM release ORDER BY name LIMIT 5")).scalars()
        raise LedgerError(f"there is no release {name!r}; the ledger has {', '.join(known) or 'none'}")
    return release_from_dict(row.document)


def draw(connection: Connection, name: str, request: CampaignRequest, user_id: str, at: datetime) -> Plan:
    """The plan of a request at that time (aware UTC), without keeping it.

    LedgerError where it would update nobody; PlanError where a gate of it could see nothing, or it must exceed a threshold.
    """
    undoes = request.rollback_of is not None
    wanted = cohort.wanted(connection, release(connection, request.release), user_id, undoes=undoes)
    wanted = replace(wanted, urgent=request.urgent, route=request.route)
    _check_ready(connection, wanted)
    windows.check(request.policy, wanted.device_type, at)
    fallbacks = [cohort.wanted(connection, each, user_id, undoes=True) for each in _fallbacks(connection, request)]
    found = cohort.candidates(connection, request, wanted.device_type, user_id)
    plan = make_plan(wanted, found, request.policy, request.seed or name, at, fallbacks)
    if not any(plan.waves):
        raise LedgerError(_nobody(plan))
    # A rollback waits for no gate, and its budget comes first.
    if not undoes:
        check_sight(plan.statement, request.policy)
        _check_budget(connection, plan, user_id)
    return plan


def _fallbacks(connection: Connection, request: CampaignRequest) -> list[Release]:
    """What a rollback would go back to: what the request names, or else what the release does."""
    if request.rollback_of is not None:
        return []
    own = release(connection, request.release).fallback
    return [release(connection, name) for name in request.fallbacks or ([own] if own else [])]


def _check_budget(connection: Connection, plan: Plan, user_id: str) -> None:
    thresholds = budgets.thresholds(connection, user_id)
    if why := budget.refuses(demands(plan.statement), thresholds, plan.statement.ends.latest):
        raise PlanError(why)


def freeze(
    connection: Connection, name: str, request: CampaignRequest, user_id: str, now: datetime, *, undo: bool = False
) -> Planned:
    """Plan a campaign and keep it. The same request under the same name again gives the plan that is kept.

    undo: it is a rollback that roll_back itself asks for.
    """
    check_name(name)
    # Of two that ask at once the second waits, and finds what the first kept.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('campaign/' || :name))"), {"name": name})
    if found := kept(connection, name):
        if not is_same(connection, name, request):
            raise LedgerError(taken(name))
        return found
    if not undo:
        lineage.check(connection, request)
    plan = draw(connection, name, request, user_id, now)
    kind, of = request.lineage
    campaign = campaigns.NewCampaign(
        name=name,
        release=request.release,
        user_id=user_id,
        policy=request.policy,
        seed=request.seed or name,
        digest=plan.digest,
        author=request.author,
        kind=kind,
        of=of,
        request=as_asked(request),
        urgent=request.urgent,
        shadow=request.shadow,
        route=request.route,
    )
    campaigns.create(connection, campaign, plan.waves, plan.left_out, now, plan.longer)
    frozen = {"digest": plan.digest, "release": request.release, "waves": [len(wave) for wave in plan.waves]}
    notes.add(connection, notes.Said(request.author, "plan", f"campaign/{name}", document=frozen), now)
    return summary(name, plan)


def kept(connection: Connection, name: str) -> Planned | None:
    """The plan that is kept under a name; None where there is none."""
    row = connection.execute(text("SELECT digest FROM campaign WHERE name = :name"), {"name": name}).one_or_none()
    if row is None:
        return None
    waves = connection.execute(text("SELECT size FROM wave WHERE campaign = :name ORDER BY number"), {"name": name})
    left = connection.execute(
        text("SELECT reason, count(*) AS n FROM left_out WHERE campaign = :name GROUP BY reason ORDER BY n DESC"),
        {"name": name},
    )
    return Planned(name, row.digest, list(waves.scalars()), {r.reason: r.n for r in left})


def is_same(connection: Connection, name: str, request: CampaignRequest) -> bool:
    """Whether the campaign of that name was asked for by this very request."""
    row = connection.execute(text("SELECT policy, request FROM campaign WHERE name = :name"), {"name": name}).one()
    return (row.policy, row.request) == (request.policy.model_dump(mode="json"), as_asked(request))


def as_asked(request: CampaignRequest) -> dict[str, Any]:
    """A request as the ledger keeps it beside the policy."""
    return request.model_dump(mode="json", exclude={"policy"})


def taken(name: str) -> str:
    """The sentence that refuses a name."""
    return f"the campaign name {name!r} is taken by another request: choose another"


def left_out(connection: Connection, name: str) -> dict[str, str]:
    """The devices that a campaign's plan left out, and why."""
    rows = connection.execute(text("SELECT eui, reason FROM left_out WHERE campaign = :name"), {"name": name})
    return {row.eui: row.reason for row in rows}


def summary(name: str, plan: Plan) -> Planned:
    """A plan in short."""
    reasons: dict[str, int] = {}
    for reason in plan.left_out.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    ordered = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    return Planned(name, plan.digest, [len(wave) for wave in plan.waves], ordered)


def _nobody(plan: Plan) -> str:
    if not plan.left_out:
        return "the cohort is empty: no device in the fleet matches its filters and the release's type"
    reason, n = next(iter(summary("", plan).left_out.items()))
    return f"no device would be updated: of {len(plan.left_out)} in the cohort, {n} are left out because: {reason}"


def _check_ready(connection: Connection, wanted: Wanted) -> None:
    """A release is planned only once it may be sent: on the CPL, and signed where its devices want a signature."""
    stage = connection.execute(text("SELECT stage FROM release WHERE name = :n"), {"n": wanted.release}).scalar_one()
    ready = cohort.ready(wanted.device_type, on_bench=wanted.on_bench)
    if stage not in ready:
        sign = ": `hanwave release sign` signs it" if stage == "cpl_active" else ""
        raise LedgerError(
            f"release {wanted.release} is {stage}: it can be planned once it is {', '.join(sorted(ready))}{sign}"
        )
