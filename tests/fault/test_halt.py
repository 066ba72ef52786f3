"""A halt: nothing forward begins after it is recorded, and what may still activate is named."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from hanwave.identifiers import RequestID
from hanwave.ledger import control, outbox, stops
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from tests.support import messages as m
from tests.support.halting import (
    OK,
    SPRING,
    activating,
    answer,
    ask,
    at_the_real_time,
    begin,
    halt,
    held,
    listed,
    quarantined,
    say,
    scheduled,
    send,
)
from tests.support.ledger import VERSION, World
from tests.support.routing import deliver as hear

pytestmark = pytest.mark.fault


@pytest.fixture
def world(ledger) -> World:
    return at_the_real_time(ledger)


@pytest.mark.parametrize("off", [0, 1], ids=["on time", "an hour ahead"])
def test_a_post_that_is_under_way_is_waited_for_before_the_halt_is_recorded(world, monkeypatch, off):
    """Whoever halts may do it on any machine, whatever its clock says."""
    monkeypatch.setattr(
        control, "datetime", type("Clock", (), {"now": lambda z: datetime.now(z) + timedelta(hours=off)})
    )
    ids = held(world, 2)
    slow = ask(world, Leg.ACTIVATE, ids[:1]).outbox_id
    assert isinstance(begin(world, slow), outbox.Sending)
    done: list[control.Halted] = []
    halting = threading.Thread(target=lambda: done.append(halt(world)))
    halting.start()
    time.sleep(0.5)
    assert not done
    answered = datetime.now(world.now.tzinfo)
    answer(world, slow)
    halting.join(10)
    assert answered <= done[0].recorded_at <= datetime.now(world.now.tzinfo)
    assert done[0].quiet_at
    assert set(listed(done[0])) == {"00-DB-00-00-00-00-00-00"}


def test_another_campaigns_posts_hold_up_no_halt(world):
    ids = held(world, 1)
    assert isinstance(begin(world, ask(world, Leg.ACTIVATE, ids).outbox_id), outbox.Sending)
    began = time.monotonic()
    stop_sending = threading.Event()

    def go_on() -> None:
        # Another campaign's requests, one after the other without a pause.
        while not stop_sending.wait(0.01):
            with world.engine.begin() as connection:
                connection.execute(text("UPDATE outbox SET sending_at = clock_timestamp() WHERE state = 'sending'"))

    thread = threading.Thread(target=go_on)
    thread.start()
    halted = halt(world, stops.Scope("campaign", "summer"))
    stop_sending.set()
    thread.join()
    assert halted.quiet_at
    assert time.monotonic() - began < 5


def test_what_was_granted_and_never_left_is_given_back_and_not_listed(world):
    ids = held(world, 3)
    granted = [ask(world, Leg.ACTIVATE, [i]).outbox_id for i in ids]
    send(world, granted[0])
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted[1] or 0, b"<request/>")
    assert len(listed(halt(world))) == 1
    assert [world.state(i) for i in ids] == [State.ACTIVATING, State.HELD, State.HELD]
    for outbox_id in granted[1:]:
        assert begin(world, outbox_id) == "the request is abandoned"
        with world.engine.begin() as connection:
            assert outbox.begin_transform(connection, outbox_id or 0, world.now) == "the request is abandoned"


def test_a_halt_of_a_model_stops_what_was_permitted_for_it(world):
    (update_id,) = held(world, 1)
    granted = ask(world, Leg.ACTIVATE, [update_id]).outbox_id
    with world.engine.begin() as connection:
        stops.stop(connection, stops.Scope("model", "121D/1111"), "halt", "smoke", "ann", world.now)
    assert begin(world, granted) == "the model of a device of it is stopped"
    with world.engine.begin() as connection:
        assert outbox.begin_transform(connection, granted or 0, world.now) == "the request is ready"


def test_the_transform_service_is_not_asked_for_a_halted_request(world):
    (update_id,) = held(world, 1)
    granted = ask(world, Leg.ACTIVATE, [update_id]).outbox_id
    with world.engine.begin() as connection:
        stops.stop(connection, SPRING, "halt", "smoke", "ann", world.now)
        assert "halt of campaign spring" in str(outbox.begin_transform(connection, granted or 0, world.now))


def _ambiguous(world: World) -> list[int]:
    ids = held(world, 1)
    send(world, ask(world, Leg.ACTIVATE, ids).outbox_id, None)
    return ids


def _overdue(world: World) -> list[int]:
    ids = activating(world)
    say(world, ids, Kind.OVERDUE, Leg.ACTIVATE)
    return ids


def _closed_unknown(world: World) -> list[int]:
    ids = _overdue(world)
    say(world, ids, Kind.CLOSED, detail="unknown")
    return ids


def _quarantined_batch(world: World) -> list[int]:
    ids = world.campaign(world.fleet(1))
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    say(world, ids, Kind.QUARANTINED, Leg.DISTRIBUTE)
    return ids


def _ppmid(world: World, *kinds: Kind, reply: outbox.Answer | None = OK, **more: str) -> list[int]:
    world.device_type = "PPMID"
    ids = world.campaign(world.fleet(1))
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id, reply)
    for kind in kinds:
        say(world, ids, kind, Leg.DISTRIBUTE, **(more if kind is Kind.CLOSED else {}))
    return ids


BEYOND = {
    "an 11.3 without outcome": activating,
    "an 11.3 without acknowledgement": _ambiguous,
    "an overdue 11.3": _overdue,
    "a quarantined 11.3": quarantined,
    "an 11.3 closed as unknown": _closed_unknown,
    "a quarantined 11.1": _quarantined_batch,
    "an accepted 11.4": _ppmid,
    "an 11.4 without acknowledgement": lambda world: _ppmid(world, reply=None),
    "an 11.4 on the hub": lambda world: _ppmid(world, Kind.DELIVERED),
    "a transferred 11.4": lambda world: _ppmid(world, Kind.TRANSFERRED),
    "an overdue 11.4": lambda world: _ppmid(world, Kind.OVERDUE),
    "a transferred and overdue 11.4": lambda world: _ppmid(world, Kind.TRANSFERRED, Kind.OVERDUE),
    "an 11.4 given up": lambda world: _ppmid(world, Kind.OVERDUE, Kind.CLOSED, detail="not_delivered"),
    "an 11.4 of a withdrawn campaign": lambda world: _ppmid(world, Kind.CLOSED, detail="superseded"),
}
RECALLED = {
    "an image that is only held": lambda world: held(world, 1),
    "an accepted 11.1": lambda world: send(world, ask(world, Leg.DISTRIBUTE, world.campaign(world.fleet(1))).outbox_id),
    "an activation that is over": lambda world: say(
        world, activating(world), Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION
    ),
    "an activation that failed": lambda world: say(world, activating(world), Kind.ACTIVATION_FAILED, Leg.ACTIVATE),
    "a deleted quarantined 11.3": lambda world: say(world, quarantined(world), Kind.DELETED, Leg.ACTIVATE),
    "a PPMID that was never asked": lambda world: ask(world, Leg.DISTRIBUTE, world.campaign(world.fleet(1))),
    "a PPMID that runs it": lambda world: say(world, _ppmid(world), Kind.ACTIVATED, Leg.DISTRIBUTE, version=VERSION),
}


@pytest.mark.parametrize("made", BEYOND.values(), ids=BEYOND)
def test_what_may_still_activate_is_listed(world, made):
    made(world)
    assert set(listed(halt(world))) == {"00-DB-00-00-00-00-00-00"}


@pytest.mark.parametrize("made", RECALLED.values(), ids=RECALLED)
def test_what_cannot_activate_is_not_listed(world, made):
    made(world)
    assert listed(halt(world)) == {}


def test_what_activates_while_the_halt_waits_for_quiet_is_listed(world):
    ids = held(world, 2)
    send(world, ask(world, Leg.ACTIVATE, ids[:1]).outbox_id)
    slow = ask(world, Leg.ACTIVATE, ids[1:]).outbox_id
    assert isinstance(begin(world, slow), outbox.Sending)
    done: list[control.Halted] = []
    halting = threading.Thread(target=lambda: done.append(halt(world)))
    halting.start()
    time.sleep(0.3)
    say(world, ids[:1], Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    answer(world, slow)
    halting.join(10)
    assert len(listed(done[0])) == 2


@pytest.mark.parametrize(("minutes", "state"), [(1, State.HELD), (361, State.SCHEDULED)])
def test_a_cancel_that_is_answered_after_the_date_tells_nothing(world, minutes, state):
    (update_id,) = scheduled(world, 1)
    halt(world)
    world.later(seconds=1)
    granted = ask(world, Leg.WITHDRAW, [update_id])
    send(world, granted.outbox_id)
    hear(world, m.accepted(RequestID.parse(granted.request_id or ""), world.later(minutes=minutes)))
    assert world.state(update_id) is state
