"""The cursor: exact lengths, in their shortest form, and nothing left over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.gbcs.octets import Cursor, GbcsError, with_length

pytestmark = pytest.mark.unit


@given(st.binary(max_size=40), st.sampled_from([0, 100, 200, 70_000]))
def test_octets_behind_their_length_come_back(octets, padding):
    octets += bytes(padding)
    cursor = Cursor(with_length(octets), "the test")
    assert cursor.variable("the field") == octets
    cursor.end()


@pytest.mark.parametrize("length", ["8101", "817F", "820080", "8200FF", "83000100", "8300FFFF"])
def test_a_length_longer_than_it_need_be_is_refused(length):
    with pytest.raises(GbcsError, match="not in its shortest form"):
        Cursor(bytes.fromhex(length) + bytes(70_000), "the test").length("the field")


@pytest.mark.parametrize("first", ["80", "84", "FF"])
def test_an_indefinite_or_endless_length_is_refused(first):
    with pytest.raises(GbcsError, match=f"has the first octet {first}"):
        Cursor(bytes.fromhex(first) + bytes(200), "the test").length("the field")


def test_an_end_too_soon_says_where():
    cursor = Cursor(b"ab", "the test")
    cursor.take(1, "the first")
    with pytest.raises(GbcsError, match="the test ends inside the field: octets due at octet 1: 3, left: 1"):
        cursor.take(3, "the field")


def test_octets_left_over_are_refused():
    with pytest.raises(GbcsError, match="the test should end after 0 octets, 2 more follow"):
        Cursor(b"ab", "the test").end()
