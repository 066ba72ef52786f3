import struct
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.credentials import CredentialError, Role
from hanwave.firmware.errors import ImageError
from hanwave.firmware.header import MAX_IMAGE_SIZE, FieldControl, Header, header_string
from hanwave.firmware.image import Form, OtaImage, SupplierSignature, looks_signed, manufacturer_image_hash
from hanwave.firmware.terms import HardwareRange
from hanwave.identifiers import EUI64
from tests.unit.firmware.making import (
    BODY,
    NOW,
    authority,
    expired_supplier,
    header,
    images,
    signed,
    supplier,
    unsigned,
)

pytestmark = pytest.mark.unit


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


@given(images)
def test_what_is_built_is_read_back(image):
    assert OtaImage.read(image.pack(), image.form) == image
    assert len(image.pack()) == image.size


def test_the_layout_is_that_of_the_header_table():
    data = signed(header_string=header_string("Meter 2.1")).pack()
    assert data[:20].hex() == "1ef1ee0b" + "0001" + "3c00" + "0400" + "1d12" + "8400" + "cdab2301" + "0200"
    assert data[20:52] == b"Meter 2.1" + bytes(23)
    assert (
        data[52:60].hex() == f"{60 + len(BODY) + 66:08x}"[6:] + f"{60 + len(BODY) + 66:08x}"[4:6] + "0000" + "11111112"
    )
    assert data[60:-66] == BODY
    assert data[-66:-64] == b"\x00\x40"


