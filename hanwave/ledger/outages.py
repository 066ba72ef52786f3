"""Outages of supply as network operators report them, imported by file, and what they say of the devices of a wave.

A device whose power was off whenever it was asked is held out of the gate's test of silence: that explains it, whatever
its image does. A report for one supply that began after that device's activation explains nothing: the update may be its
cause, so it is listed with the verdict instead. Guarantees: a file goes in whole or not at all; the same file again
changes nothing.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.duis.inventory import Region
from hanwave.identifiers import EUI64, IdentifierError
from hanwave.ledger.database import LedgerError
from hanwave.times import read_time

COLUMNS = ("scope", "value", "from", "to", "reference")
"""The columns of a file: scope is device, hub or region (or mpxn, of which we look up the devices); times have a zone;
to is empty while the end is not known."""
_SCOPES = ("device", "hub", "region", "mpxn")
_MOST = 1_000_000

SPOKEN = "(e.evidence IN ('device', 'read_back') OR e.kind IN ('activated', 'activation_failed'))"
"""SQL: the device itself said it (of a device_event e)."""
EXPOSED = "(e.kind = 'sent' AND e.leg = CASE c.device_type WHEN 'PPMID' THEN 'distribute' ELSE 'activate' END)"
"""SQL: from here on the image may have acted (of a device_event e of a campaign_device c)."""
_OF_DEVICE = "(o.scope, o.value) IN (('device', {d}.eui), ('hub', {d}.hub), ('region', {d}.region))"
LASTING = (
    f"SELECT 1 FROM outage o WHERE {_OF_DEVICE.format(d='d')} AND o.starts_at <= :now"
    " AND (o.ends_at IS NULL OR o.ends_at > :now)"
)
"""SQL: the outages of a device d that last now."""
EXPLAINED = f"""
    SELECT u.id FROM u
    JOIN device_event a ON a.update_id = u.id AND a.kind = 'sent' AND (u.heard IS NULL OR a.at > u.heard)
    LEFT JOIN LATERAL (
        SELECT true AS dark FROM outage o WHERE {_OF_DEVICE.format(d="u")}
        AND o.starts_at <= a.at AND (o.ends_at IS NULL OR a.at < o.ends_at)
        AND (o.scope <> 'device' OR o.starts_at < u.exposed)
        UNION ALL
        SELECT true FROM incident i WHERE (i.region IS NULL OR i.region = u.region) AND i.service IN
            ('all', CASE a.leg WHEN 'activate' THEN 'activation' WHEN 'distribute' THEN 'distribution' END) AND i.starts_at <= a.at AND (i.ends_at IS NULL OR a.at < i.ends_at) LIMIT 1
    ) o ON true
    WHERE u.state = ANY(:silent) GROUP BY u.id HAVING bool_and(o.dark IS NOT NULL)
