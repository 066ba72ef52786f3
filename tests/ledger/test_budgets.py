"""The budget of Service Requests on a real PostgreSQL: what counts, what is kept back, who waits, and never one too many."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.ledger import budgets, outbox, permit, stops
from hanwave.ledger.permit import Ask
from hanwave.rollout.budget import Threshold
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.support.ledger import HASH, US, World

pytestmark = pytest.mark.ledger


def limit(world: World, most: int, variant: str = "11.3", **more: object) -> None:
    fields = {"user_id": US, "variant": variant, "period": "24h", "limit": most, "reserve": 0, **more}
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, [Threshold.model_validate(fields)], "ann", world.now)


def level(world: World) -> budgets.Level:
    with world.engine.connect() as connection:
        (found,) = budgets.levels(connection, world.now)
        return found


def granted(world: World, ids: list[int]) -> list[int]:
    return [each for each in ids if activate(world, each).outbox_id]


def test_no_more_is_granted_than_the_threshold_has_room_for_until_the_period_turns(world):
    ids = hold_image(world, 5)
    limit(world, 3)
    began = world.now
    for update_id in ids[:3]:
        send(world, activate(world, update_id).outbox_id)
        world.later(hours=1)
    refused = activate(world, ids[3]).refused[ids[3]]
    assert refused.reason.startswith("the budget of SR 11.3 is used: 3 of 3")
    assert refused.until == began + timedelta(days=1)
    world.now = refused.until - timedelta(seconds=1)
    assert activate(world, ids[3]).outbox_id is None
    world.now = refused.until
    assert granted(world, ids[3:]) == [ids[3]]


def test_what_is_granted_and_not_yet_sent_counts_and_what_is_given_back_does_not(world):
    ids = hold_image(world, 3)
    limit(world, 1)
    first = activate(world, ids[0]).outbox_id
    assert granted(world, ids[1:]) == []
    assert level(world).used.forward == 1
    with world.engine.begin() as connection:
        outbox.never_sent(connection, first, world.now, "a test")
    assert level(world).used.total == 0
    assert granted(world, ids[1:]) == [ids[1]]


def test_a_leave_of_which_nothing_was_used_is_taken_back(world):
    (update_id,) = hold_image(world)
    limit(world, 5)
    request = activate(world, update_id).outbox_id
    with world.engine.begin() as connection:
        outbox.make_ready(connection, request, b"<request/>")
        leave = outbox.begin(connection, request, world.now)
        assert isinstance(leave, outbox.Sending)
        outbox.never_left(connection, request, leave, world.now)
    assert level(world).used.forward == 1
    with world.engine.begin() as connection:
        assert isinstance(outbox.begin(connection, request, world.now), outbox.Sending)
    assert level(world).used.forward == 1


def test_each_repeat_of_a_post_counts_and_waits_for_room(world):
    (update_id,) = hold_image(world)
    limit(world, 2)
    request = activate(world, update_id).outbox_id
    send(world, request, None)
    with world.engine.begin() as connection:
        assert isinstance(outbox.begin(connection, request, world.now), outbox.Sending)
    assert level(world).used.forward == 2
    with world.engine.begin() as connection:
        outbox.no_answer(connection, request, world.now)
        assert "budget of SR 11.3" in str(outbox.begin(connection, request, world.now))
    assert level(world).used.forward == 2


def test_a_batch_counts_each_device_or_once_as_the_table_says(world):
    ids = world.campaign(world.fleet(10))
    limit(world, 6, "11.1")
    permitted = distribute(world, ids)
    assert len(permitted.granted) == 6
    assert level(world).used.forward == 6
    limit(world, 2, "11.1", per_device=False)
    assert level(world).used.forward == 1
    assert len(distribute(world, [each for each in ids if each not in permitted.granted]).granted) == 4


def test_the_reserve_is_kept_for_cancelling(world):
    ids = hold_image(world, 3)
    limit(world, 3, reserve=1)
    assert granted(world, ids) == ids[:2]
    with world.engine.begin() as connection:
        asked = budgets.Asked(US, "11.3", Leg.WITHDRAW, "spring", 5)
        assert budgets.take(connection, asked, world.now).devices == 1


def test_others_use_of_the_user_id_leaves_less(world):
    ids = hold_image(world, 3)
    limit(world, 10, others=2)
    with world.engine.begin() as connection:
        for units in (3, 9):
            budgets.feed_others(connection, [budgets.OthersRow(US, "11.3", world.now, units)])
    assert level(world).used.others == 9
    assert granted(world, ids) == ids[:1]
    assert level(world).warning


def test_a_read_counts_under_its_own_variant(world):
    (update_id,) = hold_image(world)
    limit(world, 1, "11.2")
    send(world, activate(world, update_id).outbox_id)
    world.later(days=2)
    say(world, update_id, Kind.OVERDUE, Leg.ACTIVATE)
    with world.engine.begin() as connection:
        assert permit.ask(connection, Ask("spring", 1, Leg.READ, [update_id], "11.2"), world.now).outbox_id
    assert level(world).used.observe == 1


def test_what_was_sent_is_kept_for_thirteen_months_and_then_deleted_a_batch_at_a_time(world, monkeypatch):
    ids = hold_image(world, 3)
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
        world.later(seconds=10)
    sent = world.count("request_use")
    monkeypatch.setattr(budgets, "_GONE_AT_ONCE", 2)
    world.later(days=395)
    assert forget(world) == 0
    world.later(days=1)
    assert [forget(world) for _ in range(3)] == [2, sent - 2, 0]


def forget(world: World) -> int:
    with world.engine.begin() as connection:
        return budgets.forget(connection, world.now)


def test_a_roll_up_changes_no_sum_and_lets_nothing_leave_early(world):
    ids = hold_image(world, 4)
    limit(world, 100)
    began = world.now
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
        world.later(seconds=10)
    world.later(minutes=5)
    with world.engine.begin() as connection:
        assert budgets.roll_up(connection, world.now) == 1
        assert budgets.roll_up(connection, world.now) == 0
    assert world.count("request_use", "variant = '11.3'") == 1
    assert level(world).used.forward == 4
    world.now = began + timedelta(days=1, seconds=20)
    assert level(world).used.forward == 4
    world.later(seconds=10)
    assert level(world).used.forward == 0


def test_two_campaigns_share_and_the_urgent_one_comes_first(world):
    euis = world.fleet(20)
    both = {name: world.campaign(part, name=name) for name, part in (("a", euis[:10]), ("b", euis[10:]))}
    for name, ids in both.items():
        send(world, distribute(world, ids, name).outbox_id)
        for update_id in ids:
            say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET status = 'running'"))
        connection.execute(text("UPDATE wave SET opened_at = :now"), {"now": world.now})
    limit(world, 8)

    def ask(name: str) -> int:
        with world.engine.begin() as connection:
            asks = (Ask(name, 1, Leg.ACTIVATE, [each], "11.3") for each in both[name])
            return sum(permit.ask(connection, each, world.now).outbox_id is not None for each in asks)

    assert ask("a") == 4  # b has as much to send, though it has not asked yet
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET urgent = true WHERE name = 'b'"))
    assert ask("a") == 0
    with world.engine.begin() as connection:
        stops.stop(connection, stops.Scope("campaign", "b"), "pause", "a test", "ann", world.now)
    assert ask("a") == 4  # a stopped campaign claims nothing


def test_many_threads_never_exceed_a_budget(world):
    ids = hold_image(world, 24, Policy(waves=(Wave(share=1),), exposure_cap=1000))
    limit(world, 7)
    answers: list[bool] = []

    def worker(mine: list[int]) -> None:
        answers.extend(activate(world, update_id).outbox_id is not None for update_id in mine)

    threads = [threading.Thread(target=worker, args=(ids[n::6],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24
    assert sum(answers) == 7
    assert level(world).used.forward == 7
    assert world.count("outbox", "service_reference = '11.3'") == 7


def test_whoever_takes_of_a_budget_keeps_others_waiting_until_it_is_known_what_was_taken(world):
    """Of one wave permits wait for one another anyway; of several this alone keeps them apart."""
    hold_image(world)
    limit(world, 1, "11.2")
    asked = budgets.Asked(US, "11.2", Leg.READ, "spring", 1)

    def take() -> budgets.Allowed:
        with world.engine.begin() as connection:
            return budgets.take(connection, asked, world.now)

    waits = "wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as pool, world.engine.begin() as first:
        assert budgets.take(first, asked, world.now).devices == 1
        second = pool.submit(take)
        while not second.done() and not world.count("pg_stat_activity", waits):
            time.sleep(0.01)
        assert not second.done()
        first.rollback()
        assert second.result(30).devices == 1


def test_codes_that_nobody_can_explain_stop_a_wave_above_a_number(world):
    ids = hold_image(world, 4, Policy(waves=(Wave(share=1),), unexplained=2))
    for refused, update_id in enumerate(ids[:3], 1):
        send(world, activate(world, update_id).outbox_id, outbox.Answer("E65", b"<no/>"))
        assert world.count("stop", "kind = 'breaker'") == (refused > 2)
    assert world.count("stop", "reason LIKE '%E65 for 3 devices'") == 1
    assert "breaker" in activate(world, ids[3]).refused[ids[3]].reason


def test_refusals_that_explain_themselves_stop_no_wave(world):
    ids = hold_image(world, 3, Policy(waves=(Wave(share=1),), unexplained=0))
    for update_id, code in zip(ids, ("E4", "E20", "E19"), strict=True):
        send(world, activate(world, update_id).outbox_id, outbox.Answer(code, b"<no/>"))
    assert world.count("stop") == 0


def test_without_a_threshold_nothing_is_bounded_and_everything_is_counted(world):
    ids = hold_image(world, 3)
    for update_id in ids:
        send(world, activate(world, update_id).outbox_id)
    limit(world, 100)
    assert level(world).used.forward == 3


def test_the_same_table_again_replaces_what_was_there(world):
    world.campaign(world.fleet(1))
    limit(world, 5)
    limit(world, 6)
    assert level(world).threshold.limit == 6
    assert world.count("note", "verb = 'import thresholds'") == 2
    assert level(world).share == 0


def test_a_look_out_of_turn_waits_for_the_budget_of_reads_too(world):
    first, second = hold_image(world, 2)
    limit(world, 1, "11.2")
    with world.engine.begin() as connection:
        assert permit.look(connection, first, world.now)
        assert permit.look(connection, second, world.now) is None
    assert level(world).used.observe == 1
    world.later(days=1, seconds=1)
    with world.engine.begin() as connection:
        assert permit.look(connection, second, world.now) is None  # granted and not yet sent: it counts until it is
