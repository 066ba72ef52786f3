"""Policies: what they read, what they refuse, and that a refusal names its field."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanwave.rollout.pace import Pace
from hanwave.rollout.policy import ActivationMode, Deadlines, DeviceType, OnHarm, Policy, Wave

pytestmark = pytest.mark.unit
EUI = "00-DB-12-34-56-78-90-A0"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        (" 10d ", timedelta(days=10)),
        ("2w", timedelta(days=14)),
        ("PT6H", timedelta(hours=6)),
    ],
)
def test_a_duration_has_its_unit(text, span):
    assert Policy(soak=text).soak == span


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("soak", 2),
        ("soak", 2.5),
        ("soak", True),
        ("soak", None),
        ("soak", "2"),
        ("soak", "0s"),
        ("soak", "-5m"),
        ("soak", "-PT5M"),
        ("soak", "366d"),
        ("soak", "999999999w"),
        ("soak", "9" * 400 + "d"),
        ("soak", "1e3s"),
        ("soak", "\u0665m"),
        ("soak", "48:00:00"),
        ("soak_check", "yes"),
        ("soak_check", 1),
        ("pace", {"overall": 0}),
        ("pace", {"overall": 1e308}),
        ("cancels", 1e308),
        ("sweep", "0.000001s"),
        ("pace", {"overall": float("inf")}),
        ("pace", {"overall": float("nan")}),
        ("pace", {"overall": "20"}),
        ("batch", 50_001),
        ("batch", 0),
        ("batch", True),
        ("exposure_cap", 0),
        ("exposure_cap", 1.5),
        ("exposure_cap", "2000"),
        ("activation", "soon"),
        ("on_harm", "wait"),
        ("attempts.read", 0),
        ("attempts.distribute", 11),
        ("attempts.gsme_images", 0),
        ("attempts.patience", 3),
        ("gate.harm", 1),
        ("gate.harm", 1.01),
        ("gate.harm", 0),
        ("gate.harm", -0.01),
        ("gate.silence", True),
        ("gate.silence", float("nan")),
        ("gate.silence", 1.0),
        ("gate.confidence", 0.49),
        ("gate.confidence", 1.0),
        ("gate.minimum", 0),
        ("gate.ordinary", 1.1),
        ("gate.heard_within", 14),
        ("gate.expects", ["hearsay"]),
        ("gate.services.readings", 0),
        ("gate.success", 0.9),
        ("waves.0.share", 0),
        ("waves.0.share", 1.5),
        ("waves.0.share", "all"),
        ("waves.0.count", 0),
        ("waves.0.count", True),
        ("waves.0.devices.0", "my house"),
        ("waves.0.size", 5),
        ("deadlines.IHD", {}),
        ("deadlines.ESME.read", 5),
        ("windows", []),
    ],
)
def test_what_is_absurd_or_unknown_is_refused_by_its_name(field, value):
    document = json.loads(Policy().model_dump_json())
    if field.startswith("waves"):
        document["waves"] = [{"devices": [EUI]} if "devices" in field else {}]
    *path, name = [int(part) if part.isdigit() else part for part in field.split(".")]
    place = document
    for part in path:
        place = place[part]
    place[name] = value
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate(document)
    where = ".".join(str(part) for part in caught.value.errors()[0]["loc"])
    assert where.startswith(field)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"waves": []}, "at least one wave"),
        ({"waves": [{}]}, "one of share, count or devices"),
        ({"waves": [{"share": 0.5, "count": 5}]}, "one of share, count or devices"),
        ({"waves": [{"devices": []}]}, "one of share, count or devices"),
        ({"waves": [{"devices": [EUI, EUI.lower()]}, {"share": 1}]}, f"waves name {EUI} 2 times"),
        ({"waves": [{"devices": [EUI]}, {"devices": [EUI.replace("-", "")]}]}, f"waves name {EUI} 2 times"),
        ({"deadlines": {"ESME": {}}}, "deadlines are missing for GSME, HCALCS, PPMID"),
        ({"activation": "future_dated", "lead": "31d"}, "lead is 31 days: it should be at most 30"),
        ({"activation": "future_dated", "lead": "1s", "cancels": 0.5}, "none could be withdrawn in time"),
    ],
)
def test_what_contradicts_itself_is_refused_with_a_sentence(document, says):
    with pytest.raises(ValidationError, match=says):
        Policy.model_validate(document)


def test_a_named_device_is_known_however_it_was_written():
    assert Wave(devices=("00db1234567890a0",)).devices == (EUI,)


_span = st.timedeltas(timedelta(microseconds=1), timedelta(days=365))


@given(
    soak=_span,
    lead=st.timedeltas(timedelta(seconds=1), timedelta(days=30)),  # shorter, and none could be withdrawn in time
    pace=st.floats(1e-6, 1e6),
    mode=st.sampled_from(ActivationMode),
    patience=st.one_of(st.none(), _span),
    shares=st.lists(st.floats(1e-9, 1), min_size=1, max_size=4),
)
def test_a_policy_comes_back_from_json_as_it_went(soak, lead, pace, mode, patience, shares):
    deadlines = dict.fromkeys(DeviceType, Deadlines(activate_unverified_after=patience))
    waves = tuple(Wave(share=share) for share in shares)
    policy = Policy(soak=soak, lead=lead, pace=Pace(overall=pace), activation=mode, deadlines=deadlines, waves=waves)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert Policy.model_validate(json.loads(json.dumps(policy.model_dump(mode="json")))) == policy


LISTS = (Wave(devices=(EUI,)), Wave(share=0.1), Wave(share=1))


@pytest.mark.parametrize("protected_from", [None, 1, 2, 3])
def test_what_is_made_of_a_policy_is_one_that_the_ledger_reads_again(protected_from):
    policy = Policy(waves=LISTS, protected_from=protected_from)
    for made in (policy.for_rollback(), policy.without_lists()):
        assert Policy.model_validate(made.model_dump(mode="json")) == made


def test_a_rollback_is_not_rolled_back_by_itself():
    assert Policy(on_harm=OnHarm.ROLL_BACK).for_rollback().on_harm is OnHarm.HOLD


def test_a_rollback_takes_the_protected_in_its_one_wave():
    assert Policy(waves=LISTS, protected_from=3).for_rollback().first_protected == 1


@pytest.mark.parametrize(("protected_from", "first"), [(None, 2), (1, 1), (2, 1), (3, 2)])
def test_without_the_lists_the_protected_join_as_late_as_they_were_to(protected_from, first):
    policy = Policy(waves=LISTS, protected_from=protected_from).without_lists()
    assert (policy.waves, policy.first_protected) == (LISTS[1:], first)


def test_a_policy_of_lists_alone_has_one_wave_without_them():
    policy = Policy(waves=(Wave(devices=(EUI,)), Wave(devices=("00-DB-12-34-56-78-90-A1",))), protected_from=2)
    assert policy.without_lists() == Policy(waves=(Wave(share=1),))


def test_a_frozen_policy_is_not_changed():
    with pytest.raises(ValidationError):
        Policy().soak = timedelta(1)


def test_a_gsme_and_a_ppmid_are_given_more_time_than_a_meter_on_the_mains():
    deadlines = Policy().deadlines
    assert deadlines[DeviceType.ESME].distribute < deadlines[DeviceType.GSME].distribute
    assert deadlines[DeviceType.ESME].distribute < deadlines[DeviceType.PPMID].distribute
