"""Updates of several hops: what their events amount to, what is next, and whole courses under every mixture of fates."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.rollout.decide import About, Decision, Outcome, Step, decide
from hanwave.rollout.device import ENDED, Standing, State, Target, fold
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Attempts, DeviceType, Policy
from tests.unit.rollout.making import ACTIVATE, DISTRIBUTE, HASH, NEW, OLD, OTHER, READ, START, event, hours, sent
from tests.unit.rollout.world import FATES, Says

pytestmark = pytest.mark.unit
BETWEEN, MIDDLE_HASH = "0123ABC0", "EF" * 32
ESME, GSME, PPMID = DeviceType.ESME, DeviceType.GSME, DeviceType.PPMID


def path(device_type: DeviceType = ESME) -> tuple[Target, ...]:
    one_step = device_type.one_step
    return Target(BETWEEN, MIDDLE_HASH, one_step), Target(NEW, HASH, one_step, 2)


def stand(events: list[Event], device_type: DeviceType = ESME) -> Standing:
    return fold(events, *path(device_type))


def step(events: list[Event], hour: float, device_type: DeviceType = ESME, images: int = 0) -> Decision:
    return decide(stand(events, device_type), device_type, Policy(), hours(hour), about=About(images=images))


def second(*events: Event) -> list[Event]:
    return [replace(each, hop=2) for each in events]


HELD = [*sent(DISTRIBUTE, 0), event(Kind.VERIFIED, 1, DISTRIBUTE, detail=MIDDLE_HASH)]
STEPPED = [*HELD, *sent(ACTIVATE, 2), event(Kind.ACTIVATED, 3, ACTIVATE, version=BETWEEN)]
AGAIN = [*STEPPED, *second(*sent(DISTRIBUTE, 10))]
HELD_AGAIN = [*AGAIN, *second(event(Kind.VERIFIED, 12, DISTRIBUTE, detail=HASH))]
ACTIVE_AGAIN = [*HELD_AGAIN, *second(*sent(ACTIVATE, 20))]
DONE = [*ACTIVE_AGAIN, *second(event(Kind.ACTIVATED, 21, ACTIVATE, version=NEW))]


@pytest.mark.parametrize(
    ("events", "state", "hop"),
    [
        ([], State.PLANNED, 1),
        (HELD, State.HELD, 1),
        (STEPPED, State.STEPPED, 1),
        (AGAIN, State.REQUESTED, 2),
        (HELD_AGAIN, State.HELD, 2),
        (ACTIVE_AGAIN, State.ACTIVATING, 2),
        (DONE, State.CONFIRMED, 2),
        ([*DONE, *second(event(Kind.SETTLED, 90))], State.SETTLED, 2),
        ([*STEPPED, event(Kind.VERSION, 4, READ, version=OLD, evidence=Evidence.READ_BACK)], State.FAILED, 1),
        ([*AGAIN, event(Kind.CLOSED, 50, detail="cancelled")], State.CLOSED, 2),
    ],
)
def test_the_steps_of_two_hops(events, state, hop):
    standing = stand(events)
    assert (standing.state, standing.hop, standing.hops) == (state, hop, 2)


def test_the_next_hop_begins_after_its_soak_with_attempts_of_its_own():
    assert step(STEPPED, 3.5).step is Step.WAIT
    assert step(STEPPED, 4).step is Step.DISTRIBUTE
    assert stand(STEPPED).next(DISTRIBUTE) == (2, 1)
    assert stand(HELD_AGAIN).next(ACTIVATE) == (2, 1)
    assert stand(AGAIN).spent(DISTRIBUTE) == 1
    assert step(HELD_AGAIN, 12).step is Step.ACTIVATE


def test_the_version_between_is_no_end():
    assert stand(STEPPED).is_between
    assert step(STEPPED, 9000).step is Step.DISTRIBUTE
    assert not stand(DONE).is_between


def test_a_deadline_of_the_first_hop_is_none_of_the_second():
    assert step(AGAIN, 10 + 24 * 9).step is Step.WAIT
    assert step(AGAIN, 10.1 + 24 * 10).step is Step.OVERDUE


@pytest.mark.parametrize(
    "late",
    [
        event(Kind.VERIFIED, 13, DISTRIBUTE, hop=2, detail=MIDDLE_HASH),
        event(Kind.VERIFICATION_FAILED, 13, DISTRIBUTE, hop=2, detail=MIDDLE_HASH),
        event(Kind.ACTIVATED, 25, ACTIVATE, version=BETWEEN),
        event(Kind.DELIVERY_FAILED, 25, DISTRIBUTE),
        event(Kind.OVERDUE, 25, ACTIVATE),
    ],
    ids=["8F72 of the first image", "8F1C of the first image", "the first success", "a failed delivery", "overdue"],
)
def test_what_is_late_of_the_first_hop_moves_nothing_of_the_second(late):
    for events in (AGAIN, HELD_AGAIN, ACTIVE_AGAIN, DONE):
        assert stand([*events, late]).state is stand(events).state


def test_a_late_8f8b_of_a_ppmids_first_image_is_no_failure_of_its_second_but_a_second_one_is():
    read = event(Kind.VERSION, 5, READ, version=BETWEEN, evidence=Evidence.READ_BACK)
    silent = [*sent(DISTRIBUTE, 0), read, *second(*sent(DISTRIBUTE, 10))]
    late = event(Kind.ACTIVATED, 11, DISTRIBUTE, hop=2, version=BETWEEN, evidence=Evidence.DCC)
    assert stand([*silent, late], PPMID).state is State.REQUESTED
    told = event(Kind.ACTIVATED, 4, DISTRIBUTE, version=BETWEEN, evidence=Evidence.DCC)
    assert stand([*silent, told, late], PPMID).state is State.FAILED


@pytest.mark.parametrize("events", [AGAIN, HELD_AGAIN, ACTIVE_AGAIN])
def test_a_device_that_falls_back_in_the_second_hop_is_harmed(events):
    word = event(Kind.VERSION, 30, hop=2, version=OLD)
    standing = stand([*events, word])
    assert (standing.state, standing.reason) == (State.FAILED, f"runs {OLD} after {BETWEEN} was confirmed")


@pytest.mark.parametrize("events", [STEPPED, AGAIN, HELD_AGAIN, ACTIVE_AGAIN, DONE])
def test_an_alarm_is_harm_from_the_first_activation_on(events):
    raised = replace(event(Kind.HEARD, 30, attempt=0, detail="8F1B"), hop=stand(events).hop)
    on_the_way = [replace(target, alarms=frozenset({"8F1B"})) for target in path()]
    assert fold([*events, raised], *on_the_way).state is State.FAILED
    assert fold([*HELD, replace(raised, hop=1)], *on_the_way).state is State.HELD


def test_a_success_of_the_second_hop_that_runs_the_version_between_is_none():
    told = second(event(Kind.ACTIVATED, 21, ACTIVATE, version=BETWEEN))
    assert stand([*ACTIVE_AGAIN, *told]).state is State.FAILED


def test_a_second_activation_that_did_not_take_place_is_tried_again_from_the_version_between():
    silent = [*ACTIVE_AGAIN, *second(event(Kind.OVERDUE, 50, ACTIVATE))]
    read = second(event(Kind.VERSION, 51, READ, version=BETWEEN, evidence=Evidence.READ_BACK))
    assert (stand(silent).state, stand([*silent, *read]).state) == (State.UNKNOWN, State.HELD)


def test_a_device_that_runs_the_last_version_already_is_sent_no_second_image():
    """Whoever brought it there; a PPMID's word counts from the first request of the hop in hand."""
    word = event(Kind.VERSION, 5, version=NEW)
    assert stand([*HELD, word]).state is State.CONFIRMED
    assert stand([*STEPPED, word]).hop == 2
    assert stand([*sent(DISTRIBUTE, 0), word], PPMID).state is State.CONFIRMED
    assert stand([word], PPMID).state is State.PLANNED


