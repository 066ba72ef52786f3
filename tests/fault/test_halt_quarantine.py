"""A request that the DCC holds in quarantine: what a person records of it, and what a halt makes of it."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.ledger import quarantine
from hanwave.ledger.database import LedgerError
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from tests.support.halting import ask, at_the_real_time, halt, listed, quarantined, say, send
from tests.support.ledger import VERSION, World

pytestmark = pytest.mark.fault


@pytest.fixture
def world(ledger) -> World:
    return at_the_real_time(ledger)


def _resolve(world: World, *, released: bool, reason: str = "seen in DCC's portal") -> int:
    with world.engine.begin() as connection:
        (found,) = quarantine.listed(connection)
        said = quarantine.Resolution(released, reason, "INC0012", "ann")
        return quarantine.resolve(connection, found.request_id, said, world.later(hours=1))


def test_a_released_request_may_still_activate_and_its_deadline_counts_anew(world):
    (update_id,) = quarantined(world)
    assert _resolve(world, released=True) == 1
    assert world.state(update_id) is State.ACTIVATING
    assert set(listed(halt(world)).values()) == {"its activation was sent and has no outcome"}
    with world.engine.connect() as connection:
        due_at = connection.execute(text("SELECT due_at FROM campaign_device")).scalar_one()
        assert due_at == world.now + timedelta(hours=24)
        assert quarantine.listed(connection) == []


def test_a_deleted_batch_is_over_for_all_its_devices(world):
    ids = world.campaign(world.fleet(3))
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    say(world, ids, Kind.QUARANTINED, Leg.DISTRIBUTE)
    assert _resolve(world, released=False) == 3
    assert {world.state(i) for i in ids} == {State.REJECTED}
    assert world.count("note", "verb = 'deleted' AND actor = 'ann'") == 1
    assert listed(halt(world)) == {}


def test_what_the_device_says_of_a_quarantined_request_ends_its_quarantine(world):
    ids = quarantined(world)
    say(world, ids, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    assert listed(halt(world)) == {}
    with world.engine.connect() as connection:
        assert quarantine.listed(connection) == []


@pytest.mark.parametrize(
    ("request_id", "reason", "evidence"),
    [("A:B:1", "seen", "INC0012"), (None, " ", "INC0012"), (None, "seen", " ")],
    ids=["unknown", "no reason", "no evidence"],
)
def test_what_is_not_in_quarantine_or_has_no_reason_is_refused(world, request_id, reason, evidence):
    quarantined(world)
    events = world.count("device_event")
    with world.engine.connect() as connection:
        request_id = request_id or quarantine.listed(connection)[0].request_id
    with pytest.raises(LedgerError, match=r"not in quarantine|needs a reason"), world.engine.begin() as connection:
        quarantine.resolve(connection, request_id, quarantine.Resolution(True, reason, evidence, "ann"), world.now)
    assert world.count("device_event") == events
