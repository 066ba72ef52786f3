"""The ledger's tables. What must never change is append-only by trigger and privilege (see migrations).

EUI-64s are text in DCC's form, times are timestamptz, hashes are upper-case hexadecimal. Customers' identifiers stand in
`device` alone, and never leave the database.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Identity, Index, LargeBinary, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


def _key() -> Any:
    return Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))


def _time(*, optional: bool = False) -> Any:
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=optional))


def _json() -> Any:
    return Field(sa_column=Column(JSONB, nullable=False))


def _bytes(*, optional: bool = False) -> Any:
    return Field(default=None, sa_column=Column(LargeBinary, nullable=optional))


class Device(SQLModel, table=True):
    """The fleet: one row a device, as the supplier's feed and the DCC's inventory last had it."""

    eui: str = Field(primary_key=True)
    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    smi_status: str
    hub: str
    region: str
    home: str | None = None
    """The supplier's key of the premises; without one the hub stands for the home."""
    mpxn: str | None = Field(default=None, index=True)
    payment_mode: str = "credit"
    protected_class: str | None = None
    """A code, never the reason."""
    import_supplier: str | None = None
    gas_supplier: str | None = None
    supplier_certificate: str | None = None
    """Serial of the supplier's certificate on the device."""
    last_heard: datetime | None = _time(optional=True)
    updated_at: datetime = _time()

    __table_args__ = (
        Index("device_cohort", "device_type", "manufacturer", "model", "firmware_version"),
        Index("device_hub", "hub"),
    )


class Hold(SQLModel, table=True):
    """Nothing forward goes to what a hold names, until it expires or is lifted."""

    id: int | None = _key()
    scope: str
    """device, model, region, hub or home."""
    value: str
    reason: str
    owner: str
    placed_at: datetime = _time()
    expires_at: datetime | None = _time(optional=True)
    lifted_at: datetime | None = _time(optional=True)


class Release(SQLModel, table=True):
    """A release: what the firmware package's Release holds, and where it stands in its life."""

    name: str = Field(primary_key=True)
    device_type: str
    manufacturer: str
    firmware_version: str
    image_hash: str
    stage: str
    document: dict[str, Any] = _json()
    added_at: datetime = _time()


class SignedImage(SQLModel, table=True):
    """A release's OTA image as one User ID sends it (unsigned for PPMIDs)."""

    __tablename__ = "signed_image"

    id: int | None = _key()
    release: str = Field(foreign_key="release.name")
    user_id: str
    certificate: str | None = None
    image: bytes = _bytes()
    added_at: datetime = _time()

    __table_args__ = (UniqueConstraint("release", "user_id", "certificate", postgresql_nulls_not_distinct=True),)


class CplRow(SQLModel, table=True):
    """The Central Products List as last imported: one row a model and firmware version."""

    __tablename__ = "cpl_entry"

    id: int | None = _key()
    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    image_hash: str
    status: str
    imported_at: datetime = _time()

    __table_args__ = (UniqueConstraint("device_type", "manufacturer", "model", "hardware_version", "firmware_version"),)


class Campaign(SQLModel, table=True):
    """A campaign and its frozen plan."""

    name: str = Field(primary_key=True)
    release: str = Field(foreign_key="release.name")
    user_id: str
    policy: dict[str, Any] = _json()
    seed: str
    digest: str
    status: str
    """planned, running, withdrawn or closed."""
    author: str
    kind: str = "forward"
    """forward, or rollback (of which campaign: of)."""
    of: str | None = None
    request: dict[str, Any] = _json()
    """What was asked for, as it was asked."""
    restored: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    """Of one that was rolled back: the campaigns that do it, and who none of them takes."""
    created_at: datetime = _time()
    closed_at: datetime | None = _time(optional=True)


class WaveRow(SQLModel, table=True):
    """One wave of a campaign, and how it closed."""

    __tablename__ = "wave"

    campaign: str = Field(primary_key=True, foreign_key="campaign.name")
    number: int = Field(primary_key=True)
    size: int
    opened_at: datetime | None = _time(optional=True)
    closed_at: datetime | None = _time(optional=True)
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


class CampaignDevice(SQLModel, table=True):
    """One device's update. Everything after eui is the fold of its events, kept for the queries that pick and count."""

    __tablename__ = "campaign_device"

    id: int | None = _key()
    campaign: str = Field(foreign_key="campaign.name")
    wave: int
    eui: str
    device_type: str
    hop: int = 1
    state: str = "planned"
    step: str = "distribute"
    due_at: datetime | None = _time(optional=True)
    """When the step falls due, or the wait ends; null: only evidence moves it."""
    reason: str = ""
    version: str | None = None
    outcome: str | None = None
    picked_at: datetime | None = _time(optional=True)
    """When its wave last gave it its turn; its slot under the cap is reserved from then on."""
    started: bool = False
    """Whether its workflow was started."""
    told: bool = False
    """Whether its workflow was told that the update has ended."""
    changed_at: datetime = _time()

    __table_args__ = (
        UniqueConstraint("campaign", "eui"),
        Index("campaign_device_state", "campaign", "wave", "state"),
        Index("campaign_device_due", "campaign", "wave", "step", "due_at"),
        Index("campaign_device_eui", "eui"),
    )


