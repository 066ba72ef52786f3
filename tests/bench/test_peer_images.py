"""The peer for images: what hanwave writes, zigpy reads to the same fields and rewrites to the same octets, and the other way.

The images are generated: vendors' own are not ours to pass on.
"""

import pytest
import zigpy.types as t
from hypothesis import given
from hypothesis import strategies as st
from zigpy.ota.image import FieldControl, OTAImage, OTAImageHeader, parse_ota_image
from zigpy.ota.image import SubElement as ZigpyElement

from hanwave.firmware.elements import SubElement, Tag, ZigbeeImage
from hanwave.firmware.header import Header
from hanwave.firmware.image import Form, OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64

pytestmark = [pytest.mark.bench, pytest.mark.peer]

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
hardware = st.tuples(u16, u16).map(sorted).map(lambda both: HardwareRange(*both))
headers = st.builds(
    Header,
    u16,
    u16,
    u32.map(FirmwareVersion),
    # Half of a character, and what stands behind a NUL, are kept too.
    st.binary(min_size=32, max_size=32),
    st.none() | hardware,
    st.none() | st.integers(0, 0xFF),
    st.none() | st.binary(min_size=8, max_size=8).map(EUI64),
    u16,
)
gb_headers = st.builds(Header, u16, u16, u32.map(FirmwareVersion), st.binary(min_size=32, max_size=32), hardware)
# Manufacturers' own tags begin at 0xF000, of which zigpy takes the first for Telink's encrypted element.
tags = st.sampled_from([*map(int, Tag), 0xF7BD, 0xFFBF, 0xFFFF])
elements = st.lists(st.builds(SubElement, tags, st.binary(max_size=200)), min_size=1, max_size=4)


def fields(header: OTAImageHeader) -> tuple:
    destination = header.upgrade_file_destination
    return (
        header.manufacturer_id,
        header.image_type,
        header.file_version,
        bytes(header.header_string),
        header.minimum_hardware_version,
        header.maximum_hardware_version,
        header.security_credential_version,
        None if destination is None else destination.serialize()[::-1],
        header.stack_version,
        header.header_length,
    )


def own_fields(header: Header) -> tuple:
    return (
        header.manufacturer_code,
        header.image_type,
        header.file_version.value,
        header.header_string,
        header.hardware and header.hardware.minimum,
        header.hardware and header.hardware.maximum,
        header.security_credential,
        header.destination and header.destination.octets,
        header.stack_version,
        header.length,
    )


@given(headers, elements)
def test_zigpy_reads_the_same_and_rewrites_the_same_octets(header, parts):
    image = ZigbeeImage(header, tuple(parts))
    packed = image.pack()
    theirs, rest = parse_ota_image(packed)
    assert (type(theirs), rest) == (OTAImage, b"")
    assert fields(theirs.header) == own_fields(header)
    assert [(int(each.tag_id), bytes(each.data)) for each in theirs.subelements] == [
        (each.tag, each.data) for each in parts
    ]
    assert theirs.serialize() == packed
    assert ZigbeeImage.read(packed) == image


@given(st.tuples(u16, u16, u32, st.integers(0, 7)), elements)
def test_hanwave_reads_what_zigpy_writes_and_rewrites_the_same_octets(numbers, parts):
    maker, kind, version, control = numbers
    size = 56 + (control & 1) + 8 * (control >> 1 & 1) + 4 * (control >> 2 & 1)
    header = OTAImageHeader(
        upgrade_file_id=OTAImageHeader.MAGIC_VALUE,
        header_version=0x0100,
        header_length=size,
        field_control=FieldControl(control),
        manufacturer_id=maker,
        image_type=kind,
        file_version=version,
        stack_version=2,
        header_string=b"written by zigpy".ljust(32, b"\0"),
        image_size=size + sum(6 + len(each.data) for each in parts),
        security_credential_version=2 if control & 1 else None,
        upgrade_file_destination=t.EUI64.convert("00:db:12:00:00:00:00:01") if control & 2 else None,
        minimum_hardware_version=0x1111 if control & 4 else None,
        maximum_hardware_version=0x1211 if control & 4 else None,
    )
    theirs = OTAImage(
        header=header,
        subelements=[ZigpyElement(tag_id=each.tag, data=each.data) for each in parts],
    ).serialize()
    image = ZigbeeImage.read(theirs)
    assert own_fields(image.header) == fields(header)
    assert image.elements == tuple(parts)
    assert image.pack() == theirs


@given(gb_headers, st.binary(min_size=1, max_size=300))
def test_zigpy_reads_the_header_of_a_gb_image_whose_body_it_cannot(header, body):
    packed = OtaImage(header, body).pack()
    theirs, rest = OTAImageHeader.deserialize(packed)
    assert fields(theirs) == own_fields(header)
    assert (theirs.image_size, rest) == (len(packed), body)
    assert OtaImage.read(packed, Form.PPMID) == OtaImage(header, body)
