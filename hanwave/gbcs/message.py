"""Whole GBCS messages: read, build, sign, protect and verify.

read takes any octets and either returns a Message or raises GbcsError; nothing else, in time linear in their number.
A message of a kind that hanwave does not know is read as far as its grouping header, and kept whole. Reading says
nothing of who sent a message: that is for verify_signature and verify_mac.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from hanwave.credentials import SIGNATURE_LENGTH, verify_raw
from hanwave.gbcs import der, dlms, gbz
from hanwave.gbcs.bodies import (
    ActivateFirmware,
    Body,
    CommandAccepted,
    ExecutionOutcome,
    FirmwareTransfer,
    FirmwareVersion,
    FutureDatedOutcome,
    ImageVerification,
    PpmidActivation,
    ReadFirmwareVersion,
    Unrecognised,
)
from hanwave.gbcs.header import CRA, Header, MessageCode, read_header
from hanwave.gbcs.octets import Cursor, GbcsError, with_length
from hanwave.gbcs.protection import MAC_LENGTH, SECURITY_HEADER, mac_of, same, signed

MAX_LENGTH = 2**20
"""More than any message that GBCS defines: DCC's vectors end at 4 kB, and a device's longest log is some 100 kB."""

_CIPHERED, _SIGNED = b"\xdd", b"\xdf"
_MAC_HEADER = _CIPHERED + bytes(6)


class Form(Enum):
    """What a message is on its way: DCC returns a pre-command, the supplier signs it, the device gets a command."""

    PRE_COMMAND = "pre-command"
    SIGNED_PRE_COMMAND = "signed pre-command"
    COMMAND = "command"
    RESPONSE = "response"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Message:
    """A GBCS message as it was read: what it says, and its octets.

    grouped holds the octets from the grouping header's tag to the end of the signature, without MAC header and MAC.
    """

    raw: bytes = field(repr=False)
    grouped: bytes = field(repr=False)
    header: Header
    content: bytes = field(repr=False)
    body: Body
    signature: bytes | None
    mac: bytes | None

    @property
    def form(self) -> Form:
        """What the message is on its way."""
        if self.header.cra is not CRA.COMMAND or self.mac is not None:
            return Form[self.header.cra.name]
        return Form.PRE_COMMAND if self.signature is None else Form.SIGNED_PRE_COMMAND

    @property
    def signed_octets(self) -> bytes:
        """What the signature is over: grouping header and payload, without the leading tag."""
        return self.grouped[1 : -1 - SIGNATURE_LENGTH] if self.signature else self.grouped[1:]


class _Codec(NamedTuple):
    bodies: tuple[type, ...]
    read: Callable[[bytes, Header], Body]
    write: Callable[[Any, Header], bytes]


def _version_codecs(code: MessageCode, form: Any) -> dict[tuple[CRA, int], _Codec]:
    return {
        (CRA.COMMAND, code): _Codec((ReadFirmwareVersion,), form.read_version_command, form.write_version_command),
        (CRA.RESPONSE, code): _Codec((FirmwareVersion,), form.read_version, form.write_version),
    }


_PPMID = _Codec((PpmidActivation,), der.read_ppmid, der.write_ppmid)
_CODECS: dict[tuple[CRA, int], _Codec] = {
    (CRA.COMMAND, MessageCode.CS06): _Codec((ActivateFirmware,), der.read_activate, der.write_activate),
    (CRA.RESPONSE, MessageCode.CS06): _Codec(
        (CommandAccepted, ExecutionOutcome), der.read_activated, der.write_activated
    ),
    (CRA.ALERT, MessageCode.CS06_ALERT): _Codec((FutureDatedOutcome,), der.read_future_dated, der.write_future_dated),
    (CRA.ALERT, MessageCode.FDRA_DLMS): _Codec((ImageVerification,), dlms.read_verification, dlms.write_verification),
    (CRA.ALERT, MessageCode.FDRA_GBZ): _Codec((ImageVerification,), gbz.read_verification, gbz.write_verification),
    (CRA.ALERT, MessageCode.CCS08): _Codec((FirmwareTransfer,), der.read_transfer, der.write_transfer),
    (CRA.ALERT, MessageCode.CS09): _PPMID,
    # gbcs-parser reads the PPMID's alert under CS08's code, so some devices may send it so.
    (CRA.ALERT, MessageCode.CS08): _PPMID,
    **_version_codecs(MessageCode.CS08, der),
    **_version_codecs(MessageCode.ECS52, dlms),
    **_version_codecs(MessageCode.GCS38, gbz),
}


def read(data: bytes) -> Message:
    """Read one message and nothing after it; GbcsError, and nothing else, where it is not one."""
    if len(data) > MAX_LENGTH:
        raise GbcsError(f"a GBCS message has at most {MAX_LENGTH} octets, this has {len(data)}")
    grouped, mac = _unwrap(data)
    cursor = Cursor(grouped, "the message")
    cursor.expect(_SIGNED, "the grouping header's tag")
    header = read_header(cursor)
    content = cursor.variable("the payload")
    signature = _read_signature(cursor, header, mac)
    codec = _CODECS.get((header.cra, header.code))
    body = codec.read(content, header) if codec else Unrecognised(content)
    return Message(data, grouped, header, content, body, signature, mac)


def build(
    header: Header,
    body: Body,
    signing_key: ec.EllipticCurvePrivateKey | None = None,
    mac_key: bytes | None = None,
) -> bytes:
    """The message with a signature where a key is given, and a MAC where derive_key's key is; GbcsError if it has no form.

    Without either it is a pre-command, or a message that still lacks what makes it believable.
    """
    grouped = _SIGNED + header.write() + with_length(_write_body(header, body))
    if signing_key is not None:
        grouped = signed(grouped, signing_key)
    elif mac_key is not None:
        grouped += b"\0"
    return grouped if mac_key is None else _wrap(grouped, header, mac_key)


def add_mac(signed_precommand: bytes, mac_key: bytes) -> bytes:
    """The command that the Access Control Broker makes of a signed pre-command, with derive_key's key."""
    message = read(signed_precommand)
    if message.form is not Form.SIGNED_PRE_COMMAND:
        raise GbcsError(f"a MAC is added to a signed pre-command, this is a {message.form.value}")
    return _wrap(message.grouped, message.header, mac_key)


