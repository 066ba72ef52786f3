"""The three services: from the bytes of a request to those of its answer, in one transaction.

A RequestID (with its Command Variant: 4 and 5 share one) has one body: the same again is answered as a duplicate and
does nothing, another is answered so too, and is written into the books as a violation.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hanwave import duis
from hanwave.credentials import Role
from hanwave.errors import HanwaveError
from infra.emulator import codes, commands, distribution
from infra.emulator.answers import Answer, Refused
from infra.emulator.faults import Fault, Leg, Occasion
from infra.emulator.messages import dcc_alert, reply
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIERS
from infra.emulator.tables import Device
from infra.emulator.world import World

_LOG = logging.getLogger("hanwave.emulator")


class Service(Enum):
    """The three services, by the Command Variants that they take."""

    TRANSFORM = frozenset({4})
    SEND_COMMAND = frozenset({1, 5})
    NON_DEVICE = frozenset({8})


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a signed Response, or nothing because the connection breaks (ack_lost)."""

    body: bytes
    is_lost: bool = False


_Handler = Callable[[World, duis.Request, Any], Answer]
_HANDLERS: dict[tuple[int, type], tuple[str, _Handler]] = {
    (4, duis.ActivateFirmware): ("11.3", commands.transform),
    (5, duis.SignedPreCommand): ("11.3", commands.activate),
    (1, duis.ReadFirmwareVersion): ("11.2", commands.read),
    (8, duis.UpdateFirmware): ("11.1", distribution.accept),
    (8, duis.UpdatePPMIDFirmware): ("11.4", distribution.accept),
    (8, duis.ReadInventory): ("8.2", commands.inventory),
}


class Gateway:
    """Judges and handles requests."""

    def __init__(self, world: World) -> None:
        """Trust the XML keys of the PKI's suppliers."""
        self._world = world
        self._trust = duis.TrustStore((world.pki.certificate(f"{name}-xml") for name in SUPPLIERS), role=Role.XML_SIGN)

    def handle(self, service: Service, data: bytes) -> Reply:
        """Answer a request; HanwaveError when its originator cannot be established (HTTP 400)."""
        world = self._world
        signed = duis.read_signed(data, self._trust, world.now(), max_bytes=duis.MAX_REQUEST_BYTES)
        if not isinstance(signed.message, duis.Request):
            raise HanwaveError("the message is a Response; the services take Requests")
        request = signed.message
        with world.store.transaction():
            answer = self._judge(service, request, data)
            lost = bool(answer.occasion and world.strike(Fault.ACK_LOST, answer.occasion))
            body = reply(world, request, answer.code, answer.content)
        world.stir()
        return Reply(body, lost)

    def _judge(self, service: Service, request: duis.Request, data: bytes) -> Answer:
        try:
            _check_url(service, request.command_variant)
            self._once(request, data)
            answer = self._quarantined(request, data) or dispatch(self._world, request)
        except Refused as refusal:
            _LOG.info("%s %s: %s %s", request.service_reference, request.request_id, refusal.code, refusal)
            answer = Answer(refusal.code)
        self._world.store.query(
            "UPDATE request SET code = coalesce(code, ?) WHERE request_id = ? AND command_variant = ?",
            *(answer.code, str(request.request_id), request.command_variant),
        )
        return answer

    def _once(self, request: duis.Request, data: bytes) -> None:
        """Write the request into the books, once; Refused for a RequestID that was there."""
        world, key = self._world, (str(request.request_id), request.command_variant)
        # A transform commands nothing and may be asked again under a new signature: its content counts.
        content = duis.write(request) if request.command_variant == 4 else data
        digest = hashlib.sha256(content).hexdigest()
        before = world.store.value("SELECT digest FROM request WHERE request_id = ? AND command_variant = ?", *key)
        if before is None:
            user = str(request.request_id.originator)
            world.store.query(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, 1, NULL)",
                *(*key, request.service_reference, user, digest, world.clock()),
            )
            return
        world.store.query("UPDATE request SET posts = posts + 1 WHERE request_id = ? AND command_variant = ?", *key)
        if before != digest:
            world.store.query(
                "INSERT INTO violation (at, request_id, what) VALUES (?, ?, ?)",
                *(world.clock(), key[0], f"CV {key[1]} came with another body: {before} before, {digest} now"),
            )
        if before != digest or request.command_variant != 4:
            raise Refused(world.duplicate_code, "seen before")

    def _quarantined(self, request: duis.Request, data: bytes) -> Answer | None:
        """The acknowledgement of a request that anomaly detection holds back, or None."""
        world, limit = self._world, self._world.faults.quarantine
        service, user = request.service_reference, str(request.request_id.originator)
        if limit is None or service not in limit.services or request.command_variant == 4:
            return None
        if limit.users and user not in limit.users:
            return None
        count = world.store.value(
            "SELECT count(*) FROM request WHERE user = ? AND service = ? AND at > ? AND command_variant <> 4",
            *(user, service, world.clock() - limit.window),
        )
        if count <= limit.threshold:
            return None
        ref = world.store.query(
            "INSERT INTO quarantine (at, request_id, body, state) VALUES (?, ?, ?, 'held')",
            *(world.clock(), str(request.request_id), data),
        ).lastrowid
        alert = duis.QuarantinedRequest(duis.ADUserThresholdBreach(request.request_id, ref or 0))
        occasion = Occasion(_nobody(str(request.request_id.target)), Leg.OTHER, ref or 0)
        dcc_alert(world, occasion, user, codes.QUARANTINED_ALERT, alert)
        return Answer(codes.ACKNOWLEDGED)


