"""EZSP, what a host and its co-processor say to each other: frames, numbers, and what the versions differ in.

Written from Silicon Labs' reference (UG100 up to EZSP 13, UG600 from 14) and not from a host's library, so an error in
the library under test cannot cancel itself out. All numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum

from infra.zigbee.frames import UINT8, UINT16, UINT32, Frame

VERSIONS = {8: (6, 7, 10), 13: (7, 4, 4), 14: (8, 0, 2), 18: (8, 2, 2)}
"""The versions of EZSP that can be spoken: each with an EmberZNet release that speaks it."""

ENCRYPTED = 0x0020
"""The APS option that asks for encryption with the link key."""
NO_ADDRESS, NO_INDEX = 0xFFFF, 0xFF
_WIDE_SINCE = 14
_APS = struct.Struct("<HHBBHHB")
_RESPONSE, _CALLBACK = b"\x80\x01", b"\x90\x01"
"""Frame controls: of a response, and of a callback that was not asked for; both of the frame format of EZSP 8 and later."""


class Command(IntEnum):
    """Frame identifiers."""

    VERSION = 0x0000
    ADD_ENDPOINT = 0x0002
    GET_EXTENDED_VALUE = 0x0003
    NOP = 0x0005
    GET_MFG_TOKEN = 0x000B
    SET_CONCENTRATOR = 0x0010
    SET_MANUFACTURER_CODE = 0x0015
    NETWORK_INIT = 0x0017
    NETWORK_STATE = 0x0018
    STACK_STATUS_HANDLER = 0x0019
    START_SCAN = 0x001A
    SCAN_COMPLETE_HANDLER = 0x001C
    FORM_NETWORK = 0x001E
    LEAVE_NETWORK = 0x0020
    PERMIT_JOINING = 0x0022
    TRUST_CENTER_JOIN_HANDLER = 0x0024
    GET_EUI64 = 0x0026
    GET_NODE_ID = 0x0027
    GET_NETWORK_PARAMETERS = 0x0028
    SEND_UNICAST = 0x0034
    SEND_BROADCAST = 0x0036
    MESSAGE_SENT_HANDLER = 0x003F
    INCOMING_MESSAGE_HANDLER = 0x0045
    CUSTOM_FRAME = 0x0047
    ENERGY_SCAN_RESULT_HANDLER = 0x0048
    GET_CHILD_DATA = 0x004A
    GET_CONFIGURATION_VALUE = 0x0052
    SET_CONFIGURATION_VALUE = 0x0053
    SET_POLICY = 0x0055
    INVALID_COMMAND = 0x0058
    SET_SOURCE_ROUTE_DISCOVERY_MODE = 0x005A
    GET_ADDRESS_TABLE_ENTRY = 0x005E
    GET_ADDRESS_TABLE_NODE_ID = 0x005F
    LOOKUP_NODE_ID_BY_EUI64 = 0x0060
    GET_MULTICAST_TABLE_ENTRY = 0x0063
    SET_MULTICAST_TABLE_ENTRY = 0x0064
    READ_AND_CLEAR_COUNTERS = 0x0065
    SET_INITIAL_SECURITY_STATE = 0x0068
    GET_CURRENT_SECURITY_STATE = 0x0069
    GET_KEY = 0x006A
    CLEAR_TRANSIENT_LINK_KEYS = 0x006B
    GET_KEY_TABLE_ENTRY = 0x0071
    FIND_KEY_TABLE_ENTRY = 0x0075
    TOKEN_FACTORY_RESET = 0x0077
    SET_EXTENDED_TIMEOUT = 0x007E
    GET_EXTENDED_TIMEOUT = 0x007F
    REPLACE_ADDRESS_TABLE_ENTRY = 0x0082
    GET_VALUE = 0x00AA
    SET_VALUE = 0x00AB
    ADD_TRANSIENT_LINK_KEY = 0x00AF
    CLEAR_KEY_TABLE = 0x00B1
    READ_COUNTERS = 0x00F1
    GET_TOKEN_DATA = 0x0102
    EXPORT_LINK_KEY_BY_INDEX = 0x010F
    IMPORT_TRANSIENT_KEY = 0x0111
    EXPORT_KEY = 0x0114
    GET_NETWORK_KEY_INFO = 0x0116


_SINCE: dict[int, int] = {
    Command.GET_TOKEN_DATA: 9,
    Command.TOKEN_FACTORY_RESET: 13,
    Command.EXPORT_LINK_KEY_BY_INDEX: 12,
    Command.IMPORT_TRANSIENT_KEY: 13,
    Command.EXPORT_KEY: 13,
    Command.GET_NETWORK_KEY_INFO: 13,
}
_UNTIL: dict[int, int] = {
    Command.GET_KEY: 12,
    Command.GET_KEY_TABLE_ENTRY: 12,
    Command.ADD_TRANSIENT_LINK_KEY: 12,
    Command.GET_ADDRESS_TABLE_NODE_ID: 13,
}
"""Commands of some versions alone; the security manager took the place of the older ones for keys."""


class Fault(IntEnum):
    """Why a command was not even tried (EzspStatus)."""

    VERSION_NOT_SET = 0x30
    INVALID_FRAME_ID = 0x31
    TRUNCATED = 0x33


class Status(Enum):
    """How a command ended: one octet up to EZSP 13 (EmberStatus or EzspStatus), four from 14 on (sl_status_t)."""

    OK = (0x00, 0x0000)
    FAIL = (0x01, 0x0001)
    NOT_FOUND = (0x03, 0x002D)
    INVALID_ID = (0x37, 0x0021)
    DELIVERY_FAILED = (0x66, 0x0C02)
    INVALID_STATE = (0x70, 0x0002)
    TOO_MANY_MESSAGES = (0x72, 0x0C03)
    NETWORK_UP = (0x90, 0x0015)
    NETWORK_DOWN = (0x91, 0x0016)
    NOT_JOINED = (0x93, 0x0017)
    INVALID_INDEX = (0xB1, 0x0027)
    NO_LIBRARY = (0xB5, 0x000E)


class Reader:
    """Takes a command's parameters one after the other; IndexError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """So many octets."""
        if len(self._data) - self._at < size:
            raise IndexError(f"{size} octets expected, {len(self._data) - self._at} left")
        self._at += size
        return self._data[self._at - size : self._at]

    def u8(self) -> int:
        """A number of one octet."""
        return self.take(1)[0]

    def u16(self) -> int:
        """A number of two octets."""
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        """A number of four octets."""
        return int.from_bytes(self.take(4), "little")

    def text(self) -> bytes:
        """Octets behind one that counts them."""
        return self.take(self.u8())

    def numbers(self, count: int) -> tuple[int, ...]:
        """So many numbers of two octets."""
        return struct.unpack(f"<{count}H", self.take(2 * count))


