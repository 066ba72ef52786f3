"""What stops the forward requests, what people did and why, and the chain that proves it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import json_column, key_column, time_column


class Stop(SQLModel, table=True):
    """Something forward that must not leave. Lifting is recorded in the row, which is never deleted."""

    id: int | None = key_column()
    scope: str
    """all, user, model, campaign or wave ("name/3")."""
    value: str = ""
    leg: str | None = None
    """One leg alone (a pause of it), or every forward leg."""
    kind: str
    """halt, pause or breaker."""
    reason: str
    actor: str
    at: datetime = time_column()
    lifted_at: datetime | None = time_column(optional=True)
    lifted_by: str | None = None
    lift_reason: str | None = None

    __table_args__ = (
        CheckConstraint("scope in ('all', 'user', 'model', 'campaign', 'wave')"),
        Index("stop_open", "scope", "value", postgresql_where=Column("lifted_at").is_(None)),
    )


class Pace(SQLModel, table=True):
    """How fast somebody let a campaign go: the last one holds. Append-only."""

    id: int | None = key_column()
    campaign: str = Field(foreign_key="campaign.name", index=True)
    per_second: float
    at: datetime = time_column()


class Beat(SQLModel, table=True):
    """When a process that others rely on was last well."""

    name: str = Field(primary_key=True)
    at: datetime = time_column()


class Audit(SQLModel, table=True):
    """The hash chain over what must be provable: one chainer writes it, behind the writers. Append-only."""

    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    source: str
    row: int = Field(sa_column=Column(BigInteger, nullable=False))
    previous: str
    hash: str

    __table_args__ = (UniqueConstraint("source", "row"),)


class Note(SQLModel, table=True):
    """What people and the warden did, and why: verbs, approvals, verdicts, late evidence. Append-only."""

    id: int | None = key_column()
    at: datetime = time_column()
    actor: str
    verb: str
    subject: str
    """campaign/x, campaign/x/wave/1, device/EUI, ..."""
    reason: str = ""
    key: str | None = Field(default=None, unique=True)
    """The idempotency key of a verb that widens."""
    document: dict[str, Any] = json_column()
