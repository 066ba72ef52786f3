"""What the DCC checks of a request to one device: SR 11.3 in both variants, 11.2, and those that hanwave does not send.

A Signed Pre-Command must be the one that the Transform Service gives for the request, to the octet, with its user's
GBCS signature.
"""

from datetime import datetime, timedelta

from hanwave import duis
from hanwave.credentials import CredentialError
from hanwave.gbcs import CANCEL, ActivateFirmware, Form, GbcsError, Message, precommand, verify_signature
from hanwave.gbcs import Cancel as GbcsCancel
from hanwave.gbcs import read as read_gbcs
from hanwave.identifiers import EUI64
from infra.emulator import codes
from infra.emulator.answers import Answer, Refused
from infra.emulator.faults import Leg, Occasion
from infra.emulator.pki import SUPPLIERS
from infra.emulator.tables import Device
from infra.emulator.world import World

GBCS_VERSION = "4.1"
TAKE_ACTIVATION = frozenset({"ESME", "GSME", "HCALCS"})
MAY_ACTIVATE = frozenset({"Commissioned", "Suspended"})
MAY_BE_READ = frozenset({"InstalledNotCommissioned", "Commissioned", "Suspended"})
"""11.2 is allowed on Suspended devices since November 2021 (MP105)."""
FURTHEST = timedelta(days=30)
"""[M?] How far ahead an activation may be dated."""


def transform(world: World, request: duis.Request, body: duis.ActivateFirmware) -> Answer:
    """SR 11.3, CV 4: the pre-command for the user to sign."""
    _activatable(world, request)
    octets = _precommand(world, request, body.image_hash, body.at)
    return Answer(codes.ACCEPTED, duis.PreCommand(GBCS_VERSION, octets))


def _precommand(world: World, request: duis.Request, image_hash: bytes, at: datetime | None) -> bytes:
    """The one pre-command of a request; Refused for a time or a counter that it cannot carry."""
    ids = request.request_id
    when: datetime | GbcsCancel | None = CANCEL if at == duis.CANCEL else at and at.replace(microsecond=0)
    if isinstance(when, datetime) and not world.now() < when <= world.now() + FURTHEST:
        raise Refused(codes.BAD_EXECUTION_TIME, f"{when.isoformat()} is past, or more than {FURTHEST.days} days ahead")
    try:
        return precommand(ids.originator, ids.target, ids.counter, image_hash, when)
    except GbcsError as error:
        raise Refused(codes.BAD_PRE_COMMAND, str(error)) from error


def activate(world: World, request: duis.Request, body: duis.SignedPreCommand) -> Answer:
    """SR 11.3, CV 5: the signed pre-command goes to the device."""
    device = _activatable(world, request)
    message = _signed(world, request, body.payload)
    command = message.body
    if not isinstance(command, ActivateFirmware):
        raise Refused(codes.BAD_PRE_COMMAND, "the pre-command is no activation")
    at = duis.CANCEL if command.at is CANCEL else command.at
    if body.at is not None and at != body.at.replace(microsecond=0):
        raise Refused(codes.BAD_PRE_COMMAND, "the execution times differ")
    expected = _precommand(world, request, command.image_hash, at if isinstance(at, datetime) else None)
    if b"\xdf" + message.signed_octets != expected:
        raise Refused(codes.BAD_PRE_COMMAND, "it is not the pre-command of this request")
    device.activations += 1
    return _send(world, request, device, Leg.ACTIVATE, device.activations, payload=body.payload.hex())


def _signed(world: World, request: duis.Request, payload: bytes) -> Message:
    """The signed pre-command, read, when its user's GBCS key signed it."""
    try:
        message = read_gbcs(payload)
        if message.form is not Form.SIGNED_PRE_COMMAND:
            raise Refused(codes.BAD_PRE_COMMAND, f"it is a {message.form.value}")
        name = next(name for name, eui in SUPPLIERS.items() if eui == request.request_id.originator)
        certificate = world.pki.certificate(f"{name}-gbcs")
    except (GbcsError, CredentialError) as error:
        raise Refused(codes.BAD_PRE_COMMAND, str(error)) from error
    if not verify_signature(message, certificate.public_key):
        raise Refused(codes.BAD_PRE_COMMAND, f"it is not signed by {certificate.eui}")
    return message


