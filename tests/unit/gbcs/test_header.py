"""The grouping header: what it refuses, and what follows the message code."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given

from hanwave.gbcs import CRA, GbcsError, Header, Supplementary
from hanwave.gbcs.header import read_header
from hanwave.gbcs.octets import Cursor
from hanwave.identifiers import EUI64
from tests.unit.gbcs import strategies

pytestmark = pytest.mark.unit

PARTY = EUI64(bytes(range(8)))
HEADER = Header(CRA.RESPONSE, 2**64 - 1, PARTY, EUI64(bytes(8)), 0x0012)


def parse(octets):
    return read_header(Cursor(octets, "the message"))


@given(strategies.messages)
def test_a_header_reads_as_it_was_written(message):
    cursor = Cursor(message[0].write() + b"rest", "the message")
    assert read_header(cursor) == message[0]
    assert cursor.left == 4


def test_the_time_of_the_answer_is_read_from_its_octets():
    assert HEADER.at is None
    assert replace(HEADER, date_time=bytes.fromhex("07DF0101FF000000008000FF")).at == datetime(2015, 1, 1, tzinfo=UTC)
    assert replace(HEADER, date_time=b"\xff" * 12).at is None


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("counter", 2**64, "the originator counter is from 0 to 18446744073709551615, this is larger"),
        ("counter", -1, "the originator counter is from 0 to 18446744073709551615, this is negative"),
        ("code", 0x10000, "a message code is from 0 to 65535, this is larger"),
        ("date_time", bytes(11), "the date-time of a grouping header has 12 octets or none, this has 11"),
    ],
)
def test_a_header_that_has_no_form_is_refused(field, value, sentence):
    with pytest.raises(GbcsError, match=sentence):
        replace(HEADER, **{field: value})


@pytest.mark.parametrize(
    "fields",
    [
        {"originator_counter": 1},
        {"certificate": b"\x30\0"},
        {"counter": 1, "originator_counter": 2, "certificate": b"\x30\0"},
        {"counter": 2**64},
        {"counter": 1, "originator_counter": -1},
        {"counter": 1, "certificate": b"\x31\0"},
        {"counter": 1, "certificate": b"\x30\1"},
        {"counter": 1, "certificate": b"\x30\0\0"},
        {"counter": 1, "certificate": b"\x30\6" + bytes(6)},
    ],
)
def test_supplementary_fields_that_have_no_form_are_refused(fields):
    with pytest.raises(GbcsError):
        Supplementary(PARTY, **fields)


@pytest.mark.parametrize("length", [0, 1, 3, 9, 11, 17, 19, 25, 27])
def test_other_information_of_a_length_that_gbcs_does_not_know_is_refused(length):
    plain = HEADER.write()[:-3]
    with pytest.raises(GbcsError):
        parse(plain + bytes([length]) + bytes(length))


@pytest.mark.parametrize("flag", [0, 4, 255])
def test_an_unknown_cra_flag_is_refused(flag):
    octets = bytearray(HEADER.write())
    octets[1] = flag
    with pytest.raises(
        GbcsError, match=f"the CRA flag should be 01 command, 02 response or 03 alert, it is {flag:02X}"
    ):
        parse(bytes(octets))


@pytest.mark.parametrize("at", [0, 10, 19])
def test_a_fixed_length_that_lies_is_refused(at):
    octets = bytearray(HEADER.write())
    octets[at] += 1
    with pytest.raises(GbcsError, match="should be"):
        parse(bytes(octets))
