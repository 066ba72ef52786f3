"""What the receive service does behind its door goes on, whatever has failed once."""

import asyncio
from unittest.mock import Mock

import pytest

from workers import loops
from workers.loops import Loops

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("failing", ["_route_some", "_forward_one"])
async def test_a_loop_goes_on_after_whatever_failed_once(monkeypatch, caplog, failing):
    """No memory, say, or no thread to be had: what is answered 204 meanwhile must not stay unread until a restart."""
    failures, running, again = [RuntimeError("can't start new thread")], asyncio.get_running_loop(), asyncio.Event()

    def fails_once(*_: object) -> list[None]:
        if failures:
            raise failures.pop()
        running.call_soon_threadsafe(again.set)
        return []

    monkeypatch.setattr(loops, "PAUSE_SECONDS", 0.01)
    for each in ("_route_some", "_forward_one"):
        monkeypatch.setattr(Loops, each, fails_once if each == failing else lambda *_: [])
    async with Loops(Mock(), Mock(), None, Mock()).running():
        await asyncio.wait_for(again.wait(), 30)
    assert "can't start new thread" in caplog.text
