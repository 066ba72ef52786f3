"""A device's story on a usual screen of 80 columns: nothing that a person reads first is cut or broken."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from hanwave.cli.device import _short
from hanwave.ledger.story import StoryEvent, StoryUpdate

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 23, 11, 54, 7, tzinfo=UTC)
HASH = "A46AF3DE662CAA0CC8DA46699DC808D6B3EF2889C48F27DBE03DA43A8DA8364C"


def event(kind: str, leg: str | None, evidence: str, detail: str | None = None) -> StoryEvent:
    return StoryEvent(AT, AT, kind, leg, 2, 3, evidence, None, detail, None, "a:b:1", None)


def drawn(path: list[str]) -> str:
    events = [
        event("verified", "distribute", "device", HASH),
        event("verification_failed", "distribute", "read_back"),
        event("settled", None, "ours"),
    ]
    update = StoryUpdate("spring", 1, "r2", "00000002", "settled", None, "", "nothing", None, path=path, events=events)
    screen = StringIO()
    Console(file=screen, width=80).print(_short(update))
    return screen.getvalue()


def test_a_story_fits_on_eighty_columns():
    lines = drawn([]).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("2026-11-23 11:54:07  ") for line in lines) == 3
    assert "verification_failed  distribute 3" in drawn([])
    assert "…" not in drawn([])
    assert "".join(line[-13:].strip() for line in lines).count("A46AF3") == 1


def test_a_path_of_several_releases_names_its_hop():
    assert "hop 2" in drawn(["r1", "r2"])
    assert "hop" not in drawn([])
