"""How devices behaved in campaigns that ran: a profile for rehearsals, learnt from the events that the ledger keeps."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger.database import LedgerError
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.rehearsal.behaviour import Behaviour, Delay

ENOUGH = 50
"""Devices whose updates have ended, below which shares and times would be chance."""

# One row an update: what its requests were answered with. Waits are those of the first request of each leg.
_LEARNT = text(
    """
    WITH u AS (
        SELECT id, outcome, state FROM campaign_device WHERE device_type = :kind AND state IN ('settled', 'closed')
            AND campaign IN (SELECT name FROM campaign WHERE user_id = :user_id)
    ),
    sent AS (
        SELECT e.update_id, e.leg, e.attempt, min(e.at) AS at FROM device_event e JOIN u ON u.id = e.update_id
        WHERE e.kind = 'sent' AND e.hop = 1 GROUP BY 1, 2, 3
    ),
    said AS (
        SELECT e.update_id, e.kind, e.leg, e.attempt, min(e.at) AS at FROM device_event e JOIN u ON u.id = e.update_id
        WHERE e.hop = 1 GROUP BY 1, 2, 3, 4
    ),
    waits AS (
        SELECT s.leg || '/' || said.kind AS what, extract(epoch FROM said.at - s.at) AS seconds
        FROM sent s JOIN said ON said.update_id = s.update_id AND said.leg = s.leg AND said.attempt IN (s.attempt, 0)
        WHERE said.at > s.at AND s.attempt = 1
        UNION ALL
        SELECT 'hub/' || v.kind, extract(epoch FROM v.at - d.at) FROM said d JOIN said v ON v.update_id = d.update_id
        WHERE d.kind = 'delivered' AND v.kind IN ('verified', 'transferred') AND v.at > d.at
        UNION ALL
        SELECT 'hub/activated', extract(epoch FROM a.at - t.at) FROM said t JOIN said a ON a.update_id = t.update_id
        WHERE t.kind = 'transferred' AND a.kind = 'activated' AND a.at > t.at
    )
    SELECT what, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS half,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS most
    FROM waits GROUP BY what
    """
)

_SHARES = text(
    """
    WITH u AS (
        SELECT id, coalesce(outcome, state) AS ended FROM campaign_device
        WHERE device_type = :kind AND state IN ('settled', 'closed')
            AND campaign IN (SELECT name FROM campaign WHERE user_id = :user_id)
            AND coalesce(outcome, '') NOT IN ('not_started', 'superseded', 'cancelled', 'left', 'rejected')
    ),
    e AS (
        SELECT u.id, bool_or(kind = 'sent') AS sent,
            count(*) FILTER (WHERE kind = 'sent' AND leg = 'distribute') AS images,
            count(*) FILTER (WHERE kind = 'delivery_failed') AS undelivered,
            bool_or(kind IN ('verified', 'transferred')) AS held, bool_or(kind = 'verification_failed') AS unverified,
            bool_or(kind = 'sent' AND leg = 'activate') AS asked, bool_or(kind = 'activated') AS activated,
            bool_or(kind = 'activation_failed') AS unactivated,
            count(*) FILTER (WHERE kind = 'sent' AND leg = 'read') AS questions,
            count(*) FILTER (WHERE kind = 'overdue' AND leg = 'read') AS unanswered,
            bool_or(evidence IN ('device', 'read_back')) AS heard
        FROM u JOIN device_event d ON d.update_id = u.id GROUP BY u.id
    )
    SELECT count(*) FILTER (WHERE sent) AS devices, sum(images) AS images, sum(undelivered) AS undelivered,
        count(*) FILTER (WHERE held OR unverified) AS judged, count(*) FILTER (WHERE unverified) AS unverified,
        count(*) FILTER (WHERE activated OR unactivated) AS told, count(*) FILTER (WHERE unactivated) AS unactivated,
        count(*) FILTER (WHERE u.ended = 'settled') AS settled,
        count(*) FILTER (WHERE u.ended = 'settled' AND NOT activated) AS unheard,
        sum(questions) AS questions, sum(unanswered) AS unanswered, count(*) FILTER (WHERE sent AND NOT heard) AS absent,
        count(*) FILTER (WHERE u.ended = 'quiet') AS quiet
    FROM e JOIN u USING (id)
    """
)


def learn(connection: Connection, kind: DeviceType, user_id: str) -> Behaviour:
    """The behaviour of devices of that type in a User ID's campaigns so far; LedgerError where too few have ended."""
    values = {"kind": kind, "user_id": user_id}
    found = connection.execute(_SHARES, values).one()
    if found.devices < ENOUGH:
        raise LedgerError(
            f"{found.devices} {kind} updates have ended: behaviour is learnt from {ENOUGH} at least, so give a profile"
        )
    waits = {row.what: row for row in connection.execute(_LEARNT, values)}
    arrival = waits.get("hub/transferred" if kind.one_step else "hub/verified")
    activation = waits.get("hub/activated" if kind.one_step else "activate/activated")
    return Behaviour(
        source=f"learnt from {found.devices} updates",
        absent=_share(found.absent, found.devices),
        delivered=_delay(waits.get("distribute/delivered"), kind, "deliveries"),
        not_delivered=_share(found.undelivered, found.images),
        verified=_delay(arrival, kind, "images that arrived"),
        not_verified=_share(found.unverified, found.judged),
        activated=_delay(activation, kind, "activations"),
        not_activated=_share(found.unactivated, found.told),
        unheard=_share(found.unheard, found.settled),
        answers=_delay(waits.get("read/version"), kind, "answers to an 11.2"),
        unanswered=_share(found.unanswered, found.questions),
        falls_silent=_share(found.quiet, found.quiet + found.settled),
    )


def _share(some: int | None, of: int | None) -> float:
    return min(1.0, float(some or 0) / float(of)) if of else 0.0


def _delay(row: Any, kind: DeviceType, what: str) -> Delay:
    if row is None:
        raise LedgerError(f"the campaigns so far have no {what} of a {kind} to learn from: give a profile")
    half, most = (timedelta(seconds=max(0.001, float(seconds))) for seconds in (row.half, row.most))
    return Delay(half=half, most=max(half, most))
