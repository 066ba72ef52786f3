"""The fleet as a plan sees it: the candidates that a request's filters match, and what its release wants of them."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.firmware.document import release_from_dict
from hanwave.firmware.life import Stage
from hanwave.firmware.paths import upgrades_of
from hanwave.firmware.release import Release
from hanwave.ledger import holds, leavers, urgency
from hanwave.rollout.cohort import NOT_KNOWN, NOT_OURS, Candidate, Stepping, Wanted, stranger
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.request import CampaignRequest

_BLOCK = 5000  # rows that are fetched at a time: a million at once would take a gigabyte

_COHORT = text(
    f"""
    SELECT d.eui, d.device_type, d.manufacturer, d.model, d.hardware_version, d.firmware_version, d.smi_status,
        {leavers.RESPONSIBLE.format(user=":user_id")} AS ours,
        coalesce(d.protected_class, CASE WHEN :prepayment AND d.payment_mode = 'prepayment' THEN 'prepayment' END),
        d.region, d.hub, d.home,
        -- An MPAN's first two digits are its distributor's; the rest of it stays here.
        CASE WHEN length(d.mpxn) = 13 THEN left(d.mpxn, 2) END AS area,
        d.hub_firmware, d.gbcs_version, d.last_heard, d.leaves_at, h.reason AS held_back, u.campaign AS leased_by,
        CASE d.device_type WHEN 'GSME' THEN (
            SELECT count(DISTINCT (e.update_id, e.hop, e.attempt)) FROM campaign_device o JOIN device_event e
            ON e.update_id = o.id AND e.kind = 'sent' AND e.leg = 'distribute' WHERE o.eui = d.eui) ELSE 0 END AS images
    FROM device d
    LEFT JOIN lease l ON l.eui = d.eui
    LEFT JOIN campaign_device u ON u.id = l.update_id AND u.campaign IS DISTINCT FROM :rollback_of
        AND NOT (:urgent AND u.state = ANY(:takeable)
            AND NOT EXISTS (SELECT 1 FROM campaign s WHERE s.name = u.campaign AND s.urgent))
    LEFT JOIN LATERAL ({holds.HOLDING.format(now="now()")}) h ON true
    -- Of what is named one by one, each has its reason.
    WHERE (d.device_type = :device_type OR d.eui = ANY(:devices))
        AND (cardinality(CAST(:models AS text[])) = 0 OR d.model = ANY(:models)
            OR d.manufacturer || '/' || d.model = ANY(:models))
        AND (cardinality(CAST(:regions AS text[])) = 0 OR d.region = ANY(:regions))
        AND (cardinality(CAST(:hubs AS text[])) = 0 OR d.hub = ANY(:hubs))
        AND (cardinality(CAST(:versions AS text[])) = 0 OR d.firmware_version = ANY(:versions))
        AND (cardinality(CAST(:devices AS text[])) = 0 OR d.eui = ANY(:devices))
        AND (CAST(:new_to AS text) IS NULL OR NOT EXISTS (
            SELECT 1 FROM campaign_device k WHERE k.campaign = :new_to AND k.eui = d.eui)
            AND NOT EXISTS (SELECT 1 FROM left_out k
                WHERE k.campaign = :new_to AND k.eui = d.eui AND k.reason <> ALL(:may_come)))
    """
).execution_options(yield_per=_BLOCK)


def candidates(
    connection: Connection, request: CampaignRequest, kind: DeviceType, user_id: str, new_to: str | None = None
) -> Iterator[Candidate]:
    """The devices of the type that match the request's filters, as they come; and those that it names and cannot have.

    new_to: only those that this campaign's plan did not know, or left out as another supplier's and that were gained since.
    """
    cohort = request.cohort
    rows = connection.execute(
        _COHORT,
        {
            "user_id": user_id,
            "device_type": kind,
            "prepayment": request.policy.prepayment_is_protected,
            "rollback_of": request.rollback_of,
            "urgent": request.urgent,
            "takeable": urgency.takeable(kind),
            "models": list(cohort.models),
            "regions": list(cohort.regions),
            "hubs": list(cohort.hubs),
            "versions": list(cohort.firmware_versions),
            "devices": list(cohort.devices),
            "new_to": new_to,
            "may_come": [NOT_OURS, NOT_KNOWN],
        },
    )
    # In the order of Candidate's fields.
    for row in rows:
        yield Candidate(*row)
    for eui in connection.execute(_STRANGERS, {"devices": list(cohort.devices)}).scalars():
        yield stranger(eui)


_STRANGERS = text(
    "SELECT DISTINCT n.eui FROM unnest(CAST(:devices AS text[])) AS n(eui)"
    " WHERE NOT EXISTS (SELECT 1 FROM device d WHERE d.eui = n.eui) ORDER BY n.eui"
)


def wanted(connection: Connection, release: Release, user_id: str, *, undoes: bool = False) -> Wanted:
    """What a release is for, as that User ID sends it; undoes: in a rollback."""
    return Wanted(
        release=release.name,
        device_type=DeviceType(release.device_type.value),
        manufacturer=f"{release.models[0].manufacturer:04X}",
        models=frozenset(f"{model.identifier:04X}" for model in release.models),
        hardware=(release.hardware.minimum, release.hardware.maximum),
        version=str(release.firmware_version),
        predecessors=frozenset(str(version) for version in release.predecessors),
        may_downgrade=release.may_downgrade,
        minimum_hub_firmware=_minima(release)[0],
        minimum_gbcs_version=_minima(release)[1],
        undoes=undoes,
        stepping=_stepping(connection, release, user_id) if release.predecessors else (),
    )


_READY = frozenset({"signed", "pilot", "general"})


_ON_BENCH = frozenset(str(stage) for stage in Stage) - {"received", "withdrawn"}


def ready(kind: DeviceType, *, on_bench: bool = False) -> frozenset[str]:
    """The stages of a release that may be sent: on the CPL, and signed where its devices want a signature.

    On a bench it is qualified before that: there its hash must have been verified.
    """
    if on_bench:
        return _ON_BENCH
    return _READY | {"cpl_active"} if kind.one_step else _READY


_OTHERS = text(
    """
    SELECT o.name, o.device_type, o.stage, o.document,
        EXISTS (SELECT 1 FROM signed_image i WHERE i.release = o.name
            AND i.user_id = CASE o.device_type WHEN 'PPMID' THEN '' ELSE :user_id END) AS has_image,
        array(SELECT DISTINCT e.manufacturer || '/' || e.model FROM cpl_entry e WHERE e.status = 'Active'
            AND (e.device_type, e.firmware_version, e.image_hash) = (o.device_type, o.firmware_version, o.image_hash)) AS listed
    FROM release o JOIN release r USING (device_type, manufacturer)
    WHERE r.name = :name AND o.name <> r.name AND o.stage <> 'withdrawn' ORDER BY o.name
    """
)


def _stepping(connection: Connection, release: Release, user_id: str) -> tuple[Stepping, ...]:
    """The other releases for the type and manufacturer, by which a device may come to a predecessor."""
    rows = connection.execute(_OTHERS, {"name": release.name, "user_id": user_id})
    return tuple(step for row in rows for step in _steps(row))


def _steps(row: Row[Any]) -> Iterator[Stepping]:
    other = release_from_dict(row.document)
    why = None
    if row.stage not in ready(DeviceType(row.device_type)):
        why = f"is {row.stage}, and not yet to be sent"
    elif not row.has_image:
        why = "has no image signed for this User ID: sign one"
    for upgrade in upgrades_of(other):
        listed = str(upgrade.model) in row.listed
        yield Stepping(
            *(
                row.name,
                upgrade,
                why or (None if listed else "the CPL does not list as Active with its hash: import it"),
            ),
            *_minima(other),
        )


def _minima(release: Release) -> tuple[str | None, str | None]:
    """The hub firmware and the GBCS version that it needs."""
    hub, gbcs = release.minimum_hub_firmware, release.minimum_gbcs_version
    return str(hub) if hub else None, str(gbcs) if gbcs else None
