"""The gate's judgement of a wave, with everything that it was judged by, read from the ledger at that time.

Guarantees: the first verdict of a closed wave stands; the inputs and the gate are kept with it, whole, so that the
verdict can be recomputed from them alone (`recompute`); a device that is excused counts nowhere.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, leavers, notes, outages
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import observe
from hanwave.rollout import tallies
from hanwave.rollout.bounds import Share
from hanwave.rollout.gate import (
    EXPECTED,
    ORDINARY_SILENCE,
    Baseline,
    Counts,
    Finding,
    Inputs,
    Judgement,
    Stratum,
    findings,
    judge,
)
from hanwave.rollout.policy import Gate, Policy, Proof
from hanwave.rollout.soak import Observed, Service

_INPUTS = TypeAdapter(Inputs)


@dataclass(frozen=True, slots=True)
class Explained:
    """A wave's verdict as it was kept, and as it comes out of its inputs again."""

    wave: int
    stored: Judgement
    again: Judgement
    gate: Gate
    inputs: Inputs
    findings: tuple[Finding, ...]
    outages: list[dict[str, Any]]
    """Reports of network operators that began after a device's activation."""

    @property
    def equal(self) -> bool:
        """Whether the kept verdict is what its inputs give."""
        return self.stored == self.again


def remember_heard(connection: Connection, campaign: str, wave: int) -> None:
    """Keep, once, when a wave's devices were last heard before it began: what their silence is compared with."""
    statement = text(
        "UPDATE campaign_device c SET heard_before = d.last_heard FROM device d WHERE d.eui = c.eui"
        " AND c.campaign = :campaign AND c.wave = :wave AND c.heard_before IS NULL AND c.state = 'planned'"
    )
    connection.execute(statement, {"campaign": campaign, "wave": wave})


def close_wave(
    connection: Connection,
    campaign: str,
    wave: int,
    now: datetime,
    services: Sequence[Service] = (),
    observed: Sequence[Observed] = (),
) -> Judgement:
    """Judge a wave and keep the verdict with its inputs; services: the answers of its gate's service checks.

    What they told of single devices becomes a part of each one's story. The first verdict of a closed wave stands, and is
    what a second call gives.
    """
    kept = connection.execute(
        text("SELECT verdict, judged FROM wave WHERE campaign = :campaign AND number = :wave FOR UPDATE"),
        {"campaign": campaign, "wave": wave},
    ).one()
    if kept.verdict is not None:
        return Judgement(kept.verdict, kept.judged["reason"])
    gate = campaigns.gate(connection, campaign, wave)
    inputs = gather(connection, campaign, wave, gate, now, services)
    judgement = judge(inputs, gate)
    judged = {
        "reason": judgement.reason,
        "gate": gate.model_dump(mode="json"),
        "inputs": _INPUTS.dump_python(inputs, mode="json"),
        "outages": outages.after_activation(connection, campaign, wave, now),
    }
    connection.execute(
        text(
            "UPDATE wave SET closed_at = :now, verdict = :verdict, judged = CAST(:judged AS jsonb)"
            " WHERE campaign = :campaign AND number = :wave"
        ),
        {"campaign": campaign, "wave": wave, "now": now, "verdict": judgement.verdict, "judged": json.dumps(judged)},
    )
    # In the audit chain, whole: from an export alone the verdict can be recomputed.
    kept_whole = {"verdict": judgement.verdict, "gate": judged["gate"], "inputs": judged["inputs"]}
    said = notes.Said("hanwave", "judge", f"campaign/{campaign}/wave/{wave}", judgement.reason, kept_whole)
    notes.add(connection, said, now)
    observe(connection, campaign, wave, observed, now)
    return judgement


