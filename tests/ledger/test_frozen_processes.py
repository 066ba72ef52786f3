"""A process that is frozen with a lock in its hand, or whose machine has left the network, keeps no halt waiting for ever."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from hanwave.ledger import control, stops
from hanwave.ledger.stops import Scope
from tests.support.ledger import World

pytestmark = pytest.mark.ledger


@pytest.mark.parametrize("held", [stops.share, stops.lock], ids=["a sender", "another halt"])
def test_a_halt_is_recorded_although_a_frozen_process_holds_the_lock(world: World, monkeypatch, held):
    monkeypatch.setattr(stops, "HELD_BOUND", timedelta(seconds=0.3))
    with world.engine.connect() as frozen:
        held(frozen)
        halted = control.halt(world.engine, Scope("all"), "smoke", "ann", patience=1)
        assert halted.quiet_at is not None
        # Thawed, it finds that nothing of what it was about to mark is kept.
        with pytest.raises(DBAPIError):
            stops.share(frozen)
        frozen.invalidate()
    assert world.count("stop", "lifted_at IS NULL") == 1
