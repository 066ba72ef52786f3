"""What is built is what is read; what was changed on the way never verifies, and never surprises the reader."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from hanwave.gbcs import (
    CRA,
    AlertCode,
    CommandAccepted,
    ExecutionOutcome,
    FirmwareTransfer,
    FirmwareVersion,
    Form,
    FutureDatedOutcome,
    GbcsError,
    Header,
    ImageVerification,
    MessageCode,
    PpmidActivation,
    ReadFirmwareVersion,
    Unrecognised,
    add_mac,
    build,
    derive_key,
    precommand,
    read,
    sign_precommand,
    verify_mac,
    verify_signature,
)
from hanwave.identifiers import EUI64
from tests.unit.gbcs import strategies

pytestmark = pytest.mark.unit

KEY = bytes(range(16))
ACCEPTED = bytes.fromhex("0500")
NINE = datetime(2030, 1, 15, 9, tzinfo=UTC)


def header(device, supplier, cra=CRA.RESPONSE, code=MessageCode.CS06, counter=1000):
    return Header(cra, counter, device, supplier, code)


@given(strategies.messages)
def test_a_signed_message_reads_as_it_was_built(device_key, message):
    head, body = message
    octets = build(head, body, signing_key=device_key)
    back = read(octets)
    assert (back.header, back.body, back.raw, back.mac) == (head, body, octets, None)
    assert verify_signature(back, device_key.public_key())
    assert build(back.header, back.body) == octets[:-65]


@given(strategies.messages, st.booleans())
def test_a_message_with_a_mac_reads_as_it_was_built(device_key, message, is_signed):
    head, body = message
    octets = build(head, body, signing_key=device_key if is_signed else None, mac_key=KEY)
    back = read(octets)
    assert (back.header, back.body, back.raw) == (head, body, octets)
    assert verify_mac(back, KEY)
    assert not verify_mac(back, KEY[::-1])
    assert verify_signature(back, device_key.public_key()) is is_signed
    assert back.form is Form[head.cra.name]


@given(strategies.messages, st.data())
def test_one_changed_octet_of_a_signed_message_is_refused_or_never_verifies(device_key, message, data):
    octets = bytearray(build(*message, signing_key=device_key))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = read(bytes(octets))
    except GbcsError:
        return
    assert not verify_signature(changed, device_key.public_key())


@given(strategies.messages, st.data())
def test_one_changed_octet_of_a_message_with_a_mac_is_refused_or_never_verifies(message, data):
    octets = bytearray(build(*message, mac_key=KEY))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = read(bytes(octets))
    except GbcsError:
        return
    assert not verify_mac(changed, KEY)


@given(strategies.messages, st.data())
def test_a_prefix_is_refused_or_is_a_precommand_that_nobody_vouches_for(device_key, message, data):
    octets = build(*message, signing_key=device_key, mac_key=data.draw(st.sampled_from([None, KEY])))
    prefix = octets[: data.draw(st.integers(0, len(octets) - 1))]
    try:
        cut = read(prefix)
    except GbcsError:
        return
    assert cut.form is Form.PRE_COMMAND
    assert not verify_signature(cut, device_key.public_key())
    assert not verify_mac(cut, KEY)


@given(st.binary(max_size=400))
@example(b"")
@example(b"\xdd")
@example(b"\xdf\x09\x02")
def test_any_octets_raise_nothing_but_the_packages_own_error(octets):
    for data in (octets, b"\xdf" + octets, b"\xdd" + bytes(6) + octets):
        with suppress(GbcsError):
            assert read(data).raw == data


@given(strategies.messages, st.binary(max_size=80), st.data())
def test_any_payload_under_a_known_header_raises_nothing_but_the_packages_own_error(message, payload, data):
    plain = build(*message)
    at = len(plain) - len(read(build(*message, mac_key=KEY)).content)
    damaged = bytearray(plain[at:])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    for content in (payload, bytes(damaged)):
        if len(content) > 127:
            continue
        octets = b"\xdf" + message[0].write() + bytes([len(content)]) + content + b"\x40" + bytes(64)
        try:
            back = read(octets)
        except GbcsError:
            continue
        assert back.content == content


def test_another_partys_key_verifies_nothing(device, supplier, device_key, supplier_key):
    message = read(build(header(device, supplier), CommandAccepted(), signing_key=device_key))
    assert verify_signature(message, device_key.public_key())
    assert not verify_signature(message, supplier_key.public_key())


def test_what_is_not_signed_and_has_no_mac_verifies_nothing(device, supplier, supplier_key):
    message = read(precommand(supplier, device, 1, bytes(32)))
    assert message.form is Form.PRE_COMMAND
    assert not verify_signature(message, supplier_key.public_key())
    assert not verify_mac(message, KEY)
    assert message.signed_octets == message.raw[1:]


def test_both_ends_derive_the_same_key_and_each_message_has_its_own(device, supplier, device_key, supplier_key):
    head = header(device, supplier)
    key = derive_key(device_key, supplier_key.public_key(), head)
    assert key == derive_key(supplier_key, device_key.public_key(), head)
    others = [
        header(supplier, device),
        header(device, supplier, cra=CRA.ALERT),
        header(device, supplier, counter=1001),
    ]
    assert len({key, *(derive_key(device_key, supplier_key.public_key(), other) for other in others)}) == 4


def test_the_key_is_sha256_over_secret_and_identities(device, supplier, device_key, supplier_key):
    secret = device_key.exchange(ec.ECDH(), supplier_key.public_key())
    info = bytes.fromhex("60857406080300") + device.octets + bytes.fromhex("090200000000000003E8") + supplier.octets
    expected = hashlib.sha256(bytes.fromhex("00000001") + secret + info).digest()[:16]
    assert derive_key(device_key, supplier_key.public_key(), header(device, supplier)) == expected


def test_a_mac_key_of_another_length_is_refused(device, supplier):
    with pytest.raises(GbcsError, match="a MAC key has 16 octets, this has 15"):
        build(header(device, supplier), CommandAccepted(), mac_key=KEY[:15])
    message = read(build(header(device, supplier), CommandAccepted(), mac_key=KEY))
    with pytest.raises(GbcsError, match="a MAC key has 16 octets, this has 32"):
        verify_mac(message, KEY + KEY)


def test_dcc_makes_a_command_of_a_signed_precommand(device, supplier, supplier_key):
    signed = sign_precommand(precommand(supplier, device, 1, bytes(32)), supplier_key)
    command = read(add_mac(signed, KEY))
    assert (command.form, command.grouped) == (Form.COMMAND, signed)
    assert verify_mac(command, KEY)
    assert verify_signature(command, supplier_key.public_key())
    assert command.raw == bytes.fromhex("DD000000000000819B1100000000") + signed + command.mac


def test_only_a_signed_precommand_becomes_a_command(device, supplier, supplier_key):
    plain = precommand(supplier, device, 1, bytes(32))
    with pytest.raises(GbcsError, match="this is a pre-command"):
        add_mac(plain, KEY)
    with pytest.raises(GbcsError, match="this is a command"):
        add_mac(add_mac(sign_precommand(plain, supplier_key), KEY), KEY)


def test_a_message_that_nobody_vouches_for_is_refused_unless_it_is_a_precommand(device, supplier):
    unsigned = build(header(device, supplier), CommandAccepted())
    with pytest.raises(GbcsError, match="ends inside the length of the signature"):
        read(unsigned)
    with pytest.raises(GbcsError, match="neither a signature nor a MAC"):
        read(unsigned + b"\0")
    with pytest.raises(GbcsError, match="neither a signature nor a MAC"):
        read(precommand(supplier, device, 1, bytes(32)) + b"\0")


def test_a_payload_that_does_not_fit_the_message_code_is_not_built(device, supplier):
    with pytest.raises(
        GbcsError, match="response with message code 0012 should be CommandAccepted or ExecutionOutcome"
    ):
        build(header(device, supplier), ReadFirmwareVersion())
    with pytest.raises(GbcsError, match="alert with message code 0012 should be Unrecognised, this is CommandAccepted"):
        build(header(device, supplier, cra=CRA.ALERT), CommandAccepted())
    with pytest.raises(GbcsError, match="this is Unrecognised"):
        build(header(device, supplier), Unrecognised(ACCEPTED))


def test_a_known_code_in_the_wrong_direction_is_kept_whole(device, supplier):
    head = header(device, supplier, cra=CRA.ALERT)
    assert read(build(head, Unrecognised(b"whatever"), mac_key=KEY)).body == Unrecognised(b"whatever")


def test_a_response_that_tells_of_a_failure_is_an_ordinary_response(device, supplier, device_key):
    body = ExecutionOutcome(1, "0123ABCF")
    message = read(build(header(device, supplier), body, signing_key=device_key))
    assert message.form is Form.RESPONSE
    assert message.body == body
    assert not message.body.succeeded


def test_the_answer_has_the_commands_counter_and_the_parties_exchanged(device, supplier):
    command = header(supplier, device, cra=CRA.COMMAND, counter=7)
    assert command.answer(bytes(12)) == Header(
        CRA.RESPONSE, 7, device, supplier, MessageCode.CS06, bytes(12), command.supplementary
    )


@pytest.mark.parametrize(
    ("code", "body", "payload"),
    [
        (MessageCode.ECS52, ReadFirmwareVersion(), "D9 20345678 00 01 01 0001 0000000201FF 02 01 00"),
        (MessageCode.GCS38, ReadFirmwareVersion(), "0109 01 01 0702 0005 000000 0602"),
        (MessageCode.CS08, ReadFirmwareVersion(), "0500"),
    ],
)
def test_the_version_commands_octets(device, supplier, code, body, payload):
    head = header(supplier, device, cra=CRA.COMMAND, code=code, counter=0x12345678)
    assert read(build(head, body, mac_key=KEY)).content == bytes.fromhex(payload)


@pytest.mark.parametrize(
    ("code", "body", "payload"),
    [
        (MessageCode.ECS52, FirmwareVersion("0123ABCD", 0), "DA 20345678 000001 09040123ABCD 0101 00"),
        (MessageCode.ECS52, FirmwareVersion(None, 1), "DA 20345678 000001 00 0101 01"),
        (MessageCode.GCS38, FirmwareVersion("0123ABCD", 0), "0109 01 01 0702 000C 080001 0602 00 41 04 0123ABCD"),
        (MessageCode.GCS38, FirmwareVersion(None, 0xC0), "0109 01 01 0702 0006 080001 0602 C0"),
        (MessageCode.CS08, FirmwareVersion("00000000", 1), "3009 0404 00000000 0201 01"),
    ],
)
def test_the_version_answers_octets(device, supplier, code, body, payload):
    head = header(device, supplier, code=code, counter=0x12345678)
    assert read(build(head, body, mac_key=KEY)).content == bytes.fromhex(payload)


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (MessageCode.FDRA_DLMS, "0F 20345678 00 02 03 12 8F72 09 0C 07DF0101FF000000008000FF 0920"),
        (MessageCode.FDRA_GBZ, "0109 01 8F72 1C374A80 0920"),
    ],
)
def test_the_receipts_octets(device, supplier, device_key, code, payload):
    head = header(device, supplier, cra=CRA.ALERT, code=code, counter=0x12345678)
    body = ImageVerification(AlertCode.IMAGE_VERIFIED, datetime(2015, 1, 1, tzinfo=UTC), bytes(range(32)))
    message = read(build(head, body, signing_key=device_key))
    assert message.body == body
    assert message.content == bytes.fromhex(payload) + bytes(range(32))


@pytest.mark.parametrize(
    ("code", "body", "payload"),
    [
        (
            MessageCode.CS06_ALERT,
            FutureDatedOutcome(AlertCode.FUTURE_DATED_FAILURE, NINE, 1001, ExecutionOutcome(2, "0123ABCF")),
            "3025 02 03 008F67 180F 32303330303131353039303030305A 0202 03E9 3009 020102 0404 0123ABCF",
        ),
        (
            MessageCode.CCS08,
            FirmwareTransfer(AlertCode.TRANSFER_FAILURE, NINE, EUI64(bytes(range(8))), "0123ABCD", 3),
            "3029 0203 008F89 180F 32303330303131353039303030305A 0408 0001020304050607 0404 0123ABCD 020103",
        ),
        (
            MessageCode.CS09,
            PpmidActivation(AlertCode.PPMID_ACTIVATION, NINE, "1234ABCD", 1),
            "301F 0203 008F8B 180F 32303330303131353039303030305A 0404 1234ABCD 020101",
        ),
    ],
)
def test_the_alerts_octets(device, supplier, device_key, code, body, payload):
    message = read(build(header(device, supplier, cra=CRA.ALERT, code=code), body, signing_key=device_key))
    assert message.body == body
    assert message.content == bytes.fromhex(payload)


def test_a_hash_of_another_length_is_not_told(device, supplier):
    for code in (MessageCode.FDRA_DLMS, MessageCode.FDRA_GBZ):
        with pytest.raises(GbcsError, match="a Manufacturer Image hash has 32 octets, this has 31"):
            build(header(device, supplier, CRA.ALERT, code), ImageVerification(0x8F72, None, bytes(31)))
