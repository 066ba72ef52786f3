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
    return compare(books, [*_devices(connection), *_requests(connection)])


_DEVICES = text(
    """
    SELECT DISTINCT ON (u.eui) u.eui, u.version,
        u.state IN ('unknown', 'activating', 'scheduled', 'quarantined')
        OR coalesce(u.outcome, '') IN ('quiet', 'unknown') AS is_unknown
    FROM campaign_device u WHERE u.version IS NOT NULL ORDER BY u.eui, u.id DESC
    """
)


def _devices(connection: Connection) -> Iterator[dict[str, Any]]:
    """One claim a device: its latest update's. A device that is quiet is one of which the ledger knows nothing more."""
    for row in connection.execute(_DEVICES):
        yield {"eui": row.eui, "version": row.version, "held": None, "is_unknown": row.is_unknown}


def _requests(connection: Connection) -> Iterator[dict[str, Any]]:
    rows = connection.execute(text("SELECT request_id, service_reference, digest FROM outbox WHERE sends > 0"))
    for row in rows:
        variant = {"11.3": 5, "11.2": 1}.get(row.service_reference, 8)
        yield {"request_id": row.request_id, "command_variant": variant, "digest": row.digest}
