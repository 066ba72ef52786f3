"""Campaigns with their frozen plans, waves and members, and what happened to each device."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import json_column, key_column, time_column


class Campaign(SQLModel, table=True):
    """A campaign and its frozen plan."""

    name: str = Field(primary_key=True)
    release: str = Field(foreign_key="release.name")
    user_id: str
    policy: dict[str, Any] = json_column()
    seed: str
    digest: str
    status: str
    """planned, running, withdrawn or closed."""
    author: str
    kind: str = "forward"
    """forward; or rollback or retry (of which campaign: of)."""
    of: str | None = None
    urgent: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """It takes over devices that are not yet activating in a slower campaign."""
    shadow: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Nothing forward is ever permitted."""
    route: str = Field(default="dcc", sa_column_kwargs={"server_default": "dcc"})
    """dcc; or bench/NAME, a bench's task queue."""
    request: dict[str, Any] = json_column()
    """What was asked for, as it was asked."""
    restored: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    """Of one that was rolled back: the campaigns that do it, and who none of them takes."""
    created_at: datetime = time_column()
    closed_at: datetime | None = time_column(optional=True)


class WaveRow(SQLModel, table=True):
    """One wave of a campaign, and how it closed."""

    __tablename__ = "wave"

    campaign: str = Field(primary_key=True, foreign_key="campaign.name")
    number: int = Field(primary_key=True)
    size: int
    opened_at: datetime | None = time_column(optional=True)
    closed_at: datetime | None = time_column(optional=True)
    verdict: str | None = None
    judged: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    passed_by: str | None = None
    """Who let the next wave begin although the gate did not pass."""


class LeftOut(SQLModel, table=True):
    """A device that the plan left out, with its one reason."""

    __tablename__ = "left_out"

    campaign: str = Field(primary_key=True, foreign_key="campaign.name")
    eui: str = Field(primary_key=True)
    reason: str


TO_START = "NOT started AND state NOT IN ('planned', 'settled', 'closed')"
"""Updates whose workflows are to be started."""
TO_TELL = "started AND NOT told AND state IN ('settled', 'closed')"
"""Updates whose workflows are to be told that they have ended."""
IN_FLIGHT = "state IN ('activating', 'scheduled', 'unknown', 'quarantined')"
"""Updates whose activation may be outstanding."""


class PathHop(SQLModel, table=True):
    """A hop of one of a campaign's paths of several. Path 1, the campaign's release alone, is not written down."""

    __tablename__ = "path_hop"

    campaign: str = Field(primary_key=True, foreign_key="campaign.name")
    path: int = Field(primary_key=True)
    hop: int = Field(primary_key=True)
    release: str = Field(foreign_key="release.name")


class CampaignDevice(SQLModel, table=True):
    """One device's update. Everything after path is the fold of its events, kept for the queries that pick and count."""

    __tablename__ = "campaign_device"

    id: int | None = key_column()
    campaign: str = Field(foreign_key="campaign.name")
    wave: int
    eui: str
    device_type: str
    model: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """As a stop names it, manufacturer/model: what the fleet had when the plan was frozen."""
    path: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    """Which of the campaign's paths it takes, frozen with the plan."""
    hop: int = 1
    """The hop in hand; the next one begins with its first grant."""
    state: str = "planned"
    step: str = "distribute"
    due_at: datetime | None = time_column(optional=True)
    """When the step falls due, or the wait ends; null: only evidence moves it."""
    reason: str = ""
    version: str | None = None
    outcome: str | None = None
    picked_at: datetime | None = time_column(optional=True)
    """When its wave last gave it its turn; its slot under the cap is reserved from then on."""
    started: bool = False
    """Whether its workflow was started."""
    told: bool = False
    """Whether its workflow was told that the update has ended."""
    from_version: str | None = None
    """What the fleet had it run when the plan was frozen."""
    heard_before: datetime | None = time_column(optional=True)
    """When it was last heard before its wave began."""
    changed_at: datetime = time_column()

    __table_args__ = (
        UniqueConstraint("campaign", "eui"),
        Index("campaign_device_state", "campaign", "wave", "state"),
        Index("campaign_device_due", "campaign", "wave", "step", "due_at"),
        Index("campaign_device_eui", "eui"),
        # What every sweep, or every second, is asked for, and what few rows ever are.
        Index("campaign_device_to_start", "campaign", "wave", "id", postgresql_where=sql(TO_START)),
        Index("campaign_device_to_tell", "campaign", "wave", "id", postgresql_where=sql(TO_TELL)),
        Index("campaign_device_in_flight", "id", postgresql_where=sql(IN_FLIGHT)),
    )


REACHED = "kind IN ('unreached', 'refused', 'scheduled', 'activated', 'activation_failed', 'version')"
"""What tells whether devices can be reached: by its index the pace looks at the last hours alone."""
UNREACHED = "kind IN ('unreached', 'refused')"
"""And what tells that one may not be: mostly there is none."""


class DeviceEvent(SQLModel, table=True):
    """Everything that was done to, or learnt of, a device in an update. Append-only."""

    __tablename__ = "device_event"

    id: int | None = key_column()
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    eui: str
    kind: str
    leg: str | None = None
    hop: int = 1
    attempt: int = 0
    at: datetime = time_column()
    recorded_at: datetime = time_column()
    evidence: str
    version: str | None = None
    detail: str | None = None
    reason: str | None = None
    message: str | None = None
    """SHA-256 of the message that says so, in the inbox or the outbox."""

    __table_args__ = (
        # The same fact twice is one fact: whoever records again, after a crash, changes nothing.
        UniqueConstraint(
            *("update_id", "kind", "leg", "hop", "attempt", "at", "evidence", "version", "detail"),
            name="device_event_fact",
            postgresql_nulls_not_distinct=True,
        ),
        Index("device_event_quarantined", "update_id", postgresql_where=sql("kind = 'quarantined'")),
        Index("device_event_reached", "recorded_at", postgresql_where=sql(REACHED)),
        Index("device_event_unreached", "recorded_at", postgresql_where=sql(UNREACHED)),
    )


class Lease(SQLModel, table=True):
    """A device's open update. The update's id is the fence: it only grows, and every later permit checks it here."""

    eui: str = Field(primary_key=True)
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    taken_at: datetime = time_column()


class HomeLease(SQLModel, table=True):
    """One image and one activation a home at a time."""

    __tablename__ = "home_lease"

    home: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = time_column()


class Tally(SQLModel, table=True):
    """Counts by model and state as append-only deltas; a roll-up adds them together, so that no row is hot."""

    id: int | None = key_column()
    campaign: str
    wave: int
    model: str = Field(default="", sa_column_kwargs={"server_default": ""})
    state: str
    delta: int

    __table_args__ = (Index("tally_wave", "campaign", "wave", "state"),)
