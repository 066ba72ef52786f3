"""What an emulated co-processor says of itself to the ZigBee Device Profile: its stack answers these, and not its host."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from hanwave.identifiers import EUI64
from infra.zigbee.ezsp import Reader
from infra.zigbee.frames import COORDINATOR, UINT16, Frame, Zdo

_NODE = struct.pack("<BBBHBHHHB", 0, 0x40, 0x8F, 0x1049, 82, 128, 0x2C41, 128, 0)
"""Its node descriptor: a coordinator on mains, made by Silicon Labs, the network's trust centre."""
_ITSELF = UINT16.pack(COORDINATOR)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that the host added."""

    number: int
    profile: int
    kind: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def read(cls, reader: Reader) -> "Endpoint":
        """Take it from an addEndpoint."""
        number, profile, kind, version = reader.u8(), reader.u16(), reader.u16(), reader.u8()
        inputs, outputs = reader.u8(), reader.u8()
        return cls(number, profile, kind, version, reader.numbers(inputs), reader.numbers(outputs))

    @property
    def descriptor(self) -> bytes:
        """Its simple descriptor."""
        head = struct.pack("<BHHB", self.number, self.profile, self.kind, self.version)
        return head + _clusters(self.inputs) + _clusters(self.outputs)

    def matches(self, profile: int, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        """Whether it has any of these clusters, in that profile."""
        return self.profile == profile and bool({*inputs} & {*self.inputs} or {*outputs} & {*self.outputs})


def _clusters(numbers: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(numbers)}H", len(numbers), *numbers)


def answer_about_itself(frame: Frame, eui: EUI64, endpoints: Mapping[int, Endpoint]) -> tuple[int, bytes] | None:
    """The cluster and the octets of the answer to a question; None: it is none that the stack answers."""
    reader = Reader(frame.payload)
    try:
        number = reader.take(1)
        facts = _answer(frame.cluster, reader, eui, endpoints)
    except IndexError:
        return None
    return None if facts is None else (frame.cluster | Zdo.RESPONSE, number + b"\0" + facts)


def _answer(request: int, reader: Reader, eui: EUI64, endpoints: Mapping[int, Endpoint]) -> bytes | None:
    match request:
        case Zdo.IEEE_ADDRESS:
            return eui.octets[::-1] + _ITSELF
        case Zdo.NODE_DESCRIPTOR:
            return _ITSELF + _NODE
        case Zdo.ACTIVE_ENDPOINTS:
            return _ITSELF + bytes((len(endpoints), *endpoints))
        case Zdo.SIMPLE_DESCRIPTOR:
            reader.u16()
            found = endpoints.get(reader.u8())
            return None if found is None else _ITSELF + bytes((len(found.descriptor),)) + found.descriptor
        case Zdo.MATCH_DESCRIPTOR:
            return _match(reader, endpoints)
    return None


def _match(reader: Reader, endpoints: Mapping[int, Endpoint]) -> bytes | None:
    reader.u16()
    profile = reader.u16()
    inputs = reader.numbers(reader.u8())
    outputs = reader.numbers(reader.u8())
    found = [number for number, each in endpoints.items() if each.matches(profile, inputs, outputs)]
    return _ITSELF + bytes((len(found), *found)) if found else None
