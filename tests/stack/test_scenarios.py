"""The scenarios of tests/stack/scenarios, all at once on one stack: each over homes of its own, with faults of its own."""

import logging
from dataclasses import dataclass

import pytest

from hanwave.client import NoCampaignError
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER
from tests.support.at_once import started
from tests.support.command import run
from tests.support.rollout_world import rollout

pytest.register_assert_rewrite("tests.stack.scenarios")

from tests.stack.scenarios import SCENARIOS, console, evidence, members, second, turns, watched  # noqa: E402

_LOG = logging.getLogger(__name__)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
NAMES = [each.run.__name__ for each in SCENARIOS.table]
assert {each.run.__module__ for each in SCENARIOS.table} == {
    each.__name__ for each in (console, evidence, members, second, turns, watched)
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    onlookers = ("exporter", "prometheus-file", "console")
    with rollout(tmp_path_factory.mktemp("scenarios"), devices=550, onlookers=onlookers) as world:
        yield world


@pytest.fixture(scope="module")
def running(world, request):
    """Those whose tests are to be run, started together; a test waits for its own."""
    items = (item for item in request.session.items if item.module is request.module and hasattr(item, "callspec"))
    asked = {item.callspec.params.get("name") for item in items}
    with started(world, [each for each in SCENARIOS.table if each.run.__name__ in asked]) as running:
        yield running


@pytest.fixture(scope="module")
def finished(running):
    """All of them are over, however they ended."""
    for each in running.values():
        each.exception()


@pytest.mark.parametrize("name", NAMES)
def test_scenario(running, name):
    _LOG.info("%s: %.0f s", name, running[name].result())


@pytest.mark.usefixtures("finished")
def test_the_books_deny_nothing_of_it(world):
    world.assert_books()


# Two User IDs on one installation.

LISTS = ("campaign list", "quarantine list", "hold list", "inbox list", "release list", "budget show", "incident list")
HELD_UP, RESCUE = "held-up", "rescue"


@dataclass(frozen=True)
class Side:
    """A User ID, a campaign of its own with a device of it, and another's."""

    user_id: EUI64
    campaign: str
    device: str
    another: EUI64
    anothers: str
    anothers_device: str


@pytest.fixture(params=[(SUPPLIER, RESCUE, SECOND_SUPPLIER, HELD_UP), (SECOND_SUPPLIER, HELD_UP, SUPPLIER, RESCUE)])
def side(world, finished, monkeypatch, tmp_path, request):
    """Whose shell it is, on the same machine and the same ledger."""
    user_id, campaign, another, anothers = request.param
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_CONFIG", str(world.config))
    monkeypatch.setenv("HANWAVE_USER_ID", str(user_id))
    first = "SELECT min(eui) FROM campaign_device WHERE campaign = :c"
    return Side(
        *(user_id, campaign, world.value(first, c=campaign)), *(another, anothers, world.value(first, c=anothers))
    )


def marks(world, user_id):
    """What is one User ID's alone, as JSON has it: itself, its campaigns, their devices, its requests."""
    of = "FROM campaign c JOIN campaign_device u ON u.campaign = c.name WHERE c.user_id = :u"
    names = world.rows("SELECT name FROM campaign WHERE user_id = :u", u=str(user_id))
    euis = world.rows(f"SELECT DISTINCT u.eui {of}", u=str(user_id))
    requests = world.rows("SELECT request_id FROM outbox WHERE user_id = :u", u=str(user_id))
    found = (user_id, *(row[0] for row in (*names, *euis, *requests)))
    return {f'"{mark}{end}' for mark in found for end in ('"', "/")}


def test_no_list_shows_anything_of_another_user_id(world, side):
    placed = run("hold", "place", "device", side.device, "--reason", "a test")
    assert placed.code == 0, placed.err
    seen = {each: run(*each.split(), "--json") for each in LISTS}
    assert {each: ran.err for each, ran in seen.items() if ran.code} == {}
    theirs = marks(world, side.another)
    assert {each: found for each, ran in seen.items() if (found := {mark for mark in theirs if mark in ran.out})} == {}
    assert f'"{side.campaign}"' in seen["campaign list"].out
    assert f'"{side.device}"' in seen["hold list"].out
    assert (f'"{HELD_UP}/' in seen["quarantine list"].out) is (side.campaign == HELD_UP)


def test_no_command_reaches_what_is_of_another_user_id(world, side):
    refused = [
        run("device", side.anothers_device),
        *[run("campaign", verb, side.anothers) for verb in ("status", "outcomes", "explain", "when", "report")],
        run("campaign", "plan-diff", side.anothers, side.campaign),
        run("campaign", "halt", side.anothers, "--reason", "a test", "--actor", "eve"),
        run("campaign", "cancel-device", side.anothers, side.anothers_device, "--reason", "a test", "--actor", "eve"),
    ]
    assert all(ran.code and not ran.out for ran in refused), refused
    theirs = {mark.strip('"/') for mark in marks(world, side.another)} - {side.anothers, side.anothers_device}
    assert [ran.err for ran in refused if any(f"{mark} " in ran.err for mark in theirs)] == []
    assert world.value("SELECT count(*) FROM stop WHERE actor = 'eve'") == 0


async def test_no_call_of_the_sdk_reaches_what_is_of_another_user_id(world, side):
    async with world.client(side.user_id) as client:
        names = {each.name for each in await client.campaigns()}
        assert side.campaign in names
        assert side.anothers not in names
        with pytest.raises(NoCampaignError):
            await client.campaign(side.anothers).status()
        with pytest.raises(HanwaveError):
            await client.story(side.anothers_device)
        for kind, value in (("campaign", side.anothers), ("user", str(side.another)), ("wave", f"{side.anothers}/1")):
            with pytest.raises(HanwaveError):
                await client.halt(kind, value, reason="a test", actor="eve")
    assert world.value("SELECT count(*) FROM stop WHERE actor = 'eve'") == 0
