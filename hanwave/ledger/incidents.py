"""The DCC's maintenance and incidents, as people record them: where, which service, from when to when, by whose word.

Guarantees: a record is never deleted, only ended, and each leaves a note; one that is ended earlier than it was announced
(or called off before it began) has every device that waited for it looked at again by the next sweep.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from hanwave import words
from hanwave.duis.inventory import Region
from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.rollout.incidents import Incident, Service

KEPT = timedelta(days=400)
"""An incident that is over for longer stops no clock: no deadline is more than 365 days."""

KNOWN = f"""(
    SELECT CAST(json_agg(json_build_array(region, reference, service, starts_at, ends_at) ORDER BY id) AS text)
    FROM incident WHERE ends_at IS NULL OR ends_at > CAST(:now AS timestamptz) - interval '{KEPT.days} days'
)"""
"""The incidents that may count at :now, as `known` reads them: for statements that need them beside other rows."""


@dataclass(frozen=True, slots=True)
class Known:
    """Incidents, by the region that they are of (None: all)."""

    by_region: Mapping[str | None, tuple[Incident, ...]]

    def of(self, region: str) -> tuple[Incident, ...]:
        """Those that touch a region."""
        return self.by_region.get(None, ()) + self.by_region.get(region, ())


_NONE = Known({})


def known(document: str | None) -> Known:
    """What KNOWN gave."""
    if document is None:
        return _NONE
    found: dict[str | None, tuple[Incident, ...]] = {}
    for region, reference, service, start, end in json.loads(document):
        incident = Incident(reference, Service(service), _time(start), _time(end) if end else None)
        found[region] = (*found.get(region, ()), incident)
    return Known(found)


def _time(text_: str) -> datetime:
    return datetime.fromisoformat(text_).astimezone(UTC)


def read(connection: Connection, now: datetime) -> Known:
    """The incidents that may count at that time."""
    return known(connection.execute(text(f"SELECT {KNOWN}"), {"now": now}).scalar_one())


@dataclass(frozen=True, slots=True)
class NewIncident:
    """What is to be recorded; region None: every region, ends_at None: nobody knows."""

    service: str
    reference: str
    reason: str
    actor: str
    starts_at: datetime
    ends_at: datetime | None = None
    region: str | None = None


def add(connection: Connection, incident: NewIncident, now: datetime) -> int:
    """Record one (to the whole second, outwards) and return its id; LedgerError where a field is none."""
    start, end = _check(incident)
    statement = text(
        "INSERT INTO incident (region, service, starts_at, ends_at, reference, reason, actor, recorded_at)"
        " VALUES (:region, :service, :start, :end, :reference, :reason, :actor, :now) RETURNING id"
    )
    values = {
        "region": incident.region,
        "service": incident.service,
        "start": start,
        "end": end,
        "reference": words.line(incident.reference, notes.MOST_ACTOR),
        "reason": words.line(incident.reason, notes.MOST_REASON),
        "actor": words.line(incident.actor, notes.MOST_ACTOR),
        "now": now,
    }
    number = int(connection.execute(statement, values).scalar_one())
    document = {"region": incident.region, "service": incident.service, "reference": incident.reference.strip()}
    document |= {"from": start.isoformat(), "to": end.isoformat() if end else None}
    said = notes.Said(incident.actor, "add_incident", f"incident/{number}", incident.reason, document)
    notes.add(connection, said, now)
    return number


def _check(incident: NewIncident) -> tuple[datetime, datetime | None]:
    if incident.region is not None and incident.region not in set(Region):
        raise LedgerError(
            f"the incident's region holds {incident.region[:40]!r}, it should be one of {', '.join(Region)}"
        )
    if incident.service not in set(Service):
        raise LedgerError(
            f"the incident's service holds {incident.service[:40]!r}, it should be one of {', '.join(Service)}"
        )
    if not incident.reference.strip() or len(incident.reference) > 60:
        raise LedgerError("an incident needs the DCC's reference of it, of at most 60 characters")
    if not incident.reason.strip():
        raise LedgerError("an incident needs a reason")
    start = incident.starts_at.replace(microsecond=0)
    if incident.ends_at is None:
        return start, None
    end = _up(incident.ends_at)
    if end <= start:
        raise LedgerError(f"the incident would end at {end.isoformat()}, it should be later than its start")
    return start, end


def _up(time: datetime) -> datetime:
    return time.replace(microsecond=0) + timedelta(seconds=bool(time.microsecond))


def end(connection: Connection, number: int, at: datetime, said: tuple[str, str], now: datetime) -> datetime:
    """End one at that time (aware UTC), or at its start where that is later; when it ends. said: who, and why.

    LedgerError where it is not there, is over, or no reason is given.
    """
    actor, reason = said
    if not reason.strip():
        raise LedgerError("ending an incident needs a reason")
    row = connection.execute(
        text("SELECT region, starts_at, ends_at FROM incident WHERE id = :id FOR UPDATE"), {"id": number}
    ).one_or_none()
    if row is None or (row.ends_at is not None and row.ends_at <= now):
        raise LedgerError(f"there is no incident {number} that is not over: `hanwave incident list` shows those")
    ends: datetime = max(at.replace(microsecond=0), row.starts_at)
    connection.execute(text("UPDATE incident SET ends_at = :ends WHERE id = :id"), {"id": number, "ends": ends})
    connection.execute(_LOOK_AGAIN, {"region": row.region, "now": now})
    document = {"to": ends.isoformat()}
    notes.add(connection, notes.Said(actor, "end_incident", f"incident/{number}", reason, document), now)
    return ends


# What waited for its end, or had its clock stopped until then, may be due by now.
_LOOK_AGAIN = text(
    """
    UPDATE campaign_device SET due_at = :now WHERE id IN (
        SELECT u.id FROM campaign_device u LEFT JOIN device d ON d.eui = u.eui
        WHERE u.due_at > :now AND (CAST(:region AS text) IS NULL OR d.region = :region)
        AND u.state NOT IN ('settled', 'closed') ORDER BY u.id FOR UPDATE OF u)
    """
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A record as it stands."""

    id: int
    region: str | None
    service: str
    starts_at: datetime
    ends_at: datetime | None
    reference: str
    reason: str
    actor: str


def listed(connection: Connection, now: datetime, *, ended: bool = False) -> list[Listed]:
    """The incidents that last or are to come, the earliest first; with ended, those that are over too."""
    rows = connection.execute(
        text(
            "SELECT id, region, service, starts_at, ends_at, reference, reason, actor FROM incident"
            " WHERE :ended OR ends_at IS NULL OR ends_at > :now ORDER BY starts_at, id"
        ),
        {"now": now, "ended": ended},
    )
    return [Listed(*row) for row in rows]