def read(world: World, request: duis.Request, body: duis.ReadFirmwareVersion) -> Answer:
    """SR 11.2, CV 1: the DCC asks the device, at once or at the time given."""
    device = _device(world, request)
    if device.smi_status not in MAY_BE_READ:
        raise Refused(codes.STATUS_INCOMPATIBLE)
    if body.at is not None and not world.now() < body.at <= world.now() + FURTHEST:
        raise Refused(codes.BAD_EXECUTION_TIME)
    wait = (body.at - world.now()).total_seconds() if body.at else 0.0
    device.reads += 1
    return _send(world, request, device, Leg.READ, device.reads, wait)


def other(world: World, request: duis.Request) -> Answer:
    """Any other service: the supplier's other systems use the same User ID, and their counters count."""
    device = _device(world, request)
    if isinstance(request.body, duis.SignedPreCommand):
        _signed(world, request, request.body.payload)
    device.others += 1
    return _send(
        world,
        request,
        device,
        Leg.OTHER,
        device.others,
        service=request.service_reference,
        variant=request.variant,
        critical=request.command_variant == 5,
    )


def _device(world: World, request: duis.Request) -> Device:
    """The target, if it exists and its user may command it."""
    device = world.store.device(str(request.request_id.target))
    if device is None:
        raise Refused(codes.NO_SUCH_DEVICE)
    if not device.is_of(str(request.request_id.originator)):
        raise Refused(codes.NOT_RESPONSIBLE)
    return device


def _activatable(world: World, request: duis.Request) -> Device:
    device = _device(world, request)
    if device.device_type not in TAKE_ACTIVATION:
        raise Refused(codes.WRONG_DEVICE_TYPE)
    if device.smi_status not in MAY_ACTIVATE:
        raise Refused(codes.STATUS_INCOMPATIBLE)
    return device


def _send(
    world: World, request: duis.Request, device: Device, leg: Leg, attempt: int, wait: float = 0.0, **data: object
) -> Answer:
    """Acknowledge, and let the command arrive at the device."""
    request_id = str(request.request_id)
    world.store.save(device)
    world.note(device, f"sent {leg}", request_id)
    due = world.clock() + wait + world.delay("answer", device, attempt, leg)
    world.store.later(due, leg, device.eui, request_id, attempt=attempt, **data)
    return Answer(codes.ACKNOWLEDGED, occasion=Occasion(device, leg, attempt, device.held_version))


def inventory(world: World, _: duis.Request, body: duis.ReadInventory) -> Answer:
    """SR 8.2: the devices of a home, the one that was asked for first."""
    if body.device_id is not None:
        asked = world.store.device(str(body.device_id))
        found = [asked, *_neighbours(world, asked)] if asked else []
    elif body.mpxn is not None:
        found = list(world.store.devices("WHERE mpxn = ? ORDER BY eui", body.mpxn))
    else:
        found = []
    if not found:
        raise Refused(codes.NO_SUCH_DEVICE)
    return Answer(codes.ACCEPTED, duis.Inventory(tuple(_listed(world, device) for device in found[:17])))


def _neighbours(world: World, device: Device) -> list[Device]:
    if not device.home:
        return []
    return list(world.store.devices("WHERE home = ? AND eui <> ? ORDER BY eui", device.home, device.eui))


def _listed(world: World, device: Device) -> duis.Device:
    status = world.store.value(
        "SELECT status FROM cpl WHERE device_type = ? AND manufacturer = ? AND model = ? AND hardware = ? AND version = ?",
        *(device.device_type, device.manufacturer, device.model, device.hardware_version, device.smi_version),
    )
    return duis.Device(
        EUI64.parse(device.eui),
        device.device_type,
        device.manufacturer,
        device.model,
        status=device.smi_status,
        firmware_version=device.smi_version,
        firmware_status=status,
        cpl_status=status,
        import_mpxn=device.mpxn or None,
        region=device.region,
        gbcs_version=device.gbcs_version,
    )
