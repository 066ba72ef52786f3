"""The budget of Service Requests: what was sent under each User ID and variant, against the anomaly-detection thresholds.

Guarantees: every POST counts from when it begins, and every granted request until then, so that under any concurrency no span
of a threshold's period has more than its limit (the lock of a User ID and variant is the last that a permit takes before the
counter's); counts are append-only deltas, rolled up to the minute in the careful direction; without a threshold in the table
there is no bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.ledger import campaigns, notes
from hanwave.rollout.budget import (
    REPEAT_COUNTS,
    Claim,
    PermitClass,
    Threshold,
    Use,
    Used,
    ceiling,
    class_of,
    fair_shares,
    room,
    turns,
)
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg

COUNT = """
    INSERT INTO request_use (user_id, variant, permit_class, campaign, at, requests, devices)
    SELECT p.user_id, p.service_reference, p.permit_class, p.campaign, :began, CAST(:times AS int),
        :times * (SELECT count(*) FROM outbox_device m WHERE m.outbox_id = p.id) FROM posted p
"""
"""What follows a CTE `posted` of outbox rows, to count them in the same statement; times by `times`, negative to take back."""


def times(sends: int) -> int:
    """How often a POST counts, of a request that was POSTed so often before."""
    return REPEAT_COUNTS if sends else 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that wants room: its User ID, variant, leg, and for how many devices; a campaign's batch is its largest."""

    user_id: str
    variant: str
    leg: Leg
    campaign: str
    devices: int
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Allowed:
    """For how many of the devices there is room; and of the others why not, and until when."""

    devices: int
    reason: str = ""
    until: datetime | None = None


def take(connection: Connection, asked: Asked, now: datetime) -> Allowed:
    """What may be granted now; nobody else is granted anything of that User ID and variant until the transaction ends."""
    found = thresholds(connection, asked.user_id, asked.variant)
    if found:
        lock(connection, asked.user_id, asked.variant)
    return _least(connection, asked, found, now)


