"""The scenarios of tests/stack/scenarios, all at once on one stack: each over homes of its own, with faults of its own."""

import logging

import pytest

from tests.support.at_once import started
from tests.support.rollout_world import rollout

pytest.register_assert_rewrite("tests.stack.scenarios")

from tests.stack.scenarios import SCENARIOS, evidence, members, second, turns, watched  # noqa: E402

_LOG = logging.getLogger(__name__)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
NAMES = [each.run.__name__ for each in SCENARIOS.table]
assert {each.run.__module__ for each in SCENARIOS.table} == {
    each.__name__ for each in (evidence, members, second, turns, watched)
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    onlookers = ("exporter", "prometheus-file")
    with rollout(tmp_path_factory.mktemp("scenarios"), devices=550, onlookers=onlookers) as world:
        yield world


@pytest.fixture(scope="module")
def running(world, request):
    """Those that are to be run, started together; a test waits for its own."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    }
    with started(world, [each for each in SCENARIOS.table if each.run.__name__ in asked]) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_scenario(running, name):
    _LOG.info("%s: %.0f s", name, running[name].result())


def test_the_books_deny_nothing_of_it(world, running):
    for each in running.values():
        each.exception()
    world.assert_books()
