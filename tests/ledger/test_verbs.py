"""What people do to a campaign, straight in the ledger: once a key, and never on a plan that they have not read."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hanwave.ledger import campaigns, control, overview, pacing, planning, rollback, stops, throttle, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By
from hanwave.ledger.standing import Fact, record
from hanwave.ledger.stops import Scope
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.policy import Gate, Policy, Wave
from hanwave.rollout.request import CampaignRequest
from tests.ledger.test_permit_and_outbox import distribute, hold_image, say, send
from tests.support.ledger import US, World

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


def by(world: World, actor: str = "ann", key: str | None = None, digest: str | None = None) -> By:
    return By(actor, "checked", digest or world.digest(), key)


def resume(world: World, leg: Leg | None = None, **more):
    return control.resume(world.engine, NAME, by(world, **more), leg)


def approve(world: World, **more):
    return control.approve(world.engine, NAME, world.digest(), "bob", **more)


def go_on(world: World, **more):
    return control.go_on(world.engine, NAME, by(world, **more))


def change_pace(world: World, per_second: float = 2.5, **more):
    return control.change_pace(world.engine, NAME, per_second, by(world, **more))


def roll_back(world: World, **more):
    return rollback.plan_rollback(world.engine, NAME, [], by(world, **more))


def everything(world: World) -> list[object]:
    """What the ledger holds of stops, notes, waves and campaigns."""
    with world.engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT * FROM {t}")).all() for t in ("stop", "note", "wave", "campaign", "pace")
        ]


@pytest.mark.parametrize("verb", [pause, halt, resume, approve, go_on, change_pace, roll_back])
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


def test_a_pause_under_the_key_of_one_that_was_lifted_stops_again(spring):
    first = pause(spring, key="k-1")
    resume(spring)
    assert pause(spring, key="k-1") > first
    assert spring.count("stop", "lifted_at IS NULL") == 1


@pytest.mark.parametrize("said", ["\x00", " \n", "\ud800\udfff", "\x1b[2J", "x" * 100_000])
def test_nothing_that_is_written_as_its_reason_actor_or_key_keeps_a_halt_from_holding(spring, said):
    scope = Scope("campaign", NAME)
    control.halt(spring.engine, scope, said, said, patience=1, key=said)
    with spring.engine.connect() as connection:
        (stop,) = stops.open_stops(connection, NAME)
    assert str(stop).isprintable()
    assert len(stop.reason) <= 1000


def test_no_halt_waits_while_another_campaigns_updates_are_closed(spring):
    """Closing many takes a minute: a row that somebody has locked stands for it."""
    with ThreadPoolExecutor(2) as pool, spring.engine.begin() as busy:
        busy.execute(text("SELECT FROM campaign_device FOR UPDATE"))
        withdrawn = pool.submit(control.withdraw_campaign, spring.engine, NAME, "smoke", "ann")
        until(
            lambda: spring.count("pg_stat_activity", "wait_event_type = 'Lock' AND datname = current_database()") == 1
        )
        halted = pool.submit(control.halt, spring.engine, Scope("all"), "fire", "ann", patience=1)
        assert halted.result(30).quiet_at is not None
        assert not withdrawn.done()
        busy.rollback()
        assert withdrawn.result(30) == 0
    assert spring.count("campaign_device", "outcome = 'superseded'") == 3


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


@pytest.mark.parametrize("at_once", [1, 2000])
def test_a_campaign_that_is_withdrawn_again_is_closed_to_its_end_and_what_ended_stays_as_it_ended(
    spring, monkeypatch, at_once
):
    """Killed in between, whoever asks again finishes it, under the same key too."""
    monkeypatch.setattr(control, "_CLOSED_AT_ONCE", at_once)
    withdraw = partial(control.withdraw_campaign, spring.engine, NAME, "smoke", "ann", key="k-1")
    with monkeypatch.context() as dies:
        dies.setattr(control, "_close_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            withdraw()
    with spring.engine.begin() as connection:
        first = connection.execute(text("SELECT min(id) FROM campaign_device")).scalar_one()
        record(connection, [Fact(first, Event(Kind.SETTLED, spring.now))], spring.now)
    assert withdraw() == withdraw() == 0
    assert spring.count("campaign_device", "outcome = 'superseded'") == 2
    assert spring.state(first) is State.SETTLED
    assert spring.count("stop") == spring.count("note") == 1


def test_a_withdrawn_campaign_keeps_the_devices_whose_requests_the_dcc_holds(world):
    """A display activates what is released to it tomorrow: no other campaign may have it meanwhile."""
    world.device_type = "PPMID"
    ids = world.campaign(world.fleet(2), name=NAME)
    send(world, distribute(world, ids).outbox_id)
    say(world, ids[0], Kind.QUARANTINED, Leg.DISTRIBUTE)
    assert control.withdraw_campaign(world.engine, NAME, "smoke", "ann") == 1
    assert [world.state(each) for each in ids] == [State.QUARANTINED, State.CLOSED]
    assert world.count("lease") == world.count("lease", f"update_id = {ids[0]}") == 1


def test_a_sweep_leaves_to_the_next_one_what_somebody_else_has_in_hand(spring):
    """With rows of its own locked it must wait for nobody, who may wait for those."""
    superseded = []
    with spring.engine.begin() as busy:
        busy.execute(text("SELECT FROM campaign_device ORDER BY id LIMIT 1 FOR UPDATE"))
        for holder in (busy, None):
            with spring.engine.begin() as sweep:
                sweep.execute(text("SET LOCAL lock_timeout = '20s'"))
                control.close_withdrawn(sweep, NAME, "smoke", spring.now)
            superseded.append(spring.count("campaign_device", "outcome = 'superseded'"))
            if holder:
                holder.rollback()
    assert superseded == [2, 3]


def test_the_author_approves_in_no_spelling_and_nobody_twice(spring):
    for actor in ("ann", "Ann", " ANN\t", "\uff41\uff4e\uff4e"):
        with pytest.raises(LedgerError, match="is the author"):
            control.approve(spring.engine, NAME, spring.digest(), actor)
    for actor in ("bob", "Bob ", "B\u00a0OB".replace("\u00a0", "")):
        assert control.approve(spring.engine, NAME, spring.digest(), actor) == 1
    with spring.engine.connect() as connection:
        assert len(overview.known(connection, NAME).approvers) == 1


@pytest.mark.parametrize("verb", [resume, go_on, change_pace, roll_back])
@pytest.mark.parametrize("digest", ["0" * 64, "digest", "DIGEST-SPRING", " "])
def test_what_widens_is_refused_on_another_plan_than_was_read(spring, verb, digest):
    failed_gate(spring)
    pause(spring)
    before = everything(spring)
    with pytest.raises(
        LedgerError, match=r"the plan of spring is digest-spring, not '.*': read it again before you act"
    ):
        verb(spring, digest=digest)
    assert everything(spring) == before


def test_the_first_digits_of_a_digest_name_the_plan_and_fewer_do_not(spring):
    digest = "3f0c8d21a4b96e75" + "0" * 48
    with spring.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET digest = :digest"), {"digest": digest})
    pause(spring)
    with pytest.raises(LedgerError, match="read it again"):
        resume(spring, digest=digest[: overview.SHOWN - 1])
    assert len(resume(spring, digest=digest[: overview.SHOWN])) == 1


def test_an_approval_takes_the_whole_digest_and_a_changed_plan_voids_it(spring):
    assert approve(spring) == 1
    with spring.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET digest = 'another-plan-of-this-name'"))
    with spring.engine.connect() as connection:
        assert overview.known(connection, NAME).approvers == []
    with pytest.raises(LedgerError, match="the plan's digest is"):
        control.approve(spring.engine, NAME, "another-plan-of-th", "bob")


def test_two_people_are_two_approvals_and_one_person_twice_is_one(spring):
    assert [control.approve(spring.engine, NAME, spring.digest(), who) for who in ("bob", "bob", "eve")] == [1, 1, 2]
    with pytest.raises(LedgerError, match="ann is the author"):
        control.approve(spring.engine, NAME, spring.digest(), "ann")


def test_no_wave_begins_before_its_plan_is_approved_not_even_one_that_is_started_by_hand(world):
    world.release_document()
    world.fleet(3)
    policy = Policy(waves=(Wave(share=1),), gate=Gate(harm=0.9, silence=0.9, confidence=0.6))
    request = CampaignRequest(release="r2", policy=policy, author="ann", approvals=1)
    with world.engine.begin() as connection:
        planning.freeze(connection, NAME, request, US, world.now)
    with world.engine.begin() as connection, pytest.raises(LedgerError, match="0 of 1 approvals of its plan"):
        waves.open_wave(connection, NAME, 1, world.now)
    control.approve(world.engine, NAME, world.digest(), "bob")
    with world.engine.begin() as connection:
        waves.open_wave(connection, NAME, 1, world.now)
    assert world.count("wave", "opened_at IS NOT NULL") == 1


def legs(world: World) -> list[str | None]:
    """The legs that are stopped."""
    with world.engine.connect() as connection:
        return list(connection.execute(text("SELECT leg FROM stop WHERE lifted_at IS NULL ORDER BY leg")).scalars())


def test_each_leg_is_paused_and_resumed_apart(spring):
    for leg in (Leg.DISTRIBUTE, Leg.ACTIVATE):
        control.pause(spring.engine, NAME, leg, "storm", "ann")
    assert ["activate only" in each for each in resume(spring, Leg.ACTIVATE)] == [True]
    assert legs(spring) == ["distribute"]


def test_one_leg_of_a_pause_of_both_goes_on_alone_and_the_other_keeps_its_reason(spring):
    control.pause(spring.engine, NAME, None, "storm", "eve")
    resume(spring, Leg.ACTIVATE)
    assert legs(spring) == ["distribute"]
    assert spring.count("stop", "lifted_at IS NULL AND reason = 'storm' AND actor = 'eve' AND kind = 'pause'") == 1
    resume(spring, Leg.DISTRIBUTE)
    assert legs(spring) == []


def test_no_other_leg_is_paused_or_resumed(spring):
    for verb in (
        lambda: control.pause(spring.engine, NAME, Leg.READ, "storm", "ann"),
        lambda: resume(spring, Leg.READ),
    ):
        with pytest.raises(LedgerError, match=r"read is no leg .* it should be distribute or activate, or none: both"):
            verb()
    assert legs(spring) == []


def test_a_resume_of_one_leg_lifts_no_halt(spring):
    halt(spring)
    with pytest.raises(
        LedgerError, match="no pause of activate stops 'spring', but halt of campaign spring by ann: smoke"
    ):
        resume(spring, Leg.ACTIVATE)
    assert legs(spring) == [None]


def current(world: World) -> float:
    with world.engine.connect() as connection:
        return throttle.pace(connection, NAME)


def test_the_last_pace_that_was_set_holds_and_each_stays_on_record(spring):
    planned = current(spring)
    assert [change_pace(spring, rate) for rate in (5, 2.5, planned)] == [planned, 5, 2.5]
    assert current(spring) == planned
    assert spring.count("pace") == 3


@pytest.mark.parametrize("rate", [0, -1, 1e9, float("nan"), float("inf")])
def test_no_pace_is_above_the_approved_plans_nor_a_stop_in_disguise(spring, rate):
    before = everything(spring)
    with pytest.raises(LedgerError, match="at most its approved plan's 20 a second") as refused:
        change_pace(spring, rate)
    assert len(str(refused.value)) <= 240
    assert everything(spring) == before


def test_a_campaign_that_is_over_has_no_pace_to_change(spring):
    with spring.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET closed_at = now()"))
    with pytest.raises(LedgerError, match="is over"):
        change_pace(spring)


def test_a_pace_is_never_changed_in_place(spring):
    change_pace(spring)
    with pytest.raises(DBAPIError, match=r"append-only|permission denied"), spring.engine.begin() as connection:
        connection.execute(text("UPDATE pace SET per_second = 1000"))


def test_a_sweep_gives_turns_at_the_pace_that_was_set(world):
    hold_image(world, 20)
    change_pace(world, 0.5)
    with world.engine.begin() as connection:
        frame = campaigns.frame(connection, NAME)
        given = [
            len(pacing.pick(connection, frame, 1, world.later(seconds=10), timedelta(seconds=10))) for _ in range(3)
        ]
    assert given == [5, 5, 5]
