"""The sample campaigns: what a new user tries first must be what hanwave takes."""

import json

import pytest

from hanwave.rollout.gate import can_see
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.rehearsal.behaviour import read_profile
from hanwave.rollout.request import parse_request
from infra.sample_campaigns import BEHAVIOUR, CAMPAIGNS
from infra.samples import SAMPLES

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_sample_campaign_is_a_request_for_a_sample_release_and_asks_for_an_approval(name):
    request = parse_request(json.dumps(CAMPAIGNS[name]))
    known = {sample.name for sample in SAMPLES}
    assert {request.release, *request.fallbacks} <= known
    assert (request.author, request.approvals) == ("ann", 1)
    first = request.policy.waves[0].count
    assert can_see(first, request.policy.of_wave(1).gate) is None


def test_the_sample_behaviour_is_a_profile_of_every_type():
    assert set(read_profile(BEHAVIOUR)) == set(DeviceType)
