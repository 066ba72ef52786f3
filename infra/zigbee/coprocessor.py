"""An emulated ZigBee co-processor: what a Silicon Labs stick is to its host, in front of simulated devices.

Guarantee: it knows no more of its host than a chip does. Its network outlives a restart; its settings, its endpoints
and what is on its way do not, so a host that forgets to set it up again after a restart hears nothing.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hanwave.identifiers import EUI64
from infra.zigbee.air import Air
from infra.zigbee.ezsp import Command, Dialect, Fault, Message, Reader, Status, callback, response
from infra.zigbee.frames import UINT16, Frame, Profile
from infra.zigbee.own_descriptors import Endpoint, answer_about_itself
from infra.zigbee.settings import ANSWERS, FORMED, MESSAGES_ON_THEIR_WAY, USUAL_SETTINGS, Network

EUI = EUI64(bytes.fromhex("00124B0000000001"))
_OPEN_FOR_EVER = 255
_SILENCE = -90
"""The energy of a channel that nobody uses, in dBm."""


@dataclass(slots=True)
class Ram:
    """What a restart clears."""

    is_agreed: bool = False
    """The host has named the version of EZSP."""
    sequence: int = 0
    """The host's last."""
    is_up: bool = False
    open_until: float = float("-inf")
    settings: dict[int, int] = field(default_factory=USUAL_SETTINGS.copy)
    values: dict[int, bytes] = field(default_factory=dict)
    multicasts: dict[int, bytes] = field(default_factory=dict)
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    addresses: dict[int, bytes] = field(default_factory=dict)
    """The address table, each entry as it travels."""
    patient_with: set[bytes] = field(default_factory=set)
    """Whose acknowledgements are waited for longer: sleepers'."""
    security: Network | None = None
    """The keys that the next network gets."""
    counter: int = 0
    on_their_way: int = 0


