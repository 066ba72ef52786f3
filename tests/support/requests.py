"""The DCC's three services in this process, and requests that were granted, for the tests of what sends them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text

from activities.dcc import NeverSent
from hanwave import duis, gbcs
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.ledger import outbox, permit
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import Policy
from tests.support import ledger as support
from tests.support import messages as m
from tests.support.ledger import World
from tests.support.routing import ask
from tests.support.routing import deliver as hear


@dataclass
class Dcc:
    """The three services, in this process: reads what comes as the DCC would, and answers as it is told."""

    pki: m.Pki
    clock: Callable[[], datetime]
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    asked: list[duis.Request] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)
    fails: dict[str, list[Exception]] = field(default_factory=dict)
    content: duis.ResponseContent = field(default_factory=duis.Acknowledgement)
    unsigned: bool = False
    precommand: bytes | None = None

    def transform(self, body: bytes) -> bytes:
        request = self._take("transform", body)
        code = self.codes.get("transform", "I0")
        if code != "I0":
            return self._answer(request, code)
        assert isinstance(request.body, duis.ActivateFirmware)
        at = gbcs.CANCEL if request.body.at == duis.CANCEL else request.body.at
        rid = request.request_id
        made = gbcs.precommand(rid.originator, rid.target, rid.counter, request.body.image_hash, at)
        return self._answer(request, code, duis.PreCommand("4.3", self.precommand or made), self.pki.transform)

    def send_command(self, body: bytes) -> bytes:
        return self._answer(self._take("send_command", body), self.codes.get("send_command", "I99"))

    def non_device(self, body: bytes) -> bytes:
        return self._answer(self._take("non_device", body), self.codes.get("non_device", "I99"), self.content)

    def _take(self, service: str, body: bytes) -> duis.Request:
        fails = self.fails.get(service, [])
        if fails and isinstance(fails[0], NeverSent):
            raise fails.pop(0)
        trust = duis.TrustStore([self.pki.ours.certificate], self.pki.ours.certificate.role)
        request = duis.read_signed(body, trust, self.clock(), max_bytes=duis.MAX_REQUEST_BYTES).message
        assert isinstance(request, duis.Request)
        self.posts.append((service, body))
        self.asked.append(request)
        if fails:
            raise fails.pop(0)
        return request

    def _answer(self, request, code, content=None, by=None) -> bytes:
        body = duis.ResponseMessage(request.service_reference, content or duis.Acknowledgement())
        message = duis.Response(code, self.clock(), body, request.request_id)
        return duis.write(message) if self.unsigned else self.pki.signed(message, by, self.clock())


MANUFACTURER_IMAGE = b"firmware" * 4000


def image(pki: m.Pki, world: World) -> bytes:
    header = Header(0x121D, 0, FirmwareVersion(int(m.VERSION, 16)), header_string("r2"), hardware=HardwareRange(0, 9))
    made = OtaImage(header, MANUFACTURER_IMAGE)
    if world.device_type != "PPMID":
        made = made.sign(pki.gbcs.key, pki.gbcs.certificate, world.now)
    return made.pack()


def granted(world: World, leg: Leg = Leg.DISTRIBUTE, size: int = 1, policy: Policy | None = None) -> permit.Permit:
    ids = world.campaign(world.fleet(size), policy)
    if leg is Leg.DISTRIBUTE:
        return ask(world, ids, leg, "11.4" if world.device_type == "PPMID" else "11.1", m.ACB)
    distribution = ask(world, ids, Leg.DISTRIBUTE, "11.1", m.ACB)
    assert distribution.outbox_id
    with world.engine.begin() as connection:
        outbox.make_ready(connection, distribution.outbox_id, b"<request/>")
        outbox.begin(connection, distribution.outbox_id, world.now)
        outbox.answered(connection, distribution.outbox_id, outbox.Answer("I99", b"<ok/>"), world.now)
    world.later(minutes=1)
    hear(world, m.verified(image_hash=bytes.fromhex(support.HASH), at=world.now))
    found = ask(world, ids, leg, "11.2" if leg is Leg.READ else "11.3")
    assert found.outbox_id, found.refused
    return found


def row(world: World, outbox_id: int | None):
    with world.engine.connect() as connection:
        return connection.execute(text("SELECT * FROM outbox WHERE id = :id"), {"id": outbox_id}).one()
