"""The emulated stick by itself, octet by octet, on a virtual clock: what any host may rely on."""

import asyncio
import struct
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.zigbee.air import Air
from infra.zigbee.ash import AshLink, Deframer, ResetCause, framed, masked
from infra.zigbee.clock import run_virtually
from infra.zigbee.coprocessor import Coprocessor
from infra.zigbee.device import Device
from infra.zigbee.ezsp import VERSIONS, Command, Dialect, Fault, Status
from infra.zigbee.frames import UINT16, Cluster, Profile, Zdo
from tests.bench.lab import eui

pytestmark = pytest.mark.bench

# UG101's own examples.
RST, POWERED_ON, ACK_1, NAK_6 = "C038BC7E", "C102029B7B7E", "8160597E", "A634DC7E"
VERSION_COMMAND = "254221A856A6097E"


@pytest.mark.parametrize(
    ("body", "octets"),
    [
        ("C0", RST),
        ("C10202", POWERED_ON),
        ("81", ACK_1),
        ("A6", NAK_6),
        ("25" + masked(bytes.fromhex("00000002")).hex(), VERSION_COMMAND),
    ],
)
def test_frames_are_those_of_the_specification(body, octets):
    assert framed(bytes.fromhex(body)).hex().upper() == octets
    assert list(Deframer().feed(bytes.fromhex(octets))) == [bytes.fromhex(body)]


bodies = st.lists(st.binary(min_size=1, max_size=129), min_size=1, max_size=4)


@given(bodies, st.integers(1, 40))
def test_frames_are_found_in_pieces_of_any_size(frames, size):
    octets, deframer = b"".join(map(framed, frames)), Deframer()
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    assert [found for piece in pieces for found in deframer.feed(piece)] == frames


def test_no_frame_with_one_bit_wrong_is_taken():
    octets = framed(b"\x25" + masked(bytes(range(0x10, 0x80))))
    for bit in range(8 * (len(octets) - 1)):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not any(Deframer().feed(bytes(damaged)))


def test_what_a_host_cancels_or_the_line_marks_as_damaged_is_not_taken():
    whole = framed(b"\xc0")
    assert list(Deframer().feed(b"half a frame\x1a" + whole)) == [b"\xc0"]
    assert list(Deframer().feed(b"\x18" + whole)) == [None]
    assert list(Deframer().feed(b"\x11\x13" + whole[:1] + b"\x11" + whole[1:])) == [b"\xc0"]


class AshHost:
    """A host's hand on a link: what it hears, and what it puts on the line."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.data: list[bytes] = []
        self.restarts = 0
        self.link = AshLink(self._take, self.data.append, self._restart)

    def _take(self, octets: bytes) -> None:
        self.heard.extend(each for each in Deframer().feed(octets) if each)

    def _restart(self) -> None:
        self.restarts += 1

    def put(self, *body: int) -> None:
        self.link.receive(framed(bytes(body)))

    def put_data(self, number: int, data: bytes, *, is_repeat: bool = False) -> None:
        self.link.receive(framed(bytes((number << 4 | 8 * is_repeat,)) + masked(data)))

    def take(self) -> list[bytes]:
        taken, self.heard = self.heard, []
        return taken


def test_data_of_a_host_is_heard_once_and_in_order():
    async def course():
        host = AshHost()
        host.put_data(0, b"one")
        host.put_data(0, b"one", is_repeat=True)  # its acknowledgement was lost
        assert host.take() == [b"\x81", b"\x81"]
        host.put_data(3, b"four")
        host.put_data(4, b"five")
        assert host.take() == [b"\xa1"]  # asked for what is missing, once
        host.put_data(1, b"two")
        assert host.take() == [b"\x82"]
        assert host.data == [b"one", b"two"]

    run_virtually(course())


def test_data_for_a_host_is_repeated_until_it_is_acknowledged_and_then_the_next_goes():
    async def course():
        host = AshHost()
        host.link.send(b"one")
        host.link.send(b"two")
        assert host.take() == [b"\x00" + masked(b"one")]
        await asyncio.sleep(2)
        host.put(0xA0)  # it came damaged
        assert host.take() == [b"\x08" + masked(b"one")] * 2
        host.put(0x81)
        assert host.take() == [b"\x10" + masked(b"two")]
        host.put(0x82)
        await asyncio.sleep(60)
        assert host.take() == []

    run_virtually(course())


def test_a_host_that_acknowledges_nothing_has_lost_the_link_until_it_resets_it():
    async def course():
        host = AshHost()
        host.link.send(b"one")
        await asyncio.sleep(60)
        assert len(host.heard) == 6
        assert host.take()[-1] == bytes((0xC2, 2, ResetCause.NO_ACKNOWLEDGEMENTS))
        host.put_data(0, b"one")
        host.link.send(b"two")
        assert host.take() == [bytes((0xC2, 2, ResetCause.NO_ACKNOWLEDGEMENTS))]
        host.put(0xC0)
        assert (host.take(), host.restarts, host.data) == ([b"\xc1\x02\x0b"], 1, [])
        host.put_data(0, b"one")
        assert host.data == [b"one"]

    run_virtually(course())


class Host:
    """A host above the serial protocol."""

    def __init__(self, version: int = 13, **more) -> None:
        self.air = Air()
        self.ncp = Coprocessor(self.air, version, **more)
        self.heard: list[bytes] = []
        self.ncp.to_host = self.heard.append
        self._sequence = 0

    def ask(self, command: int, parameters: bytes = b"") -> bytes:
        """The answer's parameters; after an invalidCommand, of that."""
        self._sequence += 1
        self.ncp.hear_command(struct.pack("<BHH", self._sequence, 0x0100, command) + parameters)
        answer = self.heard.pop()
        assert answer[:3] == bytes((self._sequence, 0x80, 0x01))
        self.answered = UINT16.unpack_from(answer, 3)[0]
        return answer[5:]

    def status(self, status: Status) -> bytes:
        return self.ncp.dialect.status(status)

    @contextmanager
    def refused(self, fault: Fault):
        before = len(self.ncp.refused)
        yield
        assert self.answered == Command.INVALID_COMMAND
        assert [why for _, why in self.ncp.refused[before:]] == [fault]

    def agree(self) -> "Host":
        version = self.ncp.dialect.version
        assert self.ask(Command.VERSION, bytes((version,)))[0] == version
        return self

    async def start(self) -> "Host":
        self.agree().heard.clear()
        assert self.ask(Command.NETWORK_INIT, b"\0\0") == self.status(Status.OK)
        await asyncio.sleep(0.01)
        assert self.told(Command.STACK_STATUS_HANDLER) == [self.status(Status.NETWORK_UP)]
        return self

    def told(self, command: Command) -> list[bytes]:
        """The parameters of the callbacks of that kind."""
        return [each[5:] for each in self.heard if UINT16.unpack_from(each, 3)[0] == command]

    def send(self, address: int, profile: int, cluster: int, payload: bytes, tag: int = 7) -> bytes:
        aps = struct.pack("<HHBBHHB", profile, cluster, 0, 0, 0, 0, 0)
        wide = struct.pack("<H" if self.ncp.dialect.is_wide else "<B", tag)
        head = struct.pack("<BH", 0, address) + aps + wide
        return self.ask(Command.SEND_UNICAST, head + bytes((len(payload),)) + payload)

    def device(self) -> Device:
        self.ask(Command.PERMIT_JOINING, b"\x3c")
        device = Device(self.air, 0x1001, eui(1))
        assert device.join()
        return device