def recompute(connection: Connection, campaign: str, wave: int) -> Explained:
    """A wave's verdict again, from nothing but what was kept with it; LedgerError where it was not judged."""
    row = connection.execute(
        text("SELECT verdict, judged FROM wave WHERE campaign = :campaign AND number = :wave"),
        {"campaign": campaign, "wave": wave},
    ).one_or_none()
    if row is None:
        raise LedgerError(
            f"campaign {campaign!r} has no wave {wave}: `hanwave campaign status {campaign}` shows its waves"
        )
    if row.verdict is None:
        raise LedgerError(f"wave {wave} of {campaign} was not judged yet: its gate judges when every device has ended")
    try:
        gate, inputs = Gate.model_validate(row.judged["gate"]), _INPUTS.validate_python(row.judged["inputs"])
        stored = Judgement(row.verdict, row.judged["reason"])
        reports = row.judged["outages"]
    except (ValidationError, KeyError) as error:
        raise LedgerError(f"what wave {wave} of {campaign} was judged by cannot be read: {str(error)[:100]}") from error
    return Explained(wave, stored, judge(inputs, gate), gate, inputs, tuple(findings(inputs, gate)), reports)


def judged_waves(connection: Connection, campaign: str) -> list[int]:
    """The numbers of a campaign's judged waves; LedgerError where there is no such campaign."""
    campaigns.frame(connection, campaign)
    statement = text("SELECT number FROM wave WHERE campaign = :campaign AND verdict IS NOT NULL ORDER BY number")
    return list(connection.execute(statement, {"campaign": campaign}).scalars())


def gather(
    connection: Connection, campaign: str, wave: int, gate: Gate, now: datetime, services: Sequence[Service] = ()
) -> Inputs:
    """What a gate judges a wave by, as the ledger has it at that time (aware UTC)."""
    frame = campaigns.frame(connection, campaign)
    expects = expected(frame.policy, gate, EXPECTED[frame.device_type])
    return Inputs(
        strata=tuple(_strata(connection, campaign, wave, gate, expects)),
        expects=expects,
        ordinary=ORDINARY_SILENCE[frame.device_type] if gate.ordinary is None else gate.ordinary,
        baselines=tuple(_baselines(connection, frame, wave, gate, now)),
        services=tuple(services),
    )


def expected(policy: Policy, gate: Gate, usual: tuple[Proof, ...]) -> tuple[Proof, ...]:
    """The kinds of evidence that a gate asks for; a read-back that the policy does not make is none of the usual."""
    if gate.expects is not None:
        return gate.expects
    return tuple(proof for proof in usual if proof is not Proof.READ_BACK or policy.soak_check)


_STRATA = text(
    f"""
    WITH u AS (
        -- In one go: joined to one another, tables that the planner cannot measure cost the square of the wave.
        SELECT c.id, c.eui, d.hub, coalesce(d.region, '?') AS region, coalesce(c.from_version, '?') AS version,
            coalesce(d.manufacturer || '/' || d.model, '?') AS model,
            CASE WHEN c.state = 'closed' THEN 'closed:' || c.outcome ELSE c.state END AS state,
            max(e.at) FILTER (WHERE {outages.SPOKEN}) AS heard, min(e.at) FILTER (WHERE {outages.EXPOSED}) AS exposed,
            array_agg(DISTINCT e.kind) FILTER (WHERE e.evidence <> 'ours' AND e.kind = ANY(:expects)
                AND (e.kind <> 'version' OR e.evidence IN ('device', 'read_back'))
                -- Of several hops the last one's: what came of an earlier one proves nothing of the release.
                AND e.hop = c.hop) AS kinds
        FROM campaign_device c LEFT JOIN device d ON d.eui = c.eui LEFT JOIN device_event e ON e.update_id = c.id
        WHERE c.campaign = :campaign AND c.wave = :wave GROUP BY c.id, d.eui
    ),
    alarmed AS (
        SELECT DISTINCT u.id FROM u JOIN note n ON n.subject = 'device/' || u.eui
        WHERE n.at >= u.exposed AND n.verb = 'alarm' AND n.reason = ANY(:alarms)
    ),
    dark AS ({outages.EXPLAINED}),
    stands AS (
        SELECT u.*, CASE
            -- A visit to a device that the image has acted on may be the image's doing.
            WHEN u.state = 'closed:needs_visit' AND u.exposed IS NOT NULL THEN 'silent'
            WHEN u.state = ANY(:excused) THEN 'excused'
            WHEN u.state = ANY(:failed) OR u.id IN (SELECT id FROM alarmed) THEN 'failed'
            WHEN u.state = ANY(:refused) THEN 'refused'
            WHEN u.state = 'settled' THEN 'settled'
            WHEN u.state = ANY(:silent) AND u.id IN (SELECT id FROM dark) THEN 'held_out'
            WHEN u.state = ANY(:silent) THEN 'silent'
            ELSE 'open' END AS stand
        FROM u
    )
    SELECT model, version, region, stand, coalesce(kinds, '{{}}') AS kinds, count(*) AS n FROM stands
    GROUP BY model, version, region, stand, coalesce(kinds, '{{}}') ORDER BY model, version, region
    """
)


