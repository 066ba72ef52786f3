"""The values that several payloads share: image hashes, firmware versions, and the activation's counter."""

import re

from hanwave.gbcs.octets import GbcsError

HASH_LENGTH = 32
MAX_ACTIVATION_COUNTER = 2**63 - 1
"""GBCS 11.5: originatorCounter INTEGER (0..9223372036854775807)."""

_VERSION = re.compile(r"[0-9A-F]{8}", re.ASCII)


def version_of_octets(octets: bytes) -> str:
    """Four octets as the eight digits that DUIS and the CPL write."""
    return octets.hex().upper()


def octets_of_version(version: str) -> bytes:
    """The four octets of a firmware version; GbcsError unless it is eight upper-case hexadecimal digits."""
    if not _VERSION.fullmatch(version):
        raise GbcsError(f"the firmware version {version[:20]!r} should be 8 upper-case hexadecimal digits")
    return bytes.fromhex(version)


def check_hash(image_hash: bytes) -> bytes:
    """The hash itself; GbcsError unless it has the 32 octets of SHA-256."""
    if len(image_hash) != HASH_LENGTH:
        raise GbcsError(f"a Manufacturer Image hash has {HASH_LENGTH} octets, this has {len(image_hash)}")
    return image_hash


def check_activation_counter(counter: int) -> int:
    """The counter itself; GbcsError outside the 63 bits that CS06 gives it, although the header's has 64."""
    return within(counter, MAX_ACTIVATION_COUNTER, "the counter of a CS06 message")


def within(number: int, limit: int, field: str) -> int:
    """The number itself; GbcsError unless it is from 0 to limit."""
    if not 0 <= number <= limit:
        # An ASN.1 INTEGER has no bound, so the number may be too long to print.
        raise GbcsError(f"{field} is from 0 to {limit}, this is {'negative' if number < 0 else 'larger'}")
    return number


def number_octets(value: int, count: int, field: str) -> bytes:
    """An unsigned number in count octets, the highest first; GbcsError where it does not fit."""
    return within(value, (1 << 8 * count) - 1, field).to_bytes(count, "big")