def _check_url(service: Service, command_variant: int) -> None:
    if command_variant not in service.value:
        known = any(command_variant in each.value for each in Service)
        raise Refused(codes.WRONG_URL if known else codes.WRONG_COMMAND_VARIANT)


def _nobody(eui: str) -> Device:
    """A stand-in where a message is about no device of the fleet."""
    return Device(eui, "", "", "", "", "", "", "", "", "", "", "", "", "")


def dispatch(world: World, request: duis.Request) -> Answer:
    """Let the request be handled as what it is; Refused says with which code it is not."""
    if str(request.request_id.originator) not in map(str, SUPPLIERS.values()):
        raise Refused(codes.USER_UNKNOWN)
    service, handler = _HANDLERS.get((request.command_variant, type(request.body)), ("", None))
    is_non_device = request.command_variant == 8
    if is_non_device and request.request_id.target != ACCESS_CONTROL_BROKER:
        raise Refused(codes.NO_SUCH_DEVICE, "a Non-Device request is for the Access Control Broker")
    if handler is not None and service == request.service_reference:
        return handler(world, request, request.body)
    if request.service_reference in {"8.2", "11.1", "11.2", "11.3", "11.4"}:
        raise Refused(codes.WRONG_COMMAND_VARIANT)
    if request.command_variant == 4:
        raise Refused(codes.WRONG_COMMAND_VARIANT, "only 11.3 is transformed here")
    return Answer(codes.ACKNOWLEDGED) if is_non_device else commands.other(world, request)


def settle_quarantine(world: World, ref: int, *, release: bool) -> bool:
    """A person at the supplier's releases or deletes a held request; False when there is none of that number."""
    with world.store.transaction():
        row = world.store.query("SELECT body FROM quarantine WHERE ref = ? AND state = 'held'", ref).fetchone()
        if row is None:
            return False
        world.store.query(
            "UPDATE quarantine SET state = ?, body = NULL WHERE ref = ?", "released" if release else "deleted", ref
        )
        request = duis.read(row[0], duis.MAX_REQUEST_BYTES)
        if release and isinstance(request, duis.Request):
            _let_go(world, request)
    world.stir()
    return True


def _let_go(world: World, request: duis.Request) -> None:
    try:
        dispatch(world, request)
    except Refused as refusal:
        # It was acknowledged long ago: nobody is told, the books are.
        target = str(request.request_id.target)
        world.store.note(world.clock(), target, "refused on release", str(request.request_id), refusal.code)
