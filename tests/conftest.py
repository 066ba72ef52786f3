from pathlib import Path

import pytest
from hypothesis import settings

# No test asserts on speed: the machine is shared, and an example that took 0.2 s takes 0.02 s when it is tried again.
settings.register_profile("hanwave", deadline=None)
settings.load_profile("hanwave")

pytest_plugins = ["tests.support.postgres", "tests.support.ledger", "tests.support.engine"]

_HERE = Path(__file__).parent
FAST = ("attack", "commands", "fuzz", "unit")
"""The folders that `make check` collects: what is marked unit or attack and lies elsewhere would never run."""
MEASURED = ("attack", "commands", "fuzz", "unit/duis", "unit/firmware", "unit/gbcs")
"""The tests whose coverage counts: those of the packages that pyproject's `[tool.coverage.run]` names."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the others run without coverage's tracer: it makes all code slower by two thirds, counted or not."""
    for item in items:
        if {"unit", "attack"} & {mark.name for mark in item.iter_markers()} and not _lies(item, FAST):
            raise pytest.UsageError(f"{item.nodeid} is marked for make check, which looks into tests/{FAST} alone")
        if not _lies(item, MEASURED):
            item.add_marker("no_cover")


def _lies(item: pytest.Item, folders: tuple[str, ...]) -> bool:
    return any(item.path.is_relative_to(_HERE / name) for name in folders)