class Coprocessor:
    """One, on an Air; `to_host` is set while a host listens. Without a network it is as new."""

    def __init__(self, air: Air, version: int = 13, network: Network | None = FORMED) -> None:
        self.air, self.network, self.eui = air, network, EUI
        self.dialect = Dialect(version)
        self.to_host: Callable[[bytes], None] | None = None
        self.ram = Ram()
        self.unheard = 0
        """Frames of devices that no host took."""
        self.refused: list[tuple[int, Fault]] = []
        """Commands of the host that were not even tried."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[int, Callable[[Reader], bytes]] = {
            Command.VERSION: self._agree,
            Command.NETWORK_INIT: self._start,
            Command.START_SCAN: self._scan,
            Command.FORM_NETWORK: self._form,
            Command.LEAVE_NETWORK: self._leave,
            Command.PERMIT_JOINING: self._permit,
            Command.SEND_UNICAST: self._unicast,
            Command.SEND_BROADCAST: self._broadcast,
        }
        air.coordinator = self

    def restart(self) -> None:
        """Lose all but the network."""
        self.ram = Ram()

    # The host's side

    def hear_command(self, data: bytes) -> None:
        """Take a command, and answer it."""
        if len(data) == 4 and data[1:3] == b"\0\0":
            # Before it knows better, a host asks for the version in the format of the first versions.
            self._to_host(bytes((data[0], 0x80, 0)) + self.dialect.hello())
        elif len(data) >= 5:
            self.ram.sequence = data[0]
            command = UINT16.unpack_from(data, 3)[0]
            self._to_host(self._answer(data[0], command, Reader(data[5:])))

    def _answer(self, sequence: int, command: int, reader: Reader) -> bytes:
        if not self.ram.is_agreed and command != Command.VERSION:
            return self._refuse(sequence, command, Fault.VERSION_NOT_SET)
        try:
            if command in self._handlers:
                return response(sequence, command, self._handlers[command](reader))
            if command in ANSWERS and self.dialect.knows(command):
                return response(sequence, command, ANSWERS[command](self, reader))
        except IndexError:
            return self._refuse(sequence, command, Fault.TRUNCATED)
        return self._refuse(sequence, command, Fault.INVALID_FRAME_ID)

    def _refuse(self, sequence: int, command: int, fault: Fault) -> bytes:
        self.refused.append((command, fault))
        return response(sequence, Command.INVALID_COMMAND, self.dialect.fault(fault))

    def _to_host(self, data: bytes) -> None:
        if self.to_host is not None:
            self.to_host(data)

    def _call_back(self, command: Command, parameters: bytes) -> None:
        self._to_host(callback(self.ram.sequence, command, parameters))

    def _call_back_soon(self, command: Command, parameters: bytes) -> None:
        """After the answer to the command that asks for it, and not after a restart."""
        ram = self.ram

        def call_back() -> None:
            if ram is self.ram:
                self._call_back(command, parameters)

        asyncio.get_running_loop().call_soon(call_back)

    def _agree(self, reader: Reader) -> bytes:
        self.ram.is_agreed = reader.u8() == self.dialect.version
        return self.dialect.hello()

    # The network

    def _start(self, reader: Reader) -> bytes:
        reader.u16()
        if self.network is None:
            return self.dialect.status(Status.NOT_JOINED)
        self._be_up(is_up=True)
        return self.dialect.status(Status.OK)

    def _scan(self, reader: Reader) -> bytes:
        """Measure each channel's energy: this air has no noise. Networks are not looked for: there is no other."""
        kind, channels = reader.u8(), reader.u32()
        found = [channel for channel in range(32) if kind == 0 and channels >> channel & 1]
        for channel in found:
            self._call_back_soon(Command.ENERGY_SCAN_RESULT_HANDLER, struct.pack("<Bb", channel, _SILENCE))
        self._call_back_soon(Command.SCAN_COMPLETE_HANDLER, b"\0" + self.dialect.status(Status.OK))
        return self.dialect.status(Status.OK)

    def _form(self, reader: Reader) -> bytes:
        keys, parameters = self.ram.security, reader.take(20)
        if self.ram.is_up or keys is None:
            return self.dialect.status(Status.INVALID_STATE)
        self.network = Network(parameters, keys.key, keys.link_key, keys.security)
        self._be_up(is_up=True)
        return self.dialect.status(Status.OK)

    def _leave(self, _: Reader) -> bytes:
        if not self.ram.is_up:
            return self.dialect.status(Status.NOT_JOINED)
        self.network = None
        self._be_up(is_up=False)
        return self.dialect.status(Status.OK)

    def _be_up(self, *, is_up: bool) -> None:
        self.ram.is_up = is_up
        status = self.dialect.status(Status.NETWORK_UP if is_up else Status.NETWORK_DOWN)
        self._call_back_soon(Command.STACK_STATUS_HANDLER, status)

    def _permit(self, reader: Reader) -> bytes:
        seconds = reader.u8()
        if not self.ram.is_up:
            return self.dialect.status(Status.NETWORK_DOWN)
        now = asyncio.get_running_loop().time()
        self.ram.open_until = float("inf") if seconds == _OPEN_FOR_EVER else now + seconds
        return self.dialect.status(Status.OK)

    # Messages of the host

    def _unicast(self, reader: Reader) -> bytes:
        message = self.dialect.read_unicast(reader)
        if self.ram.on_their_way >= self.ram.settings[MESSAGES_ON_THEIR_WAY]:
            return self.dialect.status(Status.TOO_MANY_MESSAGES) + b"\0"
        return self._take(message)

    def _broadcast(self, reader: Reader) -> bytes:
        return self._take(self.dialect.read_broadcast(reader))

    def _take(self, message: Message) -> bytes:
        if not self.ram.is_up:
            return self.dialect.status(Status.NETWORK_DOWN) + b"\0"
        self.ram.counter = (self.ram.counter + 1) & 0xFF
        self.ram.on_their_way += 1
        self._run(self._carry(message, message.frame(self.ram.counter), self.ram))
        return self.dialect.status(Status.OK) + bytes((self.ram.counter,))

    async def _carry(self, message: Message, frame: Frame, ram: Ram) -> None:
        arrived = self._tell_itself(frame) if frame.destination == 0 else await self.air.down(frame)
        if ram is self.ram:  # else it restarted meanwhile, and knows nothing of it
            ram.on_their_way -= 1
            status = Status.OK if arrived else Status.DELIVERY_FAILED
            self._call_back(Command.MESSAGE_SENT_HANDLER, self.dialect.message_sent(message, frame.counter, status))

    def _tell_itself(self, frame: Frame) -> bool:
        answer = self._own_answer(frame)
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.hear, answer)
        return True

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop keeps only weak references to its tasks.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The air's side

    def hear(self, frame: Frame) -> None:
        """Take a device's frame: answer for itself what the stack answers, and give it to the host."""
        if not self.ram.is_up or self.to_host is None:
            self.unheard += 1
            return
        answer = self._own_answer(frame)
        if answer is not None and frame.source:
            self._run(self._send_own(answer))
        sender = self.air.nodes.get(frame.source)
        eui = sender.eui if sender else self.eui
        self._call_back(Command.INCOMING_MESSAGE_HANDLER, self.dialect.incoming(frame, eui.octets[::-1]))

    async def _send_own(self, frame: Frame) -> None:
        await self.air.down(frame)

    def _own_answer(self, frame: Frame) -> Frame | None:
        """What the stack itself answers to a question of the ZigBee Device Profile; None: nothing."""
        if frame.profile != Profile.ZDO:
            return None
        answer = answer_about_itself(frame, self.eui, self.ram.endpoints)
        if answer is None:
            return None
        cluster, payload = answer
        return Frame(0, frame.source, 0, 0, Profile.ZDO, cluster, frame.counter, payload)

    def asked_to_join(self, address: int, eui: EUI64) -> bool:
        """Let a device join while joining is permitted, and tell the host."""
        is_open = self.ram.is_up and asyncio.get_running_loop().time() < self.ram.open_until
        if is_open:
            # A join that was not secured before, decided by the preconfigured key; the parent is the coordinator.
            joined = struct.pack("<H8sBBH", address, eui.octets[::-1], 1, 0, 0)
            self._call_back(Command.TRUST_CENTER_JOIN_HANDLER, joined)
        return is_open
