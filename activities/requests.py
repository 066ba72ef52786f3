"""Building Service Requests from what the ledger permitted, and delivering them.

Guarantees: what is sent is what was granted, to the last device, and is kept before the first POST; a pre-command is
signed only if it is, octet for octet, the one that we would have built; and `Sender.deliver` may be called again after any
crash, with the same outbox row: it goes on where the row says. The time comes from a clock that is handed in.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from activities.dcc import NeverSent, Route, RouteError
from hanwave import duis, gbcs
from hanwave.credentials import CredentialError, Role
from hanwave.errors import HanwaveError
from hanwave.firmware.image import Form, OtaImage
from hanwave.identifiers import EUI64, RequestID
from hanwave.keys import Credentials, Keys, of_user
from hanwave.ledger import campaigns, notes, outbox, releases, routing, stops
from hanwave.rollout.events import WRONG_PRECOMMAND, Leg

_log = logging.getLogger(__name__)

_ENDED = frozenset({"acknowledged", "refused", "abandoned"})
_NON_DEVICE = frozenset({"11.1", "11.4", "8.2"})
_LISTS = {
    "invalid": "InvalidDeviceID",
    "not_commissioned": "NotCommissioned",
    "not_applicable": "NotApplicableFirmware",
    "other_request_in_progress": "OtherRequestInProgress",
    "invalid_gbcs_version": "InvalidGBCSVersion",
}
"""What a W110101 or W110401 says of the devices that it lists (DUIS XSD 5.4 DSPUpdateFirmwareWarning)."""


class ReplyError(HanwaveError):
    """A reply of the DCC's that is none to our request, or that must not be acted upon."""


class PrecommandError(ReplyError):
    """The Transform Service returned what must not be signed: people are told, for whoever did it could command devices."""

    def __init__(self, sentence: str, returned: bytes, expected: bytes) -> None:
        """Keep what came and what should have come."""
        super().__init__(sentence)
        self.returned, self.expected = returned, expected


@dataclass(frozen=True, slots=True)
class Delivery:
    """An outbox row after an attempt to deliver it: its state, and why it did not get on, where it did not."""

    state: str
    reason: str = ""

    @property
    def left(self) -> bool:
        """Whether a POST of it began at any time; silence then is for the deadline."""
        return self.state not in ("granted", "ready", "abandoned")


def body_of(connection: Connection, request: outbox.Request, at: datetime | None) -> duis.RequestBody:
    """The body of a request as it was granted; LedgerError or ImageError where there is nothing fit to send."""
    frame = campaigns.frame(connection, request.campaign)
    hop = frame.image(request.parameters.get("release", frame.release))
    match request.service_reference:
        case "11.1" | "11.4":
            certificate = request.parameters.get("certificate")
            image = releases.image_for(connection, hop.release, request.user_id, certificate)
            form = Form.PPMID if frame.device_type.one_step else Form.SIGNED
            OtaImage.read(image, form).check_hash(bytes.fromhex(hop.image_hash))
            kind = duis.UpdatePPMIDFirmware if request.service_reference == "11.4" else duis.UpdateFirmware
            return kind(image, hop.version, _devices(connection, request))
        case "11.2":
            return duis.ReadFirmwareVersion()
        case "11.3":
            return duis.ActivateFirmware(bytes.fromhex(hop.image_hash), at)
        case "8.2":
            return duis.ReadInventory(device_id=_devices(connection, request)[0])
    raise ReplyError(f"request {request.id} is of service {request.service_reference}, which hanwave does not send")


def _devices(connection: Connection, request: outbox.Request) -> tuple[EUI64, ...]:
    return tuple(EUI64.parse(eui) for eui in outbox.devices(connection, request.id))


def execution_time(request: outbox.Request) -> datetime | None:
    """When an 11.3 is to act: duis.CANCEL to withdraw, the date that was granted, None for at once."""
    if request.leg is Leg.WITHDRAW:
        return duis.CANCEL
    return datetime.fromisoformat(request.parameters["at"]) if "at" in request.parameters else None


def precommand_of(request_id: RequestID, body: duis.ActivateFirmware) -> bytes:
    """The pre-command that the Transform Service must return for that 11.3."""
    at = gbcs.CANCEL if body.at == duis.CANCEL else body.at
    return gbcs.precommand(request_id.originator, request_id.target, request_id.counter, body.image_hash, at)


@dataclass(frozen=True, slots=True)
class Reply:
    """A synchronous reply: its bytes, and the message."""

    raw: bytes
    message: duis.Response
    signed: bool

    @property
    def content(self) -> duis.ResponseContent | None:
        """What the ResponseMessage holds; None in a reply of another kind."""
        body = self.message.body
        return body.content if isinstance(body, duis.ResponseMessage) else None

    @property
    def answer(self) -> outbox.Answer:
        """The reply as the outbox keeps it."""
        listed: dict[str, str] = {}
        if isinstance(self.content, duis.UpdateFirmwareWarning):
            for name, why in _LISTS.items():
                listed |= dict.fromkeys(map(str, getattr(self.content, name) or ()), why)
        return outbox.Answer(self.message.code, self.raw, listed)


