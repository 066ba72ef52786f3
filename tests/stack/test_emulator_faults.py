"""Each fault by its name: what the user sees of it, and what the books say that really happened."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from hanwave import duis, gbcs
from hanwave.identifiers import EUI64
from infra.emulator.pki import SECOND_SUPPLIER
from tests.support.emulator import NEW, OLD, Lab, eui, image_hash, lab, row

pytestmark = [pytest.mark.part, pytest.mark.fault]
ESME, GSME, HCALCS, PPMID = (eui(each) for each in ("ESME", "GSME", "HCALCS", "PPMID"))


@pytest.fixture
async def world(tmp_path):
    async with lab(tmp_path) as made:
        yield made


def _outcome(message: duis.Response) -> gbcs.ExecutionOutcome:
    return gbcs.read(message.body.content.payload).body


async def _ran(world: Lab, device: str, version: str = NEW):
    """Distribute and activate a version; what the books say then."""
    await world.hold(device, version)
    await world.supplier.activate(device, version)
    await world.happened(device, "executed")
    return await world.device(device)


async def test_lost_response_hides_an_activation_from_the_dcc_too(world: Lab):
    await world.faults({"fault": "lost_response", "legs": ["activate"]})
    ran = await _ran(world, ESME)
    assert (ran.version, ran.smi_version) == (NEW, OLD)
    # MP105: a version read is the remedy.
    await world.supplier.read_version(ESME)
    read = gbcs.read((await world.receiver.wait("I0")).body.content.payload)
    assert read.body.firmware_version == NEW
    assert (await world.device(ESME)).smi_version == NEW


async def test_duplicate_delivers_the_same_bytes_twice(world: Lab):
    await world.faults({"fault": "duplicate", "kinds": ["8F72"]})
    await world.hold(ESME)
    await world.until(lambda: _count(world, "8F72", 2))
    alerts = [raw for raw, kind in zip(world.receiver.raw, world.receiver.kinds(), strict=True) if kind == "8F72"]
    assert alerts[0] == alerts[1]


async def _count(world: Lab, kind: str, number: int) -> bool:
    return world.receiver.kinds().count(kind) >= number


async def test_late_messages_come_after_their_delay(world: Lab):
    await world.faults({"fault": "late", "kinds": ["8F72"]})
    began = time.monotonic()
    await world.hold(ESME)
    await world.receiver.wait("8F72")
    assert time.monotonic() - began > 0.9


async def test_reordered_lets_a_later_message_pass(world: Lab):
    await world.faults({"fault": "reordered", "kinds": ["N60"]})
    await world.hold(ESME)
    await world.receiver.wait("N60")
    assert world.receiver.kinds() == ["8F72", "N60"]


async def test_dropped_alert_never_comes(world: Lab):
    await world.faults({"fault": "dropped_alert", "kinds": ["8F72"]})
    await world.hold(ESME)
    await world.supplier.activate(ESME, NEW)
    await world.receiver.wait("I0")
    assert "8F72" not in world.receiver.kinds()
    states = {(each["message"], each["state"]) for each in await world.books(deliveries=True) if "state" in each}
    assert ("8F72", "dropped") in states


async def test_wrong_hash_is_told_and_the_activation_finds_a_mismatch(world: Lab):
    await world.faults({"fault": "wrong_hash"})
    await world.supplier.distribute(NEW, ESME)
    told = gbcs.read((await world.receiver.wait("8F72")).body.payload).body.image_hash.hex().upper()
    assert told != image_hash(NEW)
    assert (await world.device(ESME)).held == told
    await world.supplier.activate(ESME, NEW)
    outcome = _outcome(await world.receiver.wait("I0"))
    assert outcome == gbcs.ExecutionOutcome(gbcs.ActivateImageResponseCode.HASH_MISMATCH, OLD)


async def test_keeps_old_image_reports_a_success_and_the_old_version(world: Lab):
    await world.faults({"fault": "keeps_old_image"})
    ran = await _ran(world, ESME)
    outcome = _outcome(await world.receiver.wait("I0"))
    assert outcome == gbcs.ExecutionOutcome(gbcs.ActivateImageResponseCode.SUCCESS, OLD)
    assert ran.version == OLD


async def test_success_then_quiet_answers_nothing_until_another_version_runs(world: Lab):
    await world.faults({"fault": "success_then_quiet", "versions": [NEW]})
    ran = await _ran(world, ESME)
    assert _outcome(await world.receiver.wait("I0")).succeeded
    assert (ran.version, ran.is_quiet, ran.reachable) == (NEW, True, False)
    await world.supplier.read_version(ESME)
    await world.happened(ESME, "kept quiet")
    heard = len(world.receiver.raw)
    # The way back works all the same: the hub tells of the image, the device does not.
    await world.hold(ESME, OLD)
    await world.receiver.wait("N60")
    await world.supplier.activate(ESME, OLD)
    await world.until(lambda: _count(world, "I0", 2))
    assert world.receiver.kinds()[heard:].count("8F72") == 0
    back = await world.device(ESME)
    assert (back.version, back.is_quiet) == (OLD, False)
    await world.supplier.read_version(ESME)
    await world.until(lambda: _count(world, "I0", 3))


async def test_a_ppmid_goes_quiet_after_its_success_and_comes_back(world: Lab):
    await world.faults({"fault": "success_then_quiet", "versions": [NEW]})
    await world.supplier.distribute(NEW, PPMID)
    await world.receiver.wait("8F8B")
    assert (await world.device(PPMID)).is_quiet
    await world.supplier.distribute(OLD, PPMID)
    await world.until(lambda: _count(world, "8F8B", 2))
    assert (await world.device(PPMID)).version == OLD


async def test_refuses_downgrade_takes_the_higher_version_alone(world: Lab):
    await world.faults({"fault": "refuses_downgrade", "types": ["ESME"], "models": ["0A01/1001"]})
    assert (await _ran(world, ESME)).version == NEW
    await world.hold(ESME, OLD)
    await world.supplier.activate(ESME, OLD)
    await world.until(lambda: _count(world, "I0", 2))
    outcome = _outcome([each for each in world.receiver.messages if each.code == "I0" and each.request_id][-1])
    assert outcome == gbcs.ExecutionOutcome(gbcs.ActivateImageResponseCode.ACTIVATION_FAILURE, NEW)


@pytest.mark.parametrize("fault", [{"fault": "activation_failure"}, {"fault": "refuses_skip", "runs": [OLD]}])
async def test_an_activation_that_fails_leaves_the_old_version(world: Lab, fault: dict[str, Any]):
    await world.faults(fault)
    assert (await _ran(world, ESME)).version == OLD
    await world.supplier.distribute(NEW, PPMID)
    upgrade = (await world.receiver.wait("8F8B")).body.alert.upgrade
    assert (upgrade.result, upgrade.firmware_version) == ("ActivationFailure", OLD)


async def test_load_stuck_on_stands_in_the_books(world: Lab):
    await world.faults({"fault": "load_stuck_on"})
    ran = await _ran(world, HCALCS)
    assert ran.load_stuck_on
    assert _outcome(await world.receiver.wait("I0")).succeeded


async def test_power_cut_silences_all_behind_the_hub_until_it_is_back(world: Lab):
    await world.faults({"fault": "power_cut"})
    assert (await _ran(world, ESME)).version == NEW
    stories = [(await world.device(each)).story for each in (ESME, GSME, HCALCS, PPMID)]
    assert all(any(line["what"] == "without power" for line in story) for story in stories)
    await world.supplier.distribute(NEW, PPMID)
    await world.receiver.wait("8F8B")
    at = {line["what"]: line["at"] for line in (await world.device(PPMID)).story}
    # The image waited for its device: the profile says a second.
    assert at["transferred"] - at["without power"] >= 1


async def test_delivery_failure_is_n61_and_the_image_may_be_sent_again(world: Lab):
    await world.faults({"fault": "delivery_failure", "attempts": [1]})
    await world.supplier.distribute(NEW, ESME)
    assert (await world.receiver.wait("N61")).body.alert.status == "Failure"
    assert (await world.device(ESME)).delivered == 0
    await world.hold(ESME)


async def test_transfer_failure_and_another_hardware_are_8f89(world: Lab):
    await world.faults({"fault": "transfer_failure", "types": ["PPMID"]})
    await world.supplier.distribute(NEW, PPMID)
    transfer = (await world.receiver.wait("8F89")).body.alert.transfer
    assert transfer.result in {"FileTransferFailure", "FirmwareImageDiscarded"}
    world.emulator.world.store.query("UPDATE device SET hardware_version = '0999' WHERE eui = ?", ESME)
    world.emulator.world.store.query("UPDATE cpl SET hardware = '0999' WHERE device_type = 'ESME'")
    await world.supplier.distribute(NEW, ESME)
    await world.until(lambda: _count(world, "8F89", 2))
    assert world.receiver.messages[-1].body.alert.transfer.result == "HardwareVersionMismatch"
    assert (await world.device(ESME)).held is None


async def test_verification_failure_is_8f1c(world: Lab):
    await world.faults({"fault": "verification_failure"})
    await world.supplier.distribute(NEW, GSME)
    await world.receiver.wait("8F1C")
    assert (await world.device(GSME)).held is None


@pytest.mark.parametrize("answer", ["E20", "E21"])
async def test_unreachable_devices_are_given_up(world: Lab, answer):
    await world.faults({"fault": "unreachable", "answer": answer, "legs": ["activate", "read"]})
    await world.supplier.read_version(ESME)
    assert (await world.receiver.wait(answer)).body.service_reference == "11.2"
    await world.supplier.activate(GSME, NEW)
    await world.happened(GSME, "not reached")
    assert (await world.device(GSME)).executed == {}


async def test_unreachable_may_be_silence(world: Lab):
    await world.faults({"fault": "unreachable"})
    await world.supplier.read_version(ESME)
    await world.happened(ESME, "not reached")
    await asyncio.sleep(0.4)
    assert world.receiver.kinds() == []


async def test_a_device_that_reboots_does_not_answer(tmp_path):
    async with lab(tmp_path) as world:
        ran = await _ran(world, ESME)
        world.emulator.world.store.query("UPDATE device SET reboot_until = ? WHERE eui = ?", time.time() + 60, ran.eui)
        await world.supplier.read_version(ESME)
        await world.receiver.wait("E21")


async def test_unknown_code_is_none_of_the_table_and_nothing_is_executed(world: Lab):
    await world.hold(ESME)
    await world.faults({"fault": "unknown_code"})
    answer = await world.supplier.activate(ESME, NEW)
    assert (await world.receiver.wait("E9999")).request_id == answer.request_id
    assert (await world.device(ESME)).executed == {}


async def test_ack_lost_breaks_the_connection_after_accepting(world: Lab):
    await world.hold(ESME)
    await world.faults({"fault": "ack_lost", "attempts": [1]})
    body = world.supplier.sign(await world.supplier.command(ESME, NEW))
    with pytest.raises(httpx.RemoteProtocolError):
        await world.supplier.post("S", body)
    await world.receiver.wait("I0")
    # The same bytes again: a duplicate, and no second activation.
    assert (await world.supplier.post("S", body)).code == "E42"
    assert list((await world.device(ESME)).executed.values()) == [1]


async def test_a_duplicate_request_is_answered_so_and_executed_once(world: Lab):
    await world.hold(ESME)
    body = world.supplier.sign(await world.supplier.command(ESME, NEW))
    codes = [(await world.supplier.post("S", body)).code for _ in range(3)]
    assert codes == ["I99", "E42", "E42"]
    await world.receiver.wait("I0")
    assert list((await world.device(ESME)).executed.values()) == [1]
    assert (await world.admin.get("/stats")).json()["reposts"] == 2
    assert (await world.admin.get("/violations")).json() == []


async def test_another_body_under_one_request_id_is_a_violation(world: Lab):
    await world.hold(ESME)
    command = await world.supplier.command(ESME, NEW)
    # ECDSA differs at each signing, so the same request signed again is another body.
    codes = [(await world.supplier.post("S", world.supplier.sign(command))).code for _ in range(2)]
    assert codes == ["I99", "E42"]
    (violation,) = (await world.admin.get("/violations")).json()
    assert violation["request_id"] == str(command.request_id)
    await world.receiver.wait("I0")
    assert list((await world.device(ESME)).executed.values()) == [1]


async def test_a_transform_may_be_asked_again_but_not_for_something_else(world: Lab):
    ask = world.supplier.request(ESME, duis.ActivateFirmware(bytes(32)))
    codes = [(await world.supplier.post("T", world.supplier.sign(ask))).code for _ in range(2)]
    other = world.supplier.request(ESME, duis.ActivateFirmware(b"\1" * 32), ask.request_id.counter)
    codes.append((await world.supplier.post("T", world.supplier.sign(other))).code)
    assert codes == ["I0", "I0", "E42"]
    assert len((await world.admin.get("/violations")).json()) == 1


async def test_quarantine_holds_above_the_threshold_and_releases(world: Lab):
    await world.faults(quarantine={"threshold": 1, "services": ["11.1"]})
    await world.hold(ESME)
    answer = await world.supplier.distribute(NEW, GSME)
    assert answer.code == "I99"
    breach = (await world.receiver.wait("N46")).body.alert.breach
    assert breach.request_id == answer.request_id
    assert (await world.device(GSME)).requested == 0
    await world.tell(f"/quarantine/{breach.event_ref}/release")
    await world.happened(GSME, "held")


async def test_quarantine_deletes_what_is_not_to_be(world: Lab):
    await world.faults(quarantine={"threshold": 0, "services": ["11.3"]})
    await world.supplier.activate(ESME, NEW)
    ref = (await world.receiver.wait("N46")).body.alert.breach.event_ref
    assert (await world.tell(f"/quarantine/{ref}/delete"))["state"] == "deleted"
    refused = await world.admin.post(f"/quarantine/{ref}/release")
    assert refused.status_code == 404
    assert (await world.device(ESME)).executed == {}


async def test_change_of_supplier_takes_the_device_away_between_its_image_and_its_activation(world: Lab):
    await world.faults({"fault": "change_of_supplier"})
    await world.hold(ESME)
    assert (await world.device(ESME)).suppliers[0] == str(SECOND_SUPPLIER)
    request = world.supplier.request(ESME, duis.ActivateFirmware(bytes(32)))
    assert (await world.supplier.post("T", world.supplier.sign(request))).code == "E4"


async def test_outage_of_a_region_delays_images_and_fails_commands(tmp_path):
    async with lab(tmp_path, [row("ESME", 1), row("ESME", 2, region="South")]) as world:
        south = eui("ESME", 2)
        await world.tell("/outage", {"region": "South", "end": 1.5})
        began = time.monotonic()
        await world.supplier.distribute(NEW, ESME, south)
        await world.supplier.read_version(south)
        await world.happened(ESME, "held")
        assert (await world.device(south)).delivered == 0
        await world.happened(south, "held")
        assert time.monotonic() - began > 1.3
        assert (await world.receiver.wait("E20")).request_id.target == EUI64.parse(south)


async def test_an_unplugged_ppmid_activates_when_it_comes_back(tmp_path):
    rows = [row("PPMID", 1, unplugged="1.2"), row("PPMID", 2, unplugged="never")]
    async with lab(tmp_path, rows) as world:
        first, second = eui("PPMID", 1), eui("PPMID", 2)
        await world.supplier.distribute(NEW, first, second)
        await world.happened(second, "delivered")
        assert (await world.device(first)).version == OLD
        await world.happened(first, "activated")
        assert (await world.device(second)).transferred == 0
        await world.tell(f"/devices/{second}", {"plugged": True})
        await world.happened(second, "activated")


async def test_a_second_image_takes_the_place_of_one_that_waits_for_an_unplugged_ppmid(tmp_path):
    async with lab(tmp_path, [row("PPMID", 1, unplugged="never", firmware_version="00000001")]) as world:
        for version in (NEW, OLD):
            assert (await world.supplier.distribute(version, PPMID)).code == "I99"
            await world.until(lambda version=version: _delivered(world, (NEW, OLD).index(version) + 1))
        await world.tell(f"/devices/{PPMID}", {"plugged": True})
        await world.happened(PPMID, "activated")
        done = await world.device(PPMID)
        assert (done.version, done.successes) == (OLD, 1)
        assert "superseded" in [each["what"] for each in done.story]


async def _delivered(world: Lab, number: int) -> bool:
    return (await world.device(PPMID)).delivered == number


async def test_a_share_strikes_the_same_devices_whatever_their_order(tmp_path):
    rows = [row("ESME", number) for number in range(1, 41)]
    async with lab(tmp_path / "a", rows) as one, lab(tmp_path / "b", list(reversed(rows))) as other:
        struck = []
        for world, order in ((one, rows), (other, list(reversed(rows)))):
            await world.faults({"fault": "verification_failure", "share": 0.4})
            for each in order:
                await world.supplier.distribute(NEW, each["eui"])
            await world.until(lambda world=world: _all_answered(world))
            struck.append(
                {line["eui"] for line in await world.books() if line["kind"] == "device" and not line["held"]}
            )
        assert struck[0] == struck[1]
        assert 8 < len(struck[0]) < 24


async def _all_answered(world: Lab) -> bool:
    return world.emulator.world.store.value("SELECT count(*) FROM timer") == 0


async def test_wrong_faults_are_refused_in_a_sentence_and_change_nothing(world: Lab):
    for content in ('{"faults": [{"fault": "no_such"}]}', '{"faults": [{"fault": "late", "share": 2}]}', "{"):
        answer = await world.admin.post("/faults", content=content)
        assert answer.status_code == 400
        assert "the faults" in answer.json()["error"]
    assert (await world.admin.get("/faults")).json()["faults"] == []
