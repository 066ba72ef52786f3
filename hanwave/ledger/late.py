"""Late joiners: devices that entered a campaign's cohort after its plan was frozen, where its policy takes them.

Guarantees: they join as the last wave opens, once, in the transaction that opens it, or not at all; what the plan left out
stays left out, but for devices that were another supplier's then and were gained since; the digest that was approved covers
the policy that takes them, and a note says how many came.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, cohort, notes, planning
from hanwave.rollout.cohort import kind_of, path_of, unfit, unsuited
from hanwave.rollout.policy import LateJoiners
from hanwave.rollout.request import CampaignRequest


def join(connection: Connection, campaign: str, wave: int, now: datetime) -> int:
    """Take the late joiners into the last wave as it opens, if the policy says so; how many came."""
    policy = campaigns.frame(connection, campaign).policy
    opens = text("SELECT 1 FROM wave WHERE campaign = :name AND number = :wave AND opened_at IS NULL FOR UPDATE")
    if policy.late_joiners is not LateJoiners.LAST_WAVE or wave != len(policy.waves):
        return 0
    if connection.execute(opens, {"name": campaign, "wave": wave}).first() is None:
        return 0
    paths = _joiners(connection, campaign, now)
    euis = tuple(paths)
    if euis:
        campaigns.add_devices(connection, campaign, wave, euis, now)
        campaigns.put_on_paths(connection, campaign, {eui: path for eui, path in paths.items() if path > 1})
        grown = text("UPDATE wave SET size = size + :n WHERE campaign = :name AND number = :wave")
        connection.execute(grown, {"n": len(euis), "name": campaign, "wave": wave})
        said = notes.Said(
            "hanwave", "join_late", f"campaign/{campaign}/wave/{wave}", "late_joiners", {"devices": len(euis)}
        )
        notes.add(connection, said, now)
    return len(euis)


def _joiners(connection: Connection, campaign: str, now: datetime) -> dict[str, int]:
    """Who joins, by which of the plan's paths: another way than those was not approved."""
    frame = campaigns.frame(connection, campaign)
    asked = connection.execute(text("SELECT request FROM campaign WHERE name = :n"), {"n": campaign}).scalar_one()
    request = CampaignRequest.model_validate(asked | {"policy": frame.policy.model_dump(mode="json")})
    release = planning.release(connection, frame.release)
    wanted = replace(cohort.wanted(connection, release, frame.user_id), route=frame.route)
    found = cohort.candidates(connection, request, frame.device_type, frame.user_id, new_to=campaign)
    numbers = {tuple(hop.release for hop in path): number for number, path in enumerate(frame.paths, 1)}
    dormant_after = None if frame.on_bench else frame.policy.dormant_after
    fit = [
        d
        for d in found
        if not unsuited(wanted, kind_of(d)) and not unfit(d, now, dormant_after, on_bench=frame.on_bench)
    ]
    paths = {device.eui: path_of(wanted, kind_of(device)) for device in fit}
    return {eui: numbers[path] for eui, path in paths.items() if path in numbers}
