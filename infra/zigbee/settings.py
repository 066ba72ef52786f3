"""What an emulated co-processor answers about its settings, its identity, its keys and its tables.

What a host may set it can read back, and what it may clear is empty already. Keys of single devices are not simulated:
every device joins with the key that all ZigBee devices know.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.zigbee.ezsp import NO_ADDRESS, NO_INDEX, VERSIONS, Command, Reader, Status, text
from infra.zigbee.frames import UINT16, UINT32
from infra.zigbee.own_descriptors import Endpoint

if TYPE_CHECKING:
    from infra.zigbee.coprocessor import Coprocessor

Answer = Callable[["Coprocessor", Reader], bytes]

MESSAGES_ON_THEIR_WAY = 0x03
"""The setting that says how many unicasts may be (APS_UNICAST_MESSAGE_COUNT)."""
_ADDRESSES, _MULTICASTS, _SECURITY_LEVEL = 0x05, 0x06, 0x0D
USUAL_SETTINGS = {MESSAGES_ON_THEIR_WAY: 10, _ADDRESSES: 8, _MULTICASTS: 8, _SECURITY_LEVEL: 5}
_FREE_BUFFERS, _VERSION_INFO, _ENDPOINT_FLAGS = 0x03, 0x11, 0x00
_GENERAL_AVAILABILITY = 0xAA
_TEXTS = {1: b"hanwave", 2: b"emulated stick"}
"""Manufacturing tokens: the maker's name, and the board's."""
_NO_NETWORK, _JOINED, _COORDINATOR = 0, 2, 1
_NETWORK_KEY_BY_GET, _NETWORK_KEY_BY_EXPORT = 3, 1
_COUNTERS = 41
_CONTEXT, _KEY, _CHILD = 18, 36, 18
"""Octets: of a security manager's context, of a key and what is known of it, of a child."""
_ENTRY = struct.Struct("<8sHB")
"""An address table's: EUI-64, address, whether its acknowledgements are waited for longer."""
_NO_ENTRY = _ENTRY.pack(bytes(8), NO_ADDRESS, 0)


@dataclass(frozen=True, slots=True)
class Network:
    """What the chip keeps in its flash."""

    parameters: bytes = struct.pack("<8sHBBBHBI", bytes.fromhex("1100FFEEDDCCBBAA"), 0x1A62, 8, 20, 0, 0, 0, 1 << 20)
    """EmberNetworkParameters: extended PAN, PAN, power in dBm, channel, join method, manager, update, channels."""
    key: bytes = bytes(range(16))
    link_key: bytes = b"ZigBeeAlliance09"
    security: int = 0
    """EmberCurrentSecurityBitmask."""


FORMED = Network()


