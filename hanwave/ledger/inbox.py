"""The inbox: every message that arrives, stored raw before it is answered, once.

Guarantees: a message that was answered 204 is in the table; the same message again only counts a copy; what cannot be
verified is kept too, apart, and can be tried again. Readers pick what is not yet routed: they never tail by id.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Received:
    """A stored message that waits to be routed."""

    id: int
    raw: bytes
    digest: str
    received_at: datetime


def store(
    connection: Connection, key: str, raw: bytes, now: datetime, *, verified: bool, note: str | None = None
) -> bool:
    """Keep a message under its key; True where it is new, False where only a copy was counted."""
    digest = hashlib.sha256(raw).hexdigest()
    values = {"key": key, "digest": digest, "raw": raw, "verified": verified, "now": now, "note": note}
    return int(connection.execute(_STORE, values).scalar_one()) == 1


_STORE = text(
    "INSERT INTO inbox AS i (key, digest, raw, verified, received_at, copies, note)"
    " VALUES (:key, :digest, :raw, :verified, :now, 1, :note)"
    " ON CONFLICT (key) DO UPDATE SET copies = i.copies + 1 RETURNING copies"
)


def unrouted(connection: Connection, most: int) -> list[Received]:
    """Verified messages not yet routed, oldest first; those that another router has in hand are passed over."""
    rows = connection.execute(_UNROUTED, {"most": most})
    return [Received(row.id, row.raw, row.digest, row.received_at) for row in rows]


_UNROUTED = text(
    "SELECT id, raw, digest, received_at FROM inbox WHERE routed_at IS NULL AND verified"
    " ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED"
)


def routed(connection: Connection, messages: Sequence[tuple[int, str, str | None]], now: datetime) -> None:
    """Mark messages as dealt with: (id, route, note), a route being ours, late, foreign, unread or replayed."""
    connection.execute(
        text(
            "UPDATE inbox i SET routed_at = :now, route = f.route, note = coalesce(f.note, i.note)"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:routes AS text[]), CAST(:notes AS text[])) AS f(id, route, note)"
            " WHERE i.id = f.id"
        ),
        {
            "ids": [message_id for message_id, _, _ in messages],
            "routes": [route for _, route, _ in messages],
            "notes": [note for _, _, note in messages],
            "now": now,
        },
    )


def lag(connection: Connection, now: datetime) -> tuple[int, float]:
    """Messages waiting to be routed, and the age of the oldest in seconds."""
    row = connection.execute(
        text("SELECT count(*) AS n, min(received_at) AS oldest FROM inbox WHERE routed_at IS NULL AND verified")
    ).one()
    return row.n, (now - row.oldest).total_seconds() if row.oldest else 0.0
