"""Retries: by the table of codes, spread by hash, within deadlines by region and allowances for life; and how they end."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanwave.duis import codes
from hanwave.rollout.decide import About, Decision, Outcome, Step, decide, retryable, unexplained
from hanwave.rollout.events import Event, Kind
from hanwave.rollout.policy import Attempts, Deadlines, DeviceType, Policy
from tests.unit.rollout.making import ACTIVATE, DISTRIBUTE, READ, event, held, hours, sent, stand

pytestmark = pytest.mark.unit
ESME, GSME, HCALCS, PPMID = DeviceType
LOST = [*sent(DISTRIBUTE, 0), event(Kind.DELIVERY_FAILED, 3, DISTRIBUTE)]


def step(
    events: list[Event], hour: float, device_type: DeviceType = ESME, policy: Policy | None = None, **about: object
) -> Decision:
    beside = About(**about)
    return decide(stand(events, device_type), device_type, policy or Policy(), hours(hour), about=beside)


def test_what_may_be_tried_again_is_what_the_table_of_codes_says():
    rows = codes.CodeTable.load().codes
    assert {code for code in rows if retryable(code)} == {
        c for c, row in rows.items() if row.retry is codes.Retry.BACKOFF
    }
    assert retryable("E20")
    assert not retryable("E4")
    assert not retryable("E9999")  # unknown: for a person to inspect


def test_a_code_to_be_looked_up_is_told_from_a_refusal_that_explains_itself():
    assert unexplained("E65")
    assert unexplained("E9999")
    for known in ("E4", "E20", "OtherRequestInProgress", "InvalidDeviceID", ""):
        assert not unexplained(known)


@given(st.integers(0, 2**64 - 1))
def test_a_back_off_is_as_the_policy_says_or_up_to_half_as_much_again(number):
    until = step(LOST, 3, eui=f"{number:016X}").until
    assert until is not None
    assert hours(4) <= until < hours(4.5)
    assert until == step(LOST, 3, eui=f"{number:016X}").until


def test_devices_that_failed_together_do_not_come_back_together():
    assert len({step(LOST, 3, eui=f"{number:016X}").until for number in range(100)}) == 100


def test_a_region_may_have_deadlines_of_its_own():
    slow = {"North": {"ESME": {"distribute": "20d"}}}
    policy = Policy.model_validate({"regions": slow})
    assert step(sent(DISTRIBUTE, 0), 1, policy=policy, region="North").until == hours(480.01)
    assert step(sent(DISTRIBUTE, 0), 1, policy=policy, region="South").until == hours(240.01)
    assert step(sent(DISTRIBUTE, 0), 1, GSME, policy, region="North").until == hours(504.01)
    undo = policy.for_rollback().deadlines_in("North", ESME)
    assert undo == Deadlines(distribute="20d", activate_unverified_after="10d")


def test_a_region_that_there_is_not_is_refused():
    with pytest.raises(ValidationError, match="4G North"):
        Policy.model_validate({"regions": {"Nort": {}}})


def test_a_gsme_has_so_many_images_in_its_whole_life():
    assert step(LOST, 9, GSME, images=1).step is Step.DISTRIBUTE
    decision = step(LOST, 9, GSME, images=2)
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.NEEDS_VISIT)
    assert "battery" in decision.reason


def test_a_gsme_that_has_had_them_all_is_sent_none():
    assert step([], 0, GSME, images=2).step is Step.DISTRIBUTE
    decision = step([], 0, GSME, images=3)
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.NEEDS_VISIT)
    assert step([], 0, ESME, images=3).step is Step.DISTRIBUTE


def test_a_display_that_nothing_reaches_takes_its_customer():
    failed = [
        each
        for n in (1, 2, 3)
        for each in (*sent(DISTRIBUTE, 10 * n, n), event(Kind.DELIVERY_FAILED, 10 * n + 3, DISTRIBUTE, n))
    ]
    decision = step(failed, 40, PPMID)
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.CUSTOMER_ACTION)
    assert "plug" in decision.reason
    assert step(failed, 40, ESME).outcome is Outcome.NOT_DELIVERED
    assert step(failed, 40, PPMID, on_bench=True).outcome is Outcome.NOT_DELIVERED


def test_harm_stays_harm_whoever_must_go_there():
    refused = [
        each
        for n in (1, 2, 3)
        for each in (*sent(DISTRIBUTE, 10 * n, n), event(Kind.VERIFICATION_FAILED, 10 * n + 3, DISTRIBUTE, n))
    ]
    for device_type in (GSME, PPMID):
        assert step(refused, 40, device_type).outcome is Outcome.NOT_VERIFIED


def test_a_device_has_so_many_requests_in_a_campaign_whatever_their_leg():
    policy = Policy(attempts=Attempts(requests=3))
    events = [*held(), *sent(ACTIVATE, 5), event(Kind.OVERDUE, 30, ACTIVATE)]
    assert step(events, 31, policy=policy).step is Step.READ
    asked = [*events, *sent(READ, 31), event(Kind.OVERDUE, 56, READ)]
    assert step(asked, 99).step is Step.READ
    decision = step(asked, 99, policy=policy)
    assert (decision.step, decision.outcome) == (Step.CLOSE, Outcome.UNKNOWN)


def test_a_read_waits_for_its_back_off_too():
    events = [*held(), *sent(ACTIVATE, 5), event(Kind.OVERDUE, 30, ACTIVATE), *sent(READ, 31)]
    until = step([*events, event(Kind.OVERDUE, 31.5, READ)], 31.6, eui="00DB1234567890A0").until
    assert until is not None
    assert timedelta(0) < until - hours(32) < timedelta(minutes=31)
