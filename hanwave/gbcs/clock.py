"""The two ways in which devices write the time outside ASN.1: DLMS date-time and ZigBee UTCTime, both UTC here.

A device whose clock is not set writes wildcards; they read as None, never as a time that it did not mean.
"""

from datetime import UTC, datetime, timedelta

from hanwave.gbcs.octets import GbcsError

UNKNOWN_DATE_TIME = bytes.fromhex("FFFFFFFFFFFFFFFFFF8000FF")
_NO_DEVIATION = (b"\x80\x00", b"\x00\x00")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NO_UTC_TIME = 0xFFFFFFFF


def decode_date_time(octets: bytes) -> datetime | None:
    """The UTC time that twelve octets of DLMS date-time say, to a hundredth of a second (DLMS Blue Book 4.1.6.1).

    None where a part is a wildcard, names no real time, or is in a local time of which GBCS knows nothing.
    """
    if len(octets) != 12:
        raise GbcsError(f"a DLMS date-time has 12 octets, this has {len(octets)}")
    if octets[9:11] not in _NO_DEVIATION:
        return None
    year, hundredths = int.from_bytes(octets[:2], "big"), octets[8]
    fraction = 0 if hundredths == 0xFF else hundredths * 10_000
    try:
        return datetime(year, octets[2], octets[3], octets[5], octets[6], octets[7], fraction, UTC)
    except ValueError:
        return None


def encode_date_time(at: datetime | None) -> bytes:
    """Twelve octets of DLMS date-time, to a hundredth of a second, as GBCS devices write UTC; wildcards for None."""
    if at is None:
        return UNKNOWN_DATE_TIME
    at = as_utc(at)
    time = bytes([at.month, at.day, 0xFF, at.hour, at.minute, at.second, at.microsecond // 10_000])
    return at.year.to_bytes(2, "big") + time + bytes.fromhex("8000FF")


def decode_utc_time(seconds: int) -> datetime | None:
    """The time that a ZigBee UTCTime (seconds since 2000) says; None for the value that means none."""
    return None if seconds == _NO_UTC_TIME else _EPOCH + timedelta(seconds=seconds)


def encode_utc_time(at: datetime | None) -> int:
    """Seconds since 2000, as a ZigBee UTCTime; the value that means none for None."""
    if at is None:
        return _NO_UTC_TIME
    seconds = int((as_utc(at) - _EPOCH).total_seconds())
    if not 0 <= seconds < _NO_UTC_TIME:
        raise GbcsError(f"a ZigBee UTCTime is from 2000 to 2136, this is {at.isoformat()}")
    return seconds


def as_utc(at: datetime) -> datetime:
    """The same time in UTC; GbcsError when it names no zone."""
    if at.utcoffset() is None:
        raise GbcsError(f"{at.isoformat()} names no time zone: give it in UTC, such as {at:%Y-%m-%dT%H:%M:%S}Z")
    return at.astimezone(UTC)