@dataclass(frozen=True, slots=True)
class Aps:
    """An EmberApsFrame, as a host gives it."""

    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    options: int
    group: int
    sequence: int

    @classmethod
    def read(cls, reader: Reader) -> "Aps":
        """Take it from a command."""
        return cls(*_APS.unpack(reader.take(_APS.size)))

    def pack(self, sequence: int) -> bytes:
        """Its octets, with the sequence number that the co-processor gave it."""
        head = (self.profile, self.cluster, self.source_endpoint, self.destination_endpoint, self.options, self.group)
        return _APS.pack(*head, sequence)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a host wants sent."""

    destination: int
    kind: int
    aps: Aps
    tag: int
    payload: bytes

    def frame(self, counter: int) -> Frame:
        """What flies."""
        return Frame(
            source=0,
            destination=self.destination,
            source_endpoint=self.aps.source_endpoint,
            destination_endpoint=self.aps.destination_endpoint,
            profile=self.aps.profile,
            cluster=self.aps.cluster,
            counter=counter,
            payload=self.payload,
            encrypted=bool(self.aps.options & ENCRYPTED),
        )


def text(data: bytes) -> bytes:
    """Octets behind one that counts them."""
    return bytes((len(data),)) + data


def response(sequence: int, command: int, parameters: bytes) -> bytes:
    """The answer to a command."""
    return bytes((sequence,)) + _RESPONSE + UINT16.pack(command) + parameters


def callback(sequence: int, command: int, parameters: bytes) -> bytes:
    """What a host is told without having asked; the sequence is that of its last command."""
    return bytes((sequence,)) + _CALLBACK + UINT16.pack(command) + parameters


_OUTGOING_BROADCAST = 0x06
_INCOMING_UNICAST, _INCOMING_BROADCAST = 0x00, 0x04
_GOOD_LINK = struct.pack("<Bb", 255, -40)
"""Link quality, and signal strength in dBm, of the last hop."""


class Dialect:
    """One version of EZSP."""

    def __init__(self, version: int) -> None:
        if version not in VERSIONS:
            raise ValueError(f"EZSP {version} is not spoken here: {', '.join(map(str, VERSIONS))} are")
        self.version = version
        self.is_wide = version >= _WIDE_SINCE
        self._tag = UINT16 if self.is_wide else UINT8

    def knows(self, command: int) -> bool:
        """Whether this version has that command, of those that any version here has."""
        return _SINCE.get(command, 0) <= self.version <= _UNTIL.get(command, self.version)

    def status(self, status: Status) -> bytes:
        """How a command ended."""
        narrow, wide = status.value
        return UINT32.pack(wide) if self.is_wide else UINT8.pack(narrow)

    def fault(self, fault: Fault) -> bytes:
        """Why a command was not tried; as wide as a status, with the old numbers."""
        return (UINT32 if self.is_wide else UINT8).pack(fault)

    def hello(self) -> bytes:
        """The answer to a version command: the version, a mesh stack, its release."""
        major, minor, patch = VERSIONS[self.version]
        return struct.pack("<BBH", self.version, 2, major << 12 | minor << 8 | min(patch, 15) << 4)

    def read_unicast(self, reader: Reader) -> Message:
        """The message of a sendUnicast."""
        kind, destination, aps = reader.u8(), reader.u16(), Aps.read(reader)
        return Message(destination, kind, aps, self._read_tag(reader), reader.text())

    def read_broadcast(self, reader: Reader) -> Message:
        """The message of a sendBroadcast; the radius is not simulated, nor is another sender's name."""
        if self.is_wide:
            reader.u16()
        destination = reader.u16()
        if self.is_wide:
            reader.u8()
        aps = Aps.read(reader)
        reader.u8()
        return Message(destination, _OUTGOING_BROADCAST, aps, self._read_tag(reader), reader.text())

    def _read_tag(self, reader: Reader) -> int:
        return reader.u16() if self.is_wide else reader.u8()

    def message_sent(self, message: Message, sequence: int, status: Status) -> bytes:
        """A messageSentHandler, without the message itself."""
        head = struct.pack("<BH", message.kind, message.destination) + message.aps.pack(sequence)
        tag = self._tag.pack(message.tag)
        if self.is_wide:
            return self.status(status) + head + tag + text(b"")
        return head + tag + self.status(status) + text(b"")

    def incoming(self, frame: Frame, sender_eui: bytes) -> bytes:
        """An incomingMessageHandler; since EZSP 14 with the sender's EUI-64 and a time."""
        kind = _INCOMING_BROADCAST if frame.is_broadcast else _INCOMING_UNICAST
        ends = (frame.source_endpoint, frame.destination_endpoint)
        aps = _APS.pack(frame.profile, frame.cluster, *ends, ENCRYPTED * frame.encrypted, 0, frame.counter)
        sender, tables = UINT16.pack(frame.source), bytes((NO_INDEX, NO_INDEX))
        if self.is_wide:
            packet = sender + sender_eui + tables + _GOOD_LINK + UINT32.pack(0)
        else:
            packet = _GOOD_LINK + sender + tables
        return bytes((kind,)) + aps + packet + text(frame.payload)
