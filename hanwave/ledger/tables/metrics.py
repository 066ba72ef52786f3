"""What the control room counts: totals along the audit chain, and how often the permit said *not now*."""

from sqlalchemy import ARRAY, Column, Float, Index, String
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import key_column


class Metric(SQLModel, table=True):
    """One total; hanwave.ledger.metrics says what of the chain it counts, and its one writer writes it."""

    name: str = Field(primary_key=True)
    labels: list[str] = Field(sa_column=Column(ARRAY(String), primary_key=True))
    value: float = Field(sa_column=Column(Float, nullable=False))
    """Exact for whole numbers up to 2^53."""


class RefusalCount(SQLModel, table=True):
    """Devices that a permit refused, by the check that did, as append-only deltas."""

    __tablename__ = "refusal_count"

    id: int | None = key_column()
    campaign: str
    leg: str
    check: str
    """The check's name; or stopped, or warden."""
    delta: int

    __table_args__ = (Index("refusal_count_of", "campaign", "leg", "check"),)
