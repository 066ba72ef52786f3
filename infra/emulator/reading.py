"""SR 11.2 on the device, and the commands of other systems that pass by."""

from dataclasses import replace

from hanwave import duis
from hanwave.gbcs import (
    CRA,
    FirmwareVersion,
    Header,
    MessageCode,
    ReadResponseCode,
    Supplementary,
    Unrecognised,
    build,
    derive_key,
)
from hanwave.identifiers import RequestID
from infra.emulator import codes
from infra.emulator.activation import give_up, inventory_learns, is_out_of_reach, take_counter
from infra.emulator.draw import fraction
from infra.emulator.faults import Fault, Leg, Occasion
from infra.emulator.keys import device_key
from infra.emulator.messages import respond
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIERS
from infra.emulator.tables import Device, Timer
from infra.emulator.world import World

MESSAGES = {"ESME": MessageCode.ECS52, "GSME": MessageCode.GCS38}
"""The form of the answer; PPMIDs and HCALCSs have CS08."""
OTHER_MESSAGE = 0x0107
"""The message code under which other systems' commands are answered: one that hanwave does not read."""


def arrive(world: World, device: Device, timer: Timer) -> None:
    """A version read comes to the device; a quiet one says nothing, and neither does the DCC."""
    version = device.firmware_version
    occasion = Occasion(device, Leg.READ, timer.data["attempt"], version, timer.request_id)
    if device.is_quiet:
        world.note(device, "kept quiet", timer.request_id)
        return
    if is_out_of_reach(world, occasion, duis.ResponseMessage("11.2", duis.Acknowledgement())):
        return
    if world.strike(Fault.LOST_RESPONSE, occasion):
        world.note(device, "response lost", timer.request_id)
        return
    code = MESSAGES.get(device.device_type, MessageCode.CS08)
    payload = _protected(world, occasion, code, FirmwareVersion(version, ReadResponseCode.READ_SUCCESS))
    inventory_learns(world, device)
    world.note(device, "read", timer.request_id, version)
    delay = world.delay("answer", device, occasion.attempt, "version")
    respond(world, occasion, codes.ACCEPTED, duis.ResponseMessage("11.2", duis.GBCSPayload(payload)), delay)


def _protected(world: World, occasion: Occasion, code: int, body: FirmwareVersion) -> bytes:
    """The response with a MAC between the key-agreement keys of the device and of whom it answers (GBCS 4.3.3)."""
    header = _answering(occasion, code)
    if occasion.device.device_type == "PPMID":
        header = _through_broker(header, int(world.clock() * 1000))
        agree = device_key(world.seed, str(header.target), "agree").public_key()
    else:
        name = next(name for name, eui in SUPPLIERS.items() if eui == header.target)
        agree = world.pki.certificate(f"{name}-agree").public_key
    return build(header, body, mac_key=derive_key(device_key(world.seed, occasion.device.eui, "agree"), agree, header))


def _through_broker(header: Header, counter: int) -> Header:
    """The same where the Access Control Broker asked on the user's behalf: a PPMID knows no supplier (RTDS, CS08)."""
    behind = Supplementary(header.target, header.counter)
    return replace(header, target=ACCESS_CONTROL_BROKER, counter=counter, supplementary=behind)


def _answering(occasion: Occasion, code: int) -> Header:
    request_id = RequestID.parse(occasion.request_id)
    return Header(CRA.COMMAND, request_id.counter, request_id.originator, request_id.target, code).answer()


def other(world: World, device: Device, timer: Timer) -> None:
    """A command that another system sent: its counter counts, and its answer goes the same way."""
    service, variant = timer.data["service"], timer.data["variant"]
    occasion = Occasion(device, Leg.OTHER, timer.data["attempt"], "", timer.request_id)
    if timer.data["critical"] and not take_counter(device, RequestID.parse(timer.request_id).counter):
        world.note(device, "replayed", timer.request_id)
        give_up(world, occasion, codes.NO_RESPONSE, duis.ResponseMessage(service, duis.Acknowledgement(), variant))
        return
    header = _answering(occasion, OTHER_MESSAGE)
    noise = int(fraction(world.seed, timer.request_id) * 2**32).to_bytes(4, "big")
    payload = build(header, Unrecognised(noise), device_key(world.seed, device.eui))
    respond(world, occasion, codes.ACCEPTED, duis.ResponseMessage(service, duis.GBCSPayload(payload), variant))
    world.note(device, "answered another system", timer.request_id)
