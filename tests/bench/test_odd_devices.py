"""Devices that are odd, broken or hostile: what they say never ends an update that it is not about, nor the bench."""

import asyncio
from random import Random

import pytest

from hanwave.rollout.bench import BenchPolicy, Outcome
from infra.zigbee.air import Conditions
from infra.zigbee.client import Habits, OtaClient
from infra.zigbee.clock import run_virtually
from infra.zigbee.device import Device
from infra.zigbee.frames import Cluster, Ota, Profile, Status, UpgradeStatus
from infra.zigbee.memory import Failure
from tests.bench.lab import eui, gb_image, lab

pytestmark = pytest.mark.bench
USUAL = Conditions(latency=0.03)
SMALL = gb_image(4_000)
"""80 blocks, five seconds."""
OURS, OTHER_TYPE, OTHER_VERSION = "1D12 8400 02000000", "1D12 9900 02000000", "1D12 8400 07000000"
"""Manufacturer code, image type and version, as they stand in a frame."""
BAD, ASKED_FOR = "96", "64"


def say(device: Device, frame: str) -> None:
    """A frame of the device's on the OTA cluster, in hexadecimal."""
    device.send(Profile.HOME_AUTOMATION, Cluster.OTA, bytes.fromhex(frame))


def later(seconds, act, *arguments):
    asyncio.get_running_loop().call_later(seconds, act, *arguments)


def test_a_device_that_gives_up_says_nothing_against_the_image():
    async def course():
        async with lab(habits=Habits(retries=3, gives_up=True), conditions=USUAL) as bench:
            later(2, setattr, bench.air, "conditions", Conditions(latency=0.03, loss_up=1))
            later(8, setattr, bench.air, "conditions", USUAL)
            report = await bench.update(SMALL)
            assert (report.outcome, report.device_status) == (Outcome.GAVE_UP, Status.ABORT)
            assert 0 < bench.device.books.blocks < 80
            assert (await bench.update(SMALL)).outcome is Outcome.ACTIVATED

    run_virtually(course())


def test_a_device_that_begins_anew_for_ever_is_given_up():
    async def course():
        async with lab(habits=Habits(resumes=False), conditions=USUAL) as bench:
            device = bench.device

            def cut():
                device.client.at_offset[3_000] = cut
                device.cut_power(1)

            cut()
            report = await bench.update(SMALL)
            assert (report.outcome, report.octets // len(SMALL.data)) == (Outcome.GAVE_UP, 10)
            assert (device.memory.version, device.books.aborts) == (1, 0)

    run_virtually(course())


@pytest.mark.parametrize(
    ("is_good", "hold", "outcome"),
    [
        (True, False, Outcome.ACTIVATED),
        (True, True, Outcome.HELD),
        (False, False, Outcome.REFUSED),
        (False, True, Outcome.REFUSED),
    ],
)
def test_a_device_that_looks_at_its_image_for_long_is_waited_for(is_good, hold, outcome, monkeypatch):
    finish = OtaClient._finish

    async def slowly(client):
        """As Silicon Labs' client: its status is that of a complete download from before it verifies."""
        client._memory.status, client._memory.downloaded_version = UpgradeStatus.COMPLETE, client._memory.next_version
        await asyncio.sleep(400)
        await finish(client)

    monkeypatch.setattr(OtaClient, "_finish", slowly)

    async def course():
        habits = Habits() if is_good else Habits(failures={2: Failure.REJECTED})
        async with lab(habits=habits, conditions=USUAL) as bench:
            report = await bench.update(SMALL, BenchPolicy(hold=hold))
            assert (report.outcome, report.seconds > 400, report.blocks) == (outcome, True, 80)
            assert bench.device.books.notifies == 2

    run_virtually(course())


def test_a_device_that_never_says_what_it_makes_of_the_whole_image_is_told_to_install_it(monkeypatch):
    async def in_silence(client):
        client._memory.status, client._memory.downloaded_version = UpgradeStatus.COMPLETE, client._memory.next_version
        await client._await_answer(Ota.UPGRADE_END_RESPONSE, None, None)
        client._install()

    monkeypatch.setattr(OtaClient, "_finish", in_silence)

    async def course():
        async with lab(conditions=USUAL) as bench:
            report = await bench.update(SMALL)
            assert (report.outcome, 900 < report.seconds < 1000) == (Outcome.ACTIVATED, True)

    run_virtually(course())


def test_a_device_that_calls_an_offer_bad_has_declined_it():
    async def course():
        async with lab(version=5, conditions=USUAL) as bench:
            later(1, say, bench.device, f"01 EE 06 {BAD} {OURS}")
            report = await bench.update(SMALL, BenchPolicy(may_downgrade=True))
            assert (report.outcome, report.blocks) == (Outcome.DECLINED, 0)

    run_virtually(course())


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(f"01 EE 06 {BAD} {OTHER_TYPE}", id="its other type is bad"),
        pytest.param(f"01 EE 06 {BAD} {OTHER_VERSION}", id="what it held before is bad"),
        pytest.param(f"05 3412 EE 06 {BAD} {OURS}", id="a maker's own command"),
        pytest.param(f"01 EE 06 {BAD} 1D12", id="an end cut short"),
        pytest.param("01 EE 03", id="a request without a body"),
        pytest.param("01 EE", id="half a header"),
        pytest.param("", id="nothing"),
        pytest.param(f"01 EE 03 00 {OURS} FFFFFFFF 40", id="a block beyond the file"),
        pytest.param(f"01 EE 03 00 {OURS} 00000000 00", id="a block of no octets"),
        pytest.param(
            f"01 EE 03 01 {OURS} 00000000 FF 0807060504030201", id="another device's block, as large as can be"
        ),
        pytest.param(f"01 EE 04 00 {OURS} 00000000 FF FFFF 0000", id="a page of the whole file"),
        pytest.param("01 EE 77 0102", id="a command that there is not"),
    ],
)
def test_what_is_not_of_the_update_does_not_end_it(frame):
    async def course():
        async with lab(conditions=USUAL) as bench:
            later(2, say, bench.device, frame)
            report = await bench.update(SMALL)
            assert (report.outcome, bench.device.books.blocks, bench.device.books.aborts) == (Outcome.ACTIVATED, 80, 0)

    run_virtually(course())


