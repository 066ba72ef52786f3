"""What rehearsals said of plans, before they ran."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from hanwave.ledger.tables.columns import json_column, time_column


class ForecastRow(SQLModel, table=True):
    """The last forecast of a plan, by the plan's digest: a campaign that freezes it is held against it."""

    __tablename__ = "forecast"

    digest: str = Field(primary_key=True)
    made_at: datetime = time_column()
    document: dict[str, Any] = json_column()