def read_reply(raw: bytes, request_id: RequestID, trust: duis.TrustStore, now: datetime) -> Reply:
    """The reply to that request; ReplyError where it is none. The DCC's immediate errors may be unsigned (domain 2.6)."""
    try:
        signed = duis.read_signed(raw, trust, now, allow_unsigned=True)
    except (duis.DuisError, CredentialError) as error:
        raise ReplyError(f"the reply to {request_id} cannot be accepted: {error}") from error
    message = signed.message
    if not isinstance(message, duis.Response) or message.request_id != request_id:
        raise ReplyError(f"the reply to {request_id} is none: it answers {getattr(message, 'request_id', None)}")
    return Reply(raw, message, signed.signer is not None)


def checked_precommand(reply: Reply, expected: bytes) -> bytes:
    """The pre-command of a Transform reply, which must be signed by the DCC and the very one expected.

    PrecommandError where it is not; ReplyError where there is none.
    """
    content = reply.content
    if not isinstance(content, duis.PreCommand):
        raise ReplyError(f"the Transform Service answered {reply.message.code} without a pre-command")
    if not reply.signed:
        sentence = "the Transform Service's pre-command is not signed: it is not acted upon"
        raise PrecommandError(sentence, content.payload, expected)
    if content.payload != expected:
        raise PrecommandError(
            f"the pre-command that the Transform Service returned for {reply.message.request_id} is not the one that was"
            " asked for: it is not signed, and a note keeps both",
            content.payload,
            expected,
        )
    return content.payload


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request whose bytes are not made yet: what it says; of an 11.3 the question to the Transform Service too."""

    request: outbox.Request
    body: duis.RequestBody
    question: bytes | None = None
    first: bool = False
    """Whether the question is asked for the first time."""
    expected: bytes = b""
    """The pre-command that should answer it."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Delivers outbox rows over a route; threads may share one."""

    ledger: Engine
    route: Route
    keys: Keys
    clock: Callable[[], datetime]

    def __call__(self, outbox_id: int) -> str | None:
        """Deliver; a sentence where the request could not leave now."""
        delivery = self.deliver(outbox_id)
        return None if delivery.left else delivery.reason or f"the request is {delivery.state}"

    def deliver(self, outbox_id: int) -> Delivery:
        """Build, keep, send and record one request, as far as it gets; call it again to go on."""
        try:
            with self.ledger.begin() as connection:
                request = outbox.get(connection, outbox_id)
                if stale := self._stale(connection, request):
                    return stale
                draft = self._draft(connection, request) if request.state == "granted" else None
                if isinstance(draft, Delivery):
                    return draft
            octets = self._complete(draft) if draft else None
        except RouteError as error:
            return Delivery("granted", str(error))
        except PrecommandError as error:
            return self._unsigned(request, error)
        except HanwaveError as error:
            # Nothing to send, no key that may sign, or a pre-command that is not ours: trying again will not mend it.
            _log.error("request %s of the outbox cannot be sent: %s", outbox_id, error)
            return Delivery("granted", str(error))
        return octets if isinstance(octets, Delivery) else self._send(request, octets)

    def _unsigned(self, request: outbox.Request, error: PrecommandError) -> Delivery:
        """Note that a request's pre-command is not ours; a forward request ends with it, as an attempt that was made.

        A cancel goes on asking, until its date makes it needless: nothing else keeps the device from acting.
        """
        _log.error("request %s of the outbox is not signed: %s", request.id, error)
        device = RequestID.parse(request.request_id).target
        document = {"returned": error.returned.hex(), "expected": error.expected.hex()}
        key = f"{request.request_id}/{document['returned']}"
        said = notes.Said("hanwave", "precommand", f"device/{device}", str(error), document, key)
        with self.ledger.begin() as connection:
            notes.once(connection, said, lambda: None, self.clock())
            if request.permit_class != "forward":
                return Delivery("granted", str(error))
            outbox.never_sent(connection, request.id, self.clock(), WRONG_PRECOMMAND)
        return Delivery("abandoned", str(error))

    def _stale(self, connection: Connection, request: outbox.Request) -> Delivery | None:
        """What is over; what was granted too long ago; what was sent often enough."""
        if request.state in _ENDED:
            return Delivery(request.state)
        at = execution_time(request)
        is_past = at is not None and at <= self.clock()
        if self.clock() - request.granted_at <= outbox.LIFE and request.sends < outbox.TRIES and not is_past:
            return None
        if request.sends:
            outbox.no_answer(connection, request.id, self.clock())
            return Delivery("ambiguous", "it was sent and not answered: its silence is left to the deadline")
        reason = "its date has passed" if is_past else f"its permit is older than {outbox.LIFE}"
        outbox.never_sent(connection, request.id, self.clock(), reason)
        return Delivery("abandoned", reason)

    def _draft(self, connection: Connection, request: outbox.Request) -> _Draft | Delivery:
        """What a request says, and leave to ask about it, where something is to be asked."""
        body = body_of(connection, request, execution_time(request))
        if not isinstance(body, duis.ActivateFirmware):
            stop = self._stop(connection, request)
            return Delivery("granted", stop) if stop else _Draft(request, body)
        self._own(request).gbcs_certificate.check(Role.SUPPLIER, self.clock())
        expected, question = precommand_of(RequestID.parse(request.request_id), body), self._signed(request, body)
        first = outbox.begin_transform(connection, request.id, self.clock())
        if isinstance(first, str):
            return Delivery(outbox.get(connection, request.id).state, first)
        return _Draft(request, body, question, first, expected)

    def _complete(self, draft: _Draft) -> bytes | Delivery:
        """The bytes to be sent; a Delivery where there are none."""
        body = draft.body
        if isinstance(body, duis.ActivateFirmware) and draft.question:
            command = self._command(draft, body, draft.question)
            if isinstance(command, Delivery):
                return command
            body = command
        return self._signed(draft.request, body)

    def _stop(self, connection: Connection, request: outbox.Request) -> str | None:
        if request.permit_class != "forward":
            return None
        stop = stops.blocking(connection, request.user_id, request.campaign, request.wave, request.leg)
        return str(stop) if stop else None

    def _signed(self, request: outbox.Request, body: duis.RequestBody) -> bytes:
        message, own = duis.Request.of(RequestID.parse(request.request_id), body), self._own(request)
        return duis.sign(message, own.xml_key, own.xml_certificate, self.clock())

    def _own(self, request: outbox.Request) -> Credentials:
        return of_user(self.keys, request.user_id)

    @property
    def _trust(self) -> duis.TrustStore:
        """The DCC's signers: the same, whoever asks."""
        return next(iter(self.keys.values())).trust

    def _command(self, draft: _Draft, body: duis.ActivateFirmware, question: bytes) -> duis.SignedPreCommand | Delivery:
        """The signed pre-command of an 11.3 (domain 2.7), or what the Transform Service's refusal makes of it."""
        request_id = RequestID.parse(draft.request.request_id)
        reply = read_reply(self.route.transform(question), request_id, self._trust, self.clock())
        if reply.answer.accepted:
            payload = checked_precommand(reply, draft.expected)
            return duis.SignedPreCommand(gbcs.sign_precommand(payload, self._own(draft.request).gbcs_key), body.at)
        return self._refused(draft.request, reply.answer, first=draft.first)

    def _refused(self, request: outbox.Request, answer: outbox.Answer, *, first: bool) -> Delivery:
        """A refusal to a second asking may only mean that it is the second: a new RequestID will tell."""
        with self.ledger.begin() as connection:
            if first:
                outbox.refused_unsent(connection, request.id, answer, self.clock())
                return Delivery("refused", answer.code)
            reason = f"the Transform Service answered {answer.code} when it was asked again"
            outbox.never_sent(connection, request.id, self.clock(), reason)
            return Delivery("abandoned", reason)

    def _send(self, request: outbox.Request, octets: bytes | None) -> Delivery:
        """One POST of a request's bytes: of these, kept before, or (None) of those that are kept already."""
        with self.ledger.begin() as connection:
            if octets:
                outbox.make_ready(connection, request.id, octets)
            leave = outbox.begin(connection, request.id, self.clock())
            if isinstance(leave, str):
                return Delivery(outbox.get(connection, request.id).state, leave)
        if self.clock() > leave.until:
            return self._never_left(request, leave, "the time to begin its POST went by: it must ask again")
        post = self.route.non_device if request.service_reference in _NON_DEVICE else self.route.send_command
        try:
            raw = post(leave.body)
            reply = read_reply(raw, RequestID.parse(request.request_id), self._trust, self.clock())
        except NeverSent as error:
            return self._never_left(request, leave, str(error))
        except (RouteError, ReplyError) as error:
            with self.ledger.begin() as connection:
                outbox.no_answer(connection, request.id, self.clock())
            return Delivery("ambiguous", str(error))
        return self._answered(request, reply)

    def _never_left(self, request: outbox.Request, leave: outbox.Sending, reason: str) -> Delivery:
        with self.ledger.begin() as connection:
            outbox.never_left(connection, request.id, leave, self.clock())
            return Delivery(outbox.get(connection, request.id).state, reason)

    def _answered(self, request: outbox.Request, reply: Reply) -> Delivery:
        with self.ledger.begin() as connection:
            now = self.clock()
            state = outbox.answered(connection, request.id, reply.answer, now)
            if isinstance(reply.content, duis.Inventory):
                routing.inventory(connection, request.id, reply.content, reply.raw, now)
        return Delivery(state, "" if reply.answer.accepted else reply.answer.code)
