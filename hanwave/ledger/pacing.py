"""Whose turn it is: as many due devices as pace, cap and budget allow, the oldest first, by region and hub.

Guarantees: nothing is kept between sweeps but what the ledger holds anyway (the answers of the last hour, and when each
device was last given its turn), so a restart changes no rate; a sweep that is repeated picks nobody twice; a region that is
slowed down holds no other up.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.duis.codes import response_codes
from hanwave.ledger import budgets, throttle
from hanwave.ledger.campaigns import Frame
from hanwave.ledger.checks import exposed
from hanwave.ledger.tables.campaigns import REACHED, UNREACHED
from hanwave.rollout.events import Leg
from hanwave.rollout.pace import Answers, Pace, allowance, rate

PICK_AGAIN = timedelta(minutes=5)
"""A device that was given its turn and made nothing of it (its signal was lost) is given it again after this long."""
LOOK_BACK = timedelta(hours=1)
"""What a region's rate is judged by; one that nobody has asked for so long begins anew at the policy's rate."""
_MOST = 2000
"""Turns a sweep, and turns that are given and not taken yet: more would be given again before the gateway comes to them."""

# An answer of the DCC's inventory says nothing of the device, nor does a refusal for another reason.
_ANSWERS = text(
    f"""
    SELECT d.region, date_trunc('minute', e.recorded_at) AS minute, count(*) AS total,
        count(*) FILTER (WHERE e.kind IN ('unreached', 'refused')) AS unreached
    FROM device_event e JOIN device d ON d.eui = e.eui
    WHERE e.recorded_at > :since AND {REACHED} AND (e.kind <> 'refused' OR e.detail = ANY(:codes))
    AND (e.kind <> 'version' OR e.evidence = 'read_back') GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_ANY_UNREACHED = text(
    f"SELECT EXISTS (SELECT 1 FROM device_event WHERE recorded_at > :since AND {UNREACHED}"
    " AND (kind = 'unreached' OR detail = ANY(:codes)))"
)


def slowed(connection: Connection, pace: Pace, now: datetime) -> dict[str, float]:
    """The regions whose devices could not be reached lately, with the activations a second that each has now."""
    values = {"since": now - LOOK_BACK, "codes": response_codes().unreached}
    if not connection.execute(_ANY_UNREACHED, values).scalar_one():
        return {}
    answers: defaultdict[str, list[Answers]] = defaultdict(list)
    for row in connection.execute(_ANSWERS, values):
        answers[row.region].append(Answers(row.total, row.unreached))
    rates = {region: rate(pace, some) for region, some in answers.items()}
    return {region: each for region, each in rates.items() if each < pace.most}


# Where every region and hub may have as many as there are turns, the oldest of each step are enough: window says how many.
_DUE = """
    (SELECT u.id, u.due_at, {} AS step, u.eui FROM campaign_device u
    WHERE u.campaign = :campaign AND u.wave = :wave AND u.due_at <= :now
    AND (u.picked_at IS NULL OR u.picked_at <= :since) AND {}
    ORDER BY u.due_at, u.id LIMIT CAST(:window AS int))
"""
_READS = _DUE.format("'read'", "u.step = 'read' AND u.state = 'unknown'")
# A device in a later hop takes no room under the cap, and must not wait behind those that find none.
_TURNS = {
    False: (_DUE.format("'activate'", "u.step = 'activate'"), _READS),
    True: (
        _DUE.format("'activate'", "u.step = 'activate' AND u.hop = 1"),
        _DUE.format("'go on'", "u.step = 'activate' AND u.hop > 1"),
        _READS,
    ),
}
_PICK = """
    WITH due AS (
        SELECT u.id, u.due_at, u.step, d.region, d.hub,
            row_number() OVER (PARTITION BY d.region ORDER BY u.due_at, u.id) AS in_region,
            row_number() OVER (PARTITION BY d.hub ORDER BY u.due_at, u.id) AS at_hub
        FROM ({}) u
        LEFT JOIN device d ON d.eui = u.eui
    ), ready AS (
        SELECT due.id, due.due_at, due.step, row_number() OVER (PARTITION BY due.step ORDER BY due.due_at, due.id) AS in_step
        FROM due
        LEFT JOIN unnest(CAST(:regions AS text[]), CAST(:rooms AS int[])) AS r(region, room) USING (region)
        WHERE due.in_region <= coalesce(r.room, :in_region)
        AND (CAST(:gap AS timestamptz) IS NULL OR (due.at_hub = 1 AND NOT EXISTS (
            SELECT 1 FROM device n JOIN campaign_device p ON p.eui = n.eui
            JOIN outbox_device m ON m.update_id = p.id AND m.leg = 'activate' JOIN outbox b ON b.id = m.outbox_id
            WHERE n.hub = due.hub AND b.granted_at > :gap AND b.state <> 'abandoned')
            AND NOT EXISTS (SELECT 1 FROM device n JOIN campaign_device p ON p.eui = n.eui
                WHERE n.hub = due.hub AND p.id <> due.id AND p.step = 'activate' AND p.picked_at > :since)))
    ), chosen AS (
        -- What is read, or goes on, is exposed already: it takes no room, and has its turn although the cap is reached.
        SELECT id FROM ready WHERE in_step <= CASE step WHEN 'activate' THEN :activations ELSE :most END
        ORDER BY due_at, id LIMIT :most
    )
    UPDATE campaign_device SET picked_at = :now WHERE id IN (
        SELECT id FROM campaign_device WHERE id IN (SELECT id FROM chosen) ORDER BY id FOR UPDATE SKIP LOCKED)
    RETURNING eui
"""
_PICKS = {several: text(_PICK.format(" UNION ALL ".join(turns))) for several, turns in _TURNS.items()}


