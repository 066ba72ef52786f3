"""A campaign that was begun by other means goes on here from its records. On a real PostgreSQL."""

import io

import pytest
from sqlalchemy import text

from hanwave.ledger import rollback
from hanwave.ledger.adopt import Adopted, AdoptError, adopt
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from tests.ledger.test_permit_and_outbox import activate, distribute, say, send
from tests.support.ledger import VERSION, World, eui

pytestmark = pytest.mark.ledger
HEAD = "eui,state,at,evidence\n"


def line(number: int, state: str, at: str = "2026-11-20T08:00:00Z", evidence: str = "sheet 3, row 7") -> str:
    return f'{eui(number)},{state},{at},"{evidence}"\n'


def bring(world: World, *lines: str, head: str = HEAD) -> Adopted:
    with world.engine.begin() as connection:
        return adopt(connection, "spring", io.StringIO(head + "".join(lines)), "ann", world.now)


def test_a_campaign_goes_on_from_where_its_records_say_that_it_is(world):
    planned, requested, held, activated, failed = world.campaign(world.fleet(5))
    lines = (line(1, "requested"), line(2, "held"), line(3, "activated"), line(4, "failed"))
    assert bring(world, *lines).states == {"requested": 1, "held": 1, "activated": 1, "failed": 1}
    states = [world.state(each) for each in (planned, requested, held, activated, failed)]
    assert states == [State.PLANNED, State.REQUESTED, State.HELD, State.ACTIVATED, State.FAILED]
    assert world.count("device_event", "evidence = 'imported' AND reason = 'sheet 3, row 7'") == 4
    assert distribute(world, [planned, requested, held]).granted == (planned,)
    assert activate(world, held).granted == (held,)


def test_an_adopted_activation_counts_only_once_the_device_itself_says_so(world):
    (update_id,) = world.campaign(world.fleet(1))
    bring(world, line(0, "activated"))
    world.later(days=9)
    assert world.state(update_id) is State.ACTIVATED
    say(world, update_id, Kind.VERSION, Leg.READ, version=VERSION)
    assert world.state(update_id) is State.CONFIRMED


def test_the_same_records_again_change_nothing(world):
    world.campaign(world.fleet(2))
    bring(world, line(0, "held"))
    events = world.count("device_event")
    bring(world, line(0, "held"))
    assert world.count("device_event") == events


def test_a_rollback_reaches_what_was_activated_by_other_means(world):
    world.campaign(world.fleet(2))
    bring(world, line(0, "activated"), line(1, "held"))
    with world.engine.connect() as connection:
        assert rollback.to_restore(connection, "spring") == [eui(0)]


def test_a_ppmids_records_have_the_states_of_its_one_step(world):
    world.device_type = "PPMID"
    one, two = world.campaign(world.fleet(2))
    bring(world, line(0, "activating"), line(1, "activated"))
    assert (world.state(one), world.state(two)) == (State.ACTIVATING, State.ACTIVATED)
    with pytest.raises(AdoptError, match="state holds 'held', it should be one of requested"):
        bring(world, line(1, "held"))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((line(0, "confirmed"),), "line 2: state holds 'confirmed', it should be one of requested"),
        ((line(0, "held", at="2026-11-20T08:00:00"),), "line 2: at holds .* with its offset"),
        ((line(0, "held", at="2030-01-01T00:00:00Z"),), "line 2: at holds .* a time gone by"),
        ((line(0, "held", evidence=""),), "line 2: evidence should say where it stands"),
        ((line(0, "held"), line(0, "activated")), "line 3: eui stands on line 2 already"),
        (("rubbish,held,2026-11-20T08:00:00Z,x\n",), "line 2: "),
        (("1,2\n", "3\n"), r"line 2: it has 2 cells, it should have 4 \(and 1 more lines\); nothing is adopted"),
        ((line(0, "held"), line(9, "held")), "line 3: .* is no device of campaign spring: it is not in its plan"),
        ((), "names no device"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_adopted(world, lines, sentence):
    world.campaign(world.fleet(2))
    with pytest.raises(AdoptError, match=sentence) as refused:
        bring(world, *lines)
    assert len(str(refused.value)) <= 240
    assert world.count("device_event") == world.count("lease") == world.count("note", "verb = 'adopt'") == 0


def test_records_without_the_header_are_refused(world):
    world.campaign(world.fleet(1))
    with pytest.raises(AdoptError, match="the first line of the records should be eui,state,at,evidence"):
        bring(world, line(0, "held"), head="")


def test_what_hanwave_did_itself_is_not_overwritten_by_records(world):
    ids = world.campaign(world.fleet(1))
    send(world, distribute(world, ids).outbox_id)
    with pytest.raises(AdoptError, match=r"line 2: hanwave knows of .* itself, it is requested"):
        bring(world, line(0, "held"))


def test_a_device_that_another_update_has_is_not_adopted(world):
    euis = world.fleet(1)
    first = world.campaign(euis, name="first")
    distribute(world, first, "first")
    world.campaign(euis)
    with pytest.raises(AdoptError, match=r"line 2: .* is in another update"):
        bring(world, line(0, "held"))
    assert world.count("device_event", "evidence = 'imported'") == 0


def test_a_device_that_the_plan_left_out_is_refused_with_its_reason(world):
    world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        statement = text("INSERT INTO left_out (campaign, eui, reason) VALUES ('spring', :eui, 'already runs it')")
        connection.execute(statement, {"eui": eui(7)})
    with pytest.raises(AdoptError, match="is no device of campaign spring: it was left out: already runs it"):
        bring(world, line(7, "held"))
