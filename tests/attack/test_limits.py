"""Refusing the heaviest attack takes at most 50 ms and 50 MB, measured in a process that does nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.limits import ATTACKS, WITH_AN_IMAGE

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak memory"),
]

LIMIT_S, LIMIT_MB = 0.050, 50
IMAGE_LIMIT_S, IMAGE_LIMIT_MB = 0.250, 75
"""For a whole request of 14 MB with the largest image, which only an emulator or a tool reads (and only if it says so)."""


@pytest.fixture(scope="module")
def costs():
    done = subprocess.run([sys.executable, "-m", "tests.attack.limits"], check=True, capture_output=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_soon_and_without_filling_memory(name, costs):
    seconds, megabytes, said = costs[name]
    large = name in WITH_AN_IMAGE
    assert said
    assert seconds < (IMAGE_LIMIT_S if large else LIMIT_S)
    assert megabytes < (IMAGE_LIMIT_MB if large else LIMIT_MB)
