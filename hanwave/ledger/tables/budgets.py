"""The supplier's anomaly-detection thresholds, and what was sent under its User IDs, as append-only deltas."""

from datetime import datetime, timedelta

from sqlalchemy import Column, DateTime, Index, Interval
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import key_column, time_column


class ThresholdRow(SQLModel, table=True):
    """One threshold, as it was last imported (rollout's Threshold says what each field is)."""

    __tablename__ = "threshold"

    user_id: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    period: timedelta = Field(sa_column=Column(Interval, primary_key=True))
    limit: int
    reserve: int
    others: int
    per_device: bool
    warn: float


class RequestUse(SQLModel, table=True):
    """A POST of a request, or several that were rolled up; negative where one was taken back: nothing had left."""

    __tablename__ = "request_use"

    id: int | None = key_column()
    user_id: str
    variant: str
    permit_class: str
    campaign: str | None = None
    at: datetime = time_column()
    """When it was sent; of several the latest, so that none leaves a period early."""
    requests: int
    devices: int

    __table_args__ = (
        Index("request_use_period", "user_id", "variant", "at"),
        Index("request_use_at", "at"),
    )


class OthersUse(SQLModel, table=True):
    """What the supplier's other systems sent under a User ID, as they told it. The same time again replaces the figure."""

    __tablename__ = "others_use"

    user_id: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    units: int