def test_the_ppmid_form_ends_with_the_manufacturer_image():
    image = unsigned()
    assert image.form is Form.PPMID
    assert image.pack()[60:] == BODY
    assert image.hash == manufacturer_image_hash(BODY)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "sentence"),
    [
        (0, "<I", 0x0BEEF11F, "the file identifier holds 0x0BEEF11F, it should be 0x0BEEF11E"),
        (4, "<H", 0x0101, "the OTA header version holds 0x0101, it should be 0x0100"),
        (6, "<H", 61, "the header length holds 61, it should be 60 by its field control 0x0004"),
        (8, "<H", 0x000C, "the header field control holds 0x000C, it should be made of the bits"),
        (8, "<H", 0x0000, "the header length holds 60, it should be 56 by its field control 0x0000"),
        (18, "<H", 0x0003, "the ZigBee stack version holds 0x0003, it should be 0x0002"),
        (52, "<I", 17, "the total image size holds 17, it should be 586, the octets of the image"),
        (56, "<H", 0x1212, "the minimum hardware version holds 0x1212, it should not be above the maximum, 0x1211"),
        (60 + len(BODY), "B", 2, "forceReplace holds 0x02, it should be 0x00 or 0x01"),
        (61 + len(BODY), "B", 0x41, "the signature length holds 0x41, it should be 0x40"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_held_and_should_hold(offset, layout, value, sentence):
    with pytest.raises(ImageError, match=sentence):
        OtaImage.read(patched(signed().pack(), offset, layout, value), Form.SIGNED)


@pytest.mark.parametrize("optional", [{"security_credential": 1}, {"destination": EUI64(bytes(8))}, {"hardware": None}])
def test_a_gb_image_has_hardware_versions_and_no_other_optional_field(optional):
    with pytest.raises(ImageError, match=r"field control holds .*it should be 0x0004"):
        unsigned(**optional)


def test_a_header_that_promises_more_than_there_is_is_refused():
    cut = patched(unsigned().pack()[:58], 52, "<I", 58)
    with pytest.raises(ImageError, match="the image has 58 octets, its header alone needs 60"):
        OtaImage.read(cut, Form.PPMID)


def test_an_empty_manufacturer_image_is_refused_in_both_forms():
    head = header().pack(0)
    with pytest.raises(ImageError, match="the Manufacturer Image is empty"):
        OtaImage.read(head, Form.PPMID)
    trailer = SupplierSignature(bytes(64)).pack()
    with pytest.raises(ImageError, match="has 66 octets after its header, a signed image needs more than 66"):
        OtaImage.read(header().pack(66) + trailer, Form.SIGNED)


def test_the_largest_image_that_sr_11_1_carries_is_taken_and_one_octet_more_is_not():
    largest = bytes(MAX_IMAGE_SIZE - 60)
    assert OtaImage.read(unsigned(largest).pack(), Form.PPMID).size == MAX_IMAGE_SIZE
    with pytest.raises(ImageError, match="10240001 octets, it should have at most 10240000"):
        unsigned(largest + b"\0")


@pytest.mark.parametrize(
    "changes",
    [{"manufacturer_code": 0x10000}, {"image_type": -1}, {"stack_version": 1 << 16}, {"security_credential": 256}],
)
def test_a_header_value_that_its_field_cannot_hold_is_refused(changes):
    with pytest.raises(ImageError, match="it should be from 0 to 0xFF"):
        header(**changes)


@pytest.mark.parametrize("text", ["x" * 33, "Zähler", "tab\there"])
def test_a_header_string_that_is_not_32_printable_ascii_characters_is_refused(text):
    with pytest.raises(ImageError, match="at most 32 printable ASCII characters"):
        header_string(text)
    with pytest.raises(ImageError, match="the header string holds 31 octets"):
        header(header_string=bytes(31))


def test_a_header_string_is_shown_without_its_filling_and_escaped():
    assert header(header_string=header_string("")).title == ""
    assert header(header_string=b"\xffMeter".ljust(32, b"\0")).title == "\\xffMeter"


@given(
    st.none() | st.integers(0, 255),
    st.none() | st.binary(min_size=8, max_size=8).map(EUI64),
    st.none() | st.just(HardwareRange(1, 2)),
)
def test_every_set_of_optional_header_fields_is_read_back(credential, destination, board):
    built = header(security_credential=credential, destination=destination, hardware=board)
    assert Header.read(built.pack(0)) == built
    assert (FieldControl.SECURITY_CREDENTIAL in built.field_control) == (credential is not None)


def test_the_destination_is_sent_with_its_last_octet_first():
    packed = header(hardware=None, destination=EUI64(bytes(range(8)))).pack(0)
    assert packed[56:64] == bytes(range(7, -1, -1))


def test_a_supplier_signs_and_is_named():
    image = signed()
    assert image.form is Form.SIGNED
    assert looks_signed(image.pack())
    image.check_signature(supplier().certificate, NOW)


def test_signing_again_replaces_the_signature_and_keeps_the_rest():
    other = supplier(2)
    first = OtaImage(header(), BODY, SupplierSignature(bytes(64), force_replace=True))
    second = first.sign(other.key, other.certificate, NOW)
    second.check_signature(other.certificate, NOW)
    assert (second.header, second.manufacturer_image, second.size) == (first.header, BODY, first.size)
    assert second.signature.force_replace
    with pytest.raises(ImageError, match="the signature is not that of A0-00-00-00-00-00-00-01"):
        second.check_signature(supplier().certificate, NOW)


def test_a_key_that_is_not_the_certificates_signs_nothing():
    with pytest.raises(ImageError, match=r"the key is not the one that the certificate of A0-.*-02 certifies"):
        unsigned().sign(supplier().key, supplier(2).certificate, NOW)


def test_an_expired_certificate_signs_nothing():
    late = expired_supplier()
    with pytest.raises(CredentialError, match=r"is valid from .* not at 2026-06-01"):
        unsigned().sign(late.key, late.certificate, NOW)


@pytest.mark.parametrize("role", [Role.ACCESS_CONTROL_BROKER, Role.XML_SIGN])
def test_another_role_signs_nothing(role):
    other = authority().organisation(EUI64(bytes(8)), role)
    with pytest.raises(CredentialError, match="not 2"):
        unsigned().sign(other.key, other.certificate, NOW)


def test_a_right_signature_of_an_expired_certificate_is_reported_as_both():
    late = expired_supplier()
    image = unsigned().sign(late.key, late.certificate, NOW - timedelta(days=15))
    image.check_signature(late.certificate, NOW - timedelta(days=15))
    with pytest.raises(ImageError, match=r"the signature is right, but the certificate of .* is valid from"):
        image.check_signature(late.certificate, NOW)


def test_an_image_without_signature_verifies_against_nobody():
    with pytest.raises(ImageError, match="holds no supplier signature to verify"):
        unsigned().check_signature(supplier().certificate, NOW)


def test_a_signature_has_64_octets():
    with pytest.raises(ImageError, match="the supplier signature holds 63 octets, it should be 64"):
        SupplierSignature(bytes(63))


def test_the_hash_is_held_against_another():
    signed().check_hash(manufacturer_image_hash(BODY))
    with pytest.raises(ImageError, match=r"the Manufacturer Image Hash holds [0-9A-F]{64}, it should be 0{64}"):
        signed().check_hash(bytes(32))


def test_the_form_is_what_the_caller_says_and_the_tail_decides_nothing():
    unlucky = unsigned(BODY + b"\x00\x40" + bytes(64))
    assert looks_signed(unlucky.pack())
    assert OtaImage.read(unlucky.pack(), Form.PPMID) == unlucky
    assert OtaImage.read(unlucky.pack(), Form.SIGNED).hash != unlucky.hash
    assert not looks_signed(unsigned().pack())
    assert not looks_signed(b"\0@")