def test_a_host_names_the_version_before_all_else():
    host = Host()
    with host.refused(Fault.VERSION_NOT_SET):
        host.ask(Command.GET_EUI64)
    host.ncp.hear_command(b"\x01\x00\x00\x04")  # in the format of the first versions, where every host begins
    assert host.heard.pop() == b"\x01\x80\x00\x0d\x02\x40\x74"
    with host.refused(Fault.VERSION_NOT_SET):
        host.ask(Command.GET_EUI64)
    host.agree()
    assert host.ask(Command.GET_EUI64) == bytes.fromhex("01000000004B1200")


@pytest.mark.parametrize(
    ("version", "command"),
    [
        (13, Command.GET_KEY),
        (8, Command.EXPORT_KEY),
        (18, Command.ADD_TRANSIENT_LINK_KEY),
        (14, Command.GET_ADDRESS_TABLE_NODE_ID),
        (13, 0x0FFF),
    ],
)
def test_a_command_that_a_version_does_not_have_is_refused(version, command):
    host = Host(version).agree()
    with host.refused(Fault.INVALID_FRAME_ID):
        answer = host.ask(command, bytes(40))
    assert answer == bytes((Fault.INVALID_FRAME_ID,)) + bytes(3 * host.ncp.dialect.is_wide)


# No deadline: each example makes an event loop, and a busy machine may take its time over it.


@given(st.sampled_from(list(VERSIONS)), st.integers(0, 0x0120), st.binary(max_size=60))
def test_no_command_however_malformed_goes_without_an_answer(version, command, parameters):
    async def course():
        Host(version).agree().ask(command, parameters)

    run_virtually(course())


def test_a_command_that_is_cut_short_is_refused():
    host = Host().agree()
    with host.refused(Fault.TRUNCATED):
        host.ask(Command.SET_CONFIGURATION_VALUE, b"\x03\x01")


def test_a_version_that_is_not_spoken_is_refused_at_once():
    with pytest.raises(ValueError, match="8, 13, 14, 18"):
        Dialect(12)


def test_endpoints_are_added_before_the_network_is_up_and_a_restart_forgets_them():
    async def course():
        host = Host().agree()
        endpoint = struct.pack("<BHHBBBH", 1, Profile.HOME_AUTOMATION, 5, 0, 1, 0, Cluster.OTA)
        assert host.ask(Command.ADD_ENDPOINT, endpoint) == host.status(Status.OK)
        await host.start()
        other = b"\x02" + endpoint[1:]
        assert host.ask(Command.ADD_ENDPOINT, other) == host.status(Status.INVALID_STATE)
        assert host.ask(Command.GET_EXTENDED_VALUE, b"\0\1\0\0\0") == host.status(Status.OK) + b"\2\1\0"
        host.ncp.restart()
        await host.start()
        assert host.ask(Command.GET_EXTENDED_VALUE, b"\0\1\0\0\0")[:1] == host.status(Status.INVALID_ID)

    run_virtually(course())


