"""What the rehearsal's screen warns of: an image that passed, and does more harm than the gate bears."""

from datetime import UTC, datetime

import pytest

from hanwave.cli.campaign.rehearse import _warn
from hanwave.rollout.rehearsal.forecast import Forecast, Interval, Scenario

pytestmark = pytest.mark.unit
NONE = Interval(0, 0, 0)


def image(harm: float, passed: int) -> Scenario:
    return Scenario(harm, 50, passed, {}, NONE, NONE, NONE, {}, {}, {})


def test_it_names_the_bad_images_that_passed_and_no_other(capsys):
    images = (image(0, 50), image(0.01, 50), image(0.05, 0), image(0.5, 49))
    _warn(Forecast("guess", datetime(2026, 11, 23, tzinfo=UTC), 60, images), 0.01)
    (said,) = capsys.readouterr().out.strip().splitlines()
    assert said.startswith("Warning: an image that harms 50.0% passed 49 of 50 runs, and the gate bears 1.0%.")
