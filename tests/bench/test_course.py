"""The hands on an update: hold and activate, cancel, pause, the ledger's leave; a killed server; many at a time."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
import zigpy.types as t

from hanwave.identifiers import EUI64
from hanwave.rollout.bench import BenchPolicy, Outcome
from infra.zigbee.air import Conditions
from infra.zigbee.client import Habits
from infra.zigbee.clock import run_virtually
from infra.zigbee.frames import UpgradeStatus
from infra.zigbee.memory import Make
from infra.zigbee.radio import VirtualRadio, virtual_config
from tests.bench.lab import BLOCKS, SIZE, BenchRadio, Lab, eui, gb_image, lab, now
from workers.bench.bench import Bench
from workers.bench.control import Control, Step
from workers.bench.errors import BenchError
from workers.bench.image import BenchImage
from workers.bench.radio import bench_config
from workers.bench.transfer import Progress, Stage

pytestmark = pytest.mark.bench
USUAL = Conditions(latency=0.03)
HOLD = BenchPolicy(hold=True)
HCALCS = Make(model="HCALCS-SIM", image_type=0)
SMALL = gb_image(4_000)
"""80 blocks, five seconds."""
HCALCS_IMAGE = gb_image(4_000, image_type=0)


def after(seconds, act):
    asyncio.get_running_loop().call_later(seconds, act)


async def stop(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_hcalcs_holds_its_image_until_it_is_told_an_hour_later():
    async def course():
        async with lab(HCALCS, conditions=USUAL) as bench:
            assert (await bench.update(HCALCS_IMAGE, HOLD)).outcome is Outcome.HELD
            await asyncio.sleep(3600)
            held = bench.device.memory
            assert (held.version, held.status) == (1, UpgradeStatus.WAITING)
            assert bytes(held.image) == HCALCS_IMAGE.data
            assert (await bench.update(HCALCS_IMAGE, HOLD)).outcome is Outcome.HELD
            report = await bench.update(HCALCS_IMAGE)
            assert (report.outcome, report.blocks, report.version_before, report.version_after) == (
                *(Outcome.ACTIVATED, 0),
                *(1, 2),
            )
            assert bench.device.books.blocks == 80
            assert (await bench.update(HCALCS_IMAGE)).outcome is Outcome.ALREADY

    run_virtually(course())


def test_a_device_that_is_away_when_it_is_to_activate_is_told_when_it_is_back():
    async def course():
        async with lab(HCALCS, conditions=USUAL) as bench:
            await bench.update(HCALCS_IMAGE, HOLD)
            bench.device.power_off()
            after(90, bench.device.power_on)
            report = await bench.update(HCALCS_IMAGE)
            assert (report.outcome, report.blocks) == (Outcome.ACTIVATED, 0)

    run_virtually(course())


def test_a_held_image_gives_way_to_a_newer_one():
    async def course():
        async with lab(HCALCS, conditions=USUAL) as bench:
            await bench.update(HCALCS_IMAGE, HOLD)
            report = await bench.update(gb_image(4_000, version=3, image_type=0))
            assert (report.outcome, report.version_after) == (Outcome.ACTIVATED, 3)
            assert [version for _, version in bench.device.books.versions] == [1, 3]

    run_virtually(course())


def test_a_cancel_reaches_the_device():
    async def course():
        async with lab(conditions=USUAL) as bench:
            control = Control()
            after(5, control.abort)
            report = await bench.update(gb_image(), control=control)
            assert (report.outcome, report.was_told) == (Outcome.CANCELLED, True)
            assert (bench.device.books.aborts, len(bench.device.memory.image)) == (1, 0)

    run_virtually(course())


def test_a_cancel_that_cannot_reach_the_device_says_so():
    async def course():
        async with lab(conditions=USUAL) as bench:
            control = Control()
            after(5, bench.device.power_off)
            after(6, control.abort)
            began = now()
            report = await bench.update(gb_image(), control=control)
            assert (report.outcome, report.was_told) == (Outcome.CANCELLED, False)
            assert 125 < now() - began < 128

    run_virtually(course())


def test_a_cancel_after_the_last_block_leaves_the_image_held():
    async def course():
        async with lab(conditions=USUAL) as bench:

            async def leave(step: Step) -> bool:
                if step is Step.UPGRADE_END:
                    control.abort()
                    await asyncio.sleep(3600)
                return True

            control = Control(leave)
            assert (await bench.update(SMALL, control=control)).outcome is Outcome.HELD
            assert (bench.device.memory.status, bench.device.memory.version) == (UpgradeStatus.WAITING, 1)

    run_virtually(course())


def test_a_pause_holds_the_device_where_it_is():
    async def course():
        async with lab(conditions=USUAL) as bench:
            control, seen = Control(), []
            after(5, control.pause)
            after(305, control.resume)
            began = now()
            report = await bench.update(gb_image(), control=control, on_progress=seen.append)
            assert (report.outcome, report.repeats, bench.device.books.blocks) == (Outcome.ACTIVATED, 0, BLOCKS)
            assert 312 < now() - began < 350
            assert bench.device.books.waits == 10
            paused = {each.offset for each in seen if each.stage is Stage.PAUSED}
            assert len(paused) == 1
            assert paused.pop() == pytest.approx(5 / 0.06 * 50, abs=200)

    run_virtually(course())


def test_progress_says_how_fast_and_how_long():
    async def course():
        async with lab(conditions=USUAL) as bench:
            seen = []
            await bench.update(gb_image(), on_progress=seen.append)
            middle = seen[6]
            assert middle.stage is Stage.DOWNLOADING
            assert middle.rate == pytest.approx(50 / 0.06, rel=0.05)
            assert middle.seconds_left == pytest.approx((SIZE - middle.offset) / middle.rate)
            assert middle.silent_for < 0.1
            assert [each.offset for each in seen] == sorted(each.offset for each in seen)

    run_virtually(course())


def test_no_octet_leaves_before_the_ledgers_leave():
    async def course():
        async with lab(conditions=USUAL) as bench:
            asked = []

            async def leave(step: Step) -> bool:
                asked.append((step, bench.device.books.blocks))
                await asyncio.sleep(120)
                return True

            report = await bench.update(SMALL, control=Control(leave))
            assert report.outcome is Outcome.ACTIVATED
            assert asked == [(Step.FIRST_BLOCK, 0), (Step.UPGRADE_END, 80)]
            assert bench.device.books.versions[-1][0] - bench.device.books.versions[0][0] > 240

    run_virtually(course())


@pytest.mark.parametrize(
    ("refused", "outcome", "status", "blocks"),
    [
        (Step.FIRST_BLOCK, Outcome.NOT_PERMITTED, UpgradeStatus.DOWNLOADING, 0),
        (Step.UPGRADE_END, Outcome.HELD, UpgradeStatus.WAITING, 80),
    ],
)
def test_what_the_ledger_refuses_is_not_done(refused, outcome, status, blocks):
    async def course():
        async with lab(conditions=USUAL) as bench:

            async def leave(step: Step) -> bool:
                return step is not refused

            assert (await bench.update(SMALL, control=Control(leave))).outcome is outcome
            await asyncio.sleep(600)
            assert (bench.device.books.blocks, bench.device.memory.status) == (blocks, status)
            assert (bench.device.memory.version, bench.device.books.aborts) == (1, 0)

    run_virtually(course())


def test_a_ledger_that_fails_ends_the_update_and_destroys_nothing():
    async def course():
        async with lab(conditions=USUAL) as bench:

            async def leave(_step: Step) -> bool:
                raise ConnectionError("the ledger is away")

            with pytest.raises(ConnectionError):
                await bench.update(SMALL, control=Control(leave))
            assert (await bench.update(SMALL)).outcome is Outcome.ACTIVATED
            assert bench.device.books.aborts == 0

    run_virtually(course())


async def restarted(bench: Lab) -> Bench:
    """A new process in the coordinator's place, which knows the devices from its database."""
    old = bench.radio
    radio = BenchRadio(bench_config(virtual_config()))
    for device in old.devices.values():
        if device.ieee == old.state.node_info.ieee:
            continue
        again = radio.add_device(device.ieee, device.nwk)
        again.node_desc, again.model, again.manufacturer = device.node_desc, device.model, device.manufacturer
        for number, endpoint in ((each.endpoint_id, each) for each in device.non_zdo_endpoints):
            made = again.add_endpoint(number)
            made.status, made.profile_id, made.device_type = endpoint.status, endpoint.profile_id, endpoint.device_type
            for cluster in endpoint.in_clusters:
                made.add_input_cluster(cluster)
            for cluster in endpoint.out_clusters:
                made.add_output_cluster(cluster)
    radio.attach(bench.air)
    await radio.startup(auto_form=False)
    bench.radio = radio
    return Bench(radio)


