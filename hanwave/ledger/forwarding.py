"""Handing on what is not ours: the messages of the supplier's other systems on the same User ID.

Guarantees: each is handed on at least once, and one that is never taken holds up no other; who hands one on holds its
row, so that two processes do not both. Nothing here waits for anybody: how to hand on is the caller's.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, text

_WAITING = "forwarded_at IS NULL AND verified AND route IN ('foreign', 'unread')"


def forward_one(connection: Connection, hand_on: Callable[[bytes], bool], now: datetime) -> bool | None:
    """Hand on the message that was tried least, then the oldest; whether it was taken, or None where none waits."""
    row = connection.execute(
        text(f"SELECT id, raw FROM inbox WHERE {_WAITING} ORDER BY forward_tries, id LIMIT 1 FOR UPDATE SKIP LOCKED")
    ).one_or_none()
    if row is None:
        return None
    taken = hand_on(row.raw)
    connection.execute(
        text("UPDATE inbox SET forward_tries = forward_tries + 1, forwarded_at = :at WHERE id = :id"),
        {"id": row.id, "at": now if taken else None},
    )
    return taken


def waiting(connection: Connection) -> int:
    """Messages that no other system has taken yet."""
    return int(connection.execute(text(f"SELECT count(*) FROM inbox WHERE {_WAITING}")).scalar_one())
