"""The ledger's claims, in the form in which the emulator's books can deny them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
from sqlalchemy import Connection, text

from infra.emulator.books import compare


def disagreements(connection: Connection, admin: str) -> list[str]:
    """What the ledger claims and the books of the emulator (its admin URL) deny, a sentence each."""
    with httpx.stream("GET", f"{admin}/books", timeout=60) as response:
        response.raise_for_status()
        books = [json.loads(line) for line in response.iter_lines() if line]
    return compare(books, [*devices(connection), *_requests(connection)])


# Of an update that has ended, what the device has said since counts: the fleet has its last word.
_DEVICES = text(
    """
    SELECT DISTINCT ON (u.eui) u.eui,
        CASE WHEN u.state IN ('settled', 'closed') AND (u.version IS NOT NULL OR d.last_heard > u.changed_at)
             THEN d.firmware_version ELSE u.version END AS version,
        (u.state IN ('unknown', 'activating', 'scheduled', 'quarantined')
            OR coalesce(u.outcome, '') IN ('quiet', 'unknown', 'not_delivered', 'customer_action', 'needs_visit'))
        AND NOT coalesce(d.last_heard > u.changed_at AND d.firmware_version = r.firmware_version, false) AS is_unknown,
        CASE WHEN v.at > greatest(s.requested, s.activated) AND u.version IS DISTINCT FROM r.firmware_version THEN v.image
             WHEN u.state = 'settled' AND s.images = 1 AND s.activated > coalesce(v.at, s.requested) THEN '' END AS held
    FROM campaign_device u JOIN campaign c ON c.name = u.campaign JOIN release r ON r.name = c.release
    JOIN device d ON d.eui = u.eui
    CROSS JOIN LATERAL (
        SELECT max(at) FILTER (WHERE kind = 'sent' AND leg = 'distribute') AS requested,
            count(DISTINCT attempt) FILTER (WHERE kind = 'sent' AND leg = 'distribute' AND hop = u.hop) AS images,
            max(at) FILTER (WHERE leg = 'activate') AS activated
        FROM device_event WHERE update_id = u.id) s
    LEFT JOIN LATERAL (
        SELECT at, upper(detail) AS image FROM device_event WHERE update_id = u.id AND kind = 'verified'
        ORDER BY at DESC LIMIT 1) v ON true
    WHERE s.requested IS NOT NULL OR u.version IS NOT NULL ORDER BY u.eui, u.id DESC
    """
)


def devices(connection: Connection) -> Iterator[dict[str, Any]]:
    """One claim a device: its latest update's. Of one that is quiet, or never answered, the ledger claims nothing.

    It holds the image that it verified last, until another is sent or it is told to activate. A settled device holds
    none, if it was sent one alone: a second may have come after it had ended.
    """
    for row in connection.execute(_DEVICES):
        yield {"eui": row.eui, "version": row.version, "held": row.held, "is_unknown": row.is_unknown}


def _requests(connection: Connection) -> Iterator[dict[str, Any]]:
    rows = connection.execute(text("SELECT request_id, service_reference, digest FROM outbox WHERE digest IS NOT NULL"))
    for row in rows:
        variant = {"11.3": 5, "11.2": 1}.get(row.service_reference, 8)
        yield {"request_id": row.request_id, "command_variant": variant, "digest": row.digest}
