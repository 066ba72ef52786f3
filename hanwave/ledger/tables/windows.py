"""What closes the permit for a time: the DCC's maintenance and incidents, and the calendars of load switches."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import json_column, key_column, time_column


class IncidentRow(SQLModel, table=True):
    """A time without a service of the DCC; it is ended, and never deleted."""

    __tablename__ = "incident"

    id: int | None = key_column()
    region: str | None = None
    """A CSP region; null: all of them."""
    service: str
    """all, distribution (11.1, 11.4) or activation (11.3)."""
    starts_at: datetime = time_column()
    ends_at: datetime | None = time_column(optional=True)
    """Null while nobody knows."""
    reference: str
    reason: str
    actor: str
    recorded_at: datetime = time_column()

    __table_args__ = (
        CheckConstraint("service IN ('all', 'distribution', 'activation')"),
        CheckConstraint("ends_at >= starts_at"),
    )


class LoadCalendar(SQLModel, table=True):
    """When the load of an HCALCS is on: a list of ranges of local time, such as "00:30-07:30"."""

    __tablename__ = "load_calendar"

    eui: str = Field(primary_key=True)
    hours: list[Any] = json_column()
    updated_at: datetime = time_column()
