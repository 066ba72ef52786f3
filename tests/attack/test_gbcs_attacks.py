"""GBCS octets made to harm: each is refused with the package's own error, in under 50 ms and 50 MB."""

import time
import tracemalloc

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hanwave.gbcs import (
    CRA,
    MAX_LENGTH,
    ExecutionOutcome,
    GbcsError,
    Header,
    MessageCode,
    Supplementary,
    Unrecognised,
    add_mac,
    build,
    precommand,
    read,
    sign_precommand,
    verify_mac,
    verify_signature,
)
from hanwave.gbcs.octets import with_length
from hanwave.identifiers import EUI64

pytestmark = pytest.mark.attack

SUPPLIER, DEVICE = EUI64.parse("90B3D51F30010000"), EUI64.parse("00DB1234567890A0")
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()
MAC_KEY = bytes(range(16))
HEADER = Header(CRA.RESPONSE, 1000, DEVICE, SUPPLIER, MessageCode.CS06)
RESPONSE = build(HEADER, ExecutionOutcome(0, "0123ABCD"), signing_key=KEY)
COMMAND = add_mac(sign_precommand(precommand(SUPPLIER, DEVICE, 1000, bytes(32)), KEY), MAC_KEY)
LIMIT_MS, LIMIT_MB = 50, 50


