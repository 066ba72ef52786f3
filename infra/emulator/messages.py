"""Messages to users: made, signed with the DCC's key, and queued for delivery, with the faults of the way.

A message is signed once; every delivery of it sends the same bytes.
"""

from dataclasses import dataclass

from hanwave import duis
from hanwave.gbcs import CRA, AlertCode, Body, Header, build
from hanwave.identifiers import EUI64, RequestID
from infra.emulator.codes import ACCEPTED
from infra.emulator.faults import Fault, Occasion
from infra.emulator.keys import device_key
from infra.emulator.pki import ACCESS_CONTROL_BROKER
from infra.emulator.tables import Device
from infra.emulator.world import World


@dataclass(frozen=True, slots=True)
class Parcel:
    """A signed message for a user; kind is the name by which the books know it: 8F72, N60, I0, neighbour."""

    user: str
    response: duis.Response
    kind: str
    body: bytes
    eui: str


def reply(world: World, request: duis.Request, code: str, content: duis.ResponseContent | None = None) -> bytes:
    """The signed synchronous answer to a request."""
    message = duis.ResponseMessage(request.service_reference, content or duis.Acknowledgement(), request.variant)
    response = duis.Response(code, world.now(), message, request.request_id)
    signer = world.transform if isinstance(content, duis.PreCommand) else world.acb
    return duis.sign(response, signer.key, signer.certificate, world.now())


def respond(world: World, occasion: Occasion, code: str, message: duis.ResponseMessage, delay: float = 0) -> None:
    """Queue the asynchronous answer to a request; an E-code carries no word of the device and so no ResponseID."""
    request_id, content = RequestID.parse(occasion.request_id), message.content
    kinds: tuple[str, ...] = (code,)
    counter = request_id.counter
    if isinstance(content, duis.FutureDatedDeviceAlert):
        kinds, counter = (code, content.alert_code), occasion.device.alert_counter
    response_id = RequestID(request_id.target, request_id.originator, counter) if code == ACCEPTED else None
    response = duis.Response(code, world.now(), message, request_id, response_id)
    _post(world, occasion, str(request_id.originator), response, kinds, delay)


def device_alert(world: World, occasion: Occasion, code: AlertCode, message_code: int, body: Body) -> None:
    """Queue an alert that the device signs for its supplier; a quiet device raises none."""
    device = occasion.device
    if device.is_quiet:
        return
    payload, counter = alert_payload(world, device, message_code, body)
    supplier = EUI64.parse(device.responsible)
    response = duis.Response(
        ACCEPTED,
        world.now(),
        duis.DeviceAlertMessage(f"{code:04X}", payload),
        response_id=RequestID(EUI64.parse(device.eui), supplier, counter),
    )
    _post(world, occasion, device.responsible, response, (f"{code:04X}",))


def alert_payload(world: World, device: Device, message_code: int, body: Body) -> tuple[bytes, int]:
    """The GBCS octets of an alert signed by the device for its supplier, and the device's counter in them."""
    device.alert_counter += 1
    eui, supplier = EUI64.parse(device.eui), EUI64.parse(device.responsible)
    header = Header(CRA.ALERT, device.alert_counter, eui, supplier, message_code)
    return build(header, body, device_key(world.seed, device.eui)), device.alert_counter


def dcc_alert(
    world: World, occasion: Occasion, user: str, code: str, alert: duis.DCCAlert, also: tuple[str, ...] = ()
) -> None:
    """Queue an alert of the DCC's own; also: other names by which a fault may know it (8F8A in an N62)."""
    counter = world.store.value("SELECT coalesce(max(id), 0) + 1 FROM delivery")
    response = duis.Response(
        ACCEPTED,
        world.now(),
        duis.DCCAlertMessage(code, alert),
        response_id=RequestID(ACCESS_CONTROL_BROKER, EUI64.parse(user), counter),
    )
    _post(world, occasion, user, response, (code, *also))


def _post(
    world: World, occasion: Occasion, user: str, response: duis.Response, kinds: tuple[str, ...], delay: float = 0
) -> None:
    """Queue a message, or two, or none, and now or later: as its faults say."""
    device = occasion.device
    due = max(world.clock(), world.outage_until(device.region)) + delay
    for fault, added in ((Fault.LATE, "late"), (Fault.REORDERED, "reorder")):
        if world.strike(fault, occasion, kinds):
            due += world.delay(added, device, occasion.attempt, *kinds)
    state = "dropped" if world.strike(Fault.DROPPED_ALERT, occasion, kinds) else "waiting"
    body = duis.sign(response, world.acb.key, world.acb.certificate, world.now())
    parcel = Parcel(user, response, kinds[-1], body, device.eui)
    queue(world, parcel, due, state)
    if world.strike(Fault.DUPLICATE, occasion, kinds):
        queue(world, parcel, due + world.delay("answer", device, occasion.attempt, *kinds), state)


def queue(world: World, parcel: Parcel, due: float, state: str = "waiting") -> None:
    """Keep a message until it is delivered, or too old."""
    response = parcel.response
    request_id, response_id = str(response.request_id or ""), str(response.response_id or "")
    expires = due + world.delays.draw("hold", "")
    world.store.query(
        "INSERT INTO delivery (user, eui, request_id, response_id, code, kind, state, due, expires, tries, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        *(parcel.user, parcel.eui, request_id, response_id, response.code, parcel.kind, state, due, expires),
        parcel.body,
    )
    world.stir()
