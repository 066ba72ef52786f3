"""Campaigns on a real Temporal and a real PostgreSQL, with devices that answer at once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError

from hanwave import names
from hanwave.ledger import control
from tests.support.dcc import ACB, Behaviour, Dcc, broken, good, quiet
from tests.support.ledger import US, World
from workers.wiring import campaign_worker, gateway_worker

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
_numbers = count(1)

FAST = {
    "waves": [{"count": 2}, {"share": 1}],
    "sweep": "0.5s",
    "soak": "1s",
    "pace": {"overall": 100},
    "deadlines": {t: {"read": "1s"} for t in ("ESME", "GSME", "HCALCS", "PPMID")},
    "attempts": {"read": 1, "back_off": "1s"},
    # Waves of one or two devices rule out no less.
    "gate": {"harm": 0.7, "silence": 0.7, "confidence": 0.6},
}


@asynccontextmanager
async def running(world: World, client: Client, behaviour: Behaviour = good):
    dcc = Dcc(world, client, asyncio.get_running_loop(), behaviour)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(campaign_worker(client, world.engine, US))
        await stack.enter_async_context(gateway_worker(client, world.engine, dcc.deliver, ACB))
        yield dcc


async def start(client: Client, **request):
    name = f"spring-{next(_numbers)}"
    given = {"release": "r2", "author": "ann", "policy": FAST, **request}
    return await client.start_workflow(
        names.CAMPAIGN_WORKFLOW, given, id=f"campaign/{name}", task_queue=names.CAMPAIGN_QUEUE
    )


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.fleet(5)
    return world


async def test_a_good_image_goes_through_every_wave(fleet, temporal):
    async with running(fleet, temporal) as dcc:
        handle = await start(temporal)
        result = await asyncio.wait_for(handle.result(), 40)
    assert {wave: verdict.split(":")[0] for wave, verdict in result.items()} == {"1": "pass", "2": "pass"}
    assert fleet.count("campaign_device", "state = 'settled'") == 5
    assert len([p for p in dcc.posts if p[1] == "activate"]) == 5
    assert fleet.count("lease") == 0


async def test_devices_that_report_success_and_go_quiet_are_held_at_the_first_gate(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal)
        await until(handle, "gate of wave 1 says not enough evidence")
        assert fleet.count("outbox_device", "leg = 'activate'") == 2


async def test_a_breaker_stops_the_wave_and_the_page_says_so(fleet, temporal):
    gate = {"harm": 0.14, "silence": 0.5, "confidence": 0.5}
    policy = {**FAST, "waves": [{"share": 1}], "exposure_cap": 1, "gate": gate}
    async with running(fleet, temporal, broken):
        handle = await start(temporal, policy=policy)
        await until(handle, "somebody to deal with what stops wave 1")
        assert fleet.count("stop", "kind = 'breaker'") == 1
        assert fleet.count("outbox_device", "leg = 'activate'") == 1


async def test_a_rollback_takes_every_exposed_device_back(fleet, temporal):
    fleet.release_document("r1", "00000001", may_downgrade=True)
    async with running(fleet, temporal, quiet) as dcc:
        handle = await start(temporal)
        await until(handle, "gate of wave 1")
        fleet.runs("00000002", fleet.exposed())
        dcc.behaviour = good_at("00000001")
        restored = await handle.execute_update("roll_back", {"actor": "ann", "reason": "quiet", "releases": ["r1"]})
        assert restored["campaigns"] == [f"{handle.id.removeprefix('campaign/')}-back-1"]
        await asyncio.wait_for(handle.result(), 40)
    assert fleet.count("campaign_device", "state = 'settled' AND campaign LIKE '%back-1'") == 2
    assert fleet.count("campaign_device", "state = 'closed' AND outcome = 'superseded'") == 3


async def test_approvals_are_waited_for_and_the_author_cannot_give_one(fleet, temporal):
    async with running(fleet, temporal):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        digest = fleet.digest()
        for wrong in ({"actor": "ann", "digest": digest}, {"actor": "bob", "digest": "0"}, {}, None, "rubbish", [1]):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update("approve", wrong)
        assert await handle.execute_update("approve", {"actor": "bob", "digest": digest}) == 1
        await asyncio.wait_for(handle.result(), 40)


WRONG = ([], [None], ["rubbish"], [{}, {}], [7], [{"reason": ""}])


async def test_a_wrong_update_is_refused_in_a_sentence_and_the_next_halt_works(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        for verb in ("approve", "pause", "resume", "go_on", "roll_back"):
            for arguments in WRONG:
                with pytest.raises(WorkflowUpdateFailedError) as refused:
                    await handle.execute_update(verb, args=arguments)
                assert "a right one is" in str(refused.value.cause) or len(arguments) == 2
        halted = await handle.execute_update("halt", {"actor": "ann", "reason": "smoke"})
        assert halted["beyond_recall"] == 0
        assert fleet.count("stop", "kind = 'halt' AND reason = 'smoke' AND lifted_at IS NULL") == 1
        await handle.terminate()


@pytest.mark.parametrize("verb", ["pause", "halt"])
async def test_an_act_whose_worker_died_after_its_commit_is_done_once(fleet, temporal, monkeypatch, verb):
    done, act = [], getattr(control, verb)

    def dies(*arguments, **more):
        done.append(act(*arguments, **more))
        if len(done) == 1:
            raise OSError("the worker was killed between its commit and its answer")
        return done[-1]

    monkeypatch.setattr(control, verb, dies)
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        await handle.execute_update(verb, {"actor": "ann", "reason": "smoke"})
        await handle.terminate()
    assert len(done) == 2
    assert fleet.count("stop") == fleet.count("note") == 1


async def test_an_update_with_a_key_is_one_act_however_often_it_is_sent(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        given = {"actor": "ann", "reason": "storm", "key": "storm-of-monday"}
        for _ in range(3):
            assert await handle.execute_update("pause", given) == "every forward leg is paused"
        assert fleet.count("stop") == fleet.count("note") == 1
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("pause", {**given, "leg": "activate"})
        assert "the key 'storm-of-monday' was used for another pause" in str(refused.value.cause)
        await handle.terminate()


async def test_whatever_is_sent_halts(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        for number, arguments in enumerate(([], [None], ["smoke"], [{}], [7]), 1):
            await handle.execute_update("halt", args=arguments)
            assert fleet.count("stop", "kind = 'halt' AND lifted_at IS NULL") == number
        await handle.terminate()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"release": "nothing"}, "there is no release 'nothing'"),
        ({"policy": {"waves": [{"share": 0}]}}, "policy.waves.0.share"),
        ({"policy": {"sweep": "yesterday"}}, "policy.sweep"),
        ({"cohort": {"regions": ["Nowhere"]}}, "the cohort is empty"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
async def test_a_wrong_start_fails_with_one_sentence_and_changes_nothing(fleet, temporal, request_, sentence):
    async with running(fleet, temporal):
        handle = await start(temporal, **request_)
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 20)
        assert sentence in str(failed.value.cause)
    assert fleet.count("campaign") == fleet.count("campaign_device") == 0


def good_at(version: str) -> Behaviour:
    def behave(eui, leg):
        return [
            (kind, {**more, **({"version": version} if "version" in more else {})}) for kind, more in good(eui, leg)
        ]

    return behave


async def until(handle, text: str, seconds: float = 30) -> None:
    """Wait until the campaign says that it waits for this."""
    deadline = asyncio.get_running_loop().time() + seconds
    said = ""
    while asyncio.get_running_loop().time() < deadline:
        said = await handle.query("waits_for")
        if text in said:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the campaign waits for {said!r}, not {text!r}")
