"""Who of the supplier's own systems is told of campaigns, in which order, and how far each has been told."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import time_column


def _number() -> Column[int]:
    return Column(BigInteger, nullable=False)


class Webhook(SQLModel, table=True):
    """A system that is told, by HTTPS. Its secret is in a file of its name, and never here."""

    name: str = Field(primary_key=True)
    url: str
    user_id: str | None = None
    """Whose campaigns it is told of; null: every User ID's."""
    looked: int = Field(sa_column=_number())
    """Up to which event it is known what it is to be told of; when it is added, the last that there is."""
    added_at: datetime = time_column()


class WebhookEvent(SQLModel, table=True):
    """A note that hooks are told of, with the place that its one numberer gave it. The note is not copied."""

    __tablename__ = "webhook_event"

    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    note: int = Field(sa_column=Column(BigInteger, ForeignKey("note.id"), nullable=False, unique=True))
    campaign: str
    """Empty where it is of more than one."""
    message: str
    """The id under which it is sent, however often, to every hook: no other event ever has it, in a restored ledger either."""

    __table_args__ = (Index("webhook_event_of", "campaign", "seq"),)


class WebhookCursor(SQLModel, table=True):
    """How far a hook was told of a campaign."""

    __tablename__ = "webhook_cursor"

    webhook: str = Field(sa_column=Column(ForeignKey("webhook.name", ondelete="CASCADE"), primary_key=True))
    campaign: str = Field(primary_key=True)
    seq: int = Field(sa_column=_number())
    """The last event that it took."""
    waiting: bool
    """Whether there may be another."""
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Of the next event, that failed."""
    failing_since: datetime | None = time_column(optional=True)
    due_at: datetime | None = time_column(optional=True)
    """When it is tried again."""
    gave_up_at: datetime | None = time_column(optional=True)
    """Nothing more is sent of that campaign until somebody asks for it."""
    error: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Why the last try failed."""

    __table_args__ = (Index("webhook_cursor_waiting", "webhook", postgresql_where=sql("waiting")),)
