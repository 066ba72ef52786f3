"""Which updates a message may be about: by the request that it answers, or by the device's open update."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns
from hanwave.rollout.events import Leg


class Member(NamedTuple):
    """An update that a finding may be about."""

    update_id: int
    eui: str
    hop: int
    user_id: str
    version: str
    """The version that its hop in hand wants."""
    open: bool
    leg: Leg | None = None
    """The leg and attempt of the request that was answered, and when it was granted."""
    attempt: int = 0
    granted_at: datetime | None = None


class Try(NamedTuple):
    """A step that was granted."""

    hop: int
    leg: Leg
    attempt: int
    granted_at: datetime
    at: datetime | None = None
    """When a future-dated activation falls due."""


_ASKED = text(
    """
    SELECT o.request_id, m.update_id, m.eui, m.hop, m.leg, m.attempt, o.user_id, o.granted_at, l.update_id IS NOT NULL AS open
    FROM unnest(CAST(:requests AS text[]), CAST(:euis AS text[])) AS f(request_id, eui)
    JOIN outbox o ON o.request_id = f.request_id
    -- One device of a batch is found by its update: a batch has thousands, and each of them sends alerts that name it.
    JOIN LATERAL (
        SELECT * FROM outbox_device d WHERE d.outbox_id = o.id AND f.eui IS NULL
        UNION ALL
        SELECT d.* FROM campaign_device u JOIN outbox_device d ON d.outbox_id = o.id AND d.update_id = u.id
        WHERE u.campaign = o.campaign AND u.eui = f.eui
    ) m ON true
    LEFT JOIN lease l ON l.eui = m.eui AND l.update_id = m.update_id
    """
)


def asked(connection: Connection, named: set[tuple[str, str | None]]) -> dict[str, list[Member]]:
    """The devices of those requests of ours: the one that is named with each, or (None) all of it.

    open: the update still has its device's lease.
    """
    whole = {request for request, eui in named if eui is None}
    wanted = sorted((request, eui or "") for request, eui in named if eui is None or request not in whole)
    values = {"requests": [request for request, _ in wanted], "euis": [eui or None for _, eui in wanted]}
    found: dict[str, list[Member]] = {}
    for r in connection.execute(_ASKED, values):
        member = Member(r.update_id, r.eui, r.hop, r.user_id, "", r.open, Leg(r.leg), r.attempt, r.granted_at)
        found.setdefault(r.request_id, []).append(member)
    return found


def open_updates(connection: Connection, euis: set[str]) -> dict[str, Member]:
    """The open update of each of those devices, by its lease."""
    rows = connection.execute(
        text(
            "SELECT l.update_id, l.eui, u.campaign, u.path, u.hop, c.user_id FROM lease l"
            " JOIN campaign_device u ON u.id = l.update_id JOIN campaign c ON c.name = u.campaign WHERE l.eui = ANY(:euis)"
        ),
        {"euis": sorted(euis)},
    )
    found = {}
    for r in rows.all():
        version = campaigns.frame(connection, r.campaign).paths[r.path - 1][r.hop - 1].version
        found[r.eui] = Member(r.update_id, r.eui, r.hop, r.user_id, version, open=True)
    return found


def tries(connection: Connection, update_ids: set[int]) -> dict[int, list[Try]]:
    """Every step that was granted of those updates."""
    rows = connection.execute(
        text(
            "SELECT m.update_id, m.hop, m.leg, m.attempt, o.granted_at, CAST(o.parameters ->> 'at' AS timestamptz) AS at"
            " FROM outbox_device m JOIN outbox o ON o.id = m.outbox_id WHERE m.update_id = ANY(:ids)"
        ),
        {"ids": sorted(update_ids)},
    )
    found: dict[int, list[Try]] = {}
    for row in rows:
        found.setdefault(row.update_id, []).append(Try(row.hop, Leg(row.leg), row.attempt, row.granted_at, row.at))
    return found