def test_a_killed_server_loses_no_block_and_sends_none_twice():
    async def course():
        async with lab(*[Make()] * 5, habits=Habits(retries=20), conditions=USUAL) as bench:
            running = [
                asyncio.ensure_future(bench.bench.update(each.eui, SMALL, BenchPolicy())) for each in bench.devices
            ]
            await asyncio.sleep(2)
            bench.air.coordinator = None  # killed: nobody answers any more
            for each in running:
                await stop(each)
            await asyncio.sleep(3)
            held = [len(device.memory.image) for device in bench.devices]
            again = await restarted(bench)
            await asyncio.sleep(2)  # nobody has begun the updates again yet: the devices must not be told ABORT
            assert [len(device.memory.image) for device in bench.devices] == held
            reports = await asyncio.gather(*(again.update(each.eui, SMALL, BenchPolicy()) for each in bench.devices))
            assert {report.outcome for report in reports} == {Outcome.ACTIVATED}
            assert [report.first_offset for report in reports] == held
            assert {device.books.blocks for device in bench.devices} == {80}
            assert {device.books.aborts + device.books.discards for device in bench.devices} == {0}

    run_virtually(course())


def test_a_device_that_ends_while_no_update_runs_is_parked_and_then_released():
    async def course():
        async with lab(conditions=USUAL) as bench:
            running = asyncio.ensure_future(bench.update(SMALL))
            last = asyncio.Event()
            bench.device.client.at_offset[len(SMALL.data) - 50] = last.set
            await last.wait()
            await stop(running)
            await asyncio.sleep(30)
            assert bench.device.memory.version == 1
            report = await bench.update(SMALL)
            assert (report.outcome, report.blocks <= 1) == (Outcome.ACTIVATED, True)

    run_virtually(course())