class DeviceEvent(SQLModel, table=True):
    """Everything that was done to, or learnt of, a device in an update. Append-only."""

    __tablename__ = "device_event"

    id: int | None = _key()
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    eui: str
    kind: str
    leg: str | None = None
    hop: int = 1
    attempt: int = 0
    at: datetime = _time()
    recorded_at: datetime = _time()
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
    )


class Lease(SQLModel, table=True):
    """A device's open update. The update's id is the fence: it only grows, and every later permit checks it here."""

    eui: str = Field(primary_key=True)
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    taken_at: datetime = _time()


class HomeLease(SQLModel, table=True):
    """One image and one activation a home at a time."""

    __tablename__ = "home_lease"

    home: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    update_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = _time()


class Stop(SQLModel, table=True):
    """Something forward that must not leave. Lifting is recorded in the row, which is never deleted."""

    id: int | None = _key()
    scope: str
    """all, user, model, campaign or wave ("name/3")."""
    value: str = ""
    leg: str | None = None
    """One leg alone (a pause of it), or every forward leg."""
    kind: str
    """halt, pause or breaker."""
    reason: str
    actor: str
    at: datetime = _time()
    lifted_at: datetime | None = _time(optional=True)
    lifted_by: str | None = None
    lift_reason: str | None = None

    __table_args__ = (
        CheckConstraint("scope in ('all', 'user', 'model', 'campaign', 'wave')"),
        Index("stop_open", "scope", "value", postgresql_where=Column("lifted_at").is_(None)),
    )


class Outbox(SQLModel, table=True):
    """One Service Request: what was permitted, the bytes that were sent, and what the DCC answered."""

    id: int | None = _key()
    request_id: str = Field(unique=True)
    service_reference: str
    permit_class: str
    """forward, withdraw or observe."""
    leg: str | None = None
    user_id: str
    campaign: str | None = None
    wave: int | None = None
    update_id: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True, index=True))
    parameters: dict[str, Any] = _json()
    state: str = Field(index=True)
    """granted -> ready -> sending -> acknowledged | refused; or ambiguous (no answer), or abandoned (never sent)."""
    digest: str | None = None
    granted_at: datetime = _time()
    sending_at: datetime | None = _time(optional=True)
    sends: int = 0
    answered_at: datetime | None = _time(optional=True)
    code: str | None = None


class OutboxBody(SQLModel, table=True):
    """The bytes of a request (before its first POST) and of its synchronous answer."""

    __tablename__ = "outbox_body"

    outbox_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    request: bytes = _bytes()
    answer: bytes | None = _bytes(optional=True)


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


class Inbox(SQLModel, table=True):
    """Every message that arrived, raw, stored before it was answered."""

    id: int | None = _key()
    key: str = Field(unique=True)
    """ResponseID, kind and code; else the digest of the body without signature and time."""
    digest: str
    raw: bytes = _bytes()
    verified: bool
    received_at: datetime = _time()
    copies: int = 1
    routed_at: datetime | None = _time(optional=True)
    route: str | None = None
    """ours, late, foreign or unread; replayed for a refused one that was verified later."""
    note: str | None = None
    forwarded_at: datetime | None = _time(optional=True)
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


class Beat(SQLModel, table=True):
    """When a process that others rely on was last well."""

    name: str = Field(primary_key=True)
    at: datetime = _time()


class Tally(SQLModel, table=True):
    """Counts by state as append-only deltas; a roll-up adds them together, so that no row is hot."""

    id: int | None = _key()
    campaign: str
    wave: int
    state: str
    delta: int

    __table_args__ = (Index("tally_wave", "campaign", "wave"),)


class Counter(SQLModel, table=True):
    """The last originator counter that was given out for a User ID."""

    user_id: str = Field(primary_key=True)
    last: int = Field(sa_column=Column(BigInteger, nullable=False))


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

    id: int | None = _key()
    at: datetime = _time()
    actor: str
    verb: str
    subject: str
    """campaign/x, campaign/x/wave/1, device/EUI, ..."""
    reason: str = ""
    key: str | None = Field(default=None, unique=True)
    """The idempotency key of a verb that widens."""
    document: dict[str, Any] = _json()


APPEND_ONLY = ("device_event", "audit", "note")
"""Tables whose rows are never changed or deleted, by trigger and privilege."""
