"""A request that is POSTed again, and what becomes of it where that comes to nothing."""

from datetime import timedelta

import pytest

from hanwave.ledger import outbox, permit, waves
from hanwave.rollout.events import Kind, Leg
from tests.ledger.test_permit_and_outbox import activate, hold_image, say, send
from tests.support.ledger import VERSION, World

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


def to_read(world: World) -> list[int]:
    with world.engine.begin() as connection:
        return waves.sweep(connection, "spring", 1, world.now, timedelta(seconds=30)).read


def test_a_read_that_found_no_way_out_is_sent_by_a_later_sweep_and_not_at_the_end_of_its_deadline(world):
    """Of ten thousand devices one waited a day for an answer that nobody had asked for, and its wave with it."""
    (update_id,) = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    say(world, update_id, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    world.later(days=3)
    assert to_read(world) == [update_id]
    with world.engine.begin() as connection:
        request = (
            permit.ask(connection, permit.Ask("spring", 1, Leg.READ, [update_id], "11.2"), world.now).outbox_id or 0
        )
    for _ in range(2):  # granted, and found no way out: then ready, and again
        world.later(seconds=30)
        assert to_read(world) == []
        world.later(seconds=31)
        assert to_read(world) == [update_id]
        with world.engine.begin() as connection:
            outbox.make_ready(connection, request, b"<request/>")
            leave = outbox.begin(connection, request, world.now)
            assert isinstance(leave, outbox.Sending)
            outbox.never_left(connection, request, leave, world.now)
    world.later(minutes=2)
    send(world, request)
    world.later(minutes=2)
    assert to_read(world) == []
