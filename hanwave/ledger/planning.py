"""From a campaign request to a frozen plan in the ledger, or to a printed one that changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.firmware.document import release_from_dict
from hanwave.firmware.release import Release
from hanwave.ledger import campaigns, urgency
from hanwave.ledger.database import LedgerError
from hanwave.rollout.plan import Candidate, Plan, Wanted, make_plan
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.request import CampaignRequest, check_name


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


def draw(connection: Connection, name: str, request: CampaignRequest, user_id: str) -> Plan:
    """The plan of a request, without keeping it; LedgerError where it would update nobody."""
    wanted = _wanted(connection, request)
    _check_ready(connection, wanted)
    candidates = list(_candidates(connection, request, wanted, user_id))
    plan = make_plan(wanted, candidates, request.policy, request.seed or name)
    if not any(plan.waves):
        raise LedgerError(_nobody(plan, len(candidates)))
    return plan


def freeze(connection: Connection, name: str, request: CampaignRequest, user_id: str, now: datetime) -> Planned:
    """Plan a campaign and keep it. The same request under the same name again gives the plan that is kept."""
    check_name(name)
    # Of two that ask at once the second waits, and finds what the first kept.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('campaign/' || :name))"), {"name": name})
    if found := kept(connection, name):
        if not is_same(connection, name, request):
            raise LedgerError(taken(name))
        return found
    plan = draw(connection, name, request, user_id)
    campaign = campaigns.NewCampaign(
        name=name,
        release=request.release,
        user_id=user_id,
        policy=request.policy,
        seed=request.seed or name,
        digest=plan.digest,
        author=request.author,
        kind="rollback" if request.rollback_of else "forward",
        of=request.rollback_of,
        request=as_asked(request),
        urgent=request.urgent,
        shadow=request.shadow,
    )
    campaigns.create(connection, campaign, plan.waves, plan.left_out, now)
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


def _nobody(plan: Plan, seen: int) -> str:
    if not seen:
        return "the cohort is empty: no device in the fleet matches its filters and the release's type"
    reason, n = next(iter(summary("", plan).left_out.items()))
    return f"no device would be updated: of {seen} in the cohort, {n} are left out because: {reason}"


_READY = frozenset({"signed", "pilot", "general"})


def _check_ready(connection: Connection, wanted: Wanted) -> None:
    """A release is planned only once it may be sent: on the CPL, and signed where its devices want a signature."""
    stage = connection.execute(text("SELECT stage FROM release WHERE name = :n"), {"n": wanted.release}).scalar_one()
    ready = _READY | {"cpl_active"} if wanted.device_type.one_step else _READY
    if stage not in ready:
        raise LedgerError(
            f"release {wanted.release} is {stage}: it can be planned once it is {', '.join(sorted(ready))}"
        )


def _wanted(connection: Connection, request: CampaignRequest) -> Wanted:
    found = release(connection, request.release)
    return Wanted(
        release=found.name,
        device_type=DeviceType(found.device_type.value),
        manufacturer=f"{found.models[0].manufacturer:04X}",
        models=frozenset(f"{model.identifier:04X}" for model in found.models),
        hardware=(found.hardware.minimum, found.hardware.maximum),
        version=str(found.firmware_version),
        predecessors=frozenset(str(version) for version in found.predecessors),
        may_downgrade=found.may_downgrade,
        # A PPMID that runs the fallback may yet be given the bad image by its hub: the fallback is sent after it.
        anew=request.rollback_of is not None and DeviceType(found.device_type.value).one_step,
    )


_COHORT = text(
    """
    SELECT d.eui, d.device_type, d.manufacturer, d.model, d.hardware_version, d.firmware_version, d.smi_status,
        -- GSME firmware is the gas supplier's, a PPMID's either one's, the rest the import supplier's (domain 7, Roles).
        coalesce(CASE d.device_type
            WHEN 'GSME' THEN d.gas_supplier = :user_id
            WHEN 'PPMID' THEN d.gas_supplier = :user_id OR d.import_supplier = :user_id
            ELSE d.import_supplier = :user_id END, false) AS ours,
        d.protected_class IS NOT NULL AS protected,
        h.reason AS held_back, u.campaign AS leased_by
    FROM device d
    LEFT JOIN lease l ON l.eui = d.eui
    LEFT JOIN campaign_device u ON u.id = l.update_id AND u.campaign IS DISTINCT FROM :rollback_of
        AND NOT (:urgent AND u.state = ANY(:takeable)
            AND NOT EXISTS (SELECT 1 FROM campaign s WHERE s.name = u.campaign AND s.urgent))
    LEFT JOIN LATERAL (
        SELECT reason FROM hold WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        AND (scope, value) IN (('device', d.eui), ('model', d.manufacturer || '/' || d.model), ('region', d.region),
                               ('hub', d.hub), ('home', coalesce(d.home, d.hub))) LIMIT 1
    ) h ON true
    WHERE d.device_type = :device_type
        AND (cardinality(CAST(:models AS text[])) = 0 OR d.model = ANY(:models))
        AND (cardinality(CAST(:regions AS text[])) = 0 OR d.region = ANY(:regions))
        AND (cardinality(CAST(:hubs AS text[])) = 0 OR d.hub = ANY(:hubs))
        AND (cardinality(CAST(:versions AS text[])) = 0 OR d.firmware_version = ANY(:versions))
        AND (cardinality(CAST(:devices AS text[])) = 0 OR d.eui = ANY(:devices))
    """
)


def _candidates(connection: Connection, request: CampaignRequest, wanted: Wanted, user_id: str) -> Iterator[Candidate]:
    cohort = request.cohort
    rows = connection.execute(
        _COHORT,
        {
            "user_id": user_id,
            "device_type": wanted.device_type,
            "rollback_of": request.rollback_of,
            "urgent": request.urgent,
            "takeable": urgency.takeable(wanted.device_type),
            "models": list(cohort.models),
            "regions": list(cohort.regions),
            "hubs": list(cohort.hubs),
            "versions": list(cohort.firmware_versions),
            "devices": list(cohort.devices),
        },
    )
    for row in rows:
        yield Candidate(**{**row._mapping, "ours": bool(row.ours)})  # noqa: SLF001 - the documented way to a row's names
