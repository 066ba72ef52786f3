"""PostgreSQL is put back to an old copy in mid-campaign: nothing forward leaves until it is known what happened.

The copy is made when the first images are held, and put back when most of the second wave has been activated: the copy has
those devices as untouched. That nothing depends on how long ago it was made is tests/ledger/test_old_copy.py.
"""

import asyncio
import json

import httpx
import pytest

from hanwave.client import Campaign, Client
from hanwave.identifiers import RequestID
from hanwave.ledger.progress import Progress
from tests.support.command import run_beside
from tests.support.rollout_world import Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("restored")) as world:
        yield world


def sent_forward(world: Rollout) -> set[str]:
    """The forward requests that the DCC got, by its own books."""
    lines = httpx.get(f"{world.admin}/books", timeout=30).text.splitlines()
    books = [json.loads(line) for line in lines]
    return {
        line["request_id"]
        for line in books
        if line["kind"] == "request" and (line["service"] in {"11.1", "11.4"} or line["command_variant"] == 5)
    }


def books(world: Rollout) -> dict[str, dict]:
    """Each device, by the emulator's books."""
    lines = httpx.get(f"{world.admin}/books", timeout=30).text.splitlines()
    return {line["eui"]: line for line in map(json.loads, lines) if line["kind"] == "device"}


def untouched_in(world: Rollout) -> set[str]:
    """The ESMEs to which nothing was done yet."""
    return {
        row.eui for row in world.rows("SELECT eui FROM campaign_device WHERE campaign = 'esme' AND state = 'planned'")
    }


def put_back(world: Rollout, copy) -> None:
    world.stack.hold("postgres")
    world.stack.postgres.restore_data(copy)


def take_copy(world: Rollout, copy) -> None:
    world.stack.hold("postgres")
    world.stack.postgres.copy_data(copy)
    world.stack.release("postgres")
    world.stack.wait_ready()


def go_on_running(world: Rollout) -> None:
    world.stack.release("postgres")
    world.stack.wait_ready()


def activations_of(world: Rollout, euis: set[str]) -> int:
    """How many activations of those devices the ledger has."""
    statement = "SELECT count(*) FROM outbox_device WHERE leg = 'activate' AND eui = ANY(:euis)"
    return int(world.value(statement, euis=sorted(euis)))


async def started(world: Rollout, client: Client) -> list[Campaign]:
    """Two campaigns, whose soak is so long that the copy is made while the first waves wait for it."""
    for row in world.rows("SELECT eui FROM device WHERE device_type = 'PPMID'"):
        world.lever(f"/devices/{row.eui}", {"plugged": True})
    waves = {"soak": "12s"}
    return [
        await client.start("esme", request("acme-esme-0104", {"count": 6}, {"share": 1}, **waves)),
        await client.start("ppmid", request("delta-ppmid-0401", {"count": 8}, {"share": 1}, **waves)),
    ]


async def looked_at_until_silent(away: str) -> dict:
    """What `hanwave reconcile` finds, as a person looks again and again: until one device alone has not answered."""
    found: dict = {}
    for _ in range(20):
        found = json.loads((await run_beside("reconcile", "--reason", "look", "--json")).out)
        if found["silent"] == [away] and not found["unsent"]:
            break
        await asyncio.sleep(2)
    return found


async def go_on_and_lift(world: Rollout, away: str) -> None:
    """What a person does then; the one that is on hold is plugged in, and let go."""
    done = await run_beside("reconcile", "--go-on", "--reason", "all have answered")
    assert done.code == 0, done.err
    hold = world.value("SELECT id FROM hold WHERE scope = 'device' AND value = :eui", eui=away)
    world.lever(f"/devices/{away}", {"plugged": True})
    lifted = await run_beside("hold", "lift", str(hold), "--reason", "it was plugged in, and read")
    assert lifted.code == 0, lifted.err