def _strata(connection: Connection, campaign: str, wave: int, gate: Gate, expects: tuple[Proof, ...]) -> list[Stratum]:
    values = {
        "campaign": campaign,
        "wave": wave,
        "expects": [str(proof) for proof in expects],
        "alarms": list(gate.alarms),
        "excused": list(tallies.EXCUSED),
        "failed": list(tallies.FAILED),
        "refused": list(tallies.REFUSED),
        "silent": list(tallies.SILENT),
    }
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    seen: dict[tuple[str, str, str], dict[Proof, int]] = {}
    for row in connection.execute(_STRATA, values):
        key = row.model, row.version, row.region
        held, proofs = counts.setdefault(key, {}), seen.setdefault(key, dict.fromkeys(expects, 0))
        if row.stand != "excused":
            held[row.stand] = held.get(row.stand, 0) + row.n
        if row.stand == "settled":
            for kind in row.kinds:
                proofs[Proof(kind)] += row.n
    return [Stratum(*key, Counts(**held), seen[key]) for key, held in counts.items()]


_BASELINES = text(
    f"""
    WITH mine AS (
        SELECT coalesce(d.region, '?') AS region, c.heard_before < :began - CAST(:within AS interval) AS silent
        FROM campaign_device c LEFT JOIN device d ON d.eui = c.eui
        WHERE c.campaign = :campaign AND c.wave = :wave AND c.heard_before IS NOT NULL
    ),
    others AS (
        SELECT d.region, d.last_heard < :now - CAST(:within AS interval) AS silent FROM device d
        WHERE d.device_type = :type AND d.last_heard IS NOT NULL AND d.firmware_version <> :version
        -- Two suppliers on one installation see nothing of each other.
        AND {leavers.RESPONSIBLE.format(user=":user_id")}
        AND NOT EXISTS (SELECT 1 FROM campaign_device c WHERE c.eui = d.eui AND c.campaign = :campaign AND c.state <> 'planned')
        -- Those that an outage silences now say nothing of the ordinary.
        AND NOT EXISTS ({outages.LASTING})
    ),
    both_of AS (
        SELECT region, count(*) FILTER (WHERE silent) AS was, count(*) AS was_of, 0 AS is_now, 0 AS is_of FROM mine GROUP BY 1
        UNION ALL
        SELECT region, 0, 0, count(*) FILTER (WHERE silent), count(*) FROM others GROUP BY 1
    )
    SELECT region, sum(was) AS was, sum(was_of) AS was_of, sum(is_now) AS is_now, sum(is_of) AS is_of FROM both_of
    GROUP BY 1 HAVING region IN (SELECT coalesce(d.region, '?') FROM campaign_device c LEFT JOIN device d ON d.eui = c.eui
        WHERE c.campaign = :campaign AND c.wave = :wave) ORDER BY 1
    """
)


def _baselines(connection: Connection, frame: campaigns.Frame, wave: int, gate: Gate, now: datetime) -> list[Baseline]:
    began = connection.execute(
        text("SELECT coalesce(opened_at, :now) FROM wave WHERE campaign = :campaign AND number = :wave"),
        {"campaign": frame.name, "wave": wave, "now": now},
    ).scalar_one()
    values = {
        "campaign": frame.name,
        "user_id": frame.user_id,
        "wave": wave,
        "type": frame.device_type,
        "version": frame.version,
        "within": gate.heard_within,
        "began": began,
        "now": now,
    }
    rows = connection.execute(_BASELINES, values)
    return [Baseline(r.region, Share(int(r.was), int(r.was_of)), Share(int(r.is_now), int(r.is_of))) for r in rows]