def test_a_device_without_an_update_is_never_told_to_abort_in_a_day():
    async def course():
        async with lab(habits=Habits(), conditions=USUAL) as bench:
            control = Control()
            after(2, bench.device.power_off)
            running = asyncio.ensure_future(bench.update(SMALL, control=control))
            await asyncio.sleep(3)
            await stop(running)
            held = len(bench.device.memory.image)
            bench.device.power_on()
            await asyncio.sleep(86_400)
            assert (len(bench.device.memory.image), bench.device.books.aborts) == (held, 0)
            # The waits grow to ten minutes, so a day holds some 150 and not 17,000.
            assert 144 <= bench.device.books.waits <= 160

    run_virtually(course())


def test_a_partial_image_of_another_version_is_thrown_away_and_the_update_goes_on():
    async def course():
        async with lab(conditions=USUAL) as bench:
            running = asyncio.ensure_future(bench.update(SMALL))
            await asyncio.sleep(2)
            await stop(running)
            report = await bench.update(gb_image(4_000, version=3))
            assert (report.outcome, report.version_after, report.first_offset) == (Outcome.ACTIVATED, 3, 0)
            assert bench.device.books.aborts == 1

    run_virtually(course())


def test_an_image_that_is_not_the_approved_one_is_not_sent():
    async def course():
        async with lab(conditions=USUAL) as bench:
            other = BenchImage(SMALL.data, SMALL.header, SMALL.digest, approved=bytes(32))
            assert (await bench.update(other)).outcome is Outcome.WRONG_HASH
            assert bench.device.books.notifies == 1  # zigpy's own, when it joined

    run_virtually(course())