def test_a_quarantined_request_of_the_first_hop_holds_up_the_second():
    held = event(Kind.QUARANTINED, 2.1, ACTIVATE)
    read = event(Kind.VERSION, 3, READ, version=BETWEEN, evidence=Evidence.READ_BACK)
    events = [*HELD, *sent(ACTIVATE, 2), held, read]
    assert (stand(events).state, step(events, 100).step) == (State.STEPPED, Step.WAIT)
    assert step([*events, event(Kind.DELETED, 50, ACTIVATE)], 100).step is Step.DISTRIBUTE


def test_a_device_that_is_cancelled_between_two_hops_ends_there():
    decision = step([*STEPPED, event(Kind.CANCELLED, 5, attempt=0, reason="a complaint")], 6)
    assert (decision.step, decision.outcome, decision.reason) == (Step.CLOSE, Outcome.CANCELLED, "a complaint")


def test_a_gsme_keeps_an_image_for_each_hop_to_come():
    """Three in its life: the first hop may take two of them, and where one went elsewhere, one."""
    failed = [*sent(DISTRIBUTE, 0), event(Kind.DELIVERY_FAILED, 1, DISTRIBUTE)]
    assert step(failed, 100, GSME).step is Step.DISTRIBUTE
    assert step(failed, 100, GSME, images=1).outcome is Outcome.NEEDS_VISIT
    assert step([], 0, GSME, images=2).outcome is Outcome.NEEDS_VISIT
    assert step(STEPPED, 100, GSME, images=1).step is Step.DISTRIBUTE
    told = step(STEPPED, 100, GSME, images=2)
    assert (told.outcome, told.reason) == (
        Outcome.NEEDS_VISIT,
        "3 images were sent to it: hop 2 of 2 may not be, for its battery",
    )