def verify_signature(message: Message, public_key: ec.EllipticCurvePublicKey) -> bool:
    """Whether the message has a signature and it is this key's; never raises."""
    return message.signature is not None and verify_raw(public_key, message.signature, message.signed_octets)


def verify_mac(message: Message, key: bytes) -> bool:
    """Whether the message has a MAC and it was made with derive_key's key; GbcsError if that has not 16 octets."""
    return message.mac is not None and same(message.mac, mac_of(message.grouped, message.header, key))


def _unwrap(data: bytes) -> tuple[bytes, bytes | None]:
    """What is inside the MAC header, and the MAC; or all of the message where it has none."""
    if data[:1] != _CIPHERED:
        return data, None
    cursor = Cursor(data, "the message")
    cursor.expect(_MAC_HEADER, "the MAC header")
    service = Cursor(cursor.variable("the ciphered service"), "the ciphered service")
    cursor.end()
    service.expect(SECURITY_HEADER, "the security header")
    if service.left < MAC_LENGTH:
        raise GbcsError(f"the ciphered service should end in a MAC of {MAC_LENGTH} octets, {service.left} are left")
    return service.take(service.left - MAC_LENGTH, "the message"), service.take(MAC_LENGTH, "the MAC")


def _wrap(grouped: bytes, header: Header, mac_key: bytes) -> bytes:
    return _MAC_HEADER + with_length(SECURITY_HEADER + grouped + mac_of(grouped, header, mac_key))


def _read_signature(cursor: Cursor, header: Header, mac: bytes | None) -> bytes | None:
    """The signature or None; a message without signature and MAC can only be a pre-command."""
    if mac is None and not cursor.left and header.cra is CRA.COMMAND:
        return None
    signature = cursor.variable("the signature")
    cursor.end()
    if len(signature) not in (0, SIGNATURE_LENGTH):
        raise GbcsError(f"a signature has {SIGNATURE_LENGTH} octets or none, this has {len(signature)}")
    if not signature and mac is None:
        raise GbcsError("the message has neither a signature nor a MAC")
    return signature or None


def _write_body(header: Header, body: Body) -> bytes:
    codec = _CODECS.get((header.cra, header.code))
    if codec is None and isinstance(body, Unrecognised):
        return body.content
    if codec is None or not isinstance(body, codec.bodies):
        kinds = " or ".join(kind.__name__ for kind in codec.bodies) if codec else Unrecognised.__name__
        what = f"{header.cra.name.lower()} with message code {header.code:04X}"
        raise GbcsError(f"the payload of a {what} should be {kinds}, this is {type(body).__name__}")
    return codec.write(body, header)
