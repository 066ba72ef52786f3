"""A device that ran its update's version and says later that it runs another: people are told, and it is harm."""

import pytest
from sqlalchemy import text

from hanwave.ledger.standing import Fact, record
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Kind
from tests.support import messages as m
from tests.support.ledger import START, World, eui
from tests.support.routing import activating, close, deliver, notes, state_of

pytestmark = [pytest.mark.ledger, pytest.mark.fault]
OLD = "00000001"


def confirmed(world: World) -> int:
    update_id, request = activating(world)
    deliver(world, m.outcome(request, at=world.now))
    assert world.state(update_id) is State.CONFIRMED
    world.later(hours=1)
    return update_id


BREAKER = ("open breaker", "campaign/spring/wave/1")


def settled(world: World) -> int:
    update_id = confirmed(world)
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, Event(Kind.SETTLED, world.now))], world.now)
    world.later(hours=1)
    return update_id


def says(world: World, version: str, counter: int = 7_000) -> None:
    """Another of the supplier's systems asked it what it runs."""
    deliver(world, m.version_read(m.asked(counter=counter), version, at=world.now))


def breakers(world: World) -> int:
    return world.count("stop", "kind = 'breaker' AND lifted_at IS NULL")


def outcome(world: World) -> tuple[str, str | None]:
    with world.engine.connect() as connection:
        row = connection.execute(text("SELECT state, outcome FROM campaign_device")).one()
        return row.state, row.outcome


def close_wave(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET closed_at = :now"), {"now": world.now})


def test_one_that_regresses_while_it_soaks_has_failed_and_opens_the_breaker(world):
    confirmed(world)
    says(world, OLD)
    assert outcome(world) == ("failed", None)
    assert notes(world) == [BREAKER, ("regressed", f"device/{eui(0)}")]
    assert breakers(world) == 1


def test_one_that_regresses_after_it_settled_is_harm_while_its_wave_is_open(world):
    settled(world)
    says(world, OLD)
    assert outcome(world) == ("closed", "failed")
    assert notes(world) == [BREAKER, ("regressed", f"device/{eui(0)}")]
    assert breakers(world) == 1
    assert world.count("lease") == 0
    says(world, OLD, 7_001)
    assert notes(world) == [BREAKER, ("regressed", f"device/{eui(0)}")]


def test_one_that_regresses_after_its_wave_closed_is_told_of_and_moves_nothing(world):
    settled(world)
    close_wave(world)
    says(world, OLD)
    assert outcome(world) == ("settled", None)
    assert notes(world) == [("regressed", f"device/{eui(0)}")]
    assert breakers(world) == 0


def test_the_target_or_a_word_from_before_the_end_or_of_another_user_is_no_regression(world):
    settled(world)
    before = state_of(world)[3:5]
    says(world, m.VERSION)
    deliver(world, m.version_read(m.asked(counter=7_001), OLD, at=START))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET user_id = '90-B3-D5-1F-30-01-00-01'"))
    says(world, OLD, 7_002)
    assert state_of(world)[3:5] == before
    assert notes(world) == []


def test_an_update_that_did_not_settle_regresses_not(world):
    update_id, _ = activating(world)
    close(world, update_id)
    world.later(hours=1)
    says(world, OLD)
    assert notes(world) == []
