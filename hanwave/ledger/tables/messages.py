"""What was sent and what arrived, to the byte, and the counter that numbers what is sent."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import bytes_column, json_column, key_column, time_column


class Outbox(SQLModel, table=True):
    """One Service Request: what was permitted, the bytes that were sent, and what the DCC answered."""

    id: int | None = key_column()
    request_id: str = Field(unique=True)
    service_reference: str
    permit_class: str
    """forward, withdraw or observe."""
    leg: str | None = None
    user_id: str
    campaign: str | None = None
    wave: int | None = None
    update_id: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True, index=True))
    parameters: dict[str, Any] = json_column()
    state: str = Field(index=True)
    """granted -> ready -> sending -> acknowledged | refused; or ambiguous (no answer), or abandoned (never sent)."""
    digest: str | None = None
    granted_at: datetime = time_column()
    sending_at: datetime | None = time_column(optional=True)
    sends: int = 0
    answered_at: datetime | None = time_column(optional=True)
    code: str | None = None

    __table_args__ = (
        Index(
            "outbox_unsent",
            *("user_id", "service_reference"),
            postgresql_where=sql("state IN ('granted', 'ready') AND sends = 0"),
        ),
    )


class OutboxBody(SQLModel, table=True):
    """The bytes of a request (before its first POST) and of its synchronous answer."""

    __tablename__ = "outbox_body"

    outbox_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    request: bytes = bytes_column()
    answer: bytes | None = bytes_column(optional=True)


class OutboxDevice(SQLModel, table=True):
    """The devices of a request: exactly the granted set. Unique by step, so no step is granted twice."""

    __tablename__ = "outbox_device"

    outbox_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    update_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    eui: str
    hop: int
    leg: str
    attempt: int

    __table_args__ = (UniqueConstraint("update_id", "hop", "leg", "attempt"),)


class Counter(SQLModel, table=True):
    """The last originator counter that was given out for a User ID."""

    user_id: str = Field(primary_key=True)
    last: int = Field(sa_column=Column(BigInteger, nullable=False))


class Inbox(SQLModel, table=True):
    """Every message that arrived, raw, stored before it was answered."""

    id: int | None = key_column()
    key: str = Field(unique=True)
    """ResponseID, kind and code; else the digest of the body without signature and time."""
    digest: str
    raw: bytes = bytes_column()
    verified: bool
    received_at: datetime = time_column()
    copies: int = 1
    routed_at: datetime | None = time_column(optional=True)
    route: str | None = None
    """ours, late, foreign or unread; replayed for a refused one that was verified later."""
    note: str | None = None
    forwarded_at: datetime | None = time_column(optional=True)
    """When one of the supplier's other systems took it: foreign and unread messages are theirs to judge."""
    forward_tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})

    __table_args__ = (
        Index("inbox_unrouted", "id", postgresql_where=Column("routed_at").is_(None)),
        Index(
            "inbox_to_forward",
            *("forward_tries", "id"),
            postgresql_where=sql("forwarded_at IS NULL AND verified AND route IN ('foreign', 'unread')"),
        ),
    )
