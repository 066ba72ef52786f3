"""Requests that the DCC holds in quarantine, above an anomaly-detection threshold, until somebody releases or deletes them.

Guarantee: hanwave never infers which it was from silence. A person records it here, or the device's own evidence for that
very request shows that it was released; until then its devices stay locked, and stand on every halt's list.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.facts import OUT_OF_QUARANTINE

_OUT = ", ".join(f"'{kind}'" for kind in sorted(OUT_OF_QUARANTINE))
HELD = (
    "SELECT e.update_id, e.hop, e.leg, e.attempt, e.at FROM device_event e"
    " WHERE e.kind = 'quarantined' AND NOT EXISTS (SELECT 1 FROM device_event r WHERE r.update_id = e.update_id"
    f" AND (r.hop, r.leg, r.attempt) = (e.hop, e.leg, e.attempt) AND r.kind IN ({_OUT}))"
)
"""Every step whose request is held, as far as anybody knows."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A request that is held: since when, and how many devices it is for."""

    request_id: str
    service_reference: str
    campaign: str
    wave: int
    leg: Leg
    since: datetime
    devices: int


_LISTED = f"""
    SELECT o.request_id, o.service_reference, o.campaign, o.wave, o.leg, min(q.at) AS since, count(*) AS devices
    FROM ({HELD}) q JOIN outbox_device m USING (update_id, hop, leg, attempt) JOIN outbox o ON o.id = m.outbox_id
    WHERE CAST(:user AS text) IS NULL OR o.user_id = :user GROUP BY o.id ORDER BY since, o.id
"""


def listed(connection: Connection, user_id: str | None = None) -> list[Quarantined]:
    """The requests in quarantine (of that User ID, where one is given), the oldest first."""
    return [
        Quarantined(r.request_id, r.service_reference, r.campaign, r.wave, Leg(r.leg), r.since, r.devices)
        for r in connection.execute(text(_LISTED), {"user": user_id})
    ]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a person says became of a request: released or deleted, why, what shows it, and who says so."""

    released: bool
    reason: str
    evidence: str
    """The DCC's reference of the release or the deletion, or where it was read."""
    actor: str


def resolve(
    connection: Connection, request_id: str, said: Resolution, now: datetime, user_id: str | None = None
) -> int:
    """Record that a request was released (its deadline counts anew from now), or deleted; how many devices it is for.

    LedgerError where it is not in quarantine (or another's than that User ID's), or no reason or evidence is given. Nothing is asked of the DCC: a person
    did that there.
    """
    if not (said.reason.strip() and said.evidence.strip()):
        raise LedgerError(
            "to say what became of a quarantined request needs a reason, and the evidence: the DCC's reference"
        )
    rows = connection.execute(
        text(
            f"SELECT q.update_id, q.hop, q.leg, q.attempt FROM ({HELD}) q"
            " JOIN outbox_device m USING (update_id, hop, leg, attempt)"
            " JOIN outbox o ON o.id = m.outbox_id WHERE o.request_id = :request"
            " AND (CAST(:user AS text) IS NULL OR o.user_id = :user) ORDER BY q.update_id"
        ),
        {"request": request_id, "user": user_id},
    ).all()
    if not rows:
        raise LedgerError(
            f"request {request_id[:80]} is not in quarantine, by all that is known: `hanwave quarantine list` shows those that are"
        )
    kind = Kind.RELEASED if said.released else Kind.DELETED
    detail = None if said.released else "deleted in quarantine"
    facts = [Fact(r.update_id, Event(kind, now, Leg(r.leg), r.hop, r.attempt, detail=detail)) for r in rows]
    record(connection, facts, now)
    document = {"evidence": said.evidence, "devices": len(rows)}
    notes.add(connection, notes.Said(said.actor, str(kind), f"request/{request_id}", said.reason, document), now)
    return len(rows)