"""
"""SQL: the updates u that were asked only while an outage lasted, since they were last heard (u.heard)."""


@dataclass(frozen=True, slots=True)
class Report:
    """One row of a file."""

    scope: str
    value: str
    start: datetime
    end: datetime | None
    reference: str


def read_outages(lines: Iterable[str], name: str) -> list[Report]:
    """The reports of a CSV file; LedgerError names the line and the field of the first that is wrong."""
    rows = csv.reader(lines, strict=True)
    try:
        header = tuple(next(rows, ()))
        if header != COLUMNS:
            raise LedgerError(
                f"{name}, line 1: the columns are {','.join(header)[:80]}: they should be {','.join(COLUMNS)}"
            )
        found: list[Report] = []
        for row in rows:
            if len(found) == _MOST:
                raise LedgerError(f"{name} has more than {_MOST} reports: split it")
            if row:
                found.append(_report(row, f"{name}, line {rows.line_num}"))
    except csv.Error as error:
        raise LedgerError(f"{name}, line {rows.line_num}: it is not CSV: {error}") from error
    return found


def _report(row: list[str], where: str) -> Report:
    if len(row) != len(COLUMNS):
        raise LedgerError(f"{where}: {len(row)} fields, it should be {len(COLUMNS)} ({','.join(COLUMNS)})")
    scope, value, start, end, reference = (field.strip() for field in row)
    if scope not in _SCOPES:
        raise LedgerError(f"{where}: scope is {scope[:40]!r}: it should be one of {', '.join(_SCOPES)}")
    if not value or not reference:
        raise LedgerError(
            f"{where}: {'value' if not value else 'reference'} is empty: it should name what was without power"
        )
    if not (value + reference).isprintable():
        raise LedgerError(f"{where}: value or reference holds control characters, it should be printable text")
    if scope == "region" and value not in set(Region):
        raise LedgerError(f"{where}: value is {value[:40]!r}: it should be one of {', '.join(Region)}")
    begin, over = _time(start, f"{where}: from"), _time(end, f"{where}: to") if end else None
    if over is not None and over <= begin:
        raise LedgerError(f"{where}: to is {end}: it should be after from, {start}")
    return Report(scope, _eui(value, where) if scope in ("device", "hub") else value, begin, over, reference)


def _eui(value: str, where: str) -> str:
    try:
        return str(EUI64.parse(value))
    except IdentifierError as error:
        raise LedgerError(f"{where}: value: {error}") from error


def _time(value: str, where: str) -> datetime:
    try:
        return read_time(value)
    except ValueError as error:
        raise LedgerError(
            f"{where} is {value[:40]!r}: it should be a time with its zone, from 2000 to 2100, such as 2026-11-22T18:00:00Z"
        ) from error


def import_outages(connection: Connection, reports: list[Report], now: datetime) -> int:
    """Keep the reports; how many rows are new or changed. An mpxn becomes its devices, and is not kept."""
    statement = text(
        """
        INSERT INTO outage AS old (scope, value, starts_at, ends_at, reference, imported_at)
        SELECT DISTINCT ON (f.reference, scope, value) CASE f.scope WHEN 'mpxn' THEN 'device' ELSE f.scope END AS scope,
            coalesce(d.eui, f.value) AS value, f.starts_at, f.ends_at, f.reference, :now
        FROM unnest(CAST(:scopes AS text[]), CAST(:names AS text[]), CAST(:starts AS timestamptz[]),
                    CAST(:ends AS timestamptz[]), CAST(:references AS text[])) AS f(scope, value, starts_at, ends_at, reference)
        LEFT JOIN device d ON f.scope = 'mpxn' AND d.mpxn = f.value
        WHERE f.scope <> 'mpxn' OR d.eui IS NOT NULL
        ON CONFLICT (reference, scope, value) DO UPDATE SET starts_at = EXCLUDED.starts_at, ends_at = EXCLUDED.ends_at,
            imported_at = EXCLUDED.imported_at
        WHERE (old.starts_at, old.ends_at) IS DISTINCT FROM (EXCLUDED.starts_at, EXCLUDED.ends_at)
        """
    )
    values = {
        "scopes": [r.scope for r in reports],
        "names": [r.value for r in reports],
        "starts": [r.start for r in reports],
        "ends": [r.end for r in reports],
        "references": [r.reference for r in reports],
        "now": now,
    }
    return connection.execute(statement, values).rowcount


_AFTER = text(
    f"""
    SELECT u.eui, o.scope, o.reference, o.starts_at, o.starts_at - min(e.at) AS after FROM campaign_device u
    JOIN device d ON d.eui = u.eui JOIN campaign_device c ON c.id = u.id
    JOIN device_event e ON e.update_id = u.id AND {EXPOSED}
    JOIN outage o ON {_OF_DEVICE.format(d="d")} AND o.starts_at <= :now
    WHERE u.campaign = :campaign AND u.wave = :wave
    GROUP BY u.eui, o.scope, o.reference, o.starts_at HAVING o.starts_at >= min(e.at)
    ORDER BY after, u.eui LIMIT :most
    """
)
LISTED = 1000
"""No more reports than this are kept with a verdict: those soonest after an activation."""


def after_activation(connection: Connection, campaign: str, wave: int, now: datetime) -> list[dict[str, Any]]:
    """The reports that began after the activation of a wave's device: which device, and how many seconds after."""
    rows = connection.execute(_AFTER, {"campaign": campaign, "wave": wave, "now": now, "most": LISTED})
    return [
        {"eui": r.eui, "scope": r.scope, "reference": r.reference, "from": r.starts_at.isoformat()}
        | {"after_seconds": r.after.total_seconds()}
        for r in rows
    ]
