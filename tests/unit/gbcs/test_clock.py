"""A time reads as what the device meant, or as none; never as another time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.gbcs import GbcsError, decode_date_time, encode_date_time
from hanwave.gbcs.clock import decode_utc_time, encode_utc_time

pytestmark = pytest.mark.unit

NEW_YEAR_2015 = datetime(2015, 1, 1, tzinfo=UTC)


def test_the_octets_of_new_year_2015():
    octets = bytes.fromhex("07DF0101FF000000008000FF")
    assert decode_date_time(octets) == NEW_YEAR_2015
    assert encode_date_time(NEW_YEAR_2015) == octets


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_date_time_keeps_hundredths_of_a_second(at):
    at = at.replace(microsecond=at.microsecond // 10_000 * 10_000)
    assert decode_date_time(encode_date_time(at)) == at


@given(st.binary(min_size=12, max_size=12))
def test_any_twelve_octets_are_a_time_in_utc_or_none(octets):
    at = decode_date_time(octets)
    assert at is None or at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "octets",
    [
        "FFFFFFFFFFFFFFFFFF8000FF",  # nothing known
        "07DFFF01FF000000008000FF",  # every month
        "07DF0101FFFF0000008000FF",  # every hour
        "07DF0230FF000000008000FF",  # the 48th of February
        "07DF0101FF000000648000FF",  # the hundredth hundredth
        "07DF0101FF00000000003C00",  # an hour from UTC, in a direction that meters disagree on
    ],
)
def test_a_wildcard_an_impossible_time_or_a_local_time_is_none(octets):
    assert decode_date_time(bytes.fromhex(octets)) is None


@pytest.mark.parametrize("octets", ["07DF0101FF000000FF8000FF", "07DF0101FF00000000000000", "07DF0101FF00000000800004"])
def test_unknown_hundredths_no_deviation_and_the_clock_status_change_nothing(octets):
    assert decode_date_time(bytes.fromhex(octets)) == NEW_YEAR_2015


def test_no_time_is_written_as_wildcards():
    assert decode_date_time(encode_date_time(None)) is None
    assert decode_utc_time(encode_utc_time(None)) is None


def test_another_zone_is_turned_into_utc():
    summer = datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    assert decode_date_time(encode_date_time(summer)) == summer
    assert encode_date_time(summer)[5] == 0
    assert decode_utc_time(encode_utc_time(summer)) == summer


def test_a_date_time_of_another_length_is_refused():
    with pytest.raises(GbcsError, match="a DLMS date-time has 12 octets, this has 11"):
        decode_date_time(bytes(11))


def test_a_time_without_a_zone_is_refused():
    naive = NEW_YEAR_2015.replace(tzinfo=None)
    for encode in (encode_date_time, encode_utc_time):
        with pytest.raises(GbcsError, match="names no time zone: give it in UTC, such as 2015-01-01T00:00:00Z"):
            encode(naive)


def test_utc_time_counts_from_2000():
    assert decode_utc_time(0x1C374A80) == NEW_YEAR_2015
    assert encode_utc_time(NEW_YEAR_2015) == 0x1C374A80


def test_a_utc_time_outside_its_range_is_refused():
    for at in (datetime(1999, 12, 31, tzinfo=UTC), datetime(2136, 2, 8, tzinfo=UTC)):
        with pytest.raises(GbcsError, match="a ZigBee UTCTime is from 2000 to 2136"):
            encode_utc_time(at)
