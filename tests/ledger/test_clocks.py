"""A clock that jumps by an hour, in either direction, sends nothing outside a window and vouches for nobody."""

from datetime import UTC, datetime, timedelta

import pytest

from activities import clocks
from activities.clocks import ClockError, Timed

pytestmark = pytest.mark.ledger
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_nothing_leaves_by_a_clock_that_jumped_until_it_jumps_back(ledger, monkeypatch, jump):
    monkeypatch.setattr(clocks, "EVERY", 0.0)
    off, delivered = timedelta(0), []
    timed = Timed(ledger, delivered.append, lambda: datetime.now(UTC) + off)
    assert timed(1) is None
    off = jump
    assert "is 3600 s off the ledger's" in timed(2) or "is 3599 s off" in timed(2)
    with pytest.raises(ClockError):
        clocks.check(ledger, lambda: datetime.now(UTC) + off)
    off = timedelta(0)
    assert timed(3) is None
    assert delivered == [1, 3]


def test_a_clock_is_not_asked_for_at_each_request(ledger):
    asked = []
    timed = Timed(ledger, lambda _: None, lambda: asked.append(1) or datetime.now(UTC))
    for outbox_id in range(5):
        timed(outbox_id)
    assert len(asked) == 2
