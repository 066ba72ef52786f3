"""Campaigns on a real Temporal and a real PostgreSQL, with devices that answer at once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import pytest
from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from hanwave import names
from hanwave.ledger import control, holds, stops
from tests.support.dcc import ACB, Behaviour, Dcc, broken, good, quiet
from tests.support.ledger import US, World, eui
from workers.wiring import campaign_worker, gateway_worker
from workflows import verbs

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

ALONE = {
    **FAST,
    "waves": [{"share": 1}],
    "exposure_cap": 1,
    "gate": {"harm": 0.14, "silence": 0.5, "confidence": 0.5},
    "on_harm": "roll_back",
}

KINDS: dict[str, type[verbs.Verb]] = {
    "approve": verbs.Approve,
    "pause": verbs.Pause,
    "resume": verbs.Resume,
    "go_on": verbs.Widen,
    "change_pace": verbs.ChangePace,
    "cancel_device": verbs.CancelDevice,
    "roll_back": verbs.RollBack,
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
        back = {"actor": "ann", "reason": "quiet", "digest": fleet.digest(), "releases": ["r1"]}
        restored = await handle.execute_update("roll_back", back)
        assert restored["campaigns"] == [f"{handle.id.removeprefix('campaign/')}-back-1"]
        await asyncio.wait_for(handle.result(), 40)
    assert fleet.count("campaign_device", "state = 'settled' AND campaign LIKE '%back-1'") == 2
    assert fleet.count("campaign_device", "state = 'closed' AND outcome = 'superseded'") == 3


async def test_a_release_that_is_named_later_takes_back_whom_the_first_left_out(fleet, temporal):
    fleet.release_document("r1", "00000001", may_downgrade=True)
    fleet.release_document("r3", "00000003")
    async with running(fleet, temporal, quiet) as dcc:
        handle = await start(temporal)
        await until(handle, "gate of wave 1")
        first = f"{handle.id.removeprefix('campaign/')}-back-1"
        held, other = sorted(set(fleet.exposed()))
        fleet.runs("00000002", [held, other])
        with fleet.engine.begin() as connection:
            hold = holds.place(connection, holds.NewHold("device", held, "INC0042", "ann"), fleet.now)
            # The first rollback goes on when the second one is planned.
            pause = stops.stop(connection, stops.Scope("campaign", first), "pause", "not yet", "ann", fleet.now)
        dcc.behaviour = lambda who, leg: good_at("00000003" if who == held else "00000001")(who, leg)
        back = {"actor": "ann", "reason": "quiet", "digest": fleet.digest()}
        assert len((await handle.execute_update("roll_back", {**back, "releases": ["r1"]}))["campaigns"]) == 1
        await until(handle, "the rollback")
        with fleet.engine.begin() as connection:
            holds.lift(connection, hold, "it is well", "ann", fleet.now)
        assert len((await handle.execute_update("roll_back", {**back, "releases": ["r3"]}))["campaigns"]) == 2
        with fleet.engine.begin() as connection:
            stops.lift(connection, pause, "now", "ann", fleet.now)
        await asyncio.wait_for(handle.result(), 40)
    for end, device in (("1", other), ("2", held)):
        settled = f"state = 'settled' AND eui = '{device}' AND campaign LIKE '%back-{end}'"
        assert fleet.count("campaign_device", settled) == 1


async def test_a_plan_that_says_so_is_rolled_back_by_itself_once_harm_is_proven(fleet, temporal):
    fleet.release_document("r1b", "00000003")
    async with running(fleet, temporal, broken) as dcc:
        handle = await start(temporal, policy=ALONE, fallbacks=["r1b"])
        await wait_for(lambda: fleet.count("stop", "kind = 'breaker'") == 1, "the breaker opens")
        dcc.behaviour = good_at("00000003")
        await asyncio.wait_for(handle.result(), 40)
    back = f"{handle.id.removeprefix('campaign/')}-back-1"
    assert fleet.count("campaign", f"name = '{back}' AND author = 'hanwave'") == 1
    assert fleet.count("campaign_device", f"state = 'settled' AND campaign = '{back}'") == 1
    assert (
        fleet.count("note", "verb = 'roll back' AND actor = 'hanwave' AND reason LIKE '%the breaker of wave 1%'") == 1
    )


async def test_silence_is_never_rolled_back_by_itself(fleet, temporal):
    fleet.release_document("r1b", "00000003")
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, policy={**ALONE, "exposure_cap": 5}, fallbacks=["r1b"])
        await until(handle, "gate of wave 1")
    assert fleet.count("note", "verb = 'roll back'") == 0


async def test_a_rollback_by_itself_that_is_refused_is_told_and_waits_for_a_person(fleet, temporal):
    fleet.release_document("r1b", "00000003")
    async with running(fleet, temporal, broken):
        handle = await start(temporal, policy=ALONE, fallbacks=["r1b"], approvals=1)
        await until(handle, "1 approval")
        with fleet.engine.begin() as connection:
            connection.execute(text("UPDATE release SET name = 'gone' WHERE name = 'r1b'"))
        await handle.execute_update("approve", {"actor": "bob", "digest": fleet.digest()})
        await until(handle, "it could not be rolled back as its plan says: ")
        assert fleet.count("campaign") == 1


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


WRONG = ([], [None], ["rubbish"], [{}, {}], [7], [{"reason": ""}], [{"actor": "ann", "reason": " ", "digest": "0"}])


async def test_a_wrong_update_is_refused_in_a_sentence_and_the_next_halt_works(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        for verb in KINDS:
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
    assert fleet.count("stop") == fleet.count("note", "verb <> 'plan'") == 1


async def test_an_update_with_a_key_is_one_act_however_often_it_is_sent(fleet, temporal):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        given = {"actor": "ann", "reason": "storm", "key": "storm-of-monday"}
        for _ in range(3):
            assert await handle.execute_update("pause", given) == "every forward leg is paused"
        assert fleet.count("stop") == fleet.count("note", "verb <> 'plan'") == 1
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("pause", {**given, "leg": "activate"})
        assert "the key 'storm-of-monday' was used for another pause" in str(refused.value.cause)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("pause", {"actor": "eve", "reason": "why not", "user_id": eui(7)})
        assert f"eve acts for {eui(7)}, and this campaign is another User ID's" in str(refused.value.cause)
        await handle.execute_update("pause", {**given, "user_id": US})
        assert fleet.count("stop") == fleet.count("note", "verb <> 'plan'") == 1
        await handle.terminate()


@pytest.mark.parametrize(
    ("verb", "more"),
    [("resume", {}), ("go_on", {}), ("change_pace", {"per_second": 1}), ("roll_back", {"releases": ["r2"]})],
)
async def test_what_widens_is_refused_on_another_plan_than_was_read(fleet, temporal, verb, more):
    async with running(fleet, temporal, quiet):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(verb, {"actor": "ann", "reason": "why not", "digest": "0" * 64, **more})
        assert f"is {fleet.digest()}, not '0000" in str(refused.value.cause)
        await handle.terminate()
    assert fleet.count("stop") == fleet.count("note", "verb <> 'plan'") == 0


@pytest.mark.parametrize(
    ("verb", "given", "sentence"),
    [
        ("pause", {"leg": "read"}, "leg: input should be"),
        ("resume", {"leg": "withdraw", "digest": "0"}, "leg: input should be"),
        ("change_pace", {"per_second": 0, "digest": "0"}, "per_second: input should be greater than 0"),
        ("change_pace", {"per_second": "fast", "digest": "0"}, "per_second: input should be a valid number"),
        ("change_pace", {"per_second": 1}, "digest: field required"),
        ("cancel_device", {"device": "the red one"}, "device: value error"),
        ("cancel_device", {}, "device: field required"),
        ("go_on", {"digest": "0", "key": ""}, "key: string should have at least 1 character"),
        ("go_on", {"digest": "0", "wave": 1}, "wave: extra inputs are not permitted"),
    ],
    ids=str,
)
async def test_a_wrong_field_of_a_verb_is_named_beside_a_right_input(given, verb, sentence):
    wrong = {"actor": "ann", "reason": "storm", **given}
    with pytest.raises(ApplicationError) as refused:
        verbs.read(KINDS[verb], wrong)
    assert sentence in str(refused.value)
    assert "a right one is" in str(refused.value)
    assert len(refused.value.message) <= 240


@pytest.mark.parametrize("kind", list(KINDS.values()))
async def test_the_right_input_that_a_refusal_shows_is_right(kind):
    assert verbs.read(kind, verbs.example(kind)).actor


async def test_one_device_is_cancelled_and_the_others_go_on(fleet, temporal):
    async with running(fleet, temporal) as dcc:
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        given = {"actor": "ann", "reason": "a complaint", "device": eui(3)}
        cancelled = await handle.execute_update("cancel_device", given)
        assert cancelled == {"eui": eui(3), "state": "closed", "ended": True, "outcome": "cancelled"}
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("cancel_device", given)
        assert "has ended" in str(refused.value.cause)
        await handle.execute_update("approve", {"actor": "bob", "digest": fleet.digest()})
        await asyncio.wait_for(handle.result(), 40)
    assert eui(3) not in {posted for _, _, posted in dcc.posts}
    assert fleet.count("campaign_device", "state = 'settled'") == 4


async def test_a_pace_is_changed_while_the_campaign_runs_and_never_above_its_plan(fleet, temporal):
    async with running(fleet, temporal):
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        given = {"actor": "ann", "reason": "a busy hub", "digest": fleet.digest()[:16]}
        assert await handle.execute_update("change_pace", {**given, "per_second": 50}) == (
            "50 activations a second at most, after 100"
        )
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("change_pace", {**given, "per_second": 101})
        assert "at most its approved plan's 100 a second, not 101" in str(refused.value.cause)
        await handle.terminate()
    assert fleet.count("pace") == 1


async def test_each_leg_is_paused_and_resumed_apart(fleet, temporal):
    async with running(fleet, temporal) as dcc:
        handle = await start(temporal, approvals=1)
        await until(handle, "1 approval")
        digest = fleet.digest()
        await handle.execute_update("pause", {"actor": "ann", "reason": "storm"})
        await handle.execute_update("approve", {"actor": "bob", "digest": digest})
        calm = {"actor": "ann", "reason": "calm", "digest": digest}
        await handle.execute_update("resume", {**calm, "leg": "distribute"})
        await wait_for(lambda: fleet.count("campaign_device", "state = 'held'") == 2, "the first wave holds its image")
        assert {leg for _, leg, _ in dcc.posts} == {"distribute"}
        await handle.execute_update("resume", {**calm, "leg": "activate"})
        await asyncio.wait_for(handle.result(), 40)
    assert fleet.count("campaign_device", "state = 'settled'") == 5


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


async def wait_for(done, what: str, seconds: float = 40) -> None:
    """Wait until that is so in the ledger."""
    end = asyncio.get_running_loop().time() + seconds
    while not await asyncio.to_thread(done):
        assert asyncio.get_running_loop().time() < end, f"it never came to be that {what}"
        await asyncio.sleep(0.1)
