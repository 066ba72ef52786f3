"""Rehearsals over a ledger: what is rehearsed is the plan, behaviour is learnt from events, and status is held against it."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.ledger import behaviour, forecasts, planning, progress, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.gate import Verdict
from hanwave.rollout.policy import DeviceType, Gate, Policy, Wave
from hanwave.rollout.rehearsal.behaviour import default_profile
from hanwave.rollout.rehearsal.forecast import forecast
from hanwave.rollout.request import CampaignRequest
from tests.support.ledger import HASH, US, VERSION, World

pytestmark = pytest.mark.ledger
POLICY = Policy(waves=(Wave(count=20), Wave(share=1)), gate=Gate(harm=0.3, silence=0.4, confidence=0.8))
REQUEST = CampaignRequest(release="r2", policy=POLICY, author="ann")
GUESS = default_profile()[DeviceType.ESME]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.fleet(60)
    return world


def rehearsed(world: World, name: str = "spring"):
    with world.engine.begin() as connection:
        found = forecasts.material(connection, name, REQUEST, str(US))
    made = forecast(found.rules(GUESS, world.now), GUESS, (), 5, "seed", courses=100)
    with world.engine.begin() as connection:
        forecasts.keep(connection, found.digest, made, world.now)
    return found, made


def begin(world: World) -> list[int]:
    with world.engine.begin() as connection:
        planning.freeze(connection, "spring", REQUEST, str(US), world.now)
        waves.open_wave(connection, "spring", 1, world.now)
        return list(connection.execute(text("SELECT id FROM campaign_device ORDER BY id")).scalars())


def course(world: World, update_id: int, *, end: Kind = Kind.SETTLED, **closing) -> list[Fact]:
    """An update that took ten minutes a leg, to its end."""
    at = [world.now + 10 * n * MINUTE for n in range(7)]
    said = [
        Event(Kind.SENT, at[0], Leg.DISTRIBUTE, attempt=1),
        Event(Kind.DELIVERED, at[1], Leg.DISTRIBUTE, attempt=1, evidence=Evidence.DCC),
        Event(Kind.VERIFIED, at[2], Leg.DISTRIBUTE, attempt=1, evidence=Evidence.DEVICE, detail=HASH),
        Event(Kind.SENT, at[2], Leg.ACTIVATE, attempt=1),
        Event(Kind.ACTIVATED, at[3], Leg.ACTIVATE, attempt=1, evidence=Evidence.DEVICE, version=VERSION),
        Event(Kind.SENT, at[4], Leg.READ, attempt=1),
        Event(Kind.VERSION, at[5], Leg.READ, attempt=1, evidence=Evidence.READ_BACK, version=VERSION),
        Event(end, at[6], **closing),
    ]
    return [Fact(update_id, event) for event in said]


def test_what_is_rehearsed_is_the_plan_that_start_would_freeze(fleet):
    found, made = rehearsed(fleet)
    begin(fleet)
    assert found.digest == fleet.digest()
    assert found.sizes == (20, 40)
    assert sum(found.strata) == pytest.approx(1)
    assert made.devices == 60


def test_a_campaign_is_held_against_its_forecast_day_by_day(fleet):
    _, made = rehearsed(fleet)
    ids = begin(fleet)
    with fleet.engine.begin() as connection:
        record(connection, [fact for each in ids[:20] for fact in course(fleet, each)], fleet.now)
        early = {held.what: held for held in progress.progress(connection, "spring", fleet.now).forecast}
        late = {h.what: h for h in forecasts.compare(connection, "spring", fleet.now + timedelta(days=300))}
    assert early["settled"].says == "above"  # nobody settles on the first day, with a soak of two
    assert early["settled"].fact == 20
    assert late["settled"].expected == made.good.by_day[-1].settled
    assert late["settled"].says == "below"
    assert str(late["settled"]) == f"settled: 20, expected by now {late['settled'].expected}: below"


def test_a_plan_that_was_not_rehearsed_has_nothing_to_be_held_against(fleet):
    begin(fleet)
    with fleet.engine.connect() as connection:
        assert forecasts.compare(connection, "spring", fleet.now) == []
        assert progress.progress(connection, "spring", fleet.now).forecast == []


def test_behaviour_is_learnt_from_what_happened(fleet):
    ids = begin(fleet)
    quiet = {"end": Kind.CLOSED, "detail": Outcome.QUIET, "reason": "test"}
    with fleet.engine.begin() as connection:
        facts = [fact for each in ids[6:] for fact in course(fleet, each)]
        facts += [fact for each in ids[:6] for fact in course(fleet, each, **quiet)]
        record(connection, facts, fleet.now)
        found = behaviour.learn(connection, DeviceType.ESME)
    assert found.source == "learnt from 60 updates"
    assert (found.delivered.half, found.delivered.most) == (10 * MINUTE, 10 * MINUTE)
    assert found.verified.half == found.activated.half == found.answers.half == 10 * MINUTE
    assert found.falls_silent == pytest.approx(0.1)
    assert (found.absent, found.not_delivered, found.unheard) == (0, 0, 0)


def test_behaviour_is_not_learnt_from_a_handful(fleet):
    ids = begin(fleet)
    with fleet.engine.begin() as connection:
        record(connection, course(fleet, ids[0]), fleet.now)
        with pytest.raises(LedgerError, match="1 ESME updates have ended: behaviour is learnt from 50"):
            behaviour.learn(connection, DeviceType.ESME)


def test_nor_from_updates_of_which_nothing_was_heard(fleet):
    ids = begin(fleet)
    end = Event(Kind.CLOSED, fleet.now, detail=Outcome.NOT_DELIVERED, reason="test")
    with fleet.engine.begin() as connection:
        sent = [Fact(each, Event(Kind.SENT, fleet.now, Leg.DISTRIBUTE, attempt=1)) for each in ids]
        record(connection, [*sent, *(Fact(each, end) for each in ids)], fleet.now)
        with pytest.raises(LedgerError, match="no deliveries of a ESME to learn from"):
            behaviour.learn(connection, DeviceType.ESME)


def test_a_forecast_says_what_a_good_image_comes_to(fleet):
    _, made = rehearsed(fleet)
    assert made.good.verdicts
    assert set(made.good.requests) == {"11.1", "11.2", "11.3"}
    assert all(Verdict.PASS in verdict or Verdict.NOT_ENOUGH_EVIDENCE in verdict for verdict in made.good.verdicts)
