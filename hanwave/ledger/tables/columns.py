"""The columns that every table has some of: surrogate keys, aware times, JSON and bytes."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field


def key_column() -> Any:
    """A surrogate key, given by the database alone."""
    return Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))


def time_column(*, optional: bool = False) -> Any:
    """An aware time."""
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=optional))


def json_column() -> Any:
    """A document, never null."""
    return Field(sa_column=Column(JSONB, nullable=False))


def bytes_column(*, optional: bool = False) -> Any:
    """Bytes as they are."""
    return Field(default=None, sa_column=Column(LargeBinary, nullable=optional))