def test_a_flood_of_nonsense_costs_the_other_devices_nothing():
    async def course():
        async with lab(conditions=USUAL) as bench:
            stranger = Device(bench.air, 0x1099, eui(99))
            assert stranger.join()
            await asyncio.sleep(30)
            random = Random(3)
            for number in range(200):
                later(number / 40, say, stranger, random.randbytes(random.randrange(40)).hex())
            report = await bench.update(SMALL)
            assert (report.outcome, report.blocks, report.repeats) == (Outcome.ACTIVATED, 80, 0)

    run_virtually(course())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x02\x00\x00\x42\x03abc", id="a text for a version"),
        pytest.param(b"\xfe\x00\x00\x23\x01\x00\x00\x00", id="an attribute that nobody asked for"),
        pytest.param(b"\x02\x00\x00\x23\x01", id="cut short"),
        pytest.param(b"\x02\x00\x00\x39\x00\x00\xc0\x7f", id="not a number"),
    ],
)
def test_a_device_whose_attributes_are_nonsense_is_judged_by_its_query(answer):
    async def course():
        async with lab(conditions=USUAL) as bench:
            device = bench.device

            def answer_read(_frame, _control, tsn, _asked):
                say(device, bytes((0x10, tsn, 0x01)).hex() + answer.hex())

            device._answer_read = answer_read
            assert await bench.bench.version(device.eui) is None
            # Nobody but its query says that it runs the new version.
            report = await bench.update(SMALL)
            assert (report.outcome, device.memory.version) == (Outcome.UNCONFIRMED, 2)

    run_virtually(course())


@pytest.mark.parametrize("fetched", [True, False])
def test_a_device_of_two_types_that_falls_silent_after_it_fetched_has_ours_all_the_same(fetched):
    async def course():
        async with lab(habits=Habits(names_type=False), conditions=USUAL) as bench:
            say(bench.device, f"01 EE 01 00 {OTHER_TYPE}")
            later(2 if fetched else 0.1, bench.device.power_off)
            report = await bench.update(SMALL)
            assert report.outcome is (Outcome.STALLED if fetched else Outcome.WRONG_TYPE)

    run_virtually(course())
