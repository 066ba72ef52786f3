"""SR 11.3 on the device: store, replace, cancel, execute; and what the DCC learns of it.

A device executes a command once: it refuses a counter that is not above the last it accepted, silently.
"""

from datetime import datetime

from hanwave import duis
from hanwave.gbcs import (
    CRA,
    ActivateFirmware,
    ActivateImageResponseCode,
    AlertCode,
    Body,
    Cancel,
    CommandAccepted,
    ExecutionOutcome,
    FutureDatedOutcome,
    Header,
    MessageCode,
    build,
    encode_date_time,
)
from hanwave.gbcs import read as read_gbcs
from hanwave.identifiers import EUI64, RequestID
from infra.emulator import codes
from infra.emulator.faults import Fault, Leg, Occasion
from infra.emulator.keys import device_key
from infra.emulator.messages import alert_payload, dcc_alert, respond
from infra.emulator.tables import Device, Timer
from infra.emulator.world import World

NO_WORD = duis.ResponseMessage("11.3", duis.Acknowledgement())
"""An answer to an 11.3 that holds no word of the device."""


def arrive(world: World, device: Device, timer: Timer) -> None:
    """A signed command comes to the device, or the DCC gives up."""
    occasion = Occasion(device, Leg.ACTIVATE, timer.data["attempt"], device.held_version, timer.request_id)
    command = read_gbcs(bytes.fromhex(timer.data["payload"]))
    if world.strike(Fault.UNKNOWN_CODE, occasion):
        world.note(device, "unknown code", timer.request_id)
        respond(world, occasion, codes.UNKNOWN, NO_WORD)
    elif not is_out_of_reach(world, occasion):
        execute(world, occasion, command.body)


def is_out_of_reach(world: World, occasion: Occasion, no_word: duis.ResponseMessage = NO_WORD) -> bool:
    """Whether the device cannot be reached now; if so, the DCC's answer (or silence) is on its way."""
    device = occasion.device
    rule = world.strike(Fault.UNREACHABLE, occasion)
    rebooting = device.reboot_until > world.clock()
    if not (rule or rebooting or world.away_until(device)):
        return False
    world.note(device, "not reached", occasion.request_id)
    code = codes.CANNOT_REACH if rule is None and world.outage_until(device.region) else codes.NO_RESPONSE
    code = rule.answer if rule else code
    if code != "silence":
        give_up(world, occasion, code, no_word)
    return True


def give_up(world: World, occasion: Occasion, code: str, no_word: duis.ResponseMessage = NO_WORD) -> None:
    """The DCC says after its time-out that there is no answer."""
    respond(world, occasion, code, no_word, world.delay("timeout", occasion.device, occasion.attempt))


def execute(world: World, occasion: Occasion, body: Body) -> None:
    """The device takes the command, if its counter is new: cancel, store, or activate now."""
    device, counter = occasion.device, RequestID.parse(occasion.request_id).counter
    if not isinstance(body, ActivateFirmware) or not take_counter(device, counter):
        world.note(device, "replayed", occasion.request_id)
        give_up(world, occasion, codes.NO_RESPONSE)
        return
    if isinstance(body.at, Cancel):
        world.note(device, "cancelled", device.scheduled, occasion.request_id)
        device.scheduled = ""
        _answer(world, occasion, CommandAccepted())
    elif body.at is not None:
        world.note(device, "scheduled", occasion.request_id, body.at.isoformat())
        device.scheduled = occasion.request_id
        data = {"hash": body.image_hash.hex().upper(), "attempt": occasion.attempt, "at": body.at.isoformat()}
        world.store.later(body.at.timestamp(), "execute", device.eui, occasion.request_id, **data)
        _answer(world, occasion, CommandAccepted())
    else:
        # A command that is executed now takes the place of one that is stored.
        device.scheduled = ""
        _answer(world, occasion, activate(world, occasion, body.image_hash.hex().upper()))


def take_counter(device: Device, counter: int) -> bool:
    """Whether the counter is above the last that the device accepted; it is then the last."""
    if counter <= device.last_counter:
        return False
    device.last_counter = counter
    return True


def execute_stored(world: World, device: Device, timer: Timer) -> None:
    """The time of a future-dated command has come: 8F66 or 8F67, unless it was replaced or cancelled."""
    if device.scheduled != timer.request_id:
        return
    device.scheduled = ""
    occasion = Occasion(device, Leg.ACTIVATE, timer.data["attempt"], device.held_version, timer.request_id)
    was_quiet = device.is_quiet
    outcome = activate(world, occasion, timer.data["hash"])
    code = AlertCode.FUTURE_DATED_SUCCESS if outcome.succeeded else AlertCode.FUTURE_DATED_FAILURE
    counter = RequestID.parse(timer.request_id).counter
    body = FutureDatedOutcome(code, datetime.fromisoformat(timer.data["at"]), counter, outcome)
    if (was_quiet and device.is_quiet) or _is_lost(world, occasion):
        return
    payload, _ = alert_payload(world, device, MessageCode.CS06_ALERT, body)
    inventory_learns(world, device)
    content = duis.FutureDatedDeviceAlert(f"{code:04X}", payload, 1, 1)
    message = duis.ResponseMessage("11.3", content)
    respond(world, occasion, codes.ACCEPTED, message, world.delay("answer", device, occasion.attempt))


