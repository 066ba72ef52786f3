"""Future-dated activations: how many are outstanding, and which of them a stop withdraws.

Guarantees: no more are outstanding than can be cancelled, at the rate that the policy counts on, before the earliest falls
due; a halt or an open breaker withdraws each that was sent and has not fallen due, earliest first, with no mark but the
stop's own row, so that whoever finds the row can begin; so do an urgent campaign that takes the device over, and a
person who cancels its update; a pause withdraws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hanwave.ledger.tables.campaigns import IN_FLIGHT
from hanwave.ledger.urgency import TAKER
from hanwave.rollout.policy import Policy

AGAIN = timedelta(minutes=1)
"""A cancel that the DCC did not take is followed by another, under a new RequestID, after this long."""
UNHEARD = timedelta(minutes=5)
"""And one that it took, and of which the device has said nothing, after this long: answers queue when thousands are due."""

# The latest 11.3 of each device whose activation may be outstanding; a permit that has not left counts too.
_DATED = f"""
    SELECT DISTINCT ON (u.id) u.id, u.campaign, u.wave, u.eui, u.state, c.user_id, b.id AS request, b.sends,
        CAST(b.parameters ->> 'at' AS timestamptz) AS at
    FROM (SELECT * FROM campaign_device WHERE {IN_FLIGHT}) u
    JOIN campaign c ON c.name = u.campaign AND c.policy ->> 'activation' = 'future_dated'
    JOIN outbox b ON b.update_id = u.id AND b.leg = 'activate'
    ORDER BY u.id, b.id DESC
"""


def room(connection: Connection, policy: Policy, at: datetime, now: datetime) -> int:
    """How many more activations may be dated that time: what can be cancelled until the earliest, less what is outstanding."""
    row = connection.execute(
        text(f"SELECT count(*) AS n, min(at) AS earliest FROM ({_DATED}) f WHERE at > :now"), {"now": now}
    ).one()
    earliest = min(at, row.earliest or at)
    return int(policy.cancels * (earliest - now).total_seconds()) - int(row.n)


@dataclass(frozen=True, slots=True)
class Due:
    """An activation to be cancelled, and when it falls due."""

    update_id: int
    campaign: str
    wave: int
    at: datetime


# One in quarantine is a person's affair: a cancel would only join it there.
_DUE = text(
    f"""
    SELECT f.id, f.campaign, f.wave, f.at FROM ({_DATED}) f LEFT JOIN device d ON d.eui = f.eui
    WHERE f.at > :now AND f.sends > 0 AND f.state <> 'quarantined'
    AND (EXISTS ({TAKER.format(update="f")})
        OR EXISTS (SELECT 1 FROM device_event e WHERE e.update_id = f.id AND e.kind = 'cancelled') OR EXISTS (
        SELECT 1 FROM stop s WHERE s.lifted_at IS NULL AND s.kind IN ('halt', 'breaker')
        AND (s.leg IS NULL OR s.leg = 'activate')
        AND (s.scope = 'all' OR (s.scope, s.value) IN (
            ('user', f.user_id), ('campaign', f.campaign), ('wave', f.campaign || '/' || f.wave),
            ('model', d.manufacturer || '/' || d.model)))))
    AND NOT EXISTS (
        SELECT 1 FROM outbox w WHERE w.update_id = f.id AND w.leg = 'withdraw' AND w.id > f.request
        AND (w.state IN ('granted', 'ready') OR w.granted_at > CASE WHEN w.state = 'acknowledged' THEN :unheard ELSE :since END))
    AND (CAST(:ids AS bigint[]) IS NULL OR f.id = ANY(:ids))
    ORDER BY f.at, f.id LIMIT :most
    """
)


def due(connection: Connection, now: datetime, most: int, ids: Sequence[int] | None = None) -> list[Due]:
    """The activations (of those updates) that a stop withdraws and that no cancel is under way for, earliest first."""
    values = {
        "now": now,
        "since": now - AGAIN,
        "unheard": now - UNHEARD,
        "most": most,
        "ids": None if ids is None else list(ids),
    }
    return [Due(*row) for row in connection.execute(_DUE, values)]


def unsent(connection: Connection) -> list[int]:
    """Cancels that were granted and have not left, then reads out of their turn: neither has a workflow that sends it."""
    rows = connection.execute(
        text(
            "SELECT id FROM outbox WHERE state IN ('granted', 'ready') AND (permit_class = 'withdraw'"
            " OR parameters @> '{\"out_of_turn\": true}') ORDER BY permit_class DESC, id LIMIT 500"
        )
    )
    return list(rows.scalars())