def refused(octets, sentence=None):
    """The octets are refused, soon and without filling the memory."""
    started = time.process_time()
    with pytest.raises(GbcsError, match=sentence):
        read(octets)
    assert (time.process_time() - started) * 1000 < LIMIT_MS
    tracemalloc.start()
    with pytest.raises(GbcsError):
        read(octets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LIMIT_MB * 2**20


def with_payload(payload, header=HEADER):
    """A signed frame around a payload that our own builder would not write."""
    return b"\xdf" + header.write() + with_length(payload) + b"\x40" + bytes(64)


@pytest.mark.parametrize("message", [RESPONSE, COMMAND], ids=["response", "command"])
def test_truncated_anywhere(message):
    for end in range(len(message)):
        with pytest.raises(GbcsError):
            read(message[:end])


@pytest.mark.parametrize("message", [RESPONSE, COMMAND], ids=["response", "command"])
@pytest.mark.parametrize("rest", [b"\0", b"\x40", bytes(64), RESPONSE], ids=["zero", "length", "signature", "message"])
def test_trailing_octets_after_a_message(message, rest):
    refused(message + rest, "should end after|shortest form|a signature has")


def test_two_messages_in_one():
    refused(RESPONSE + COMMAND, "more follow")


def test_a_message_that_hides_inside_a_mac_header_without_a_mac():
    refused(b"\xdd" + bytes(6) + bytes([5 + 11]) + bytes.fromhex("1100000000") + bytes(11), "should end in a MAC")


def test_one_message_in_the_mac_header_of_another():
    refused(
        b"\xdd" + bytes(6) + b"\x81" + bytes([len(COMMAND) + 17]) + bytes.fromhex("1100000000") + COMMAND + bytes(12)
    )


def test_a_mac_header_with_another_security_policy():
    for policy in ("3100000000", "1000000000", "1100000001"):
        octets = COMMAND.replace(bytes.fromhex("1100000000"), bytes.fromhex(policy), 1)
        refused(octets, "the security header of the ciphered service should be 1100000000")


@pytest.mark.parametrize("counter", [2**63, 2**64 - 1], ids=["2^63", "2^64-1"])
def test_a_command_with_a_counter_past_63_bits(counter):
    plain = precommand(SUPPLIER, DEVICE, 2**63 - 1, bytes(32))
    short = plain.replace(bytes.fromhex("02087FFFFFFFFFFFFFFF"), b"\x02\x09\x00" + counter.to_bytes(8, "big"))
    octets = short.replace((2**63 - 1).to_bytes(8, "big"), counter.to_bytes(8, "big"), 1)
    octets = octets[:33] + bytes([octets[33] + 1, 0x30, octets[35] + 1]) + octets[36:]
    refused(octets, "the counter of a CS06 message is from 0 to 9223372036854775807, this is larger")


def test_the_last_counters_of_63_and_64_bits_are_read():
    assert read(precommand(SUPPLIER, DEVICE, 2**63 - 1, bytes(32))).header.counter == 2**63 - 1
    header = Header(CRA.RESPONSE, 2**64 - 1, DEVICE, SUPPLIER, MessageCode.CS06)
    assert read(build(header, ExecutionOutcome(0, "0123ABCD"), signing_key=KEY)).header.counter == 2**64 - 1


def test_a_negative_counter():
    plain = precommand(SUPPLIER, DEVICE, 1, bytes(32))
    refused(plain[:-1] + b"\xff", "this is negative")


@pytest.mark.parametrize("counter", [2**63, 2**64 - 1, 2**64, 2**100_000], ids=["2^63", "2^64-1", "2^64", "2^100000"])
def test_a_precommand_is_not_built_with_a_counter_past_63_bits(counter):
    with pytest.raises(GbcsError, match="from 0 to 9223372036854775807, this is larger"):
        precommand(SUPPLIER, DEVICE, counter, bytes(32))


@pytest.mark.parametrize(
    "payload",
    [
        "30810902010004040123ABCD",  # a length in the long form
        "300A0202000004040123ABCD",  # an integer with a leading zero
        "308002010004040123ABCD0000",  # an indefinite length
        "300D020100240804020123040 2ABCD".replace(" ", ""),  # a constructed octet string
        "300B02010004040123ABCD0500",  # a field too many
        "300302010 0".replace(" ", ""),  # a field too few
        "3109 020100 0404 0123ABCD",  # a set
        "04040123ABCD020100",  # no sequence
        "300904040123ABCD020100",  # fields exchanged
        "3009020100040401 23ABCD00",  # an octet after the payload
        "050100",  # a null that is not empty
        "",
    ],
)
def test_a_payload_that_is_not_canonical_der(payload):
    refused(with_payload(bytes.fromhex(payload)), "not the DER that it should be")


@pytest.mark.parametrize("size", [2_000, 1_000_000])
def test_an_integer_of_a_million_octets(size):
    number = b"\x02" + with_length(b"\x7f" * size)
    payload = b"\x30" + with_length(number + bytes.fromhex("04040123ABCD"))
    refused(with_payload(payload), "a response code is from 0 to 2147483647, this is larger")


def test_deep_nesting():
    payload = b"\x30\x00"
    while len(payload) < 120:
        payload = b"\x30" + bytes([len(payload)]) + payload
    refused(with_payload(payload), "not the DER that it should be")


def test_oversized():
    refused(bytes(MAX_LENGTH + 1), "at most 1048576 octets, this has 1048577")
    refused(b"\xdf" + bytes(64 * MAX_LENGTH), "at most 1048576 octets")


def test_the_largest_message_is_read_in_time():
    payload = bytes(MAX_LENGTH - 102)
    header = Header(CRA.RESPONSE, 1, DEVICE, SUPPLIER, 0xFFFF)
    octets = build(header, Unrecognised(payload), signing_key=KEY)
    assert MAX_LENGTH - 10 < len(octets) <= MAX_LENGTH
    started = time.process_time()
    message = read(octets)
    assert (time.process_time() - started) * 1000 < LIMIT_MS
    assert message.content == payload


@pytest.mark.parametrize("length", ["80", "84FFFFFFFF", "FF", "83FFFFFF", "8100", "820001", "83000001"])
def test_a_length_that_lies(length):
    refused(b"\xdd" + bytes(6) + bytes.fromhex(length) + COMMAND[8:])
    refused(b"\xdf" + HEADER.write() + bytes.fromhex(length) + bytes(9) + b"\x40" + bytes(64))
    refused(RESPONSE[:-65] + bytes.fromhex(length) + bytes(64))


@pytest.mark.parametrize("step", [-1, 1])
def test_each_length_one_off(step):
    for at in (1, 11, 20, 30, 33, 43):
        octets = bytearray(RESPONSE)
        octets[at] = (octets[at] + step) % 256
        try:
            message = read(bytes(octets))
        except GbcsError:
            continue
        assert not verify_signature(message, PUBLIC)


def test_a_signature_of_another_length():
    for size in (1, 63, 65, 96):
        refused(RESPONSE[:-65] + bytes([size]) + bytes(size), f"a signature has 64 octets or none, this has {size}")


def test_a_certificate_whose_length_lies():
    supplementary = Supplementary(SUPPLIER, 5, certificate=b"\x30\x02ab")
    header = Header(CRA.RESPONSE, 1, DEVICE, SUPPLIER, 0x59, None, supplementary).write()
    refused(b"\xdf" + header.replace(b"\x30\x02ab", b"\x30\x03ab"), "supplementary certificate ends inside")
    refused(b"\xdf" + header.replace(b"\x30\x02ab", b"\x30\x01ab"), "supplementary certificate should end")


@pytest.mark.parametrize(
    "signature",
    [bytes(64), b"\xff" * 64, RESPONSE[-32:] + RESPONSE[-64:-32], bytes(32) + RESPONSE[-32:]],
    ids=["zeros", "ones", "r and s swapped", "r of zero"],
)
def test_a_forged_signature(signature):
    assert not verify_signature(read(RESPONSE[:-64] + signature), PUBLIC)


def test_a_signature_moved_to_another_message():
    other = build(HEADER, ExecutionOutcome(1, "0123ABCD"), signing_key=KEY)
    assert not verify_signature(read(other[:-64] + RESPONSE[-64:]), PUBLIC)


def test_a_signature_that_was_taken_away():
    refused(RESPONSE[:-65], "ends inside the length of the signature")
    refused(RESPONSE[:-65] + b"\0", "neither a signature nor a MAC")


def test_an_alert_dressed_as_a_response():
    octets = bytearray(RESPONSE)
    octets[2] = CRA.ALERT
    message = read(bytes(octets))
    assert isinstance(message.body, Unrecognised)
    assert not verify_signature(message, PUBLIC)


@pytest.mark.parametrize("at", [-1, -12])
def test_a_forged_mac(at):
    octets = bytearray(COMMAND)
    octets[at] ^= 1
    message = read(bytes(octets))
    assert not verify_mac(message, MAC_KEY)
    assert verify_mac(read(COMMAND), MAC_KEY)


def test_the_mac_covers_the_signature_and_the_missing_signature():
    unsigned = build(HEADER, ExecutionOutcome(0, "0123ABCD"), mac_key=MAC_KEY)
    both = build(HEADER, ExecutionOutcome(0, "0123ABCD"), signing_key=KEY, mac_key=MAC_KEY)
    assert unsigned[-12:] != both[-12:]
    swapped = read(both[:-12] + unsigned[-12:])
    assert not verify_mac(swapped, MAC_KEY)