def lock(connection: Connection, user_id: str, variant: str) -> None:
    """Keep what is used of that User ID and variant as it is, until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"budget/{user_id}/{variant}"})


def allow(connection: Connection, asked: Asked, now: datetime) -> Allowed:
    """What would be granted now, without a lock: for whoever only picks."""
    return _least(connection, asked, thresholds(connection, asked.user_id, asked.variant), now)


def repeat(connection: Connection, posted: Row[Any], now: datetime) -> str | None:
    """Why a request may not be POSTed again now, in a sentence; None where it may. Locks as `take` does."""
    devices = connection.execute(
        text("SELECT count(*) FROM outbox_device WHERE outbox_id = :id"), {"id": posted.id}
    ).scalar_one()
    asked = Asked(posted.user_id, posted.service_reference, Leg(posted.leg), posted.campaign, devices)
    allowed = take(connection, asked, now)
    return None if allowed.devices == devices else allowed.reason


def _least(connection: Connection, asked: Asked, found: Sequence[Threshold], now: datetime) -> Allowed:
    judged = [_under(connection, asked, threshold, now) for threshold in found]
    return min(judged, key=lambda allowed: allowed.devices, default=Allowed(asked.devices))


def _under(connection: Connection, asked: Asked, threshold: Threshold, now: datetime) -> Allowed:
    rows = _rows(connection, threshold, now)
    used, asking = _used(connection, threshold, rows, now), class_of(asked.leg)
    free = room(threshold, used, asking)
    if asking is PermitClass.FORWARD:
        free = min(free, _share(connection, asked, threshold, rows, ceiling(threshold, used, asking)))
    devices = threshold.fitting(asked.devices, free)
    if devices == asked.devices:
        return Allowed(devices)
    reason = (
        f"the budget of SR {threshold.variant} is used: {used.total} of {threshold.limit} in {threshold.period},"
        f" {threshold.reserve} kept back"
    )
    lack = used.total + max(0, threshold.others - used.others) + threshold.reserve + 1 - threshold.limit
    return Allowed(devices, reason, _turns(connection, threshold, lack, now) if lack > 0 and not free else None)


def thresholds(connection: Connection, user_id: str | None = None, variant: str | None = None) -> list[Threshold]:
    """The thresholds (of a User ID, and of a variant), in their order."""
    rows = connection.execute(
        text(
            "SELECT * FROM threshold WHERE (CAST(:user AS text) IS NULL OR user_id = :user)"
            " AND (CAST(:variant AS text) IS NULL OR variant = :variant) ORDER BY user_id, variant, period"
        ),
        {"user": user_id, "variant": variant},
    )
    return [Threshold.model_validate(dict(row)) for row in rows.mappings()]


# One statement, so one snapshot: a request that is being sent is in one half or in the other.
_USED = text(
    """
    SELECT permit_class, campaign, sum(requests) AS requests, sum(devices) AS devices FROM (
        SELECT permit_class, campaign, requests, devices FROM request_use
        WHERE user_id = :user AND variant = :variant AND at > :since
        UNION ALL
        SELECT o.permit_class, o.campaign, 1, (SELECT count(*) FROM outbox_device m WHERE m.outbox_id = o.id)
        FROM outbox o WHERE o.user_id = :user AND o.service_reference = :variant
        AND o.state IN ('granted', 'ready') AND o.sends = 0
    ) u GROUP BY permit_class, campaign
    """
)


def _values(threshold: Threshold, now: datetime) -> dict[str, Any]:
    return {"user": threshold.user_id, "variant": threshold.variant, "since": now - threshold.period}


@dataclass(frozen=True, slots=True)
class _Part:
    permit_class: PermitClass
    campaign: str | None
    units: int


def _rows(connection: Connection, threshold: Threshold, now: datetime) -> list[_Part]:
    rows = connection.execute(_USED, _values(threshold, now))
    return [
        _Part(PermitClass(r.permit_class), r.campaign, int(r.devices if threshold.per_device else r.requests))
        for r in rows
    ]


def _used(connection: Connection, threshold: Threshold, rows: list[_Part], now: datetime) -> Used:
    others = connection.execute(
        text(
            "SELECT coalesce(sum(units), 0) FROM others_use WHERE user_id = :user AND variant = :variant AND at > :since"
        ),
        _values(threshold, now),
    ).scalar_one()
    own = {each: sum(row.units for row in rows if row.permit_class is each) for each in PermitClass}
    return Used(own[PermitClass.FORWARD], own[PermitClass.WITHDRAW], own[PermitClass.OBSERVE], int(others))


# What still waits for its turn, by the tallies of open waves that nothing stops; a stopped campaign claims nothing.
_CLAIMS = text(
    """
    SELECT c.name, c.urgent, coalesce((c.policy ->> 'batch')::int, 1) AS batch, sum(t.delta) AS due
    FROM campaign c JOIN wave w ON w.campaign = c.name AND w.opened_at IS NOT NULL AND w.closed_at IS NULL
    JOIN tally t ON t.campaign = c.name AND t.wave = w.number AND t.state = ANY(:states)
    JOIN release r ON r.name = c.release AND (r.device_type = 'PPMID') = :one_step
    WHERE c.user_id = :user AND c.status = 'running' AND c.name <> :campaign AND NOT c.shadow
    AND NOT EXISTS (SELECT 1 FROM stop s WHERE s.lifted_at IS NULL AND (s.leg IS NULL OR s.leg = :leg)
        AND ((s.scope = 'campaign' AND s.value = c.name) OR (s.scope = 'wave' AND s.value = c.name || '/' || w.number)))
    GROUP BY c.name
    """
)
_WAITING = {
    Leg.DISTRIBUTE: [State.PLANNED, State.STEPPED, State.DELIVERY_FAILED, State.VERIFICATION_FAILED],
    Leg.ACTIVATE: [State.HELD],
}


def _share(connection: Connection, asked: Asked, threshold: Threshold, rows: list[_Part], most: int) -> int:
    """What is left of the campaign's fair share of the forward requests in this period."""
    values = {"user": asked.user_id, "campaign": asked.campaign, "leg": asked.leg, "one_step": asked.variant == "11.4"}
    waiting = connection.execute(_CLAIMS, values | {"states": [str(state) for state in _WAITING[asked.leg]]}).all()
    used: dict[str | None, int] = {}
    for row in rows:
        if row.permit_class is PermitClass.FORWARD:
            used[row.campaign] = used.get(row.campaign, 0) + row.units
    urgent = campaigns.frame(connection, asked.campaign).urgent
    own = Claim(asked.campaign, used.get(asked.campaign, 0), _units(threshold, asked.devices, asked.batch), urgent)
    claims = [
        Claim(row.name, used.get(row.name, 0), _units(threshold, int(row.due), row.batch), row.urgent)
        for row in waiting
    ]
    # What others have used and wait for no more is gone.
    known = {claim.campaign for claim in (own, *claims)}
    spent = sum(units for campaign, units in used.items() if campaign not in known)
    return fair_shares(most - spent, [own, *claims])[asked.campaign] - own.used