_any_event = st.builds(
    Event,
    kind=st.sampled_from(Kind),
    at=st.integers(0, 6).map(hours),
    leg=st.one_of(st.none(), st.sampled_from(Leg)),
    hop=st.integers(1, 3),
    attempt=st.integers(0, 2),
    evidence=st.sampled_from(Evidence),
    version=st.sampled_from((None, OLD, BETWEEN, NEW, OTHER)),
    detail=st.sampled_from((None, HASH, MIDDLE_HASH, "E20", "noImageHeld")),
)


@given(
    st.lists(_any_event, max_size=12).flatmap(lambda e: st.tuples(st.just(e), st.permutations(e + e[:3]))),
    st.sampled_from((ESME, PPMID)),
)
@settings(max_examples=150)
def test_any_order_of_the_events_of_two_hops_folds_to_the_same(orders, device_type):
    events, again = orders
    assert stand(events, device_type) == stand(again, device_type)


# Whole courses.

VERSIONS = (OLD, BETWEEN, NEW)
HASHES = (MIDDLE_HASH, HASH)


@dataclass
class Course:
    """One device on a path of two hops; fates are taken in turn for each leg, and then all is silence."""

    device_type: DeviceType
    policy: Policy
    fates: dict[Leg, list[str]]
    now: datetime = START
    known: list[Event] = field(default_factory=list)
    coming: list[tuple[datetime, Event]] = field(default_factory=list)
    truth: str = OLD

    def run(self) -> Standing:
        for _ in range(600):
            standing = stand(self.known, self.device_type)
            if standing.state in ENDED:
                return standing
            self._do(decide(standing, self.device_type, self.policy, self.now), standing)
        raise AssertionError("no end in sight")

    def _do(self, decision: Decision, standing: Standing) -> None:
        ours = {Step.SETTLE: Kind.SETTLED, Step.CLOSE: Kind.CLOSED}
        match decision.step:
            case Step.DISTRIBUTE | Step.ACTIVATE | Step.READ:
                self._request(Leg(decision.step.value), standing)
            case Step.OVERDUE:
                assert decision.leg
                attempt = standing.attempt(decision.leg)
                self._learn(Event(Kind.OVERDUE, self.now, decision.leg, standing.hop, attempt))
            case Step.SETTLE | Step.CLOSE:
                self._learn(Event(ours[decision.step], self.now, hop=standing.hop, detail=decision.outcome))
            case Step.WAIT:
                until = decision.until or self.now + timedelta(days=3)
                self.now = min([until, *(when for when, _ in self.coming)])
                self._arrive()
                if decision.until is None:
                    self._release()

    def _release(self) -> None:
        for held in [e for e in self.known if e.kind is Kind.QUARANTINED]:
            self._learn(replace(held, kind=Kind.DELETED, at=self.now, evidence=Evidence.OURS))

    def _request(self, leg: Leg, standing: Standing) -> None:
        hop, attempt = standing.next(leg)
        assert not any((e.kind, e.hop, e.leg, e.attempt) == (Kind.GRANTED, hop, leg, attempt) for e in self.known)
        if hop == 2 and leg is DISTRIBUTE and attempt == 1:
            self._check_between()
        self._learn(Event(Kind.GRANTED, self.now, leg, hop, attempt))
        names = self.fates.get(leg, [])
        fate = FATES[self.device_type.one_step, leg][names.pop(0)] if names else ()
        self.now += timedelta(seconds=30)
        if not any(says.kind is Kind.ABANDONED for says in fate):
            self._learn(Event(Kind.SENT, self.now, leg, hop, attempt))
        for says in fate:
            self._come(says, leg, hop, attempt)

    def _check_between(self) -> None:
        """By the events alone: the device itself said that it runs the version between, and nothing else since."""
        said = sorted((e for e in self.known if e.version), key=lambda e: e.at)
        assert said
        assert said[-1].version == BETWEEN, "the second hop begins before the first is confirmed"
        first = next(e.at for e in said if e.version == BETWEEN)
        assert self.now >= first + self.policy.hop_soak

    def _come(self, says: Says, leg: Leg, hop: int, attempt: int) -> None:
        at, new = self.now + timedelta(hours=says.after), VERSIONS[hop]
        if says.kind is Kind.ACTIVATED and says.version != OLD:
            self.truth = new
        if says.version == OLD:
            self.truth = VERSIONS[hop - 1]
        version = {None: None, "truth": self.truth, NEW: new, OLD: VERSIONS[hop - 1]}[says.version]
        detail = HASHES[hop - 1] if says.detail == HASH else says.detail
        evidence = Evidence.READ_BACK if says.kind is Kind.VERSION else Evidence.DEVICE
        if says.lag is not None:
            found = Event(says.kind, at, says.leg or leg, hop, attempt, evidence, version, detail)
            self.coming.append((at + timedelta(hours=says.lag), found))

    def _arrive(self) -> None:
        arrived = sorted((pair for pair in self.coming if pair[0] <= self.now), key=lambda pair: pair[0])
        self.coming = [pair for pair in self.coming if pair[0] > self.now]
        for _, found in arrived:
            self._learn(found)

    def _learn(self, found: Event) -> None:
        before = stand(self.known, self.device_type)
        self.known.append(found)
        after = stand(self.known, self.device_type)
        assert after.hop >= before.hop, "a path is gone one way"
        shuffled = [*self.known, found]
        random.Random(len(shuffled)).shuffle(shuffled)
        assert stand(shuffled, self.device_type) == after, "the order of arrival matters"
        images = {(e.hop, e.attempt) for e in self.known if e.kind is Kind.SENT and e.leg is DISTRIBUTE}
        assert self.device_type is not GSME or len(images) <= self.policy.attempts.gsme_images


