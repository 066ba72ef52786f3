"""The three services over HTTPS with mutual TLS: what they answer, who signed it, and what devices do."""

from datetime import UTC, datetime, timedelta

import pytest

from hanwave import duis, gbcs
from hanwave.identifiers import EUI64
from hanwave.rollout.evidence import findings
from infra.emulator.keys import device_key
from infra.emulator.pki import ACCESS_CONTROL_BROKER
from tests.support.emulator import NEW, OLD, Lab, eui, image_hash, lab, row

pytestmark = pytest.mark.part
ESME, GSME, HCALCS, PPMID = (eui(each) for each in ("ESME", "GSME", "HCALCS", "PPMID"))


@pytest.fixture
async def world(tmp_path):
    async with lab(tmp_path) as made:
        yield made


def _verified(message: duis.Response, device: str) -> gbcs.Message:
    """The GBCS message inside, if the device signed it."""
    body = message.body
    payload = body.payload if isinstance(body, duis.DeviceAlertMessage) else body.content.payload
    read = gbcs.read(payload)
    assert gbcs.verify_signature(read, device_key("test", device).public_key())
    return read


@pytest.mark.parametrize("device", [ESME, GSME])
async def test_a_meter_holds_a_distributed_image_and_says_so(world: Lab, device):
    answer = await world.supplier.distribute(NEW, device)
    assert (answer.code, answer.body.content) == ("I99", duis.Acknowledgement())
    delivered = (await world.receiver.wait("N60")).body.alert
    assert (str(delivered.device_id), delivered.request_id, delivered.status) == (device, answer.request_id, "Success")
    message = _verified(await world.receiver.wait("8F72"), device)
    assert message.body.image_hash.hex().upper() == image_hash(NEW)
    # None of the alerts in DCC's vectors has a time in its grouping header.
    assert message.header.date_time is None
    held = await world.device(device)
    assert (held.held, held.version, held.delivered, held.transferred) == (image_hash(NEW), OLD, 1, 1)


@pytest.mark.parametrize("device", [ESME, GSME, HCALCS])
async def test_an_activation_runs_the_held_image_once(world: Lab, device):
    await world.hold(device)
    answer = await world.supplier.activate(device, NEW)
    assert answer.code == "I99"
    response = await world.receiver.wait("I0")
    assert response.request_id == answer.request_id
    assert str(response.response_id) == f"{device}:{world.supplier.eui}:{answer.request_id.counter}"
    assert _verified(response, device).body == gbcs.ExecutionOutcome(gbcs.ActivateImageResponseCode.SUCCESS, NEW)
    ran = await world.device(device)
    assert (ran.version, ran.smi_version, ran.held) == (NEW, NEW, None)
    assert ran.executed == {str(answer.request_id): 1}


async def test_an_hcalcs_raises_no_8f72_but_its_hub_tells_of_the_transfer(world: Lab):
    await world.hold(HCALCS)
    message = await world.receiver.wait("8F8A")
    assert message.body.alert.transfer.result == "FileTransferSuccess"
    assert "8F72" not in world.receiver.kinds()


async def test_a_ppmid_activates_by_itself(world: Lab):
    answer = await world.supplier.distribute(NEW, PPMID)
    assert answer.code == "I99"
    transfer = (await world.receiver.wait("8F8A")).body.alert.transfer
    assert (str(transfer.device_id), transfer.request_id) == (PPMID, answer.request_id)
    upgrade = (await world.receiver.wait("8F8B")).body.alert.upgrade
    assert (upgrade.firmware_version, upgrade.result) == (NEW, "ActivationSuccess")
    assert (await world.device(PPMID)).smi_version == NEW


@pytest.mark.parametrize(("device", "code"), [(ESME, "ECS52"), (GSME, "GCS38"), (HCALCS, "CS08"), (PPMID, "CS08")])
async def test_a_version_is_read_in_the_form_of_its_device(world: Lab, device, code):
    assert (await world.supplier.read_version(device)).code == "I99"
    answer = await world.receiver.wait("I0")
    (said,) = findings(answer)
    assert (said.eui, said.version) == (EUI64.parse(device), OLD)
    read = gbcs.read(answer.body.content.payload)
    assert read.header.code == gbcs.MessageCode[code]
    assert read.body.firmware_version == OLD
    agree = world.supplier.pki.identity("supplier-agree").key
    if device == PPMID:
        # It answers the Access Control Broker, which asked on the supplier's behalf.
        agree = device_key("test", str(ACCESS_CONTROL_BROKER), "agree")
        assert (read.header.target, read.header.supplementary.party) == (ACCESS_CONTROL_BROKER, world.supplier.eui)
    key = gbcs.derive_key(agree, device_key("test", device, "agree").public_key(), read.header)
    assert gbcs.verify_mac(read, key)


async def test_the_inventory_gives_a_home_the_asked_device_first(world: Lab):
    answer = await world.supplier.inventory(PPMID)
    devices = answer.body.content.devices
    assert answer.code == "I0"
    assert str(devices[0].device_id) == PPMID
    assert {str(each.device_id) for each in devices} == {ESME, GSME, HCALCS, PPMID}
    assert {(each.status, each.firmware_version, each.cpl_status) for each in devices} == {
        ("Commissioned", OLD, "Active")
    }