def test_a_network_is_left_formed_and_found_again():
    async def course():
        host = Host(14, network=None).agree()
        assert host.ask(Command.NETWORK_INIT, b"\0\0") == host.status(Status.NOT_JOINED)
        assert host.ask(Command.FORM_NETWORK, bytes(20)) == host.status(Status.INVALID_STATE)
        parameters = struct.pack("<8sHBBBHBI", b"extended", 0x1234, 8, 15, 0, 0, 0, 1 << 15)
        keys = struct.pack("<H16s16sB8s", 4, b"the link's own k", b"the network's ke", 0, bytes(8))
        assert host.ask(Command.SET_INITIAL_SECURITY_STATE, keys) == host.status(Status.OK)
        assert host.ask(Command.FORM_NETWORK, parameters) == host.status(Status.OK)
        host.ncp.restart()
        await host.start()
        assert host.ask(Command.GET_NETWORK_PARAMETERS) == host.status(Status.OK) + b"\1" + parameters
        assert b"the network's ke" in host.ask(Command.EXPORT_KEY, b"\1" + bytes(17))
        assert host.ask(Command.LEAVE_NETWORK, b"\0") == host.status(Status.OK)
        assert host.ask(Command.GET_NETWORK_PARAMETERS)[:4] == host.status(Status.NOT_JOINED)

    run_virtually(course())


def test_joining_is_open_as_long_as_was_asked():
    async def course():
        host = await Host().start()
        device = Device(host.air, 0x1001, eui(1))
        assert not device.join()
        host.ask(Command.PERMIT_JOINING, b"\x3c")
        await asyncio.sleep(61)
        assert not device.join()
        host.ask(Command.PERMIT_JOINING, b"\xff")
        await asyncio.sleep(10_000)
        assert device.join()
        (told,) = host.told(Command.TRUST_CENTER_JOIN_HANDLER)
        assert told[:10] == b"\x01\x10" + eui(1).octets[::-1]

    run_virtually(course())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_is_confirmed_by_its_tag_before_its_answer_is_heard(version):
    async def course():
        host = await Host(version).start()
        device = host.device()
        await asyncio.sleep(1)
        host.heard.clear()
        assert host.send(device.address, Profile.ZDO, Zdo.ACTIVE_ENDPOINTS, b"\x09\x01\x10") == host.status(
            Status.OK
        ) + bytes((1,))
        await asyncio.sleep(1)
        sent, heard = host.heard
        assert UINT16.unpack_from(sent, 3)[0] == Command.MESSAGE_SENT_HANDLER
        assert UINT16.unpack_from(heard, 3)[0] == Command.INCOMING_MESSAGE_HANDLER
        assert heard.endswith(b"\x06\x09\x00\x01\x10\x01\x01")
        device.power_off()
        host.heard.clear()
        host.send(device.address, Profile.ZDO, Zdo.ACTIVE_ENDPOINTS, b"\x0a\x01\x10", tag=9)
        await asyncio.sleep(1)
        (failed,) = host.told(Command.MESSAGE_SENT_HANDLER)
        assert host.status(Status.DELIVERY_FAILED) in failed
        assert b"\x09" in failed

    run_virtually(course())


def test_what_was_on_its_way_at_a_restart_is_never_confirmed():
    async def course():
        host = await Host().start()
        device = host.device()
        host.send(device.address, Profile.ZDO, Zdo.ACTIVE_ENDPOINTS, b"\x09\x01\x10")
        host.ncp.restart()
        await asyncio.sleep(1)
        assert host.told(Command.MESSAGE_SENT_HANDLER) == []
        assert host.ncp.unheard

    run_virtually(course())


def test_no_more_messages_are_taken_than_the_setting_says():
    async def course():
        host = await Host().start()
        device = host.device()
        host.ask(Command.SET_CONFIGURATION_VALUE, b"\x03\x02\x00")
        answers = [host.send(device.address, Profile.ZDO, Zdo.ACTIVE_ENDPOINTS, b"\x09\x01\x10")[:1] for _ in range(3)]
        assert answers == [*[host.status(Status.OK)] * 2, host.status(Status.TOO_MANY_MESSAGES)]
        await asyncio.sleep(1)
        assert host.ncp.ram.on_their_way == 0

    run_virtually(course())


def test_nothing_is_sent_or_opened_while_the_network_is_down():
    async def course():
        host = Host().agree()
        assert host.send(0x1001, 0, 5, b"\x09\x01\x10") == host.status(Status.NETWORK_DOWN) + b"\0"
        assert host.ask(Command.PERMIT_JOINING, b"\x3c") == host.status(Status.NETWORK_DOWN)

    run_virtually(course())