async def to_its_end(campaign: Campaign) -> Progress:
    """A campaign's end. Where evidence was lost with the time between, the gate holds, and a person lets it go on."""
    async for seen in campaign.watch(0.5):
        if "the gate of wave" in seen.waits_for and "came from none of the" in seen.waits_for:
            why = "its evidence was lost with the ledger; each device was read since"
            await campaign.go_on(reason=why, actor="ann", digest=seen.digest)
    return seen


async def to_their_ends(world: Rollout, campaigns: list[Campaign]) -> list[Progress]:
    """All of their ends; where they do not come, how each device stands."""
    try:
        async with asyncio.timeout(150):
            return await asyncio.gather(*map(to_its_end, campaigns))
    except TimeoutError:
        raise AssertionError(world.under_way()) from None


async def test_a_restored_ledger_sends_nothing_until_it_is_reconciled(world, tmp_path, monkeypatch):
    monkeypatch.setenv("HANWAVE_CONFIG", str(world.config))
    async with world.client() as client:
        campaigns = await started(world, client)
        # One device cannot be asked: it is unplugged, and its turn comes with the second wave.
        away = world.value("SELECT min(eui) FROM campaign_device WHERE campaign = 'ppmid' AND wave = 2")
        world.lever(f"/devices/{away}", {"plugged": False})
        held = "SELECT count(*) FROM device_event WHERE kind = 'verified'"
        await world.until(lambda: world.value(held) >= 2, "images are held")
        await asyncio.to_thread(take_copy, world, tmp_path / "copy")
        target = world.value("SELECT firmware_version FROM release WHERE name = 'acme-esme-0104'")
        untouched = await asyncio.to_thread(untouched_in, world)
        assert len(untouched) >= 20
        before = sent_forward(world)

        def activated_since() -> set[str]:
            return {eui for eui, line in books(world).items() if eui in untouched and line["version"] == target}

        await world.until(lambda: len(activated_since()) >= 8, "much is activated of what the copy has untouched", 120)
        await asyncio.to_thread(put_back, world, tmp_path / "copy")
        await asyncio.sleep(1)
        assert len(sent_forward(world) - before) >= 9
        before, done = sent_forward(world), activated_since()
        await asyncio.to_thread(go_on_running, world)

        stopped = "SELECT coalesce(max(reason), '') FROM stop WHERE scope = 'all' AND lifted_at IS NULL"
        why = await world.until(lambda: world.value(stopped), "a restored ledger is known as one", 45)
        assert why.startswith("the ledger was restored to an earlier copy (it lacks ")
        assert "`hanwave reconcile`" in why
        # Images may have been permitted anew before the restore was noticed; none of them has left (see below).
        assert activations_of(world, done) == 0, "the copy knows that they were activated"
        refused = await run_beside("reconcile", "--go-on", "--reason", "too early")
        assert refused.code == 1
        assert "devices were not asked yet" in refused.err
        asked = await run_beside("reconcile", "--reason", "the disk was lost, last night's backup is in", "--json")
        assert asked.code == 0, asked.err
        assert json.loads(asked.out)["asked"] > 20

        found = await looked_at_until_silent(away)
        assert (found["silent"], found["unsent"], found["left"]) == ([away], 0, {})
        # What the DCC has of it is there, beside what it says itself: nothing.
        (listed,) = found["inventory"]
        assert (listed["eui"], listed["smi_status"]) == (away, "Commissioned")
        assert listed["version"] == books(world)[away]["smi_version"]
        proven = "SELECT eui FROM campaign_device WHERE state IN ('confirmed', 'settled')"
        assert done <= {row.eui for row in world.rows(proven)}, (
            "what was activated since the copy is known again, by the devices' own word"
        )
        assert sent_forward(world) == before, "something forward left before a person said so"
        used = max(RequestID.parse(each).counter for each in before)
        assert world.value("SELECT min(last) FROM counter") > used + 500_000

        await go_on_and_lift(world, away)
        ends = await to_their_ends(world, campaigns)
        assert len(sent_forward(world)) > len(before)
    assert all(wave.passed for end in ends for wave in end.waves)
    assert activations_of(world, done) == 0, "a device was told again to activate what it runs"
    assert world.unknown() == []
    world.assert_books()