async def test_a_future_dated_activation_is_stored_and_told_when_it_happens(world: Lab):
    await world.hold(ESME)
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    answer = await world.supplier.activate(ESME, NEW, at)
    accepted = await world.receiver.wait("I0")
    assert _verified(accepted, ESME).body == gbcs.CommandAccepted()
    stored = await world.device(ESME)
    assert (stored.scheduled, stored.version) == (str(answer.request_id), OLD)
    alert = await world.receiver.wait("8F66")
    body = _verified(alert, ESME).body
    assert alert.request_id == answer.request_id
    assert (body.at, body.counter, body.outcome.succeeded) == (at, answer.request_id.counter, True)
    assert (await world.device(ESME)).version == NEW


async def test_a_stored_activation_that_cannot_be_done_raises_8f67(world: Lab):
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    await world.supplier.activate(ESME, NEW, at)
    body = _verified(await world.receiver.wait("8F67"), ESME).body
    assert body.outcome == gbcs.ExecutionOutcome(gbcs.ActivateImageResponseCode.NO_IMAGE_HELD, OLD)


async def test_a_stored_activation_is_replaced_by_the_next_and_cancelled(world: Lab):
    await world.hold(ESME)
    soon = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    first = await world.supplier.activate(ESME, NEW, soon)
    await world.happened(ESME, "scheduled")
    second = await world.supplier.activate(ESME, NEW, soon + timedelta(days=1))

    async def is_replaced() -> bool:
        return (await world.device(ESME)).scheduled == str(second.request_id)

    await world.until(is_replaced)
    assert first.request_id != second.request_id
    await world.supplier.activate(ESME, NEW, duis.CANCEL)
    await world.happened(ESME, "cancelled")
    # Past the time of the first, which was replaced, nothing has happened.
    world.emulator.world.clock = lambda: soon.timestamp() + 2 * 86_400
    world.emulator.world.stir()
    device = await world.until(lambda: _idle(world))
    assert (device.version, device.scheduled, device.executed) == (OLD, None, {})


async def _idle(world: Lab):
    due = world.emulator.world.store.value("SELECT count(*) FROM timer WHERE eui = ?", ESME)
    return None if due else await world.device(ESME)


async def test_what_a_device_lacks_is_no_image_held_and_another_hash_a_mismatch(world: Lab):
    await world.supplier.activate(ESME, NEW)
    message = await world.receiver.wait("I0")
    assert _verified(message, ESME).body.code == gbcs.ActivateImageResponseCode.NO_IMAGE_HELD
    await world.hold(GSME)
    await world.supplier.activate(GSME, OLD)
    await world.happened(GSME, "executed")
    assert (await world.device(GSME)).story[-1]["detail"] == "hash_mismatch"
    assert (await world.device(GSME)).held == image_hash(NEW)


async def test_a_counter_that_is_not_above_the_last_is_not_executed(world: Lab):
    await world.hold(ESME)
    await world.supplier.activate(ESME, NEW)
    await world.receiver.wait("I0")
    old = await world.supplier.command(ESME, OLD, counter=1000)
    assert (await world.supplier.post("S", world.supplier.sign(old))).code == "I99"
    assert (await world.receiver.wait("E21")).request_id == old.request_id
    assert (await world.device(ESME)).version == NEW
    assert str(old.request_id) not in (await world.device(ESME)).executed


async def test_an_image_without_the_suppliers_signature_is_not_verified(world: Lab):
    other = world.second.image(NEW)
    assert (await world.supplier.distribute(NEW, ESME, image=other)).code == "I99"
    alert = _verified(await world.receiver.wait("8F1C"), ESME).body
    assert alert.alert_code == gbcs.AlertCode.IMAGE_NOT_VERIFIED
    assert (await world.device(ESME)).held is None


async def test_devices_left_out_are_listed_and_the_others_go_ahead(tmp_path):
    rows = [
        row("ESME", 1),
        row("ESME", 2, smi_status="Decommissioned"),
        row("ESME", 3, model="9999"),
        row("ESME", 4, gbcs_version="1.0"),
        row("ESME", 5, import_supplier="02-48-57-41-56-45-00-02"),
        row("ESME", 6),
    ]
    async with lab(tmp_path, rows) as world:
        world.emulator.world.store.query("UPDATE cpl SET gbcs = '2.0'")
        world.emulator.world.store.query("UPDATE device SET in_progress = 1 WHERE eui = ?", eui("ESME", 6))
        answer = await world.supplier.distribute(NEW, *(each["eui"] for each in rows), eui("ESME", 99))
        lists = answer.body.content
        assert answer.code == "W110101"
        assert [str(each) for each in lists.invalid] == [eui("ESME", 5), eui("ESME", 99)]
        assert [str(each) for each in lists.not_commissioned] == [eui("ESME", 2)]
        assert [str(each) for each in lists.not_applicable] == [eui("ESME", 3)]
        assert [str(each) for each in lists.other_request_in_progress] == [eui("ESME", 6)]
        assert [str(each) for each in lists.invalid_gbcs_version] == [eui("ESME", 4)]
        await world.happened(eui("ESME"), "held")
        assert [(await world.device(each["eui"])).requested for each in rows] == [1, 0, 0, 0, 0, 0]


