"""What a simulated device answers to the ZigBee Device Profile (Zigbee PRO specification, 2.4)."""

import struct
from typing import TYPE_CHECKING

from infra.zigbee.frames import UINT16, Cluster, Frame, Zdo

if TYPE_CHECKING:
    from infra.zigbee.device import Device

ANNOUNCE = Zdo.DEVICE_ANNOUNCE
_DEVICE_TYPE = 0x0502
"""Smart Energy's In-Home Display, the nearest that the profile has to a PPMID or an HCALCS."""
_MAINS, _SLEEPY = 0x8E, 0x80
"""MAC capabilities: a router on mains that always listens; an end device that polls."""


def announcement(device: "Device") -> bytes:
    """A Device_annce, with transaction number 1."""
    capabilities = _MAINS if device.make.is_mains else _SLEEPY
    return b"\x01" + UINT16.pack(device.address) + device.eui.octets[::-1] + bytes((capabilities,))


def answer_zdo(device: "Device", frame: Frame) -> tuple[int, bytes] | None:
    """The cluster and the octets of the answer; None: to this it has none."""
    facts = _answer(device, frame.cluster)
    return None if facts is None else (frame.cluster | Zdo.RESPONSE, frame.payload[:1] + b"\0" + facts)


def _answer(device: "Device", request: int) -> bytes | None:
    address = UINT16.pack(device.address)
    match request:
        case Zdo.NODE_DESCRIPTOR:
            return address + _node(device)
        case Zdo.ACTIVE_ENDPOINTS:
            return address + bytes((1, device.make.endpoint))
        case Zdo.SIMPLE_DESCRIPTOR:
            simple = _simple(device)
            return address + bytes((len(simple),)) + simple
        case Zdo.IEEE_ADDRESS:
            return device.eui.octets[::-1] + address
        case Zdo.LEAVE:
            return b""
    return None


def _node(device: "Device") -> bytes:
    kind, capabilities = (1, _MAINS) if device.make.is_mains else (2, _SLEEPY)
    return struct.pack("<BBBHBHHHB", kind, 0x40, capabilities, device.make.manufacturer_code, 82, 255, 0x2C00, 255, 0)


def _simple(device: "Device") -> bytes:
    """One endpoint: a server of Basic, a client of OTA Upgrade."""
    head = struct.pack("<BHHB", device.make.endpoint, device.make.profile, _DEVICE_TYPE, 0)
    return head + struct.pack("<BHBH", 1, Cluster.BASIC, 1, Cluster.OTA)
