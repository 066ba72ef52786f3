"""The pre-command of an activation: its octets, its limits, and what may be signed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.credentials import verify_raw
from hanwave.gbcs import (
    CANCEL,
    CRA,
    ActivateFirmware,
    Form,
    GbcsError,
    Header,
    MessageCode,
    ReadFirmwareVersion,
    build,
    precommand,
    read,
    sign_precommand,
)
from tests.unit.gbcs import strategies

pytestmark = pytest.mark.unit

HASH = bytes(range(32))
NINE = datetime(2030, 1, 15, 9, tzinfo=UTC)
LIMIT = 2**63 - 1


@given(strategies.activations())
def test_a_precommand_reads_as_what_was_asked(activation):
    head, body = activation
    message = read(precommand(head.originator, head.target, head.counter, body.image_hash, body.at))
    assert (message.form, message.header, message.body) == (Form.PRE_COMMAND, head, body)


def test_the_octets_of_an_immediate_a_dated_and_a_cancelling_precommand(supplier, device):
    head = "DF 09 01 00000000000003E8 08 90B3D51F30010000 08 00DB1234567890A0 00 02 0012 "
    start = f"0420{HASH.hex()} 0202 03E8"
    for at, payload in (
        (None, f"28 3026 {start}"),
        (NINE, f"39 3037 {start} 180F {b'20300115090000Z'.hex()}"),
        (CANCEL, f"39 3037 {start} 180F {b'99991231235959Z'.hex()}"),
    ):
        assert precommand(supplier, device, 1000, HASH, at) == bytes.fromhex(head + payload)


@pytest.mark.parametrize("counter", [0, 127, 128, 2**32, LIMIT])
def test_a_counter_of_63_bits_is_written_whole(supplier, device, counter):
    assert read(precommand(supplier, device, counter, HASH)).body == ActivateFirmware(HASH, counter)


@pytest.mark.parametrize(
    "counter", [-1, LIMIT + 1, 2**64 - 1, 2**64, 2**20_000], ids=lambda counter: f"{counter.bit_length()} bits"
)
def test_a_counter_past_63_bits_is_refused_in_a_sentence(supplier, device, counter):
    with pytest.raises(GbcsError, match="the counter of a CS06 message is from 0 to 9223372036854775807, this is"):
        precommand(supplier, device, counter, HASH)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_a_hash_of_another_length_is_refused(supplier, device, length):
    with pytest.raises(GbcsError, match=f"a Manufacturer Image hash has 32 octets, this has {length}"):
        precommand(supplier, device, 1, bytes(length))


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (NINE.replace(tzinfo=None), "names no time zone"),
        (NINE.replace(microsecond=1), "should be in whole seconds"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "means cancel: ask for that by name"),
    ],
)
def test_a_time_that_could_be_misunderstood_is_refused(supplier, device, at, sentence):
    with pytest.raises(GbcsError, match=sentence):
        precommand(supplier, device, 1, HASH, at)


def test_a_time_in_another_zone_is_the_same_moment(supplier, device):
    there = NINE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert precommand(supplier, device, 1, HASH, there) == precommand(supplier, device, 1, HASH, NINE)


def test_the_signature_is_over_all_but_the_leading_tag(supplier, device, supplier_key):
    plain = precommand(supplier, device, 1, HASH, NINE)
    signed = sign_precommand(plain, supplier_key)
    assert signed[:-64] == plain + b"\x40"
    assert verify_raw(supplier_key.public_key(), signed[-64:], plain[1:])
    assert read(signed).form is Form.SIGNED_PRE_COMMAND


def test_nothing_but_a_cs06_precommand_is_signed(supplier, device, supplier_key):
    signed = sign_precommand(precommand(supplier, device, 1, HASH), supplier_key)
    other = build(Header(CRA.COMMAND, 1, supplier, device, MessageCode.CS08), ReadFirmwareVersion())
    with pytest.raises(GbcsError, match="this is a signed pre-command with message code 0012"):
        sign_precommand(signed, supplier_key)
    with pytest.raises(GbcsError, match="this is a pre-command with message code 0129"):
        sign_precommand(other, supplier_key)


@given(st.binary(max_size=100))
def test_noise_is_never_signed(supplier_key, octets):
    with pytest.raises(GbcsError):
        sign_precommand(octets, supplier_key)


def test_a_counter_that_differs_from_the_headers_is_refused(supplier, device):
    head = Header(CRA.COMMAND, 1, supplier, device, MessageCode.CS06)
    with pytest.raises(GbcsError, match="the payload's counter is 2, the grouping header's 1: they should agree"):
        build(head, ActivateFirmware(HASH, 2))
    octets = bytearray(precommand(supplier, device, 1, HASH))
    octets[-1] = 2
    with pytest.raises(GbcsError, match="they should agree"):
        read(bytes(octets))


def test_a_fraction_of_a_second_in_a_command_is_refused(supplier, device):
    plain = precommand(supplier, device, 1, HASH, NINE)
    at = plain.index(b"\x18\x0f")
    changed = bytearray(plain[:at] + b"\x18\x11" + b"20300115090000.5Z")
    changed[33] += 2
    changed[35] += 2
    with pytest.raises(GbcsError, match="whole seconds"):
        read(bytes(changed))