def _units(threshold: Threshold, devices: int, batch: int) -> int:
    """What so many waiting devices will count."""
    return devices if threshold.each_counts else -(-devices // batch)


def _turns(connection: Connection, threshold: Threshold, lack: int, now: datetime) -> datetime | None:
    """When so many units of what was used have left the period."""
    rows = connection.execute(
        text(
            "SELECT at, requests, devices FROM request_use WHERE user_id = :user AND variant = :variant AND at > :since"
            " UNION ALL SELECT at, units, units FROM others_use"
            " WHERE user_id = :user AND variant = :variant AND at > :since"
        ),
        _values(threshold, now),
    )
    uses = [Use(row.at, row.devices if threshold.per_device else row.requests) for row in rows]
    return turns(uses, threshold.period, lack)


_SETTLED = timedelta(minutes=2)


def roll_up(connection: Connection, now: datetime) -> int:
    """Add together what was sent in one minute; how many rows that made. No sum is ever less for it."""
    result = connection.execute(
        text(
            """
            WITH many AS (
                SELECT user_id, variant, permit_class, campaign, date_trunc('minute', at) AS minute FROM request_use
                WHERE at < :until AND at > :since GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1
            ), gone AS (
                DELETE FROM request_use u USING many m WHERE (u.user_id, u.variant, u.permit_class) =
                (m.user_id, m.variant, m.permit_class) AND u.campaign IS NOT DISTINCT FROM m.campaign
                AND u.at >= m.minute AND u.at < m.minute + interval '1 minute' RETURNING u.*, m.minute
            )
            INSERT INTO request_use (user_id, variant, permit_class, campaign, at, requests, devices)
            SELECT user_id, variant, permit_class, campaign, max(at), sum(requests), sum(devices) FROM gone
            GROUP BY user_id, variant, permit_class, campaign, minute
            """
        ),
        {"until": now - _SETTLED, "since": now - timedelta(days=1)},
    )
    return result.rowcount


KEPT = timedelta(days=396)
"""What was sent is kept for thirteen months, which a demand forecast looks back on; no threshold's period is as long."""
_GONE_AT_ONCE = 10_000


def forget(connection: Connection, now: datetime) -> int:
    """Delete what was sent before all that counts, oldest first, a bounded number at once; how many rows went."""
    values = {"before": now - KEPT, "most": _GONE_AT_ONCE}
    return sum(connection.execute(statement, values).rowcount for statement in _FORGET)


_FORGET = tuple(
    text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE at < :before ORDER BY at LIMIT :most))"
    )
    for table in ("request_use", "others_use")
)


def import_thresholds(connection: Connection, table: Sequence[Threshold], actor: str, now: datetime) -> list[str]:
    """Put a table in the place of all thresholds of the User IDs that it names; those User IDs."""
    users = sorted({threshold.user_id for threshold in table})
    connection.execute(text("DELETE FROM threshold WHERE user_id = ANY(:users)"), {"users": users})
    connection.execute(
        text(
            'INSERT INTO threshold (user_id, variant, period, "limit", reserve, others, per_device, warn)'
            " VALUES (:user_id, :variant, :period, :limit, :reserve, :others, :per_device, :warn)"
        ),
        [threshold.model_dump() for threshold in table],
    )
    said = [
        notes.Said(actor, "import thresholds", f"user/{user}", document={"thresholds": _told(table, user)})
        for user in users
    ]
    notes.add(connection, said, now)
    return users


def _told(table: Sequence[Threshold], user: str) -> list[dict[str, Any]]:
    return [threshold.model_dump(mode="json") for threshold in table if threshold.user_id == user]


@dataclass(frozen=True, slots=True)
class OthersRow:
    """What the supplier's other systems sent of a variant, up to a time (aware UTC) and since the figure before."""

    user_id: str
    variant: str
    at: datetime
    units: int


def feed_others(connection: Connection, rows: Sequence[OthersRow]) -> int:
    """Keep what others sent; the same time again replaces the figure. How many figures were kept."""
    connection.execute(
        text(
            "INSERT INTO others_use (user_id, variant, at, units) SELECT * FROM unnest(CAST(:users AS text[]),"
            " CAST(:variants AS text[]), CAST(:ats AS timestamptz[]), CAST(:units AS int[]))"
            " ON CONFLICT (user_id, variant, at) DO UPDATE SET units = EXCLUDED.units"
        ),
        {
            "users": [row.user_id for row in rows],
            "variants": [row.variant for row in rows],
            "ats": [row.at for row in rows],
            "units": [row.units for row in rows],
        },
    )
    return len(rows)


@dataclass(frozen=True, slots=True)
class Level:
    """How a threshold stands: what is used of it, and what forward requests may still use."""

    threshold: Threshold
    used: Used
    room: int

    @property
    def share(self) -> float:
        """The share of the limit that is used, by everybody."""
        return self.used.total / self.threshold.limit

    @property
    def warning(self) -> bool:
        """Whether that is more than the table calls safe."""
        return self.share >= self.threshold.warn


def levels(connection: Connection, now: datetime, user_id: str | None = None) -> list[Level]:
    """How every threshold (of a User ID) stands."""
    return [_level(connection, threshold, now) for threshold in thresholds(connection, user_id)]


def _level(connection: Connection, threshold: Threshold, now: datetime) -> Level:
    used = _used(connection, threshold, _rows(connection, threshold, now), now)
    return Level(threshold, used, room(threshold, used, PermitClass.FORWARD))
