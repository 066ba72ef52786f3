"""When a plan that says so is rolled back by itself: harm is proven, and no person has taken it in hand."""

import pytest
from sqlalchemy import text

from hanwave.ledger import control, harm, stops
from hanwave.ledger.standing import Fact, record
from hanwave.names import HANWAVE
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import OnHarm, Policy, Wave
from tests.support.ledger import US, World
from tests.support.routing import activating

pytestmark = pytest.mark.ledger
ALONE = Policy(waves=(Wave(share=1),), on_harm=OnHarm.ROLL_BACK)

SAYS = "the plan says so once harm is proven: "


def proven(world: World) -> str | None:
    with world.engine.connect() as connection:
        return harm.proven(connection, "spring")


def judged(world: World, verdict: str, passed_by: str | None = None) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE wave SET verdict = :verdict, passed_by = :by, closed_at = :now,"
                """ judged = '{"reason": "3 of 5 devices were harmed"}'"""
            ),
            {"verdict": verdict, "by": passed_by, "now": world.now},
        )


def stopped(world: World, kind: str, scope: stops.Scope) -> None:
    with world.engine.begin() as connection:
        stops.stop(connection, scope, kind, "storm", "ann", world.now)


def harmed(world: World, policy: Policy) -> None:
    update_id, _ = activating(world, policy)
    failed = Event(
        Kind.ACTIVATION_FAILED, world.now, Leg.ACTIVATE, attempt=1, evidence=Evidence.DEVICE, detail="activationFailure"
    )
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, failed)], world.now)


@pytest.mark.parametrize(
    ("verdict", "passed_by", "why"),
    [
        ("fail", None, f"{SAYS}the gate of wave 1 says fail: 3 of 5 devices were harmed"),
        ("fail", "bob", None),
        ("not enough evidence", None, None),
        ("pass", None, None),
    ],
)
def test_a_gate_that_fails_is_proof_and_silence_or_a_person_who_went_on_is_none(world, verdict, passed_by, why):
    world.campaign(world.fleet(5), ALONE)
    judged(world, verdict, passed_by)
    assert proven(world) == why


def test_without_its_plan_saying_so_nothing_begins(world):
    harmed(world, ALONE.model_copy(update={"on_harm": OnHarm.HOLD}))
    assert world.count("stop", "kind = 'breaker'") == 1
    assert proven(world) is None


def test_a_breaker_that_opened_for_harm_is_proof(world):
    harmed(world, ALONE)
    assert proven(world) == f"{SAYS}the breaker of wave 1 is open: 1 devices harmed"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET restored = '{}'"))
    assert proven(world) is None


def test_a_breaker_that_opened_for_refusals_to_be_looked_up_is_none(world):
    world.campaign(world.fleet(5), ALONE)
    with world.engine.begin() as connection:
        stops.open_breaker(connection, "spring/1", "refused with codes to be looked up: E99 for 6 devices", world.now)
    assert proven(world) is None


@pytest.mark.parametrize("scope", [("all",), ("user", US), ("campaign", "spring"), ("wave", "spring/1")])
@pytest.mark.parametrize("kind", ["halt", "pause"])
def test_whoever_stopped_it_decides(world, kind, scope):
    world.campaign(world.fleet(5), ALONE)
    judged(world, "fail")
    stopped(world, kind, stops.Scope(*scope))
    assert proven(world) is None


def test_a_rollback_that_a_kill_cut_short_goes_on(world):
    """It withdrew the campaign, and had planned nothing yet."""
    harmed(world, ALONE)
    why = proven(world) or ""
    control.withdraw_campaign(world.engine, "spring", why, HANWAVE, key="on_harm")
    assert world.count("campaign_device", "state = 'closed' AND outcome = 'failed'") == 1
    assert proven(world) == why == f"{SAYS}the breaker of wave 1 is open: 1 devices harmed"


def test_anothers_stop_hinders_nothing(world):
    world.campaign(world.fleet(5), ALONE)
    judged(world, "fail")
    stopped(world, "halt", stops.Scope("campaign", "summer"))
    assert proven(world) == f"{SAYS}the gate of wave 1 says fail: 3 of 5 devices were harmed"
