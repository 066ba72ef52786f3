"""What people do to a campaign, straight in the ledger: once a key, and never on a plan that they have not read."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from hanwave.ledger import control, rollback
from hanwave.ledger.database import LedgerError
from hanwave.ledger.stops import Scope
from hanwave.rollout.events import Leg
from tests.support.ledger import World

pytestmark = pytest.mark.ledger
NAME = "spring"


@pytest.fixture
def spring(world: World) -> World:
    """A campaign of three devices."""
    world.release_document()
    world.campaign(world.fleet(3), name=NAME)
    return world


def failed_gate(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET closed_at = now(), verdict = 'fail'"))


def pause(world: World, **more):
    return control.pause(world.engine, NAME, Leg.ACTIVATE, "storm", "ann", **more)


def halt(world: World, reason: str = "smoke", **more):
    return control.halt(world.engine, Scope("campaign", NAME), reason, "ann", patience=1, **more).stop_id


def resume(world: World, **more):
    return control.resume(world.engine, NAME, "calm", "ann", **more)


def approve(world: World, **more):
    return control.approve(world.engine, NAME, world.digest(), "bob", **more)


def go_on(world: World, **more):
    return control.go_on(world.engine, NAME, "checked", "bob", **more)


def roll_back(world: World, **more):
    return rollback.plan_rollback(world.engine, NAME, [], "quiet", "ann", **more)


def everything(world: World) -> list[object]:
    """What the ledger holds of stops, notes, waves and campaigns."""
    with world.engine.connect() as connection:
        return [connection.execute(text(f"SELECT * FROM {t}")).all() for t in ("stop", "note", "wave", "campaign")]


@pytest.mark.parametrize("verb", [pause, halt, resume, approve, go_on, roll_back])
def test_the_same_key_again_changes_nothing_and_gives_the_same_answer(spring, verb):
    failed_gate(spring)
    if verb is resume:
        pause(spring)
    first, after = verb(spring, key="k-1"), everything(spring)
    assert verb(spring, key="k-1") == first
    assert everything(spring) == after


@pytest.mark.parametrize("verb", [pause, halt, approve])
def test_another_key_is_another_act(spring, verb):
    for key in ("k-1", "k-2", None, None):
        verb(spring, key=key)
    assert spring.count("note") == 4


def test_a_key_is_one_of_its_verb_and_campaign(spring):
    pause(spring, key="monday")
    assert len(resume(spring, key="monday")) == 1
    assert spring.count("stop", "lifted_at IS NULL") == 0


def test_the_same_key_with_another_content_is_refused(spring):
    pause(spring, key="k-1")
    before = everything(spring)
    for leg, reason, actor in ((Leg.DISTRIBUTE, "storm", "ann"), (Leg.ACTIVATE, "calm", "ann"), (None, "storm", "bob")):
        with pytest.raises(LedgerError, match=r"the key 'k-1' was used for another pause by ann \(storm\)") as refused:
            control.pause(spring.engine, NAME, leg, reason, actor, key="k-1")
        assert len(str(refused.value)) <= 240
    assert everything(spring) == before


def test_the_refusal_of_a_long_key_is_short(spring):
    control.pause(spring.engine, NAME, None, "s" * 500, "a" * 500, key="k" * 200)
    with pytest.raises(LedgerError) as refused:
        control.pause(spring.engine, NAME, None, "other", "ann", key="k" * 200)
    assert len(str(refused.value)) <= 240


def test_what_is_refused_leaves_its_key_free(spring):
    with pytest.raises(LedgerError, match="no gate"):
        go_on(spring, key="k-1")
    failed_gate(spring)
    assert go_on(spring, key="k-1") == 1


def test_those_who_ask_at_once_under_one_key_act_once(spring):
    with ThreadPoolExecutor(8) as pool:
        answers = {each.result() for each in [pool.submit(pause, spring, key="k-1") for _ in range(8)]}
    assert len(answers) == 1
    assert spring.count("stop") == spring.count("note") == 1


def test_nothing_gates_a_halt_neither_its_key_nor_another_reason(spring):
    first = halt(spring, key="k-1")
    assert halt(spring, "fire", key="k-1") == first
    resume(spring)
    assert halt(spring, key="k-1") > first
    assert spring.count("stop", "lifted_at IS NULL") == 1