def test_what_cannot_be_tried_is_refused():
    async def course():
        async with lab(conditions=USUAL) as bench:
            with pytest.raises(BenchError, match="not on this coordinator's network"):
                await bench.bench.update(eui(77), SMALL, BenchPolicy())
            running = asyncio.ensure_future(bench.update(SMALL))
            await asyncio.sleep(1)
            with pytest.raises(BenchError, match="has an update under way"):
                await bench.update(SMALL)
            assert (await running).outcome is Outcome.ACTIVATED
            known = bench.radio.devices[t.EUI64(bench.device.eui.octets[::-1])]
            known.endpoints[1].out_clusters.clear()
            with pytest.raises(BenchError, match="no OTA Upgrade client"):
                await bench.update(SMALL)

    run_virtually(course())


def test_twenty_sleepers_all_finish_on_two_slots():
    async def course():
        image, policy = gb_image(500), BenchPolicy(confirm_within=timedelta(hours=1))
        makes = [Make(is_mains=False)] * 20
        async with lab(*makes, habits=Habits(timeout=30), conditions=USUAL, poll=5.0) as bench:
            running: set[EUI64] = set()
            most = 0

            def note(device: EUI64, progress: Progress) -> None:
                nonlocal most
                if progress.stage is not Stage.QUEUED:
                    running.add(device)
                most = max(most, len(running))

            async def update(device: EUI64) -> Outcome:
                report = await bench.bench.update(device, image, policy, on_progress=partial(note, device))
                running.discard(device)
                return report.outcome

            outcomes = await asyncio.gather(*(update(each.eui) for each in bench.devices))
            assert outcomes == [Outcome.ACTIVATED] * 20
            assert {device.memory.version for device in bench.devices} == {2}
            assert most == 2

    run_virtually(course())


def test_a_cancel_in_the_queue_needs_no_turn():
    async def course():
        makes = [Make(is_mains=False)] * 3
        async with lab(*makes, conditions=USUAL) as bench:
            controls = [Control() for _ in makes]
            running = [
                asyncio.ensure_future(bench.bench.update(each.eui, SMALL, BenchPolicy(), control=control))
                for each, control in zip(bench.devices, controls, strict=True)
            ]
            after(2, controls[2].abort)
            began = now()
            assert (await running[2]).outcome is Outcome.CANCELLED
            assert now() - began < 3
            assert [(await each).outcome for each in running[:2]] == [Outcome.ACTIVATED] * 2

    run_virtually(course())


def test_a_block_counts_though_the_radio_confirms_it_behind_the_next_request(monkeypatch):
    """A stick may tell both in one breath, the device's request first."""
    send = VirtualRadio.send_packet

    async def send_and_be_told_late(radio: VirtualRadio, packet: t.ZigbeePacket) -> None:
        await send(radio, packet)
        await asyncio.sleep(0.01)

    async def course():
        async with lab() as bench:
            monkeypatch.setattr(VirtualRadio, "send_packet", send_and_be_told_late)
            report = await bench.update(SMALL)
            assert (report.outcome, report.blocks, report.repeats) == (Outcome.ACTIVATED, 80, 0)
            assert bench.device.books.retries == 0

    run_virtually(course())
