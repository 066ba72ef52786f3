"""What network operators report of their supply: power that was off says why a device was silent, or what befell it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from hanwave.ledger.tables.columns import key_column, time_column


class Outage(SQLModel, table=True):
    """One report of a network operator."""

    id: int | None = key_column()
    scope: str
    """device (one supply), hub or region."""
    value: str
    starts_at: datetime = time_column()
    ends_at: datetime | None = time_column(optional=True)
    """Null while nobody knows."""
    reference: str
    imported_at: datetime = time_column()

    __table_args__ = (
        CheckConstraint("scope IN ('device', 'hub', 'region')"),
        # The same file again changes nothing; a report whose end is known now replaces the one that had none.
        UniqueConstraint("reference", "scope", "value"),
    )