def activate(world: World, occasion: Occasion, image_hash: str) -> ExecutionOutcome:
    """Try to run the held image (GBCS: noImageHeld, hashMismatch, activationFailure or success)."""
    device = occasion.device
    if not device.held_hash:
        code = ActivateImageResponseCode.NO_IMAGE_HELD
    elif device.held_hash != image_hash:
        code = ActivateImageResponseCode.HASH_MISMATCH
    elif install(world, occasion):
        device.held_hash = device.held_version = ""
        code = ActivateImageResponseCode.SUCCESS
    else:
        code = ActivateImageResponseCode.ACTIVATION_FAILURE
    world.note(device, "executed", occasion.request_id, code.name.lower())
    return ExecutionOutcome(code, device.firmware_version)


def install(world: World, occasion: Occasion) -> bool:
    """Begin to run the occasion's version; whether the device says that it does."""
    device, version, request_id = occasion.device, occasion.version, occasion.request_id
    downgrade = version < device.firmware_version
    refused = (
        world.strike(Fault.ACTIVATION_FAILURE, occasion)
        or world.strike(Fault.REFUSES_SKIP, occasion)
        or (downgrade and world.strike(Fault.REFUSES_DOWNGRADE, occasion))
    )
    if refused:
        world.note(device, "activation failed", request_id, version)
        return False
    device.successes += 1
    device.reboot_until = world.clock() + world.delay("reboot", device, occasion.attempt)
    if world.strike(Fault.KEEPS_OLD_IMAGE, occasion):
        world.note(device, "kept the old image", request_id, version)
        return True
    device.firmware_version = version
    device.load_stuck_on = world.strike(Fault.LOAD_STUCK_ON, occasion) is not None
    if world.strike(Fault.SUCCESS_THEN_QUIET, occasion):
        device.quiet_version = version
    world.note(device, "activated", request_id, version)
    if device.device_type == "ESME" and world.strike(Fault.POWER_CUT, occasion):
        _cut_power(world, occasion)
    return True


def _cut_power(world: World, occasion: Occasion) -> None:
    """The hub loses its power with its meter (domain 5.6): nobody behind it answers until that is back."""
    device = occasion.device
    until = world.clock() + world.delay("dark", device, occasion.attempt)
    others = list(world.store.devices("WHERE hub = ? AND eui <> ?", device.hub, device.eui))
    for each in (device, *others):
        each.unplugged_until = max(each.unplugged_until, until)
        # The DCC tells the network operator, by AD1, and no supplier.
        world.note(each, "without power", occasion.request_id, "AD1")
    world.store.save(*others)


def _is_lost(world: World, occasion: Occasion) -> bool:
    """Whether the device's word is lost before the DCC has it (MP105): the inventory does not learn it either."""
    if not world.strike(Fault.LOST_RESPONSE, occasion):
        return False
    world.note(occasion.device, "response lost", occasion.request_id)
    return True


def _answer(world: World, occasion: Occasion, body: Body) -> None:
    """The device's signed response to an 11.3."""
    if _is_lost(world, occasion):
        return
    device, request_id = occasion.device, RequestID.parse(occasion.request_id)
    command = Header(CRA.COMMAND, request_id.counter, request_id.originator, EUI64.parse(device.eui), MessageCode.CS06)
    payload = build(command.answer(encode_date_time(world.now())), body, device_key(world.seed, device.eui))
    if isinstance(body, ExecutionOutcome):
        inventory_learns(world, device)
    delay = world.delay("answer", device, occasion.attempt, "response")
    respond(world, occasion, codes.ACCEPTED, duis.ResponseMessage("11.3", duis.GBCSPayload(payload)), delay)


def inventory_learns(world: World, device: Device) -> None:
    """The DCC saw the device's version: the inventory holds it, and a Suspended device is restored if it is listed."""
    device.smi_version = device.firmware_version
    if device.smi_status == "Suspended" and world.is_listed(device, device.smi_version):
        device.smi_status, device.status_before = device.status_before or "Commissioned", ""
        _tell_status(world, device, codes.RESTORED_ALERT, duis.DeviceRestored())


def suspend(world: World, device: Device) -> None:
    """The device's model left the Central Products List: N28 to its suppliers."""
    if device.smi_status != "Suspended":
        device.status_before, device.smi_status = device.smi_status, "Suspended"
        _tell_status(world, device, codes.SUSPENDED_ALERT, duis.DeviceSuspended())


def _tell_status(world: World, device: Device, code: str, change: duis.DeviceSuspended | duis.DeviceRestored) -> None:
    world.note(device, device.smi_status.lower())
    alert = duis.DeviceStatusChangeEvent(EUI64.parse(device.eui), change)
    users = {device.responsible} | ({device.gas_supplier} if device.device_type == "PPMID" else set())
    for user in sorted(users - {""}):
        dcc_alert(world, Occasion(device, Leg.DISTRIBUTE, device.distributions), user, code, alert)


def change_supplier(world: World, device: Device, user: str) -> None:
    """Another supplier takes the device over; counters are each supplier's own."""
    if device.device_type == "GSME":
        device.gas_supplier = user
    else:
        device.import_supplier = user
    device.last_counter = 0
    world.note(device, "changed supplier", detail=user)
