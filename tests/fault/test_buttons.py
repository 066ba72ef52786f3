"""The buttons of the Temporal Web UI skip our code: Terminate, Cancel and Reset of each workflow, and wrong signals.

A campaign or wave that somebody closed is halted, a device's workflow is started again, a reset repeats no command.
"""

import asyncio
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RawValue, WorkflowIDConflictPolicy

from activities.wave import DeviceStart, now
from hanwave import names
from hanwave.ledger import beats, outbox
from hanwave.rollout.events import Leg
from tests.support.buttons import (
    CAP,
    POLICY,
    SIZE,
    cancel,
    ends,
    in_flight,
    listed_as_closed,
    once,
    reset,
    restore,
    resume,
    silent,
    speak,
    start,
    status,
    stops,
    terminate,
    wait_for,
)
from tests.support.ledger import World, eui
from tests.workflow.test_campaign import running
from workers.warden import make_round

pytestmark = [pytest.mark.fault, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.fleet(SIZE)
    return world


@pytest.mark.parametrize("which", ["campaign", "wave"])
@pytest.mark.parametrize("button", [terminate, cancel])
async def test_a_campaign_or_wave_that_is_closed_by_hand_is_halted(fleet, temporal, which, button):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        workflow_id = names.campaign_id(name) if which == "campaign" else names.wave_id(name, 1)
        await button(temporal, workflow_id)
        if (which, button) == ("campaign", cancel):
            assert stops(fleet) == [("campaign", name, "claimed:temporal")]
        await make_round(temporal, fleet.engine, now())
        scope, value = ("campaign", name) if which == "campaign" else ("wave", f"{name}/1")
        assert [(s, v) for s, v, _ in stops(fleet)] == [(scope, value)]
        # Room under the cap comes free, and nobody takes it.
        await asyncio.to_thread(speak, fleet, dcc)
        await asyncio.sleep(2)
        assert len([p for p in dcc.posts if p[1] == Leg.ACTIVATE]) == CAP
        await make_round(temporal, fleet.engine, now())
        assert len(stops(fleet)) == 1
        await restore(fleet, temporal, name)
        await make_round(temporal, fleet.engine, now())
        assert stops(fleet) == []
        await ends(fleet, dcc)


@pytest.mark.parametrize("button", [terminate, cancel])
async def test_a_devices_workflow_that_is_closed_by_hand_is_started_again(fleet, temporal, button):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        pressed = [names.device_id(name, eui) for eui in (_device(fleet, "activating"), _device(fleet, "held"))]
        for workflow_id in pressed:
            await button(temporal, workflow_id)
        for workflow_id in pressed:
            await listed_as_closed(temporal, workflow_id)
        await make_round(temporal, fleet.engine, now())
        assert [await status(temporal, each) for each in pressed] == [WorkflowExecutionStatus.RUNNING] * 2
        assert stops(fleet) == []
        await ends(fleet, dcc)


def _device(world: World, state: str) -> str:
    with world.engine.connect() as connection:
        statement = text("SELECT eui FROM campaign_device WHERE state = :state ORDER BY id LIMIT 1")
        return str(connection.execute(statement, {"state": state}).scalar_one())


@pytest.mark.parametrize("point", [0, -1], ids=["to the start", "to the last task"])
@pytest.mark.parametrize("which", ["campaign", "wave", "device"])
async def test_a_reset_repeats_no_command(fleet, temporal, which, point):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        ids = {
            "campaign": names.campaign_id(name),
            "wave": names.wave_id(name, 1),
            "device": names.device_id(name, _device(fleet, "activating")),
        }
        await reset(temporal, ids[which], point)
        await listed_as_closed(temporal, ids[which])
        await make_round(temporal, fleet.engine, now())
        assert stops(fleet) == []
        assert await status(temporal, ids[which]) is WorkflowExecutionStatus.RUNNING
        await ends(fleet, dcc)


async def test_a_device_that_is_reset_after_its_end_ends_again(fleet, temporal):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        eui = _device(fleet, "activating")
        await ends(fleet, dcc)
        await reset(temporal, names.device_id(name, eui))
        assert await asyncio.wait_for(temporal.get_workflow_handle(names.device_id(name, eui)).result(), 20) in {
            "settled",
            "confirmed",
        }
        once(dcc)


async def test_a_campaign_cancelled_before_it_begins_is_halted_and_ends(fleet, temporal):
    async with running(fleet, temporal) as dcc:
        name = await start(fleet, temporal, approvals=1)
        await wait_for(lambda: fleet.count("campaign") == 1, "its plan is frozen")
        await cancel(temporal, names.campaign_id(name))
        assert stops(fleet) == [("campaign", name, "claimed:temporal")]
        assert dcc.posts == []


async def test_a_cancelled_campaign_whose_plan_was_refused_leaves_no_stop_behind(fleet, temporal):
    # No worker yet: the cancel is the first thing that the workflow learns.
    name = await start(fleet, temporal, release="nothing")
    await temporal.get_workflow_handle(names.campaign_id(name)).cancel()
    async with running(fleet, temporal):
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(temporal.get_workflow_handle(names.campaign_id(name)).result(), 20)
    assert stops(fleet) == []


async def test_a_device_cancelled_while_its_post_is_under_way_is_sent_no_second_command(fleet, temporal, monkeypatch):
    """The answer is not recorded yet when its workflow is started again: only the same bytes may be sent once more."""
    slow: list[int] = []
    come = threading.Event()
    record_answer = outbox.answered

    def answered(connection, outbox_id, answer, at):
        if not slow and outbox.get(connection, outbox_id).leg is Leg.ACTIVATE:
            slow.append(outbox_id)
            assert come.wait(30)
        return record_answer(connection, outbox_id, answer, at)

    monkeypatch.setattr(outbox, "answered", answered)
    async with running(fleet, temporal, silent) as dcc:
        name = await start(fleet, temporal)
        await wait_for(lambda: bool(slow), "an activation is under way")
        with fleet.engine.connect() as connection:
            (eui,) = outbox.devices(connection, slow[0])
        await cancel(temporal, names.device_id(name, eui))
        await listed_as_closed(temporal, names.device_id(name, eui))
        await make_round(temporal, fleet.engine, now())
        await asyncio.sleep(1)  # for what it must not do: the workflow that was started again has the time to send
        come.set()
        await wait_for(lambda: fleet.count("campaign_device", "state = 'activating'") == CAP, "the others activate")
        await asyncio.to_thread(speak, fleet, dcc)
        await wait_for(lambda: fleet.count("campaign", "closed_at IS NOT NULL") == 1, "the campaign ends", 60)
    assert {outbox_id for outbox_id, leg, posted in dcc.posts if (leg, posted) == (Leg.ACTIVATE, eui)} == set(slow)
    assert fleet.count("outbox_device", "leg = 'activate'") == SIZE
    assert fleet.count("campaign_device", "state = 'settled'") == SIZE


RUBBISH = [[], [None], ["rubbish"], [{}, {}], [7, "x", None], [{"state": 3, "ended": "perhaps"}]]


@pytest.mark.parametrize("arguments", RUBBISH, ids=str)
async def test_a_wrong_signal_wedges_nothing(fleet, temporal, arguments):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        signals = {
            names.campaign_id(name): names.WAVE_STOPPED,
            names.wave_id(name, 1): names.NUDGE,
            names.device_id(name, _device(fleet, "activating")): names.WAKE,
            names.device_id(name, _device(fleet, "held")): names.WAKE,
        }
        for workflow_id, signal in signals.items():
            await temporal.get_workflow_handle(workflow_id).signal(signal, args=arguments)
            await temporal.get_workflow_handle(workflow_id).signal("no such signal", args=arguments)
        handle = temporal.get_workflow_handle(names.campaign_id(name))
        await asyncio.wait_for(handle.execute_update("halt", {"actor": "ann", "reason": "smoke"}), 20)
        assert stops(fleet) == [("campaign", name, "ann")]
        await asyncio.to_thread(resume, fleet, name)
        await ends(fleet, dcc)


async def test_a_wave_or_device_started_with_rubbish_fails_with_a_sentence(fleet, temporal):
    async with running(fleet, temporal):
        for kind in (names.WAVE_WORKFLOW, names.DEVICE_WORKFLOW):
            for number, arguments in enumerate(RUBBISH):
                handle = await temporal.start_workflow(
                    kind, args=arguments[:1], id=f"rubbish/{kind}/{number}", task_queue=names.CAMPAIGN_QUEUE
                )
                with pytest.raises(WorkflowFailureError) as failed:
                    await asyncio.wait_for(handle.result(), 20)
                assert "a right one is" in str(failed.value.cause)


UNREADABLE = [
    RawValue(Payload(metadata={"encoding": encoding}, data=octets))
    for encoding, octets in (
        (b"json/plain", b'{"release":'),
        (b"json/plain", b"[" * 100_000 + b"]" * 100_000),
        (b"binary/encrypted", bytes(64)),
        (b"binary/protobuf", b"\xff"),
        (b"\xff", b"1"),
    )
]
"""What another SDK may send, or one with another's codec: no value at all."""


async def test_what_nobody_can_read_is_refused_with_a_sentence_and_halts(fleet, temporal):
    async with running(fleet, temporal, silent):
        for kind in (names.CAMPAIGN_WORKFLOW, names.WAVE_WORKFLOW, names.DEVICE_WORKFLOW):
            for number, what in enumerate(UNREADABLE):
                with pytest.raises(WorkflowFailureError) as failed:
                    await asyncio.wait_for(
                        temporal.execute_workflow(
                            kind, what, id=f"campaign/unreadable-{number}", task_queue=names.CAMPAIGN_QUEUE
                        ),
                        20,
                    )
                assert "a right one is" in str(failed.value.cause)
        handle = temporal.get_workflow_handle(names.campaign_id(await in_flight(fleet, temporal)))
        for what in UNREADABLE:
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update("resume", what)
            assert "a right one is" in str(refused.value.cause)
        await asyncio.wait_for(handle.execute_update("halt", UNREADABLE[0]), 20)
        assert [(scope, value) for scope, value, _ in stops(fleet)] == [
            ("campaign", handle.id.removeprefix("campaign/"))
        ]


async def test_whoever_starts_a_workflow_by_hand_under_another_id_is_told_the_right_one(fleet, temporal):
    """Two waves of one campaign would activate twice as fast; nobody looks after a device's of a made-up id."""
    async with running(fleet, temporal) as dcc:
        for kind, given, right in (
            (names.CAMPAIGN_WORKFLOW, {"release": "r2", "policy": POLICY}, "campaign/by-hand"),
            (names.WAVE_WORKFLOW, {"campaign": "spring", "wave": 1}, "campaign/spring/wave/1"),
            (names.DEVICE_WORKFLOW, DeviceStart("spring", 1, eui(0)), f"campaign/spring/device/{eui(0)}"),
        ):
            with pytest.raises(WorkflowFailureError) as failed:
                await temporal.execute_workflow(kind, given, id="by-hand", task_queue=names.CAMPAIGN_QUEUE)
            assert f"the workflow's id is 'by-hand', it should be '{right}'" in str(failed.value.cause)
        another = DeviceStart("spring", 7, eui(0))
        with pytest.raises(WorkflowFailureError) as failed:
            await temporal.execute_workflow(
                names.DEVICE_WORKFLOW, another, id=names.device_id("spring", eui(0)), task_queue=names.CAMPAIGN_QUEUE
            )
        assert "update 7 is not that device's" in str(failed.value.cause.cause)
        assert dcc.posts == []
        # They were closed by no end of an update, and are none of ours: the warden goes round.
        await make_round(temporal, fleet.engine, now())
        assert fleet.count("stop") == 0


async def test_a_device_that_was_told_a_lie_or_ended_while_no_warden_was_there_is_begun_again(fleet, temporal):
    async with running(fleet, temporal, silent) as dcc:
        name = await in_flight(fleet, temporal)
        held = names.device_id(name, _device(fleet, "held"))
        await temporal.start_workflow(
            names.DEVICE_WORKFLOW,
            id=held,
            task_queue=names.CAMPAIGN_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=names.WAKE,
            start_signal_args=[names.Wake("settled", ended=True)],
        )
        await terminate(temporal, names.device_id(name, _device(fleet, "activating")))
        assert await asyncio.wait_for(temporal.get_workflow_handle(held).result(), 20) == "settled"
        with fleet.engine.begin() as connection:
            beats.beat(connection, beats.WARDEN, now())
        await make_round(temporal, fleet.engine, now() + timedelta(minutes=10))
        assert (
            await status(temporal, names.device_id(name, _device(fleet, "activating")))
            is WorkflowExecutionStatus.RUNNING
        )
        await ends(fleet, dcc)
