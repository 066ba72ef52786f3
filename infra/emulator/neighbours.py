"""Traffic that is not hanwave's: what DCC sends on the same User ID to the supplier's other systems."""

from hanwave import duis
from hanwave.gbcs import CRA, Header, Unrecognised, build, encode_date_time
from hanwave.identifiers import EUI64, RequestID
from infra.emulator.codes import ACCEPTED
from infra.emulator.draw import fraction
from infra.emulator.keys import device_key
from infra.emulator.messages import Parcel, queue
from infra.emulator.reading import OTHER_MESSAGE
from infra.emulator.world import World

_SERVICES = (("1.1", "1.1.1"), ("2.2", "2.2"), ("4.1", "4.1.1"), ("4.8", "4.8.1"))
_ALERTS = ("8F3E", "8F12", "81A0")


def send(world: World, user: str, count: int) -> list[str]:
    """Queue that many foreign messages for a user; their ResponseIDs. A third each: responses, device and DCC alerts."""
    with world.store.transaction():
        before = int(world.store.fact("neighbours") or 0)
        world.store.remember("neighbours", str(before + count))
        devices = [device.eui for device in world.store.devices("ORDER BY eui LIMIT 100")]
        return [_send(world, user, devices, before + number + 1) for number in range(count)]


def _send(world: World, user: str, devices: list[str], number: int) -> str:
    eui = devices[number % len(devices)] if devices else "02-48-57-FF-00-00-00-01"
    make = (_response, _device_alert, _dcc_alert)[number % 3]
    response = make(world, EUI64.parse(user), EUI64.parse(eui), number)
    body = duis.sign(response, world.acb.key, world.acb.certificate, world.now())
    queue(world, Parcel(user, response, "neighbour", body, eui), world.clock())
    return str(response.response_id)


def _payload(world: World, header: Header) -> bytes:
    noise = int(fraction(world.seed, "neighbour", header.counter) * 2**64).to_bytes(8, "big")
    return build(header, Unrecognised(noise), device_key(world.seed, str(header.originator)))


def _response(world: World, user: EUI64, device: EUI64, number: int) -> duis.Response:
    """The answer to a request that another system sent; its counter is none of hanwave's."""
    ids = RequestID(user, device, number)
    header = Header(CRA.COMMAND, number, user, device, OTHER_MESSAGE).answer(encode_date_time(world.now()))
    service, variant = _SERVICES[number % len(_SERVICES)]
    message = duis.ResponseMessage(service, duis.GBCSPayload(_payload(world, header)), variant)
    return duis.Response(ACCEPTED, world.now(), message, ids, RequestID(device, user, number))


def _device_alert(world: World, user: EUI64, device: EUI64, number: int) -> duis.Response:
    header = Header(CRA.ALERT, 10**9 + number, device, user, OTHER_MESSAGE)
    message = duis.DeviceAlertMessage(_ALERTS[number % len(_ALERTS)], _payload(world, header))
    return duis.Response(ACCEPTED, world.now(), message, response_id=RequestID(device, user, 10**9 + number))


def _dcc_alert(world: World, user: EUI64, device: EUI64, number: int) -> duis.Response:
    message = duis.DCCAlertMessage("AD1", duis.PowerOutageEvent(device, world.now(), "9900000000001"))
    ids = RequestID(world.acb.certificate.eui, user, 10**9 + number)
    return duis.Response(ACCEPTED, world.now(), message, response_id=ids)
