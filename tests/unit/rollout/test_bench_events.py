"""What each end of an update on a bench makes of a device: by the same fold and the same rule as on every route."""

from datetime import UTC, datetime, timedelta

import pytest

from hanwave.rollout.bench import BenchReport, Outcome
from hanwave.rollout.bench_events import Attempt, events
from hanwave.rollout.cohort import Candidate, unfit
from hanwave.rollout.decide import Outcome as End
from hanwave.rollout.decide import Step, decide
from hanwave.rollout.device import State, Target, fold
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.policy import DeviceType, Policy
from hanwave.rollout.request import RequestError, parse_request

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HASH = "AB" * 32
PPMID, HCALCS = DeviceType.PPMID, DeviceType.HCALCS


def report(outcome, **more):
    usual = {
        "version_before": 1,
        "version_after": 2 if outcome in {Outcome.ACTIVATED, Outcome.ALREADY} else 1,
        "device_status": {Outcome.REFUSED: 0x96, Outcome.ACTIVATED: 0, Outcome.HELD: 0}.get(outcome),
        "first_offset": 0,
        "blocks": 10,
        "repeats": 0,
        "octets": 500,
        "seconds": 5.0,
        "was_told": True,
    }
    return BenchReport(outcome, **usual | more)


def standing(kind, outcome, leg=Leg.DISTRIBUTE, *, granted=True, before=(), **more):
    told = events(report(outcome, **more), Attempt(leg, 1, 1, HASH), AT + timedelta(minutes=5))
    begun = [Event(each, AT, leg, 1, 1) for each in (Kind.GRANTED, Kind.SENT)] if granted else []
    return fold([*before, *begun, *told], Target("00000002", HASH, kind.one_step))


HELD_BEFORE = (
    Event(Kind.GRANTED, AT - timedelta(hours=1), Leg.DISTRIBUTE, 1, 1),
    *events(report(Outcome.HELD), Attempt(Leg.DISTRIBUTE, 1, 1, HASH), AT - timedelta(minutes=30)),
)


@pytest.mark.parametrize(
    ("outcome", "ppmid", "hcalcs"),
    [
        (Outcome.ACTIVATED, State.CONFIRMED, State.CONFIRMED),
        (Outcome.ALREADY, State.CONFIRMED, State.CONFIRMED),
        (Outcome.HELD, State.ACTIVATING, State.HELD),
        (Outcome.REFUSED, State.VERIFICATION_FAILED, State.VERIFICATION_FAILED),
        (Outcome.KEPT_OLD, State.FAILED, None),
        (Outcome.UNCONFIRMED, State.UNKNOWN, None),
        (Outcome.STALLED, State.DELIVERY_FAILED, State.DELIVERY_FAILED),
        (Outcome.GAVE_UP, State.DELIVERY_FAILED, State.DELIVERY_FAILED),
        (Outcome.CANCELLED, State.DELIVERY_FAILED, State.DELIVERY_FAILED),
        (Outcome.WRONG_HARDWARE, State.REJECTED, State.REJECTED),
        (Outcome.NEWER, State.REJECTED, State.REJECTED),
        (Outcome.DECLINED, State.REJECTED, State.REJECTED),
        (Outcome.CANNOT_HOLD, State.REJECTED, State.REJECTED),
        (Outcome.NOT_PERMITTED, State.REQUESTED, State.REQUESTED),
    ],
)
def test_the_end_of_a_transfer_is_the_devices_state(outcome, ppmid, hcalcs):
    assert standing(PPMID, outcome).state is ppmid
    if hcalcs:
        assert standing(HCALCS, outcome).state is hcalcs


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.ACTIVATED, State.CONFIRMED),
        (Outcome.KEPT_OLD, State.FAILED),
        (Outcome.UNCONFIRMED, State.UNKNOWN),
        (Outcome.STALLED, State.UNKNOWN),
        (Outcome.HELD, State.ACTIVATING),
    ],
)
def test_the_end_of_an_activation_of_what_was_held(outcome, state):
    assert standing(HCALCS, outcome, Leg.ACTIVATE, before=HELD_BEFORE).state is state


def test_a_device_that_was_to_install_and_asked_for_octets_is_sent_the_image_again():
    found = standing(HCALCS, Outcome.NOT_PERMITTED, Leg.ACTIVATE, before=HELD_BEFORE)
    assert found.state is State.DELIVERY_FAILED
    assert decide(found, HCALCS, Policy(), AT + timedelta(days=1)).step is Step.DISTRIBUTE


def test_a_device_that_ran_the_version_before_anything_was_granted_is_done():
    assert standing(PPMID, Outcome.ALREADY, granted=False).state is State.CONFIRMED


def test_a_refused_image_is_told_with_the_devices_own_status():
    assert standing(PPMID, Outcome.REFUSED).reason == "it rejected the image with the ZCL status 0x96"


def test_what_was_not_sent_ends_as_rejected_with_the_reason():
    found = standing(PPMID, Outcome.WRONG_HARDWARE)
    end = decide(found, PPMID, Policy(), AT + timedelta(minutes=6))
    assert (end.step, end.outcome) == (Step.CLOSE, End.REJECTED)
    assert "hardware" in end.reason


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("leg", [Leg.DISTRIBUTE, Leg.ACTIVATE])
def test_every_end_is_one_that_the_fold_and_the_rule_understand(outcome, leg):
    for kind in (PPMID, HCALCS):
        found = standing(kind, outcome, leg, before=HELD_BEFORE if leg is Leg.ACTIVATE else ())
        assert decide(found, kind, Policy(), AT + timedelta(days=40)).reason is not None


@pytest.mark.parametrize(
    ("said", "kept"), [("bench", "bench/lab"), ("bench/returns-2", "bench/returns-2"), ("dcc", "dcc")]
)
def test_a_route_is_written_short(said, kept):
    assert parse_request({"release": "r", "route": said}).route == kept


@pytest.mark.parametrize("wrong", ["", "bench/", "bench/Lab", "usb", "bench/a/b", 7, None])
def test_a_wrong_route_is_refused_in_a_sentence(wrong):
    with pytest.raises(RequestError, match=r"route: .*it should be dcc, bench, or bench/"):
        parse_request({"release": "r", "route": wrong})


def test_a_device_on_a_bench_need_not_be_in_use():
    device = Candidate("e", "PPMID", "121D", "1111", "1111", "1", "Decommissioned", ours=True)
    assert unfit(device, AT, None) == "not commissioned"
    assert unfit(device, AT, None, on_bench=True) is None
