"""Times as people and files write them."""

from datetime import UTC, datetime

FIRST, LAST = 2000, 2100
"""Years. PostgreSQL keeps times far outside these, which no program can read back: one would stop every permit."""


def read_time(text: str) -> datetime:
    """A time with its offset, in UTC; ValueError where it is none, or not within FIRST and LAST."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or not FIRST <= at.year <= LAST:
        raise ValueError(f"{text[:40]!r} should be a time with its offset, from {FIRST} to {LAST}")
    return at.astimezone(UTC)
