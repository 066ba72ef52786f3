from pathlib import Path

import pytest

pytest_plugins = ["tests.support.postgres", "tests.support.ledger", "tests.support.engine"]

_HERE = Path(__file__).parent
MEASURED = tuple(_HERE / name for name in ("attack", "commands", "fuzz", "unit/duis", "unit/firmware", "unit/gbcs"))
"""The tests whose coverage counts: those of the packages that pyproject's `[tool.coverage.run]` names."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the others run without coverage's tracer: it makes all code slower by two thirds, counted or not."""
    for item in items:
        if not any(item.path.is_relative_to(folder) for folder in MEASURED):
            item.add_marker("no_cover")
