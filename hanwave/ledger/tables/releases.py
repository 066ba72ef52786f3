"""Releases, their signed images, and the Central Products List as last imported."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import bytes_column, json_column, key_column, time_column


class Release(SQLModel, table=True):
    """A release: what the firmware package's Release holds, and where it stands in its life."""

    name: str = Field(primary_key=True)
    device_type: str
    manufacturer: str
    firmware_version: str
    image_hash: str
    stage: str
    document: dict[str, Any] = json_column()
    added_at: datetime = time_column()


class SignedImage(SQLModel, table=True):
    """A release's OTA image as one User ID sends it (unsigned for PPMIDs)."""

    __tablename__ = "signed_image"

    id: int | None = key_column()
    release: str = Field(foreign_key="release.name")
    user_id: str
    certificate: str | None = None
    image: bytes = bytes_column()
    added_at: datetime = time_column()

    __table_args__ = (UniqueConstraint("release", "user_id", "certificate", postgresql_nulls_not_distinct=True),)


class CplRow(SQLModel, table=True):
    """The Central Products List as last imported: one row a model and firmware version."""

    __tablename__ = "cpl_entry"

    id: int | None = key_column()
    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    image_hash: str
    status: str
    imported_at: datetime = time_column()

    __table_args__ = (UniqueConstraint("device_type", "manufacturer", "model", "hardware_version", "firmware_version"),)
