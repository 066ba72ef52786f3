"""The control room's dashboards: what each panel asks Prometheus, as a table; `build` makes Grafana's JSON of it.

Guarantees: the JSON, the pictures and the test that runs every query all come from this table; every panel says in a
sentence what it shows and what to make of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """How a panel is drawn."""

    LINES = "lines"
    STACK = "stack"
    NUMBER = "number"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and how its series are called (Grafana's {{label}}). now: of this moment alone."""

    expr: str
    legend: str = ""
    now: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; the width is of Grafana's 24 columns."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    shape: Shape = Shape.LINES
    width: int = 12


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: its panels by row."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    by_campaign: bool = False

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in their order."""
        return tuple(panel for row in self.rows.values() for panel in row)
