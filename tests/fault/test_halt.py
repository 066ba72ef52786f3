"""A halt: nothing forward begins after it is recorded, what can be recalled is cancelled, and the rest is named."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from activities.withdraw import Withdrawals
from hanwave.identifiers import RequestID
from hanwave.ledger import beats, control, outbox, permit, quarantine, stops, withdrawal
from hanwave.ledger.checks import NotNow
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.ledger.test_routing import deliver as hear
from tests.support import messages as m
from tests.support.ledger import ACB, HASH, VERSION, World

pytestmark = pytest.mark.fault
OK = outbox.Answer("I99", b"<ok/>")
DATED = Policy(
    waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED, lead=timedelta(hours=6), exposure_cap=10_000
)
SPRING = stops.Scope("campaign", "spring")


@pytest.fixture
def world(ledger) -> World:
    # A halt looks at the real clock, so these tests do too.
    made = World(ledger)
    made.now = datetime.now(made.now.tzinfo)
    return made


def ask(world: World, leg: Leg, ids: list[int], campaign: str = "spring") -> permit.Permit:
    batch = leg is Leg.DISTRIBUTE
    service = ("11.4" if world.device_type == "PPMID" else "11.1") if batch else "11.3"
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask(campaign, 1, leg, ids, service, ACB if batch else None), world.now)


def begin(world: World, outbox_id: int | None) -> outbox.Sending | str:
    assert outbox_id is not None
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
        return outbox.begin(connection, outbox_id, world.now)


def answer(world: World, outbox_id: int | None, answer: outbox.Answer | None = OK) -> None:
    with world.engine.begin() as connection:
        if answer:
            outbox.answered(connection, outbox_id or 0, answer, world.now)
        else:
            outbox.no_answer(connection, outbox_id or 0, world.now)


def send(world: World, outbox_id: int | None, reply: outbox.Answer | None = OK) -> None:
    assert isinstance(begin(world, outbox_id), outbox.Sending)
    answer(world, outbox_id, reply)


def say(world: World, ids: list[int], kind: Kind, leg: Leg | None = None, attempt: int = 1, **more: str) -> None:
    facts = [Fact(i, Event(kind, world.now, leg, attempt=attempt, evidence=Evidence.DEVICE, **more)) for i in ids]
    with world.engine.begin() as connection:
        record(connection, facts, world.now)


def held(world: World, size: int, policy: Policy | None = None) -> list[int]:
    ids = world.campaign(world.fleet(size), policy)
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    say(world, ids, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    return ids


def scheduled(world: World, size: int, policy: Policy = DATED) -> list[int]:
    ids = held(world, size, policy)
    for update_id in ids:
        send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id)
    say(world, ids, Kind.SCHEDULED, Leg.ACTIVATE)
    assert world.count("campaign_device", "state = 'scheduled'") == size
    return ids


def halt(world: World, scope: stops.Scope = SPRING) -> control.Halted:
    return control.halt(world.engine, scope, "smoke", "ann", patience=1)


def listed(halted: control.Halted) -> dict[str, str]:
    return {device.eui: device.why for device in halted.beyond_recall}


def due(world: World) -> list[int]:
    with world.engine.connect() as connection:
        return [each.update_id for each in withdrawal.due(connection, world.now, 1000)]


class Cancels:
    """Delivers what the withdrawals give it, as the DCC would take it."""

    def __init__(self, world: World, reply: outbox.Answer | None = OK) -> None:
        self.world, self.reply, self.sent = world, reply, []
        self.withdrawals = Withdrawals(world.engine, self.deliver, lambda: world.now)

    def deliver(self, outbox_id: int) -> str | None:
        send(self.world, outbox_id, self.reply)
        self.sent.append(outbox_id)
        return None


# The withdrawals.


@pytest.mark.parametrize(
    "scope",
    [
        stops.Scope("all"),
        stops.Scope("user", "90-B3-D5-1F-30-01-00-00"),
        stops.Scope("model", "121D/1111"),
        SPRING,
        stops.Scope("wave", "spring/1"),
        stops.Scope("campaign", "spring", Leg.ACTIVATE),
    ],
    ids=str,
)
def test_a_halt_of_any_scope_cancels_what_is_future_dated(world, scope):
    ids = scheduled(world, 3)
    assert due(world) == []
    halted = halt(world, scope)
    assert set(listed(halted).values()) == {"it holds a future-dated activation that is not yet cancelled"}
    cancels = Cancels(world)
    assert cancels.withdrawals.round() == 3
    assert world.count("outbox", "permit_class = 'withdraw' AND leg = 'withdraw' AND state = 'acknowledged'") == 3
    say(world, ids, Kind.WITHDRAWN, Leg.ACTIVATE)
    assert {world.state(i) for i in ids} == {State.HELD}
    assert cancels.withdrawals.round() == 0
    assert listed(halt(world, scope)) == {}


@pytest.mark.parametrize("scope", [stops.Scope("campaign", "summer"), stops.Scope("wave", "spring/2")], ids=str)
def test_a_halt_of_another_scope_cancels_nothing(world, scope):
    scheduled(world, 1)
    assert listed(halt(world, scope)) == {}
    assert due(world) == []


def test_a_pause_cancels_nothing_and_a_breaker_does(world):
    (update_id,) = scheduled(world, 1)
    control.pause(world.engine, "spring", None, "storm", "ann")
    assert due(world) == []
    with world.engine.begin() as connection:
        stops.open_breaker(connection, "spring/1", "harm", world.now)
    assert due(world) == [update_id]


def test_a_cancels_counter_is_above_its_activations_and_needs_no_warden(world):
    scheduled(world, 1)
    halt(world)
    with world.engine.begin() as connection:
        beats.beat(connection, beats.WARDEN, world.now - timedelta(hours=3))
    Cancels(world).withdrawals.round()
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT request_id FROM outbox WHERE service_reference = '11.3' ORDER BY id"))
        counters = [int(request_id.split(":")[2]) for request_id in rows.scalars()]
    assert len(counters) == 2
    assert counters[1] > counters[0]


def test_an_activation_whose_answer_is_not_in_yet_is_cancelled_too(world):
    (update_id,) = held(world, 1, DATED)
    send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id, None)
    assert listed(halt(world)).values()
    assert due(world) == [update_id]


@pytest.mark.parametrize(
    ("reply", "again"), [(None, withdrawal.AGAIN), (OK, withdrawal.UNHEARD)], ids=["lost", "taken"]
)
def test_a_cancel_is_not_asked_for_twice_but_again_when_nothing_came_of_it(world, reply, again):
    (update_id,) = scheduled(world, 1)
    halt(world)
    cancels = Cancels(world, reply)
    assert cancels.withdrawals.round() == 1
    assert cancels.withdrawals.round() == 0
    assert ask(world, Leg.WITHDRAW, [update_id]).refused == {update_id: NotNow("it has nothing to withdraw now")}
    world.later(seconds=again.total_seconds() - 1)
    assert cancels.withdrawals.round() == 0
    world.later(seconds=2)
    assert cancels.withdrawals.round() == 1
    assert world.count("outbox_device", "leg = 'withdraw'") == 2


def test_gateways_at_once_cancel_each_device_once(world):
    scheduled(world, 12)
    halt(world)
    gateways = [Cancels(world) for _ in range(3)]
    threads = [threading.Thread(target=each.withdrawals.round) for each in gateways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("outbox", "permit_class = 'withdraw'") == 12
    assert sum(len(each.sent) for each in gateways) == 12


def test_a_cancel_that_was_granted_before_a_kill_leaves_after_it(world):
    (update_id,) = scheduled(world, 1)
    halt(world)
    granted = ask(world, Leg.WITHDRAW, [update_id])
    cancels = Cancels(world)
    assert cancels.withdrawals.round() == 1
    assert cancels.sent == [granted.outbox_id]


def test_a_cancel_that_fails_holds_up_no_other(world):
    scheduled(world, 3)
    halt(world)
    cancels = Cancels(world)
    first = []

    def deliver(outbox_id: int) -> str | None:
        if not first:
            first.append(outbox_id)
            return "no connection"
        return cancels.deliver(outbox_id)

    withdrawals = Withdrawals(world.engine, deliver, lambda: world.now)
    assert withdrawals.round() == 2
    assert withdrawals.round() == 1
    assert set(first) < set(cancels.sent)


def test_the_earliest_is_cancelled_first_and_what_has_fallen_due_is_not(world):
    ids = held(world, 3, DATED)
    for update_id in reversed(ids):
        send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id)
        world.later(minutes=10)
    halt(world)
    assert due(world) == ids[::-1]
    world.later(hours=5, minutes=31)
    assert due(world) == ids[1::-1]
    world.later(hours=1)
    assert due(world) == []


def test_the_gateways_loop_withdraws_by_itself_and_survives_a_failure(world):
    scheduled(world, 2)
    cancels = Cancels(world)
    failures = [RuntimeError("the ledger is gone")]

    def deliver(outbox_id: int) -> str | None:
        if failures:
            raise failures.pop()
        return cancels.deliver(outbox_id)

    withdrawals = Withdrawals(world.engine, deliver, lambda: world.now)
    end = threading.Event()
    thread = threading.Thread(target=withdrawals.run, args=(end,))
    thread.start()
    try:
        halt(world)
        deadline = time.monotonic() + 15
        while len(cancels.sent) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        end.set()
        thread.join()
    assert len(cancels.sent) == 2


# The bound on what is outstanding.


def test_no_more_are_outstanding_than_can_be_cancelled_before_the_earliest(world):
    policy = DATED.model_copy(update={"cancels": 1.0, "lead": timedelta(seconds=10)})
    ids = held(world, 12, policy)
    granted = [ask(world, Leg.ACTIVATE, [i]).outbox_id is not None for i in ids]
    assert granted.count(True) in (9, 10)  # the date has whole seconds
    world.later(seconds=5)
    refused = ask(world, Leg.ACTIVATE, [ids[-1]])
    assert "than can be cancelled before the earliest falls due" in refused.refused[ids[-1]].reason
    world.later(seconds=6)
    assert ask(world, Leg.ACTIVATE, [ids[-1]]).granted


def test_permits_at_once_do_not_exceed_the_bound(world):
    policy = DATED.model_copy(update={"cancels": 1.0, "lead": timedelta(seconds=5)})
    ids = held(world, 10, policy)
    threads = [threading.Thread(target=ask, args=(world, Leg.ACTIVATE, [i])) for i in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("outbox", "leg = 'activate'") in (4, 5)


def test_a_policy_under_which_nothing_could_be_cancelled_is_refused():
    with pytest.raises(ValidationError, match="none could be withdrawn in time"):
        Policy(activation=ActivationMode.FUTURE_DATED, cancels=0.001, lead=timedelta(minutes=1))


# What a halt says.


def test_a_post_that_is_under_way_is_waited_for_before_the_halt_is_recorded(world):
    ids = held(world, 2)
    slow = ask(world, Leg.ACTIVATE, ids[:1]).outbox_id
    assert isinstance(begin(world, slow), outbox.Sending)
    done: list[control.Halted] = []
    halting = threading.Thread(target=lambda: done.append(halt(world)))
    halting.start()
    time.sleep(0.5)
    assert not done
    answered = datetime.now(world.now.tzinfo)
    answer(world, slow)
    halting.join(10)
    assert done[0].recorded_at >= answered
    assert done[0].quiet_at
    assert set(listed(done[0])) == {"00-DB-00-00-00-00-00-00"}


def test_another_campaigns_posts_hold_up_no_halt(world):
    ids = held(world, 1)
    assert isinstance(begin(world, ask(world, Leg.ACTIVATE, ids).outbox_id), outbox.Sending)
    began = time.monotonic()
    stop_sending = threading.Event()

    def go_on() -> None:
        # Another campaign's requests, one after the other without a pause.
        while not stop_sending.wait(0.01):
            with world.engine.begin() as connection:
                connection.execute(text("UPDATE outbox SET sending_at = clock_timestamp() WHERE state = 'sending'"))

    thread = threading.Thread(target=go_on)
    thread.start()
    halted = halt(world, stops.Scope("campaign", "summer"))
    stop_sending.set()
    thread.join()
    assert halted.quiet_at
    assert time.monotonic() - began < 5


def test_what_was_granted_and_never_left_is_given_back_and_not_listed(world):
    ids = held(world, 3)
    granted = [ask(world, Leg.ACTIVATE, [i]).outbox_id for i in ids]
    send(world, granted[0])
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted[1] or 0, b"<request/>")
    assert len(listed(halt(world))) == 1
    assert [world.state(i) for i in ids] == [State.ACTIVATING, State.HELD, State.HELD]
    for outbox_id in granted[1:]:
        assert begin(world, outbox_id) == "the request is abandoned"
        with world.engine.begin() as connection:
            assert outbox.begin_transform(connection, outbox_id or 0, world.now) == "the request is abandoned"


def test_a_halt_of_a_model_stops_what_was_permitted_for_it(world):
    (update_id,) = held(world, 1)
    granted = ask(world, Leg.ACTIVATE, [update_id]).outbox_id
    with world.engine.begin() as connection:
        stops.stop(connection, stops.Scope("model", "121D/1111"), "halt", "smoke", "ann", world.now)
    assert begin(world, granted) == "the model of a device of it is stopped"
    with world.engine.begin() as connection:
        assert outbox.begin_transform(connection, granted or 0, world.now) == "the request is ready"


def test_the_transform_service_is_not_asked_for_a_halted_request(world):
    (update_id,) = held(world, 1)
    granted = ask(world, Leg.ACTIVATE, [update_id]).outbox_id
    with world.engine.begin() as connection:
        stops.stop(connection, SPRING, "halt", "smoke", "ann", world.now)
        assert "halt of campaign spring" in str(outbox.begin_transform(connection, granted or 0, world.now))


def _activating(world: World) -> list[int]:
    ids = held(world, 1)
    send(world, ask(world, Leg.ACTIVATE, ids).outbox_id)
    return ids


def _ambiguous(world: World) -> list[int]:
    ids = held(world, 1)
    send(world, ask(world, Leg.ACTIVATE, ids).outbox_id, None)
    return ids


def _overdue(world: World) -> list[int]:
    ids = _activating(world)
    say(world, ids, Kind.OVERDUE, Leg.ACTIVATE)
    return ids


def _quarantined(world: World) -> list[int]:
    ids = _activating(world)
    say(world, ids, Kind.QUARANTINED, Leg.ACTIVATE)
    return ids


def _closed_unknown(world: World) -> list[int]:
    ids = _overdue(world)
    say(world, ids, Kind.CLOSED, detail="unknown")
    return ids


def _quarantined_batch(world: World) -> list[int]:
    ids = world.campaign(world.fleet(1))
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    say(world, ids, Kind.QUARANTINED, Leg.DISTRIBUTE)
    return ids


def _ppmid(world: World, *kinds: Kind, reply: outbox.Answer | None = OK, **more: str) -> list[int]:
    world.device_type = "PPMID"
    ids = world.campaign(world.fleet(1))
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id, reply)
    for kind in kinds:
        say(world, ids, kind, Leg.DISTRIBUTE, **(more if kind is Kind.CLOSED else {}))
    return ids


BEYOND = {
    "an 11.3 without outcome": _activating,
    "an 11.3 without acknowledgement": _ambiguous,
    "an overdue 11.3": _overdue,
    "a quarantined 11.3": _quarantined,
    "an 11.3 closed as unknown": _closed_unknown,
    "a quarantined 11.1": _quarantined_batch,
    "an accepted 11.4": _ppmid,
    "an 11.4 without acknowledgement": lambda world: _ppmid(world, reply=None),
    "an 11.4 on the hub": lambda world: _ppmid(world, Kind.DELIVERED),
    "a transferred 11.4": lambda world: _ppmid(world, Kind.TRANSFERRED),
    "an overdue 11.4": lambda world: _ppmid(world, Kind.OVERDUE),
    "a transferred and overdue 11.4": lambda world: _ppmid(world, Kind.TRANSFERRED, Kind.OVERDUE),
    "an 11.4 given up": lambda world: _ppmid(world, Kind.OVERDUE, Kind.CLOSED, detail="not_delivered"),
    "an 11.4 of a withdrawn campaign": lambda world: _ppmid(world, Kind.CLOSED, detail="superseded"),
}
RECALLED = {
    "an image that is only held": lambda world: held(world, 1),
    "an accepted 11.1": lambda world: send(world, ask(world, Leg.DISTRIBUTE, world.campaign(world.fleet(1))).outbox_id),
    "an activation that is over": lambda world: say(
        world, _activating(world), Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION
    ),
    "an activation that failed": lambda world: say(world, _activating(world), Kind.ACTIVATION_FAILED, Leg.ACTIVATE),
    "a deleted quarantined 11.3": lambda world: say(world, _quarantined(world), Kind.DELETED, Leg.ACTIVATE),
    "a PPMID that was never asked": lambda world: ask(world, Leg.DISTRIBUTE, world.campaign(world.fleet(1))),
    "a PPMID that runs it": lambda world: say(world, _ppmid(world), Kind.ACTIVATED, Leg.DISTRIBUTE, version=VERSION),
}


@pytest.mark.parametrize("made", BEYOND.values(), ids=BEYOND)
def test_what_may_still_activate_is_listed(world, made):
    made(world)
    assert set(listed(halt(world))) == {"00-DB-00-00-00-00-00-00"}


@pytest.mark.parametrize("made", RECALLED.values(), ids=RECALLED)
def test_what_cannot_activate_is_not_listed(world, made):
    made(world)
    assert listed(halt(world)) == {}


def test_what_activates_while_the_halt_waits_for_quiet_is_listed(world):
    ids = held(world, 2)
    send(world, ask(world, Leg.ACTIVATE, ids[:1]).outbox_id)
    slow = ask(world, Leg.ACTIVATE, ids[1:]).outbox_id
    assert isinstance(begin(world, slow), outbox.Sending)
    done: list[control.Halted] = []
    halting = threading.Thread(target=lambda: done.append(halt(world)))
    halting.start()
    time.sleep(0.3)
    say(world, ids[:1], Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    answer(world, slow)
    halting.join(10)
    assert len(listed(done[0])) == 2


@pytest.mark.parametrize(("minutes", "state"), [(1, State.HELD), (361, State.SCHEDULED)])
def test_a_cancel_that_is_answered_after_the_date_tells_nothing(world, minutes, state):
    (update_id,) = scheduled(world, 1)
    halt(world)
    world.later(seconds=1)
    granted = ask(world, Leg.WITHDRAW, [update_id])
    send(world, granted.outbox_id)
    hear(world, m.accepted(RequestID.parse(granted.request_id or ""), world.later(minutes=minutes)))
    assert world.state(update_id) is state


# What a person records of a quarantined request.


def _resolve(world: World, *, released: bool, reason: str = "seen in DCC's portal") -> int:
    with world.engine.begin() as connection:
        (found,) = quarantine.listed(connection)
        return quarantine.resolve(
            connection, found.request_id, released=released, reason=reason, actor="ann", now=world.later(hours=1)
        )


def test_a_released_request_may_still_activate_and_its_deadline_counts_anew(world):
    (update_id,) = _quarantined(world)
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
    ids = _quarantined(world)
    say(world, ids, Kind.ACTIVATED, Leg.ACTIVATE, version=VERSION)
    assert listed(halt(world)) == {}
    with world.engine.connect() as connection:
        assert quarantine.listed(connection) == []


@pytest.mark.parametrize(("request_id", "reason"), [("A:B:1", "seen"), (None, " ")], ids=["unknown", "no reason"])
def test_what_is_not_in_quarantine_or_has_no_reason_is_refused(world, request_id, reason):
    _quarantined(world)
    events = world.count("device_event")
    with world.engine.connect() as connection:
        request_id = request_id or quarantine.listed(connection)[0].request_id
    with pytest.raises(LedgerError, match=r"not in quarantine|needs a reason"), world.engine.begin() as connection:
        quarantine.resolve(connection, request_id, released=True, reason=reason, actor="ann", now=world.now)
    assert world.count("device_event") == events
