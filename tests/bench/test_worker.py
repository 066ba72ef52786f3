"""The bench worker on a real Temporal and a real PostgreSQL: campaigns over ZigBee, and the bench's desk."""

import asyncio
import json
from datetime import timedelta
from itertools import count
from unittest.mock import patch

import pytest

from hanwave import names
from hanwave.client import EngineError, search
from hanwave.ledger import audit
from hanwave.ledger.database import LedgerError
from tests.bench.worker import BAD, FAST, GOOD, at_work, fleet, give, release
from tests.support.command import run_beside
from tests.support.ledger import US
from workers.bench import answers, cluster, ledger, link, tasks, worker
from workers.bench.control import Control

pytestmark = [
    pytest.mark.bench,
    pytest.mark.workflow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
_numbers = count(1)
EVENTS = "SELECT string_agg(kind || ' ' || evidence, ', ' ORDER BY id) FROM device_event"


def request(name, kind="ppmid", version=GOOD, **policy):
    return {
        "release": f"{kind}-{version[-1]}",
        "route": f"bench/{name}",
        "author": "ann",
        "policy": {**FAST, **policy},
    }


@pytest.fixture(autouse=True)
def _quick_worker(monkeypatch):
    """The bench's worker as it is, but for what it waits between two looks, tries and words."""
    for module in (answers, cluster):
        monkeypatch.setattr(module, "SHORTEST_WAIT", 1)
    monkeypatch.setattr(ledger, "LOOK", 0.3)
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(tasks, "_BEAT_SECONDS", 0.3)
    monkeypatch.setattr(worker, "_TOLD_EVERY", timedelta(seconds=0.3))


@pytest.fixture
def name():
    return f"t{next(_numbers)}"


async def until(true, seconds=30):
    async with asyncio.timeout(seconds):
        while not (held := true()):  # noqa: ASYNC110 - a ledger and a device have no event to wait for
            await asyncio.sleep(0.05)
    return held


async def until_over(campaign):
    last = None
    try:
        async with asyncio.timeout(45):
            async for progress in campaign.watch(0.2):
                last = progress
    except TimeoutError as error:
        raise AssertionError(f"it is not over: {last}") from error
    return last


async def routes(temporal, name, device):
    """By which routes its campaign, its wave and its device are found in the Web UI's list."""
    ids = (names.campaign_id(name), names.wave_id(name, 1), names.device_id(name, device))
    found = [await temporal.get_workflow_handle(each).describe() for each in ids]
    return {each.typed_search_attributes.get(search.KEYS["Route"]) for each in found}


async def test_a_ppmid_is_updated_and_says_so_itself(world, temporal, name):
    give(world, release())
    (device,) = fleet(world, 1)
    async with at_work(world, temporal, name, devices=1) as bench, bench.client() as client:
        ended = await until_over(await client.start(name, request(name)))
        assert ended.funnel == {"settled": 1}
        assert bench.device(device).memory.version == 2
        assert bench.value("SELECT firmware_version FROM device") == GOOD
    assert await routes(temporal, name, device) == {f"bench/{name}"}
    assert bench.value(EVENTS) == (
        "granted ours, sent ours, transferred device, verified device, activated device, version read_back,"
        " granted ours, sent ours, version read_back, settled ours"
    )
    assert world.count("lease") == 0
    assert world.count("outbox", "service_reference <> 'ZigBee' OR state <> 'acknowledged' OR sends <> 1") == 0


async def test_an_hcalcs_holds_its_image_and_installs_it_by_a_permit_of_its_own(world, temporal, name):
    give(world, release("HCALCS"))
    (device,) = fleet(world, 1, "HCALCS")
    async with at_work(world, temporal, name, devices=1) as bench, bench.client() as client:
        campaign = await client.start(name, request(name, "hcalcs"))
        await campaign.pause(reason="not yet", actor="ann", leg="activate")
        await until(lambda: world.count("campaign_device", "state = 'held'"))
        assert bench.device(device).memory.version == 1
        await campaign.resume(
            reason="now", actor="ann", digest=bench.value("SELECT digest FROM campaign"), leg="activate"
        )
        assert (await until_over(campaign)).funnel == {"settled": 1}
        assert bench.device(device).memory.version == 2
    assert bench.device(device).books.blocks == len(bench.device(device).books.offsets)
    assert world.count("outbox", "leg = 'activate'") == 1


async def test_a_bad_image_is_stopped_by_its_gate_and_a_good_one_is_the_evidence_for_lab_passed(world, temporal, name):
    give(world, release(), release(version=BAD))
    devices = fleet(world, 20)
    waves = [{"count": 5}, {"share": 1}]
    async with (
        at_work(world, temporal, name, devices=20, failures={BAD: "kept_old"}) as bench,
        bench.client() as client,
    ):
        bad = await client.start(f"{name}-bad", request(name, version=BAD, waves=waves))
        await until(lambda: world.count("wave", "verdict = 'fail'"))
        assert world.count("campaign_device", "wave = 2 AND state <> 'planned'") == 0
        assert world.count("campaign_device", "outcome = 'failed'") == 5
        assert {bench.device(each).memory.version for each in devices} == {1}
        with pytest.raises(LedgerError, match="did not pass"):
            bench.passes(f"{name}-bad")
        failed = bench.value("SELECT min(eui) FROM campaign_device WHERE outcome = 'failed'")
        its = temporal.get_workflow_handle(names.device_id(f"{name}-bad", failed))
        assert await its.result() == "failed: it restarted, and still runs what it ran before"
        assert (await its.describe()).typed_search_attributes.get(search.OUTCOME) == "failed"
        await bad.halt(reason="a bad image", actor="ann")
        ended = await until_over(await client.start(f"{name}-good", request(name, waves=waves)))
        assert ended.funnel == {"settled": 20}
        assert {bench.device(each).memory.version for each in devices} == {2}
        bench.passes(f"{name}-good")
    assert bench.value("SELECT stage FROM release WHERE name = 'ppmid-2'") == "lab_passed"
    assert bench.value("SELECT stage FROM release WHERE name = 'ppmid-3'") == "verified"
    assert audit.catch_up(world.engine, whole=True) > 100


async def test_what_stops_a_campaign_has_its_transfer_wait_and_a_cancel_reaches_the_device(world, temporal, name):
    give(world, release(size=8_000))
    first, second = fleet(world, 2)
    async with at_work(world, temporal, name, devices=2, rest=0.03) as bench, bench.client() as client:
        campaign = await client.start(name, request(name))
        await until(lambda: min(bench.device(each).books.blocks for each in (first, second)) > 3)
        await campaign.pause(reason="wait", actor="ann")
        waiting = bench.device(first).books
        await until(lambda: waiting.waits > 0)
        async with asyncio.timeout(20):
            while (told := (await client.bench(name).transfers())[0]).stage != "paused":  # noqa: ASYNC110 - the engine's
                await asyncio.sleep(0.2)
        assert (told.eui, told.size > 8_000) == (first, True)
        assert "pause of campaign" in told.waits_for
        await campaign.cancel_device(second, reason="not this one", actor="ann")
        await until(lambda: bench.device(second).books.aborts)
        digest = bench.value("SELECT digest FROM campaign")
        bench.device(first).client.rest = 0
        await campaign.resume(reason="go on", actor="ann", digest=digest)
        assert (await until_over(campaign)).funnel == {"settled": 1, "closed:cancelled": 1}
    assert [bench.device(each).memory.version for each in (first, second)] == [2, 1]
    assert waiting.discards == 0


async def test_a_coordinator_that_is_lost_is_found_again_and_the_device_goes_on_where_it_was(world, temporal, name):
    give(world, release(size=6_000))
    (device,) = fleet(world, 1)
    async with at_work(world, temporal, name, devices=1, rest=0.02) as bench, bench.client() as client:
        campaign = await client.start(name, request(name))
        books = bench.device(device).books
        await until(lambda: books.blocks > 30)
        bench.link.radio.connection_lost(OSError("unplugged"))
        assert (await until_over(campaign)).funnel == {"settled": 1}
    assert (books.discards, len(set(books.offsets))) == (0, books.blocks)


async def command(*arguments):
    ran = await run_beside("bench", *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_the_commands_list_let_join_update_pass_and_forget_and_say_what_they_cannot(
    world, temporal, ledger_dsn, name, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", temporal.service_client.config.target_host)
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    give(world, release())
    first, second = fleet(world, 2)
    at = ("--bench", name)
    async with at_work(world, temporal, name, devices=2) as bench, bench.client() as client:
        nobody = asyncio.create_task(client.bench("nobody").devices())
        await until(lambda: bench.link.radio and all(d.is_initialized for d in bench.link.radio.devices.values()))
        assert [(each["eui"], each["ready"]) for each in (await command("devices", *at))["devices"]] == [
            (first, True),
            (second, True),
        ]
        assert (await command("permit-join", "--seconds", "60", *at))["joining_for"] == 60
        assert (await command("update", "ppmid-2", first, "--name", name, *at))["funnel"] == {"settled": 1}
        assert (await command("pass", name))["stage"] == "lab_passed"
        await command("forget", second, *at)
        assert bench.device(second).address not in bench.lab.air.nodes
        assert [each["eui"] for each in (await command("devices", *at))["devices"]] == [first]
        gone = await run_beside("bench", "forget", second, *at)
        assert (gone.code, "not on this coordinator's network" in gone.err) == (1, True)
        with pytest.raises(EngineError, match="nobody works at bench 'nobody'"):
            await nobody
    verbs = "SELECT string_agg(verb, ', ' ORDER BY id) FROM note WHERE verb LIKE 'bench %' OR verb = 'pass_lab'"
    assert bench.value(verbs) == "bench permit_join, pass_lab, bench forget"


async def test_the_engines_own_cancel_reaches_the_device(world, temporal, name):
    give(world, release(size=8_000))
    (device,) = fleet(world, 1)
    async with at_work(world, temporal, name, devices=1, rest=0.03) as bench:
        # As the Web UI starts one: without search attributes.
        await temporal.start_workflow(
            names.CAMPAIGN_WORKFLOW, request(name), id=names.campaign_id(name), task_queue=names.CAMPAIGN_QUEUE
        )
        await until(lambda: bench.device(device).books.blocks > 3)
        assert await routes(temporal, name, device) == {f"bench/{name}"}
        await temporal.get_workflow_handle(names.device_id(name, device)).cancel()
        await until(lambda: bench.device(device).books.aborts)
        await until(lambda: world.count("campaign_device", "state = 'closed'"))
    told = "SELECT detail FROM device_event WHERE kind = 'delivery_failed'"
    assert bench.value(told) == "cancelled; the device was told"


async def test_a_worker_that_is_stopped_waits_for_no_device_that_is_to_hear_of_a_cancel(world, temporal, name):
    give(world, release(size=8_000))
    (device,) = fleet(world, 1)
    async with asyncio.timeout(100):
        async with at_work(world, temporal, name, devices=1, rest=0.03) as bench, bench.client() as client:
            await client.start(name, request(name))
            await until(lambda: bench.device(device).books.blocks > 3)
            bench.device(device).power_off()
            with patch.object(Control, "abort", autospec=True, side_effect=Control.abort) as abort:
                await temporal.get_workflow_handle(names.device_id(name, device)).cancel()
                await until(lambda: abort.called)
        # It was not told, and the worker is gone all the same.
        assert not bench.device(device).books.aborts
