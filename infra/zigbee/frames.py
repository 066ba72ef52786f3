"""What travels through the simulated air, and the numbers in it (Zigbee Cluster Library 8, chapters 2 and 11).

Written from the specification alone: nothing here is shared with the coordinator's side, so an error in the library
under test cannot cancel itself out.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

COORDINATOR = 0x0000
BROADCASTS = 0xFFF8
"""Addresses from here up are broadcasts."""
ALL_AWAKE = 0xFFFD
ALL_ENDPOINTS = 0xFF

UINT8, UINT16, UINT32 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")


class Profile(IntEnum):
    """Application profiles."""

    ZDO = 0x0000
    HOME_AUTOMATION = 0x0104
    SMART_ENERGY = 0x0109


class Cluster(IntEnum):
    """The clusters that a simulated device has."""

    BASIC = 0x0000
    OTA = 0x0019


class Status(IntEnum):
    """ZCL statuses (ZCL 2.6.3)."""

    SUCCESS = 0x00
    FAILURE = 0x01
    NOT_AUTHORIZED = 0x7E
    MALFORMED_COMMAND = 0x80
    UNSUPPORTED_CLUSTER_COMMAND = 0x81
    UNSUPPORTED_ATTRIBUTE = 0x86
    ABORT = 0x95
    INVALID_IMAGE = 0x96
    WAIT_FOR_DATA = 0x97
    NO_IMAGE_AVAILABLE = 0x98


class Global(IntEnum):
    """Commands of every cluster (ZCL 2.5)."""

    READ_ATTRIBUTES = 0x00
    READ_ATTRIBUTES_RESPONSE = 0x01
    DEFAULT_RESPONSE = 0x0B


class Ota(IntEnum):
    """Commands of the OTA Upgrade cluster (ZCL 11.13)."""

    IMAGE_NOTIFY = 0x00
    QUERY_NEXT_IMAGE = 0x01
    QUERY_NEXT_IMAGE_RESPONSE = 0x02
    IMAGE_BLOCK = 0x03
    IMAGE_PAGE = 0x04
    IMAGE_BLOCK_RESPONSE = 0x05
    UPGRADE_END = 0x06
    UPGRADE_END_RESPONSE = 0x07
    QUERY_SPECIFIC_FILE = 0x08
    QUERY_SPECIFIC_FILE_RESPONSE = 0x09


class Zdo(IntEnum):
    """Requests of the ZigBee Device Profile; a response has the top bit set."""

    NODE_DESCRIPTOR = 0x0002
    SIMPLE_DESCRIPTOR = 0x0004
    ACTIVE_ENDPOINTS = 0x0005
    IEEE_ADDRESS = 0x0001
    MATCH_DESCRIPTOR = 0x0006
    DEVICE_ANNOUNCE = 0x0013
    LEAVE = 0x0034
    RESPONSE = 0x8000


class UpgradeStatus(IntEnum):
    """The attribute ImageUpgradeStatus (ZCL 11.10.7)."""

    NORMAL = 0
    DOWNLOADING = 1
    COMPLETE = 2
    WAITING = 3
    COUNTDOWN = 4


FOR_EVER = 0xFFFFFFFF
"""An upgrade time that says: wait until you are told."""
NO_VERSION = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Frame:
    """One application frame (APS), to or from the coordinator; the payload is a ZCL or ZDO frame's octets."""

    source: int
    destination: int
    source_endpoint: int
    destination_endpoint: int
    profile: int
    cluster: int
    counter: int
    payload: bytes
    encrypted: bool = False
    """Whether it is APS-encrypted; the simulation carries the flag, and encrypts nothing."""

    @property
    def is_broadcast(self) -> bool:
        """Whether every device hears it."""
        return self.destination >= BROADCASTS
