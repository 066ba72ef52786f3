"""Whose turn it is, on a real PostgreSQL: regions that fail, hubs, the budget, and the order in a home."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.gateway import Batch, GatewayActivities
from activities.wave import SweepAsk, WaveActivities, WaveRef
from hanwave.ledger import campaigns, outbox, pacing, permit, stops, waves
from hanwave.ledger.permit import Ask
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.pace import Pace
from hanwave.rollout.policy import Attempts, Policy, Wave
from tests.ledger.test_budgets import limit
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.support.ledger import ACB, HASH, World, eui

pytestmark = pytest.mark.ledger
SECONDS = timedelta(seconds=10)


def policy(**pace: object) -> Policy:
    return Policy(waves=(Wave(share=1),), pace=Pace.model_validate({"overall": 2, "sample": 4, **pace}))


def pick(world: World, since: timedelta = SECONDS) -> list[str]:
    world.now += since
    with world.engine.begin() as connection:
        return pacing.pick(connection, campaigns.frame(connection, "spring"), 1, world.now, since)


def move(world: World, euis: list[str], **to: str) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in to)
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE device SET {sets} WHERE eui = ANY(:euis)"), {"euis": euis, **to})


def answer(world: World, ids: list[int], kind: Kind) -> None:
    facts = [Fact(each, Event(kind, world.now, Leg.ACTIVATE, attempt=9, evidence=Evidence.DCC)) for each in ids]
    with world.engine.begin() as connection:
        record(connection, facts, world.now)


def test_turns_are_given_at_the_pace_of_the_policy_and_to_nobody_twice(world):
    hold_image(world, 50, policy())
    first, second = pick(world), pick(world)
    assert len(first) == len(second) == 20
    assert not set(first) & set(second)
    assert pick(world, timedelta(0)) == []


def test_a_stopped_leg_has_no_turns_and_the_other_keeps_its_own(world):
    """The permit would refuse each of them: nobody is woken, and nothing is asked for, to be told so."""
    first, _ = world.campaign(world.fleet(2), policy())
    send(world, distribute(world, [first]).outbox_id)
    say(world, first, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    world.later(minutes=1)

    def turns(*stopped: Leg) -> tuple[int, list[str]]:
        with world.engine.connect() as connection:  # what was picked is rolled back
            for leg in stopped:
                stops.stop(connection, stops.Scope("campaign", "spring", leg), "pause", "storm", "ann", world.now)
            found = waves.sweep(connection, "spring", 1, world.now, SECONDS)
            assert bool(found.stopped) == bool(stopped)
            return found.distribute, found.wake

    assert turns() == (1, [eui(0)])
    assert turns(Leg.DISTRIBUTE) == (0, [eui(0)])
    assert turns(Leg.ACTIVATE) == (1, [])
    assert turns(Leg.DISTRIBUTE, Leg.ACTIVATE) == (0, [])


def test_a_sweep_that_was_lost_before_it_told_anybody_gives_its_turns_again(world):
    """Its worker was killed between the ledger's commit and the engine's: five minutes else, for each of them."""
    hold_image(world, 5, policy())
    sweep = WaveActivities(world.engine, None).sweep_wave
    engine = ActivityEnvironment()
    lost = engine.run(sweep, SweepAsk("spring", 1, 10)).wake
    assert len(lost) == 5
    assert engine.run(sweep, SweepAsk("spring", 1, 10)).wake == []
    engine.info = replace(engine.info, attempt=2)
    assert engine.run(sweep, SweepAsk("spring", 1, 10)).wake == lost


def sweep(world: World) -> waves.Sweep:
    with world.engine.begin() as connection:
        return waves.sweep(connection, "spring", 1, world.now, SECONDS)


def test_a_batch_that_found_no_way_out_is_sent_though_nobody_waits_for_an_image_any_more(world):
    """The DCC was away as the last batch of a wave was to leave: a GSME would have ended as not delivered."""
    granted = distribute(world, world.campaign(world.fleet(2)))
    assert sweep(world).distribute == 1
    send(world, granted.outbox_id)
    assert sweep(world).distribute == 0


def dies_in_its_post(world: World, outbox_id: int | None) -> None:
    assert outbox_id
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
        assert isinstance(outbox.begin(connection, outbox_id, world.now), outbox.Sending)


def test_a_batch_whose_sender_died_is_left_to_a_later_attempt_and_holds_no_wave_open(world):
    """PostgreSQL was killed under a POST: the wave swept and sent without end, seven times a second, and never closed."""
    ids = world.campaign(
        world.fleet(2), Policy(waves=(Wave(share=1),), attempts=Attempts(back_off=timedelta(minutes=1)))
    )
    first = distribute(world, ids)
    dies_in_its_post(world, first.outbox_id)
    world.later(minutes=5)
    say(world, ids[0], Kind.DELIVERY_FAILED, Leg.DISTRIBUTE)
    world.later(minutes=2)
    again = distribute(world, ids[:1])
    assert again.granted, again.refused
    send(world, again.outbox_id)
    world.later(minutes=2)
    assert sweep(world).distribute == 1
    assert send(world, first.outbox_id) == "a later attempt of the same step was permitted"
    world.later(minutes=2)
    assert sweep(world).distribute == 0
    assert world.count("device_event", "kind = 'sent' AND attempt = 1") == 2


def test_a_batch_without_an_answer_is_left_to_its_deadline_once_its_permit_is_old(world):
    granted = distribute(world, world.campaign(world.fleet(1)))
    send(world, granted.outbox_id, None)
    world.later(minutes=2)
    assert sweep(world).distribute == 1
    world.later(minutes=14)
    assert sweep(world).distribute == 0


def test_a_batch_that_may_not_be_sent_again_now_holds_up_no_other_and_is_not_tried_at_once(ledger):
    """Its model was stopped in its POST, say: the wave swept without a rest until the stop was lifted."""
    world = World(ledger, now=datetime.now(UTC) - timedelta(minutes=2))
    ids = world.campaign(world.fleet(3))
    stuck = distribute(world, ids[:1])
    dies_in_its_post(world, stuck.outbox_id)
    tried: list[int] = []
    gateway = GatewayActivities(ledger, tried.append, ACB)
    engine = ActivityEnvironment()
    assert engine.run(gateway.distribute, WaveRef("spring", 1)).granted == 2
    assert engine.run(gateway.distribute, WaveRef("spring", 1)) == Batch(0)
    assert set(tried) >= {stuck.outbox_id}


def test_an_activation_that_found_no_way_out_is_tried_again_before_its_deadline(world):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    assert sweep(world).wake == []
    world.later(minutes=2)
    assert sweep(world).wake == [eui(0)]
    send(world, granted.outbox_id)
    assert sweep(world).wake == []


def test_what_fills_the_cap_is_read_all_the_same_and_nothing_more_is_activated(world):
    ids = hold_image(world, 4, Policy(waves=(Wave(share=1),), exposure_cap=2))
    for each in ids[:2]:
        send(world, activate(world, each).outbox_id)
        world.later(days=2)
        say(world, each, Kind.OVERDUE, Leg.ACTIVATE)
    assert {world.state(each) for each in ids[:2]} == {State.UNKNOWN}
    assert pick(world) == [eui(0), eui(1)]


def test_a_slow_pace_adds_up_over_sweeps(world):
    hold_image(world, 50, policy(overall=0.03))
    assert sum(len(pick(world)) for _ in range(20)) == 6


def test_a_region_has_no_more_than_its_own_pace(world):
    hold_image(world, 50, policy(region=0.5))
    move(world, [eui(n) for n in range(40, 50)], region="North")
    picked = pick(world)
    north = [each for each in picked if each >= eui(40)]
    assert (len(picked), len(north)) == (10, 5)


def test_a_region_that_cannot_be_reached_slows_down_and_holds_no_other_up(world):
    ids = hold_image(world, 60, policy())
    move(world, [eui(n) for n in range(30, 60)], region="North")
    answer(world, ids[50:58], Kind.UNREACHED)  # two samples in one minute count as one
    with world.engine.connect() as connection:
        slowed = pacing.slowed(connection, Pace(overall=2, sample=4), world.now)
        assert slowed == {"North": 1}
    picked = pick(world)
    assert len([each for each in picked if each >= eui(30)]) <= 10
    assert len(picked) == 20
    world.later(hours=2)
    with world.engine.connect() as connection:
        assert pacing.slowed(connection, Pace(overall=2, sample=4), world.now) == {}


def test_failures_that_are_no_communication_failures_slow_nobody(world):
    ids = hold_image(world, 10, policy())
    facts = [
        Fact(each, Event(Kind.REFUSED, world.now, Leg.READ, attempt=9, evidence=Evidence.DCC, detail="E5"))
        for each in ids
    ]
    with world.engine.begin() as connection:
        record(connection, facts, world.now)
        assert pacing.slowed(connection, Pace(sample=4), world.now) == {}


def test_two_activations_behind_one_hub_keep_their_distance(world):
    ids = hold_image(world, 6, policy(hub_gap="10m"))
    move(world, [eui(n) for n in range(6)], hub="hub-1")
    assert pick(world) == [eui(0)]
    send(world, activate(world, ids[0]).outbox_id)
    assert pick(world, timedelta(minutes=9)) == []
    assert pick(world, timedelta(minutes=2)) == [eui(1)]


def test_nobody_is_woken_to_be_told_that_the_budget_is_used(world):
    ids = hold_image(world, 10, policy())
    limit(world, 3)
    assert len(pick(world)) == 3
    for update_id in ids[:3]:
        send(world, activate(world, update_id).outbox_id)
    assert pick(world) == []


def both_in_one_home(world: World) -> tuple[int, int]:
    """An ESME that is due and a GSME that holds its image, in two campaigns that run."""
    (esme,) = world.campaign(world.fleet(1))
    world.device_type = "GSME"
    world.release("g2")
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO device SELECT (jsonb_populate_record(d, jsonb_build_object('eui', CAST(:eui AS text),"
                " 'device_type', 'GSME', 'gas_supplier', d.import_supplier))).* FROM device d"
            ),
            {"eui": eui(9)},
        )
        new = campaigns.NewCampaign("gas", "g2", "90-B3-D5-1F-30-01-00-00", policy(), "seed", "digest-gas", "ann")
        campaigns.create(connection, new, ((eui(9),),), {}, world.now)
        connection.execute(text("UPDATE campaign SET status = 'running'"))
        connection.execute(text("UPDATE wave SET opened_at = :now"), {"now": world.now})
        gsme = connection.execute(text("SELECT id FROM campaign_device WHERE campaign = 'gas'")).scalar_one()
    return esme, gsme


def ask(world: World, campaign: str, update_id: int) -> permit.Permit:
    with world.engine.begin() as connection:
        return permit.ask(connection, Ask(campaign, 1, Leg.DISTRIBUTE, [update_id], "11.1", ACB), world.now)


def test_in_a_home_the_earlier_type_goes_first_where_it_is_due(world):
    esme, gsme = both_in_one_home(world)
    assert ask(world, "gas", gsme).refused[gsme].reason == "the ESME of its home is due, and goes first"
    send(world, ask(world, "spring", esme).outbox_id)
    assert ask(world, "gas", gsme).refused[gsme].reason == "its home has another update under way"
    say(world, esme, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    assert "goes first" in ask(world, "gas", gsme).refused[gsme].reason  # its activation is due


def test_an_earlier_type_that_is_paused_holds_nobody_up(world):
    _, gsme = both_in_one_home(world)
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO stop (scope, value, kind, reason, actor, at)"
                " VALUES ('campaign', 'spring', 'pause', 'a test', 'ann', :now)"
            ),
            {"now": world.now},
        )
    assert ask(world, "gas", gsme).granted == (gsme,)
