"""Rehearsals over a ledger: what is rehearsed is the plan, behaviour is learnt from events, and status is held against it."""

import json
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text

from hanwave.client import rehearsing
from hanwave.ledger import behaviour, forecasts, planning, progress, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.gate import Verdict
from hanwave.rollout.policy import DeviceType, Gate, Policy, Wave
from hanwave.rollout.rehearsal.behaviour import default_profile
from hanwave.rollout.rehearsal.forecast import Day, Interval, forecast
from hanwave.rollout.request import CampaignRequest
from tests.support.command import run
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


def test_within_a_day_it_is_held_against_what_lies_between_its_two_ends():
    def day(number: int, *settled: float) -> Day:
        return Day(number, Interval(*settled), {}, {"11.3": Interval(*settled)})

    days = (day(0, 10, 20, 30), day(1, 40, 60, 80))
    assert forecasts._expected(days, 0)["settled"] == Interval(0, 0, 0)
    assert forecasts._expected(days, 0.5)["SR 11.3"] == Interval(0, 10, 30)
    assert forecasts._expected(days, 1)["settled"] == Interval(10, 20, 30)
    assert forecasts._expected(days, 1.25)["settled"] == Interval(10, 30, 80)
    assert forecasts._expected(days, 7)["settled"] == Interval(40, 60, 80)


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
        found = behaviour.learn(connection, DeviceType.ESME, US)
    assert found.source == "learnt from 60 updates"
    assert (found.delivered.half, found.delivered.most) == (10 * MINUTE, 10 * MINUTE)
    assert found.verified.half == found.activated.half == found.answers.half == 10 * MINUTE
    assert found.falls_silent == pytest.approx(0.1)
    assert (found.absent, found.not_delivered, found.unheard) == (0, 0, 0)
    with fleet.engine.begin() as connection, pytest.raises(LedgerError, match="0 ESME updates have ended"):
        behaviour.learn(connection, DeviceType.ESME, "another supplier")


def test_behaviour_is_not_learnt_from_a_handful(fleet):
    ids = begin(fleet)
    with fleet.engine.begin() as connection:
        record(connection, course(fleet, ids[0]), fleet.now)
        with pytest.raises(LedgerError, match="1 ESME updates have ended: behaviour is learnt from 50"):
            behaviour.learn(connection, DeviceType.ESME, US)


def test_nor_from_updates_of_which_nothing_was_heard(fleet):
    ids = begin(fleet)
    end = Event(Kind.CLOSED, fleet.now, detail=Outcome.NOT_DELIVERED, reason="test")
    with fleet.engine.begin() as connection:
        sent = [Fact(each, Event(Kind.SENT, fleet.now, Leg.DISTRIBUTE, attempt=1)) for each in ids]
        record(connection, [*sent, *(Fact(each, end) for each in ids)], fleet.now)
        with pytest.raises(LedgerError, match="no deliveries of a ESME to learn from"):
            behaviour.learn(connection, DeviceType.ESME, US)


def test_a_forecast_says_what_a_good_image_comes_to(fleet):
    _, made = rehearsed(fleet)
    assert made.good.verdicts
    assert set(made.good.requests) == {"11.1", "11.2", "11.3"}
    assert all(Verdict.PASS in verdict or Verdict.NOT_ENOUGH_EVIDENCE in verdict for verdict in made.good.verdicts)


@pytest.fixture
def command(monkeypatch, ledger_dsn, tmp_path):
    """`hanwave campaign rehearse` over the test's ledger, of the request above."""
    # No number of courses is asserted, and to draw the usual four thousand took a minute where the machine was busy.
    monkeypatch.setattr(rehearsing, "forecast", partial(forecast, courses=100))
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_USER_ID", str(US))
    file = tmp_path / "request.json"
    file.write_text(REQUEST.model_dump_json(), encoding="utf-8")
    return lambda *more: run(
        "campaign", "rehearse", str(file), "--name", "spring", "--runs", "3", "--harm", "0.5", *more
    )


def test_the_command_prints_draws_and_keeps_the_forecast(fleet, command, tmp_path):
    picture = tmp_path / "forecast.svg"
    ran = command("--plots", str(picture), "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert (said["source"], said["devices"]) == ("guess", 60)
    assert [scenario["harm"] for scenario in said["scenarios"]] == [0.0, 0.5]
    assert b"<svg" in picture.read_bytes()[:1000]
    assert fleet.count("forecast") == 1
    shown = command()
    assert "an image that harms 50.0%" in shown.out
    assert "devices exposed by then" in shown.out
    assert fleet.count("forecast") == 1


def test_a_profile_of_ones_own_is_used_and_named(fleet, command, tmp_path):
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        "ESME: {source: our pilot, delivered: {half: 1h, most: 2h}, verified: {half: 1h, most: 2h},"
        " activated: {half: 1m, most: 2m}, answers: {half: 1m, most: 2m}}"
    )
    assert json.loads(command("--profile", str(profile), "--json").out)["source"] == "our pilot"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--plots", "forecast.pdf"), "should end in .svg or .png"),
        (("--profile", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("--profile", "wrong.yaml"), "wrong.yaml: ESME.delivered"),
        (("--profile", "wrong.yaml", "--learn"), "--profile or --learn, not both"),
        (("--learn",), "behaviour is learnt from 50 at least"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_in_a_sentence(fleet, command, tmp_path, monkeypatch, more, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("ESME: {source: x}")
    ran = command(*more)
    assert ran.code == 1
    assert says in ran.err
    assert ran.err.count("\n") == 1
