"""A clock that jumps by an hour, in either direction, sends nothing outside a window, sweeps no wave and vouches for nobody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities import clocks
from activities.campaign import CampaignActivities
from activities.clocks import ClockError, LedgerTime, Timed, Timely

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


@pytest.mark.parametrize("seconds", [20, -20])
def test_a_few_seconds_are_more_than_a_halt_can_bear(ledger, seconds):
    with pytest.raises(ClockError):
        clocks.check(ledger, lambda: datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_clock_is_not_asked_for_at_each_request(ledger):
    asked = []
    timed = Timed(ledger, lambda _: None, lambda: asked.append(1) or datetime.now(UTC))
    for outbox_id in range(5):
        timed(outbox_id)
    assert len(asked) == 2


class Done(ActivityInboundInterceptor):
    """The activity itself."""

    def __init__(self) -> None:
        """There is no other behind it."""

    async def execute_activity(self, _: ExecuteActivityInput) -> Any:
        return "done"


async def act(ledger, name: str, off: timedelta) -> Any:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, activity_type=name)
    gate = Timely(ledger, lambda: datetime.now(UTC) + off).intercept_activity(Done())
    return await environment.run(gate.execute_activity, ExecuteActivityInput(None, [], None, {}))


async def test_no_wave_is_swept_or_judged_by_a_clock_that_is_wrong(ledger):
    """A day ahead, every soak would be over and every deadline passed."""
    assert await act(ledger, "sweep_wave", timedelta(0)) == "done"
    for off in (timedelta(days=1), -HOUR):
        with pytest.raises(ClockError, match="nothing is done by it until"):
            await act(ledger, "close_wave", off)


@pytest.mark.parametrize("name", sorted(clocks.BY_ANY_CLOCK))
async def test_no_clock_keeps_anybody_from_a_halt(ledger, name):
    assert getattr(CampaignActivities, name)
    assert await act(ledger, name, timedelta(days=1)) == "done"


def test_the_ledgers_time_is_counted_on_and_asked_for_again(ledger, monkeypatch):
    theirs, asked = datetime(2026, 3, 29, tzinfo=UTC), []
    monkeypatch.setattr(clocks.database, "time_of", lambda _: asked.append(1) or theirs)
    monkeypatch.setattr(clocks, "EVERY", HOUR.total_seconds())
    now = LedgerTime(ledger)
    first = now()
    assert theirs <= first <= now() < theirs + HOUR
    assert len(asked) == 1
    theirs -= HOUR
    monkeypatch.setattr(clocks, "EVERY", 0.0)
    assert now() < first
