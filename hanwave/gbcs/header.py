"""The grouping header, which every GBCS message has: who asks or tells whom, which message it is, and its counter.

A Header is always one that can be written; read(write(header)) is the same header (GBCS 7.2.7).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from hanwave.gbcs.clock import decode_date_time
from hanwave.gbcs.octets import Cursor, GbcsError, with_length
from hanwave.gbcs.values import within
from hanwave.identifiers import EUI64, MAX_COUNTER

_DATE_TIME_LENGTH = 12
_COUNTER_LENGTH = 8


class CRA(IntEnum):
    """Command, response or alert: the first octet of the transaction identifier."""

    COMMAND = 1
    RESPONSE = 2
    ALERT = 3


class MessageCode(IntEnum):
    """The message codes whose payloads hanwave reads and builds; a Header may carry any other number."""

    CS06 = 0x0012
    ECS52 = 0x0059
    GCS38 = 0x0084
    CS06_ALERT = 0x00CA
    FDRA_DLMS = 0x00CE
    FDRA_GBZ = 0x00CF
    CCS08 = 0x0128
    CS08 = 0x0129
    CS09 = 0x012B


@dataclass(frozen=True, slots=True)
class Supplementary:
    """What follows the message code where DCC's Access Control Broker stands between a party and the device.

    Each field needs those before it, and a message carries an originator counter or a certificate, never both.
    """

    party: EUI64
    counter: int | None = None
    originator_counter: int | None = None
    certificate: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse what has no form on the wire."""
        _check_counter(self.counter, "the supplementary remote party counter")
        _check_counter(self.originator_counter, "the supplementary originator counter")
        last = [field for field in (self.originator_counter, self.certificate) if field is not None]
        if len(last) > 1 or (last and self.counter is None):
            raise GbcsError("after the supplementary party's counter stands an originator counter or a certificate")
        if self.certificate is not None:
            _check_certificate(self.certificate)


@dataclass(frozen=True, slots=True)
class Header:
    """A grouping header; code is a number that compares equal to a MessageCode where hanwave knows it.

    date_time holds the twelve octets of a DLMS date-time, as the device sent them; at is what they say.
    """

    cra: CRA
    counter: int
    originator: EUI64
    target: EUI64
    code: int
    date_time: bytes | None = None
    supplementary: Supplementary | None = None

    def __post_init__(self) -> None:
        """Refuse what has no form on the wire."""
        _check_counter(self.counter, "the originator counter")
        within(self.code, 0xFFFF, "a message code")
        if self.date_time is not None and len(self.date_time) != _DATE_TIME_LENGTH:
            raise GbcsError(f"the date-time of a grouping header has 12 octets or none, this has {len(self.date_time)}")

    @property
    def at(self) -> datetime | None:
        """When the device answered, in UTC; None where it gave no time, or none that its clock was sure of."""
        return None if self.date_time is None else decode_date_time(self.date_time)

    def answer(self, date_time: bytes | None = None) -> "Header":
        """The header of the response to a command with this header."""
        return Header(
            CRA.RESPONSE, self.counter, self.target, self.originator, self.code, date_time, self.supplementary
        )

    @property
    def transaction(self) -> bytes:
        """The CRA flag and the counter with their length, as they stand in the header and in the KDF's input."""
        return bytes([9, self.cra]) + self.counter.to_bytes(8, "big")

    def write(self) -> bytes:
        """The header's octets, from the transaction identifier to the end of the other information."""
        parts = (self.originator.octets, self.target.octets, self.date_time or b"", _write_other(self))
        return self.transaction + b"".join(map(with_length, parts))


def read_header(cursor: Cursor) -> Header:
    """Take a grouping header, from the transaction identifier on; GbcsError says what is wrong with it."""
    cursor.expect(b"\x09", "the length of the transaction identifier")
    flag, counter = cursor.number(1, "the CRA flag"), cursor.number(8, "the originator counter")
    if flag not in (1, 2, 3):
        raise GbcsError(f"the CRA flag should be 01 command, 02 response or 03 alert, it is {flag:02X}")
    originator, target = _read_eui(cursor, "the originator"), _read_eui(cursor, "the target")
    date_time = cursor.variable("the date-time") or None
    code, supplementary = _read_other(cursor.variable("the other information"))
    return Header(CRA(flag), counter, originator, target, code, date_time, supplementary)


def _check_counter(counter: int | None, field: str) -> None:
    if counter is not None:
        within(counter, MAX_COUNTER, field)


def _check_certificate(certificate: bytes) -> None:
    if len(certificate) == _COUNTER_LENGTH:
        raise GbcsError("the supplementary certificate has 8 octets, so it would read as a counter")
    cursor = Cursor(certificate, "the supplementary certificate")
    cursor.expect(b"\x30", "the tag")
    cursor.variable("the certificate")
    cursor.end()


def _read_eui(cursor: Cursor, field: str) -> EUI64:
    cursor.expect(b"\x08", f"the length of {field}")
    return EUI64(cursor.take(8, field))


def _read_other(octets: bytes) -> tuple[int, Supplementary | None]:
    """The message code and what follows it: 2, 10, 18 or 26 octets, or 18 and a certificate."""
    cursor = Cursor(octets, "the other information")
    code = cursor.number(2, "the message code")
    if not cursor.left:
        return code, None
    party = EUI64(cursor.take(8, "the supplementary remote party"))
    if not cursor.left:
        return code, Supplementary(party)
    counter = cursor.number(8, "the supplementary remote party counter")
    if not cursor.left:
        return code, Supplementary(party, counter)
    if cursor.left == _COUNTER_LENGTH:
        return code, Supplementary(party, counter, cursor.number(8, "the supplementary originator counter"))
    return code, Supplementary(party, counter, certificate=cursor.take(cursor.left, "the certificate"))


def _write_other(header: Header) -> bytes:
    octets, extra = header.code.to_bytes(2, "big"), header.supplementary
    if extra is None:
        return octets
    counters = [c.to_bytes(8, "big") for c in (extra.counter, extra.originator_counter) if c is not None]
    return octets + extra.party.octets + b"".join(counters) + (extra.certificate or b"")
