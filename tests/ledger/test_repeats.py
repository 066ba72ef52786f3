"""A request that is POSTed again, and what becomes of it where that comes to nothing."""

from datetime import timedelta

import pytest

from hanwave.ledger import outbox
from hanwave.rollout.events import Kind, Leg
from tests.ledger.test_permit_and_outbox import activate, hold_image, say

pytestmark = pytest.mark.ledger


@pytest.mark.parametrize("lost", ["its answer", "its sender"])
def test_a_repeat_that_found_no_way_out_ends_as_the_first_post_and_keeps_nobody_waiting(world, lost):
    """An outage of the DCC: the first POST is lost in it, the second finds no connection, and then the permit is too old."""
    (update_id,) = hold_image(world)
    first = activate(world, update_id).outbox_id or 0
    with world.engine.begin() as connection:
        outbox.make_ready(connection, first, b"<request/>")
        outbox.begin(connection, first, world.now)
        if lost == "its answer":
            outbox.no_answer(connection, first, world.now)
    world.later(minutes=2)
    with world.engine.begin() as connection:
        leave = outbox.begin(connection, first, world.now)
        assert isinstance(leave, outbox.Sending)
        outbox.never_left(connection, first, leave, world.now)
        assert outbox.undelivered(connection, "spring", 1, Leg.ACTIVATE, world.now + timedelta(minutes=2)) == [first]
    assert world.count("outbox", f"id = {first} AND state = 'ambiguous' AND sends = 1") == 1
    world.later(hours=2)
    say(world, update_id, Kind.OVERDUE, Leg.ACTIVATE)
    world.later(hours=2)
    say(world, update_id, Kind.VERSION, version="00000001")
    world.later(hours=2)
    assert activate(world, update_id).granted == (update_id,)