def _ok(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.dialect.status(Status.OK)


def _nothing(_ncp: "Coprocessor", _: Reader) -> bytes:
    return b""


# Settings


def _get_setting(ncp: "Coprocessor", reader: Reader) -> bytes:
    return ncp.dialect.status(Status.OK) + UINT16.pack(ncp.ram.settings.get(reader.u8(), 0))


def _set_setting(ncp: "Coprocessor", reader: Reader) -> bytes:
    number = reader.u8()
    ncp.ram.settings[number] = reader.u16()
    return ncp.dialect.status(Status.OK)


def _get_value(ncp: "Coprocessor", reader: Reader) -> bytes:
    number = reader.u8()
    release = (0, 0, *VERSIONS[ncp.dialect.version], 0, _GENERAL_AVAILABILITY)
    values = {_VERSION_INFO: bytes(release), _FREE_BUFFERS: b"\xf0"} | ncp.ram.values
    if number not in values:
        return ncp.dialect.status(Status.INVALID_ID) + text(b"")
    return ncp.dialect.status(Status.OK) + text(values[number])


def _set_value(ncp: "Coprocessor", reader: Reader) -> bytes:
    number = reader.u8()
    ncp.ram.values[number] = reader.text()
    return ncp.dialect.status(Status.OK)


def _get_extended_value(ncp: "Coprocessor", reader: Reader) -> bytes:
    if reader.u8() != _ENDPOINT_FLAGS or reader.u32() not in ncp.ram.endpoints:
        return ncp.dialect.status(Status.INVALID_ID) + text(b"\x00\x00")
    return ncp.dialect.status(Status.OK) + text(b"\x01\x00")


def _add_endpoint(ncp: "Coprocessor", reader: Reader) -> bytes:
    endpoint = Endpoint.read(reader)
    if ncp.ram.is_up or endpoint.number in ncp.ram.endpoints:
        return ncp.dialect.status(Status.INVALID_STATE)
    ncp.ram.endpoints[endpoint.number] = endpoint
    return ncp.dialect.status(Status.OK)


def _no_time_left(_ncp: "Coprocessor", _: Reader) -> bytes:
    return UINT32.pack(0)


def _no_library(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.dialect.status(Status.NO_LIBRARY) + text(b"")


def _counters(_ncp: "Coprocessor", _: Reader) -> bytes:
    return bytes(2 * _COUNTERS)


# Identity


def _state(ncp: "Coprocessor", _: Reader) -> bytes:
    return bytes((_JOINED if ncp.ram.is_up else _NO_NETWORK,))


def _eui(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.eui.octets[::-1]


def _address(ncp: "Coprocessor", _: Reader) -> bytes:
    return UINT16.pack(0 if ncp.ram.is_up else NO_ADDRESS)


def _parameters(ncp: "Coprocessor", _: Reader) -> bytes:
    if ncp.network is None or not ncp.ram.is_up:
        return ncp.dialect.status(Status.NOT_JOINED) + bytes(1 + len(FORMED.parameters))
    return ncp.dialect.status(Status.OK) + bytes((_COORDINATOR,)) + ncp.network.parameters


def _token(_ncp: "Coprocessor", reader: Reader) -> bytes:
    return text(_TEXTS.get(reader.u8(), b""))


def _no_token_data(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.dialect.status(Status.NOT_FOUND)


# Keys


def _set_security(ncp: "Coprocessor", reader: Reader) -> bytes:
    security, link_key, key = reader.u16(), reader.take(16), reader.take(16)
    ncp.ram.security = Network(key=key, link_key=link_key, security=security & 0xFF)
    return ncp.dialect.status(Status.OK)


def _security(ncp: "Coprocessor", _: Reader) -> bytes:
    if ncp.network is None or not ncp.ram.is_up:
        return ncp.dialect.status(Status.NOT_JOINED) + bytes(10)
    return ncp.dialect.status(Status.OK) + UINT16.pack(ncp.network.security) + ncp.eui.octets[::-1]


def _key(ncp: "Coprocessor", number: int, number_of_network: int) -> bytes:
    network = ncp.network or FORMED
    return network.key if number == number_of_network else network.link_key


def _get_key(ncp: "Coprocessor", reader: Reader) -> bytes:
    number = reader.u8()
    key = _key(ncp, number, _NETWORK_KEY_BY_GET)
    # It has no numbers and no partner: bit mask, type, key, counters out and in, number, partner.
    return ncp.dialect.status(Status.OK) + struct.pack("<HB16sIIB8s", 0, number, key, 0, 0, 0, bytes(8))


def _export_key(ncp: "Coprocessor", reader: Reader) -> bytes:
    context = reader.take(_CONTEXT)
    key = _key(ncp, context[0], _NETWORK_KEY_BY_EXPORT)
    return _wide_ok() + key + context if ncp.dialect.is_wide else key + _wide_ok()


def _key_info(_ncp: "Coprocessor", _: Reader) -> bytes:
    return _wide_ok() + struct.pack("<BBBBI", True, False, 0, 0, 1)


def _import_key(_ncp: "Coprocessor", _: Reader) -> bytes:
    return _wide_ok()


def _wide_ok() -> bytes:
    # The security manager speaks in four octets since it exists, in EZSP 13 too.
    return UINT32.pack(Status.OK.value[1])


def _no_key_entry(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.dialect.status(Status.INVALID_INDEX) + bytes(_KEY)


def _no_key_to_export(ncp: "Coprocessor", _: Reader) -> bytes:
    status = UINT32.pack(Status.INVALID_INDEX.value[1])
    # A partner or a context, the key, what is known of it.
    return status + bytes(_CONTEXT + 28) if ncp.dialect.is_wide else bytes(8 + 28) + status


def _no_key(_ncp: "Coprocessor", _: Reader) -> bytes:
    return bytes((NO_INDEX,))


def _forget_network(ncp: "Coprocessor", _: Reader) -> bytes:
    ncp.network = None
    return b""


# Tables


def _get_multicast(ncp: "Coprocessor", reader: Reader) -> bytes:
    index = reader.u8()
    status = Status.OK if index < ncp.ram.settings[_MULTICASTS] else Status.INVALID_INDEX
    return ncp.dialect.status(status) + ncp.ram.multicasts.get(index, bytes(4))


def _set_multicast(ncp: "Coprocessor", reader: Reader) -> bytes:
    index = reader.u8()
    if index >= ncp.ram.settings[_MULTICASTS]:
        return ncp.dialect.status(Status.INVALID_INDEX)
    ncp.ram.multicasts[index] = reader.take(4)
    return ncp.dialect.status(Status.OK)


def _look_up(ncp: "Coprocessor", reader: Reader) -> bytes:
    wanted = reader.take(8)
    found = [each.address for each in ncp.air.nodes.values() if each.eui.octets[::-1] == wanted]
    address = UINT16.pack(found[0] if found else NO_ADDRESS)
    return ncp.dialect.status(Status.OK if found else Status.NOT_FOUND) + address if ncp.dialect.is_wide else address


def _no_child(ncp: "Coprocessor", _: Reader) -> bytes:
    return ncp.dialect.status(Status.NOT_JOINED) + bytes(_CHILD)


def _entry_address(ncp: "Coprocessor", reader: Reader) -> bytes:
    eui, address, _ = _ENTRY.unpack(ncp.ram.addresses.get(reader.u8(), _NO_ENTRY))
    return ncp.dialect.status(Status.OK) + UINT16.pack(address) + bytes(eui) if ncp.dialect.is_wide else bytes(eui)


def _entry_node(ncp: "Coprocessor", reader: Reader) -> bytes:
    return UINT16.pack(_ENTRY.unpack(ncp.ram.addresses.get(reader.u8(), _NO_ENTRY))[1])


def _replace_address(ncp: "Coprocessor", reader: Reader) -> bytes:
    index, entry = reader.u8(), reader.take(_ENTRY.size)
    old = ncp.ram.addresses.get(index, _NO_ENTRY)
    if index >= ncp.ram.settings[_ADDRESSES]:
        return ncp.dialect.status(Status.INVALID_INDEX) + old
    ncp.ram.addresses[index] = entry
    return ncp.dialect.status(Status.OK) + old


def _set_patience(ncp: "Coprocessor", reader: Reader) -> bytes:
    eui, is_longer = reader.take(8), reader.u8()
    (ncp.ram.patient_with.add if is_longer else ncp.ram.patient_with.discard)(eui)
    return ncp.dialect.status(Status.OK) if ncp.dialect.is_wide else b""


def _patience(ncp: "Coprocessor", reader: Reader) -> bytes:
    is_longer = reader.take(8) in ncp.ram.patient_with
    return ncp.dialect.status(Status.OK if is_longer else Status.FAIL) if ncp.dialect.is_wide else bytes((is_longer,))


ANSWERS: dict[int, Answer] = {
    Command.NOP: _nothing,
    Command.GET_CONFIGURATION_VALUE: _get_setting,
    Command.SET_CONFIGURATION_VALUE: _set_setting,
    Command.GET_VALUE: _get_value,
    Command.SET_VALUE: _set_value,
    Command.GET_EXTENDED_VALUE: _get_extended_value,
    Command.SET_POLICY: _ok,
    Command.ADD_ENDPOINT: _add_endpoint,
    Command.SET_CONCENTRATOR: _ok,
    Command.SET_SOURCE_ROUTE_DISCOVERY_MODE: _no_time_left,
    Command.SET_MANUFACTURER_CODE: _nothing,
    Command.CUSTOM_FRAME: _no_library,
    Command.READ_COUNTERS: _counters,
    Command.READ_AND_CLEAR_COUNTERS: _counters,
    Command.NETWORK_STATE: _state,
    Command.GET_EUI64: _eui,
    Command.GET_NODE_ID: _address,
    Command.GET_NETWORK_PARAMETERS: _parameters,
    Command.GET_MFG_TOKEN: _token,
    Command.GET_TOKEN_DATA: _no_token_data,
    Command.SET_INITIAL_SECURITY_STATE: _set_security,
    Command.GET_CURRENT_SECURITY_STATE: _security,
    Command.GET_KEY: _get_key,
    Command.EXPORT_KEY: _export_key,
    Command.GET_NETWORK_KEY_INFO: _key_info,
    Command.GET_KEY_TABLE_ENTRY: _no_key_entry,
    Command.EXPORT_LINK_KEY_BY_INDEX: _no_key_to_export,
    Command.IMPORT_TRANSIENT_KEY: _import_key,
    Command.ADD_TRANSIENT_LINK_KEY: _ok,
    Command.CLEAR_TRANSIENT_LINK_KEYS: _nothing,
    Command.FIND_KEY_TABLE_ENTRY: _no_key,
    Command.CLEAR_KEY_TABLE: _ok,
    Command.TOKEN_FACTORY_RESET: _forget_network,
    Command.GET_MULTICAST_TABLE_ENTRY: _get_multicast,
    Command.SET_MULTICAST_TABLE_ENTRY: _set_multicast,
    Command.LOOKUP_NODE_ID_BY_EUI64: _look_up,
    Command.GET_CHILD_DATA: _no_child,
    Command.GET_ADDRESS_TABLE_ENTRY: _entry_address,
    Command.GET_ADDRESS_TABLE_NODE_ID: _entry_node,
    Command.REPLACE_ADDRESS_TABLE_ENTRY: _replace_address,
    Command.SET_EXTENDED_TIMEOUT: _set_patience,
    Command.GET_EXTENDED_TIMEOUT: _patience,
}
