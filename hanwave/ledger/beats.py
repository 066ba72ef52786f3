"""Heartbeats: nothing forward is permitted while nobody watches over the engine."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

WARDEN, WEBHOOKS = "warden", "webhooks"
PATIENCE = timedelta(minutes=2)
"""Four of the warden's rounds: one that is late is no reason to stop, one that is gone is."""


def beat(connection: Connection, name: str, now: datetime) -> None:
    """Record that a process is well."""
    connection.execute(
        text("INSERT INTO beat (name, at) VALUES (:name, :now) ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at"),
        {"name": name, "now": now},
    )


def last(connection: Connection, name: str) -> datetime | None:
    """When that process was last well; None where it never was."""
    found: datetime | None = connection.execute(_LAST, {"name": name}).scalar_one_or_none()
    return found


_LAST = text("SELECT at FROM beat WHERE name = :name")


def silent(connection: Connection, name: str, now: datetime) -> str | None:
    """A sentence where that process has not been well lately; else None."""
    at = last(connection, name)
    if at is None:
        return f"the {name} was never heard of: start it"
    if now - at > PATIENCE:
        return f"the {name} was last heard of at {at:%Y-%m-%d %H:%M:%S}Z: start it"
    return None