async def test_a_ppmid_that_is_left_out_comes_in_a_w110401(tmp_path):
    async with lab(tmp_path, [row("PPMID", 1), row("PPMID", 2, smi_status="Pending")]) as world:
        answer = await world.supplier.distribute(NEW, eui("PPMID", 1), eui("PPMID", 2))
        assert answer.code == "W110401"
        assert isinstance(answer.body.content, duis.UpdatePPMIDFirmwareWarning)


async def test_an_image_is_refused_for_what_is_wrong_with_it(world: Lab):
    supplier = world.supplier
    assert (await supplier.distribute("0A000000", ESME)).code == "E110101"
    world.emulator.world.store.query("UPDATE cpl SET image_hash = ? WHERE version = ?", "00" * 32, NEW)
    assert (await supplier.distribute(NEW, ESME)).code == "E110102"
    assert (await supplier.distribute(OLD, eui("ESME", 99))).code == "E110103"
    assert (await supplier.distribute(NEW, ESME, image=supplier.image(OLD))).code == "E110105"
    assert (await supplier.distribute(NEW, ESME, image=b"no image")).code == "E110105"
    assert (await world.device(ESME)).requested == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"smi_status": "Decommissioned"}, "E5"), ({"import_supplier": "02-48-57-41-56-45-00-02"}, "E4")],
)
async def test_a_command_is_refused_for_the_devices_status_or_supplier(tmp_path, changes, code):
    async with lab(tmp_path, [row("ESME", **changes)]) as world:
        request = world.supplier.request(ESME, duis.ActivateFirmware(bytes(32)))
        assert (await world.supplier.post("T", world.supplier.sign(request))).code == code


async def test_a_command_is_refused_for_its_target_its_url_or_its_time(world: Lab):
    async def ask(service: str, target: str, body: duis.RequestBody) -> str:
        return (await world.supplier.post(service, world.supplier.sign(world.supplier.request(target, body)))).code

    activate = duis.ActivateFirmware(bytes(32))
    now = datetime.now(UTC)
    assert await ask("T", PPMID, activate) == "E11"
    assert await ask("T", eui("ESME", 99), activate) == "E19"
    assert await ask("S", ESME, activate) == "E13"
    assert await ask("D", ESME, duis.ReadFirmwareVersion()) == "E13"
    assert await ask("T", ESME, duis.ActivateFirmware(bytes(32), now - timedelta(hours=1))) == "E57"
    assert await ask("T", ESME, duis.ActivateFirmware(bytes(32), now + timedelta(days=31))) == "E57"


async def test_a_suspended_device_may_be_read_updated_and_is_restored(world: Lab):
    model = {"device_type": "ESME", "manufacturer": "0A01", "model": "1001", "version": OLD}
    assert await world.tell("/cpl/remove", model) == {"suspended": 1}
    suspended = (await world.receiver.wait("N28")).body.alert
    assert (str(suspended.device_id), suspended.change) == (ESME, duis.DeviceSuspended())
    await world.hold(ESME)
    assert (await world.device(ESME)).status == "Suspended"
    await world.supplier.activate(ESME, NEW)
    restored = (await world.receiver.wait("N29")).body.alert
    assert restored.change == duis.DeviceRestored()
    assert (await world.device(ESME)).status == "Commissioned"


async def test_another_systems_commands_are_answered_and_count(world: Lab):
    request = duis.Request(
        world.supplier.request(ESME, duis.ReadFirmwareVersion()).request_id,
        1,
        "4.1",
        world_body(),
        "4.1.1",
    )
    assert (await world.supplier.post("S", world.supplier.sign(request))).code == "I99"
    response = await world.receiver.wait("I0")
    assert (response.request_id, response.body.variant) == (request.request_id, "4.1.1")
    assert isinstance(gbcs.read(response.body.content.payload).body, gbcs.Unrecognised)


def world_body() -> duis.RequestBody:
    """A body that hanwave does not know."""
    xml = (
        '<sr:Request xmlns:sr="http://www.dccinterface.co.uk/ServiceUserGateway" schemaVersion="5.4"><sr:Header>'
        f"<sr:RequestID>{ACCESS_CONTROL_BROKER}:{ACCESS_CONTROL_BROKER}:1</sr:RequestID>"
        "<sr:CommandVariant>1</sr:CommandVariant><sr:ServiceReference>4.1</sr:ServiceReference>"
        "<sr:ServiceReferenceVariant>4.1.1</sr:ServiceReferenceVariant></sr:Header>"
        "<sr:Body><sr:ReadInstantaneousImportRegisters/></sr:Body></sr:Request>"
    )
    request = duis.read(xml.encode())
    assert isinstance(request, duis.Request)
    return request.body