@st.composite
def courses(draw: st.DrawFn) -> Course:
    device_type = draw(st.sampled_from(DeviceType))
    counts = {name: draw(st.integers(1, 3)) for name in ("distribute", "activate", "read", "gsme_images")}
    good = {DISTRIBUTE: "activated" if device_type.one_step else "verified", ACTIVATE: "activated", READ: "the truth"}
    fates = {
        # Good fates often enough that the second hop is reached.
        leg: draw(st.lists(st.one_of(st.just(good[leg]), st.sampled_from(sorted(of_leg))), max_size=5))
        for (one_step, leg), of_leg in FATES.items()
        if one_step == device_type.one_step
    }
    return Course(device_type, Policy(attempts=Attempts(**counts)), fates)


@given(courses())
@settings(max_examples=120)
def test_no_mixture_of_fates_begins_a_hop_too_early_or_goes_on_for_ever(course):
    standing = course.run()
    if standing.state is State.SETTLED:
        said = sorted((e for e in course.known if e.version), key=lambda e: e.at)
        assert said[-1].version == NEW


@pytest.mark.parametrize("device_type", DeviceType)
def test_a_device_that_does_well_takes_both_hops(device_type):
    one_step = device_type.one_step
    fates = {
        DISTRIBUTE: ["activated" if one_step else "verified"] * 2,
        ACTIVATE: ["activated"] * 2,
        READ: ["the truth"],
    }
    course = Course(device_type, Policy(), fates)
    assert course.run().state is State.SETTLED
    granted = [(e.hop, e.leg) for e in course.known if e.kind is Kind.GRANTED]
    legs = [DISTRIBUTE] if one_step else [DISTRIBUTE, ACTIVATE]
    assert granted == [*((hop, leg) for hop in (1, 2) for leg in legs), (2, READ)]
