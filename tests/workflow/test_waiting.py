"""What a campaign waits for, and for how long: what `status` says of it."""

from datetime import UTC, datetime, timedelta

import pytest

from hanwave.ledger import overview
from hanwave.ledger.progress import TimeLeft, waits_for
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Kind
from tests.support.ledger import eui

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
NOBODY = "127.0.0.1:1"
"""Where no Temporal listens."""


async def test_the_time_left_is_said_only_once_enough_devices_have_ended(five, connect):
    ids = five.campaign([eui(n) for n in range(5)])
    async with connect(NOBODY) as client:
        campaign = client.campaign("spring")
        with five.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE wave SET opened_at = now()")
        assert (await campaign.status()).time_left is None
        _close(five, ids[:2], ago=60)
        _close(five, ids[2:3], ago=5)
        left = (await campaign.status()).time_left
        assert isinstance(left, TimeLeft)
        assert (left.open, left.ended) == (2, 3)
        assert 39 <= left.left.total_seconds() <= 60
        assert 5 <= left.quiet.total_seconds() <= 25
        assert [each.outcome async for each in campaign.outcomes()] == ["left"] * 3


async def test_the_time_left_is_no_less_than_the_silence_since_the_last_device_ended(five, connect):
    ids = five.campaign([eui(n) for n in range(5)])
    with five.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE wave SET opened_at = now()")
    _close(five, ids[:1], ago=160)
    _close(five, ids[1:4], ago=150)  # at their rate, the last one ends in 40 s
    async with connect(NOBODY) as client:
        left = (await client.campaign("spring").status()).time_left
    assert left.left == left.quiet >= timedelta(seconds=150)


def _close(five, ids, ago):
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with five.engine.begin() as connection:
        record(connection, [Fact(i, Event(Kind.CLOSED, at, detail="left", reason="sold")) for i in ids], at)


async def test_what_a_campaign_waits_for_follows_from_its_view():
    wave = overview.WaveView(1, 5, opened=True, verdict="pass", reason="", passed_by=None)
    view = overview.View("spring", "r2", "d", "running", "ann", 0, [], 1.0, [], None, [wave])
    assert waits_for(view) == "its end"
    assert waits_for(overview.View("spring", "r2", "d", "withdrawn", "ann", 0, [], 1.0, [], None, [wave])) == (
        "its devices in flight"
    )