def pick(connection: Connection, frame: Frame, wave: int, now: datetime, since: timedelta) -> list[str]:
    """Give their turn to due devices of a wave, and reserve their slots; since: how long ago that was last done."""
    span = min(since, PICK_AGAIN)
    pace = frame.policy.pace.model_copy(update={"overall": throttle.pace(connection, frame.name)})
    picked = _picked(connection, frame.name, wave, now)
    most = min(allowance(pace.overall, span, now), _MOST - picked)
    if most <= 0:
        return []
    cap = frame.policy.of_wave(wave).exposure_cap - exposed(connection, frame, wave) - picked
    room = max(0, min(most, cap))
    rates = slowed(connection, pace, now)
    values: dict[str, Any] = {
        "campaign": frame.name,
        "wave": wave,
        "now": now,
        "since": now - PICK_AGAIN,
        "most": most,
        "activations": min(room, _budget(connection, frame, room + picked, now) - picked) if room else 0,
        "regions": list(rates),
        "rooms": [allowance(each, span, now) for each in rates.values()],
        "in_region": allowance(pace.most, span, now),
        "gap": now - pace.hub_gap if pace.hub_gap else None,
        "window": None if rates or pace.hub_gap or pace.region else most,
    }
    return sorted(connection.execute(_PICKS[bool(frame.longer)], values).scalars())


def turns(connection: Connection, frame: Frame, wave: int, now: datetime, steps: Sequence[str]) -> list[str]:
    """Give their turn to the due devices of a wave on a bench, the oldest first; the bench itself has the pace."""
    values = {
        "campaign": frame.name,
        "wave": wave,
        "now": now,
        "since": now - PICK_AGAIN,
        "steps": list(steps),
        "most": frame.policy.of_wave(wave).exposure_cap,
    }
    return sorted(connection.execute(_TURN, values).scalars())


_TURN = text(
    "UPDATE campaign_device SET picked_at = :now WHERE id IN (SELECT id FROM campaign_device"
    " WHERE campaign = :campaign AND wave = :wave AND due_at <= :now AND (step = ANY(:steps) OR (step = 'read' AND state = 'unknown'))"
    " AND (picked_at IS NULL OR picked_at <= :since) ORDER BY due_at, id LIMIT :most FOR UPDATE SKIP LOCKED) RETURNING eui"
)


def take_back(connection: Connection, campaign: str, wave: int) -> None:
    """Give the turns of a wave that nobody has used to whoever is due next: the sweep that gave them may never have told."""
    statement = text(
        "UPDATE campaign_device SET picked_at = NULL WHERE id IN (SELECT id FROM campaign_device WHERE campaign = :campaign"
        " AND wave = :wave AND picked_at IS NOT NULL AND step IN ('distribute', 'activate', 'read') ORDER BY id FOR UPDATE)"
    )
    connection.execute(statement, {"campaign": campaign, "wave": wave})


def _picked(connection: Connection, campaign: str, wave: int, now: datetime) -> int:
    """Devices that have their turn and were not granted anything yet; one in a later hop is counted as exposed."""
    statement = text(
        "SELECT count(*) FROM campaign_device WHERE campaign = :campaign AND wave = :wave"
        " AND step = 'activate' AND hop = 1 AND picked_at > :since"
    )
    values = {"campaign": campaign, "wave": wave, "since": now - PICK_AGAIN}
    return int(connection.execute(statement, values).scalar_one())


def _budget(connection: Connection, frame: Frame, devices: int, now: datetime) -> int:
    asked = budgets.Asked(frame.user_id, "11.3", Leg.ACTIVATE, frame.name, devices)
    return budgets.allow(connection, asked, now).devices
