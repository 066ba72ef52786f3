"""A simulated device on ZigBee: power, sleep, what it says of itself, and an OTA client (PPMIDs, HCALCSs).

It speaks octets, to the specification, and imports nothing of the coordinator's side. A virtual radio and an emulated
co-processor stand behind the same Air, so a device behaves alike on both.
"""

import asyncio
from collections.abc import Iterator

from hanwave.identifiers import EUI64
from infra.zigbee.air import INDIRECT_TIMEOUT, Air
from infra.zigbee.client import Habits, OtaClient
from infra.zigbee.descriptors import ANNOUNCE, announcement, answer_zdo
from infra.zigbee.frames import (
    ALL_AWAKE,
    ALL_ENDPOINTS,
    COORDINATOR,
    UINT16,
    UINT32,
    Cluster,
    Frame,
    Global,
    Profile,
    Status,
    Zdo,
)
from infra.zigbee.memory import Books, Make, Memory

_PPMID = Make()
_USUAL = Habits()
_NO_TYPE = 0xFFFF
_UINT16_TYPE, _UINT32_TYPE, _ENUM8_TYPE, _TEXT_TYPE = b"\x21", b"\x23", b"\x30", b"\x42"


class Device:
    """One device; join() puts it on the network. Times are in seconds."""

    def __init__(
        self, air: Air, address: int, eui: EUI64, *, make: Make = _PPMID, habits: Habits = _USUAL, version: int = 1
    ) -> None:
        self.air, self.address, self.eui, self.make = air, address, eui, make
        self.memory = Memory(version)
        self.books = Books(versions=[(0.0, version)])
        self.poll_interval = 0.0
        """How often it asks its parent for frames; 0: it always listens."""
        self.boot_time = 0.05
        self.is_powered = True
        self.client = OtaClient(self, habits)
        self._counter = 0

    # The network, power and sleep

    def join(self) -> bool:
        """Ask the coordinator for a place on its network; whether it got one."""
        return self.air.join(self)

    def _leave(self) -> None:
        """Be on no network, until it joins again."""
        self.air.leave(self)
        self.client.power_lost()

    def admitted(self) -> None:
        """Say that it is there."""
        self.send(Profile.ZDO, ANNOUNCE, announcement(self), to=ALL_AWAKE)

    def power_off(self) -> None:
        """Cut its power: only the memory stays."""
        self.is_powered = False
        self.client.power_lost()

    def power_on(self) -> None:
        """Give it power: it runs what its memory holds."""
        self.is_powered = True
        self.books.boots += 1
        if self.memory.version != self.books.versions[-1][1]:
            self.books.versions.append((asyncio.get_running_loop().time(), self.memory.version))
        self.admitted()
        self.client.power_came()

    def cut_power(self, seconds: float) -> None:
        """Cut its power for so long; it is heard again when it has started."""
        self.power_off()
        asyncio.get_running_loop().call_later(seconds + self.boot_time, self.power_on)

    def restart(self, comes_back: bool = True) -> None:  # noqa: FBT001, FBT002 - a callback of the loop's has no keywords
        """Restart, as after an installation; or stay away for good."""
        self.power_off()
        if comes_back:
            asyncio.get_running_loop().call_later(self.boot_time, self.power_on)

    async def is_listening(self) -> bool:
        """Wait for its next poll, as long as a parent keeps a frame; whether it heard."""
        if self.is_powered and self.poll_interval:
            due = self.poll_interval - asyncio.get_running_loop().time() % self.poll_interval
            await asyncio.sleep(min(due, INDIRECT_TIMEOUT))
            if due > INDIRECT_TIMEOUT:
                return False
        return self.is_powered

    # Frames

    def send(self, profile: int, cluster: int, payload: bytes, *, to: int = COORDINATOR, endpoint: int = 1) -> None:
        """Send octets to the coordinator; a frame of the ZigBee Device Profile goes from and to endpoint 0."""
        own, other = (0, 0) if profile == Profile.ZDO else (self.make.endpoint, endpoint)
        self._counter = (self._counter + 1) & 0xFF
        self.air.up(Frame(self.address, to, own, other, profile, cluster, self._counter, payload))

    def hear(self, frame: Frame) -> None:
        """Take a frame from the coordinator."""
        if not self.is_powered:
            return
        if frame.profile == Profile.ZDO and frame.cluster == Zdo.MATCH_DESCRIPTOR | Zdo.RESPONSE:
            self.client.hear_match(frame.payload[0], frame.payload[5:])
        elif frame.profile == Profile.ZDO:
            answer = answer_zdo(self, frame)
            if answer is not None:
                self.send(Profile.ZDO, *answer)
            if frame.cluster == Zdo.LEAVE:
                self._leave()
        elif frame.destination_endpoint in {self.make.endpoint, ALL_ENDPOINTS}:
            self._hear_zcl(frame)

    def _hear_zcl(self, frame: Frame) -> None:
        control, tsn, command, body = frame.payload[0], frame.payload[1], frame.payload[2], frame.payload[3:]
        if control & 0x04:  # a manufacturer's own: it has none
            return
        if control & 0x03 == 0x01:
            if frame.cluster == Cluster.OTA and control & 0x08:
                self.client.hear(command, tsn, body, broadcast=frame.is_broadcast)
        elif command == Global.READ_ATTRIBUTES:
            self._answer_read(frame, control, tsn, body)
        elif command == Global.DEFAULT_RESPONSE and frame.cluster == Cluster.OTA:
            self.client.hear_default(tsn, body[0])

    def _answer_read(self, frame: Frame, control: int, tsn: int, body: bytes) -> None:
        held = dict(self._attributes(frame.cluster))
        records = b"".join(
            UINT16.pack(number) + (b"\0" + held[number] if number in held else bytes((Status.UNSUPPORTED_ATTRIBUTE,)))
            for (number,) in UINT16.iter_unpack(body)
        )
        # The answer goes the other way, and wants no Default Response.
        answer_control = 0x10 | (~control & 0x08)
        self.send(
            frame.profile,
            frame.cluster,
            bytes((answer_control, tsn, Global.READ_ATTRIBUTES_RESPONSE)) + records,
            endpoint=frame.source_endpoint,
        )

    def _attributes(self, cluster: int) -> Iterator[tuple[int, bytes]]:
        """The attributes of a cluster, by number: each its type and its value."""
        if cluster == Cluster.BASIC:
            yield 4, _text(self.make.manufacturer)
            yield 5, _text(self.make.model)
        elif cluster == Cluster.OTA:
            yield 0x01, _UINT32_TYPE + UINT32.pack(len(self.memory.image))
            yield 0x02, _UINT32_TYPE + UINT32.pack(self.memory.version)
            yield 0x04, _UINT32_TYPE + UINT32.pack(self.memory.downloaded_version)
            yield 0x06, _ENUM8_TYPE + bytes((self.memory.status,))
            yield 0x07, _UINT16_TYPE + UINT16.pack(self.make.manufacturer_code)
            is_told = self.client.habits.names_type or self.memory.size
            yield 0x08, _UINT16_TYPE + UINT16.pack(self.make.image_type if is_told else _NO_TYPE)
            if self.client.habits.asks_again is not None:
                # UpgradeTimeoutPolicy: it installs by itself after a timeout.
                yield 0x0C, _ENUM8_TYPE + b"\0"


def _text(text: str) -> bytes:
    return _TEXT_TYPE + bytes((len(text),)) + text.encode()
