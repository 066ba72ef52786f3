import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware.elements import MAX_ELEMENTS, SubElement, Tag, ZigbeeImage
from hanwave.firmware.errors import ImageError
from hanwave.firmware.header import MAX_IMAGE_SIZE
from tests.unit.firmware.making import header, uint16

pytestmark = pytest.mark.unit

IMAGE = ZigbeeImage(header(), (SubElement(Tag.UPGRADE_IMAGE, b"code"), SubElement(Tag.INTEGRITY_CODE, bytes(16))))


@given(st.lists(st.builds(SubElement, uint16, st.binary(max_size=40)), min_size=1, max_size=6).map(tuple))
def test_what_is_built_is_read_back(elements):
    image = ZigbeeImage(header(hardware=None, security_credential=2), elements)
    assert ZigbeeImage.read(image.pack()) == image


def test_the_layout_is_tag_length_data():
    assert IMAGE.pack()[60:].hex() == "0000" + "04000000" + b"code".hex() + "0300" + "10000000" + bytes(16).hex()


def with_body(body: bytes) -> bytes:
    return header().pack(len(body)) + body


def test_an_element_that_claims_more_than_is_left_is_refused():
    with pytest.raises(ImageError, match=r"sub-element 2 \(tag 0xF000\) holds 9, it should be at most the 1 octets"):
        ZigbeeImage.read(with_body(SubElement(0, b"x").pack() + struct.pack("<HI", 0xF000, 9) + b"y"))


def test_octets_after_the_last_element_are_refused():
    with pytest.raises(ImageError, match="sub-element 2 has 4 octets, its tag and length alone need 6"):
        ZigbeeImage.read(with_body(SubElement(0, b"x").pack() + bytes(4)))


def test_an_image_without_elements_is_refused():
    with pytest.raises(ImageError, match="the image has 0 sub-elements"):
        ZigbeeImage.read(with_body(b""))


def test_as_many_elements_as_may_be_are_read_and_one_more_is_not():
    element = SubElement(1, b"").pack()
    assert len(ZigbeeImage.read(with_body(element * MAX_ELEMENTS)).elements) == MAX_ELEMENTS
    with pytest.raises(ImageError, match="it should have 1 to 1000"):
        ZigbeeImage.read(with_body(element * (MAX_ELEMENTS + 1)))


def test_a_built_image_is_bounded_too():
    with pytest.raises(ImageError, match="it should have at most 10240000"):
        ZigbeeImage(header(), (SubElement(0, bytes(MAX_IMAGE_SIZE)),))
    with pytest.raises(ImageError, match="the sub-element's tag holds 65536"):
        SubElement(0x10000, b"")
