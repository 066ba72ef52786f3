"""The fleet and what holds it back. Customers' identifiers stand in `device` alone, and never leave the database."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import key_column, time_column


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
    leaves_at: datetime | None = time_column(optional=True)
    """When it changes supplier, where that is known."""
    hub_firmware: str | None = None
    """The firmware version of its Communications Hub."""
    gbcs_version: str | None = None
    """The GBCS version that it speaks, as the DCC's inventory has it ("4.1")."""
    last_heard: datetime | None = time_column(optional=True)
    updated_at: datetime = time_column()

    __table_args__ = (
        Index("device_cohort", "device_type", "manufacturer", "model", "firmware_version"),
        Index("device_hub", "hub"),
        Index("device_home", sql("coalesce(home, hub)")),
    )


class Hold(SQLModel, table=True):
    """Nothing forward goes to what a hold names, until it expires or is lifted."""

    id: int | None = key_column()
    scope: str
    """device, model, region, hub or home."""
    value: str
    reason: str
    owner: str
    user_id: str | None = None
    """Of which User ID's campaigns; null: of all."""
    placed_at: datetime = time_column()
    expires_at: datetime | None = time_column(optional=True)
    lifted_at: datetime | None = time_column(optional=True)

    # A plan and a permit ask it of each device; a ticket or a call centre places thousands.
    __table_args__ = (Index("hold_of", "scope", "value", postgresql_where=sql("lifted_at IS NULL")),)
