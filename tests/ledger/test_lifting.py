"""A halt of more than one campaign is lifted by its number, once, with a reason, and by nobody whom it does not concern."""

import json

import pytest

from hanwave.ledger import control, lifting, reconcile
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By
from hanwave.ledger.stops import Scope
from tests.support.command import run
from tests.support.ledger import US, World

pytestmark = pytest.mark.ledger
OTHER = "90-B3-D5-1F-30-01-00-FF"


def halt(world: World, *scope: str) -> int:
    return control.halt(world.engine, Scope(*scope), "storm", "ann", patience=0).stop_id


def standing(world: World, user_id: str | None = None) -> list[str]:
    with world.engine.begin() as connection:
        return [each.stops for each in lifting.standing(connection, user_id)]


def test_it_is_lifted_once_by_its_number_and_under_a_key_again_the_same(world):
    first = halt(world, "all")
    second = halt(world, "model", "121D/1111")
    assert standing(world) == ["all", "model 121D/1111"]
    assert lifting.lift(world.engine, first, "it is over", "bob", key="k") == "all"
    assert standing(world) == ["model 121D/1111"]
    assert lifting.lift(world.engine, first, "it is over", "bob", key="k") == "all"
    with pytest.raises(LedgerError, match=f"there is no open stop {first}: it was lifted"):
        lifting.lift(world.engine, first, "it is over", "bob")
    with pytest.raises(LedgerError, match="the key 'k' was used for another lift by bob"):
        lifting.lift(world.engine, first, "another", "bob", key="k")
    assert lifting.lift(world.engine, second, "it is over", "bob") == "model 121D/1111"
    assert world.count("note", "verb = 'lift' AND actor = 'bob' AND reason = 'it is over'") == 2


def test_what_another_command_lifts_is_left_alone_and_that_command_named(world):
    world.campaign(world.fleet(1))
    wave = halt(world, "wave", "spring/1")
    with pytest.raises(LedgerError, match=r"is of campaign spring: `hanwave campaign resume spring` lifts those"):
        lifting.lift(world.engine, wave, "it is over", "bob")
    with world.engine.begin() as connection:
        restored = reconcile.stop_all(connection, "its witness is ahead", "warden", world.now)
    with pytest.raises(LedgerError, match="`hanwave reconcile` lifts it"):
        lifting.lift(world.engine, restored, "it is over", "bob")
    assert control.resume(world.engine, "spring", By("bob", "mended", "digest-spring"))
    assert standing(world) == ["all"]


def test_a_halt_of_another_user_id_is_not_there(world):
    theirs = halt(world, "user", OTHER)
    assert (standing(world, US), standing(world)) == ([], [f"user {OTHER}"])
    with pytest.raises(LedgerError, match=f"there is no stop {theirs} of more than one campaign; open are none"):
        lifting.lift(world.engine, theirs, "it is over", "eve", user_id=US)
    assert lifting.lift(world.engine, theirs, "it is over", "bob", user_id=OTHER) == f"user {OTHER}"


def test_no_reason_no_lifting(world):
    with pytest.raises(LedgerError, match="lifting a stop needs a reason"):
        lifting.lift(world.engine, halt(world, "all"), " ", "bob")


def test_the_command_lists_them_and_lifts_one(world, ledger_dsn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    number = halt(world, "all")
    halt(world, "user", OTHER)
    [stop] = json.loads(run("campaign", "lift", "--json").out)["stops"]
    assert (stop["id"], stop["stops"], stop["reason"], stop["actor"]) == (number, "all", "storm", "ann")
    refused = run("campaign", "lift", str(number))
    assert (refused.code, "lifting a halt needs a reason" in refused.err) == (1, True)
    assert json.loads(run("campaign", "lift", str(number), "--reason", "it is over", "--json").out) == {
        "stop": number,
        "lifted": "all",
    }
    assert standing(world, US) == []
