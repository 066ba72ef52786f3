"""ASH, the serial protocol below EZSP, on the co-processor's side (Silicon Labs UG101).

Guarantee: a frame reaches the other side whole, once and in order, or the link fails and says so; a damaged frame is
never taken. One frame at a time is on its way to the host, which the protocol allows and a slow line hardly notices.
"""

import asyncio
import binascii
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum

FLAG, ESCAPE, XON, XOFF, SUBSTITUTE, CANCEL = 0x7E, 0x7D, 0x11, 0x13, 0x18, 0x1A
_RESERVED = frozenset((FLAG, ESCAPE, XON, XOFF, SUBSTITUTE, CANCEL))
_FLIP = 0x20
_VERSION = 2
_MOST_DATA = 128
"""Octets of a data field."""
_MOST_OCTETS = 2 * (_MOST_DATA + 3)
"""Of a frame with each of them stuffed: what is longer is no frame, and not kept."""
_FIRST_PATIENCE, _LEAST_PATIENCE, _MOST_PATIENCE = 1.6, 0.4, 3.2
"""Seconds until a frame without an acknowledgement is sent again (UG101, section 6.2)."""
_MOST_REPEATS = 4


class Control(IntEnum):
    """Control bytes; of the first three the low bits are numbers."""

    DATA = 0x00
    ACK = 0x80
    NAK = 0xA0
    RST = 0xC0
    RSTACK = 0xC1
    ERROR = 0xC2


class ResetCause(IntEnum):
    """Why a co-processor restarted, or gave up."""

    POWER_ON = 0x02
    WATCHDOG = 0x03
    ASSERT = 0x06
    SOFTWARE = 0x0B
    NO_ACKNOWLEDGEMENTS = 0x51


def _mask() -> bytes:
    """What data fields are XORed with, so that they hold few reserved octets."""
    octets, register = bytearray(), 0x42
    for _ in range(_MOST_DATA):
        octets.append(register)
        register = register >> 1 ^ (0xB8 if register & 1 else 0)
    return bytes(octets)


_MASK = _mask()


def masked(data: bytes) -> bytes:
    """Randomise a data field, or undo it."""
    return bytes(a ^ b for a, b in zip(data, _MASK, strict=False))


def framed(body: bytes) -> bytes:
    """A control byte and its data as they travel: with a checksum, stuffed, and a flag at the end."""
    body += binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
    stuffed = b"".join(bytes((ESCAPE, each ^ _FLIP)) if each in _RESERVED else bytes((each,)) for each in body)
    return stuffed + bytes((FLAG,))


class Deframer:
    """Finds frames in what a serial line brings, in pieces of any size."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Each frame without its checksum; None: one that was damaged."""
        for octet in data:
            if octet == FLAG:
                held, self._octets = bytes(self._octets), bytearray()
                if held:
                    yield _unstuffed(held)
            elif octet == CANCEL:
                self._octets.clear()
            elif octet not in {XON, XOFF} and len(self._octets) <= _MOST_OCTETS:
                self._octets.append(octet)


def _unstuffed(held: bytes) -> bytes | None:
    body, escaped = bytearray(), False
    for octet in held:
        if octet == ESCAPE:
            escaped = True
            continue
        body.append(octet ^ _FLIP if escaped else octet)
        escaped = False
    is_whole = 2 < len(body) <= _MOST_DATA + 3 and SUBSTITUTE not in held and binascii.crc_hqx(bytes(body), 0xFFFF) == 0
    return bytes(body[:-2]) if is_whole else None


class AshLink:
    """The link to one host; `write` puts octets on the line, `hear` takes a host's data, `restarted` its wish to restart."""

    def __init__(
        self, write: Callable[[bytes], None], hear: Callable[[bytes], None], restarted: Callable[[], None]
    ) -> None:
        self._write, self._hear, self._restarted = write, hear, restarted
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[bytes] = deque()
        self._deframer = Deframer()
        self._clear()

    def _clear(self) -> None:
        self._waiting.clear()
        self._flying: bytes | None = None
        self._number = self._expected = self._sent_again = 0
        self._patience = _FIRST_PATIENCE
        self._has_failed = self._is_rejecting = False
        self._stop_timer()

    def close(self) -> None:
        """Send nothing any more."""
        self._clear()

    def restart(self, cause: ResetCause) -> None:
        """Begin anew, and tell the host."""
        self._clear()
        self._put(bytes((Control.RSTACK, _VERSION, cause)))

    def send(self, data: bytes) -> None:
        """Send data to the host, in its turn."""
        if not self._has_failed:
            self._waiting.append(data)
            self._send_next()

    def receive(self, data: bytes) -> None:
        """Take octets from the line."""
        for frame in self._deframer.feed(data):
            if frame is None:
                self._reject()
            else:
                self._take(frame)

    # What comes in

    def _take(self, frame: bytes) -> None:
        control = frame[0]
        if control == Control.RST:
            self._restarted()
            self.restart(ResetCause.SOFTWARE)
        elif self._has_failed:
            self._put(bytes((Control.ERROR, _VERSION, ResetCause.NO_ACKNOWLEDGEMENTS)))
        elif control < Control.ACK:
            self._acknowledged(control & 7)
            self._take_data(control >> 4 & 7, masked(frame[1:]), is_repeat=bool(control & 8))
        elif control & 0xE0 == Control.ACK:
            self._acknowledged(control & 7)
        elif control & 0xE0 == Control.NAK:
            self._acknowledged(control & 7)
            self._send_again()

    def _take_data(self, number: int, data: bytes, *, is_repeat: bool) -> None:
        if number == self._expected:
            self._expected = (self._expected + 1) & 7
            self._is_rejecting = False
            self._put(bytes((Control.ACK | self._expected,)))
            self._hear(data)
        elif is_repeat:
            self._put(bytes((Control.ACK | self._expected,)))
        else:
            self._reject()

    def _reject(self) -> None:
        """Ask for what is missing, once: the host may have sent more that is out of order."""
        if not self._is_rejecting and not self._has_failed:
            self._is_rejecting = True
            self._put(bytes((Control.NAK | self._expected,)))

    def _acknowledged(self, next_number: int) -> None:
        if self._flying is None or next_number != (self._number + 1) & 7:
            return
        self._patience = max(_LEAST_PATIENCE, self._patience * 7 / 8)
        self._flying, self._number, self._sent_again = None, next_number, 0
        self._stop_timer()
        self._send_next()

    # What goes out

    def _send_next(self) -> None:
        if self._flying is None and self._waiting:
            self._flying = self._waiting.popleft()
            self._put_data(0)

    def _send_again(self) -> None:
        if self._flying is not None:
            self._put_data(8)

    def _put_data(self, repeated: int) -> None:
        assert self._flying is not None
        self._put(bytes((self._number << 4 | repeated | self._expected,)) + masked(self._flying))
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self._patience, self._timed_out)

    def _timed_out(self) -> None:
        self._patience = min(_MOST_PATIENCE, self._patience * 2)
        self._sent_again += 1
        if self._sent_again <= _MOST_REPEATS:
            self._send_again()
        else:
            self._clear()
            self._has_failed = True
            self._put(bytes((Control.ERROR, _VERSION, ResetCause.NO_ACKNOWLEDGEMENTS)))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, body: bytes) -> None:
        self._write(framed(body))
