"""Attacks on images: what is forged, cut, swelled or crossed over is refused by the package's own error."""

import time
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware.elements import SubElement, ZigbeeImage
from hanwave.firmware.errors import FirmwareError, ImageError
from hanwave.firmware.header import MAX_IMAGE_SIZE
from hanwave.firmware.image import Form, OtaImage
from hanwave.firmware.life import Stage
from hanwave.firmware.release import SignedImage
from tests.unit.firmware.making import NOW, header, release, signed, supplier, unsigned

pytestmark = pytest.mark.attack

IMAGE = signed(b"the image that was signed")
DATA = IMAGE.pack()
RECORD = SignedImage.of(IMAGE, supplier().certificate, NOW)


def read_or_refuse(data: bytes) -> OtaImage | None:
    try:
        return OtaImage.read(data, Form.SIGNED)
    except ImageError:
        return None


def test_every_prefix_is_refused():
    for size in range(len(DATA)):
        for form in Form:
            with pytest.raises(ImageError):
                OtaImage.read(DATA[:size], form)
        with pytest.raises(ImageError):
            ZigbeeImage.read(DATA[:size])


def test_every_single_octet_change_is_refused_or_another_image():
    for offset in range(len(DATA)):
        for flip in (0x01, 0x80, 0xFF):
            changed = DATA[:offset] + bytes([DATA[offset] ^ flip]) + DATA[offset + 1 :]
            read = read_or_refuse(changed)
            assert not RECORD.is_image(changed)
            assert read != IMAGE
            # Beyond the header and forceReplace, the signature itself must see it.
            if read and offset >= read.header.length and offset != len(DATA) - 66:
                with pytest.raises(ImageError, match="the signature is not that of"):
                    read.check_signature(supplier().certificate, NOW)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: DATA[:56] + tail))
def test_no_octets_raise_anything_but_the_packages_error(data):
    for read in (partial(OtaImage.read, form=Form.SIGNED), partial(OtaImage.read, form=Form.PPMID), ZigbeeImage.read):
        with suppress(FirmwareError):
            assert read(data).pack() == data


def test_a_signature_moved_to_another_manufacturer_image_is_refused():
    forged = replace(unsigned(b"another image"), signature=IMAGE.signature)
    with pytest.raises(ImageError, match="the signature is not that of"):
        forged.check_signature(supplier().certificate, NOW)


@pytest.mark.parametrize("value", [bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32, b"\x01" * 32 + bytes(32)])
def test_a_degenerate_signature_is_refused(value):
    forged = replace(IMAGE, signature=replace(IMAGE.signature, value=value))
    with pytest.raises(ImageError, match="the signature is not that of"):
        forged.check_signature(supplier().certificate, NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("the manufacturer code", {"manufacturer_code": 0x121E}),
        ("the image type", {"image_type": 1}),
        ("the file version", {"file_version": replace(IMAGE.header.file_version, value=1)}),
        ("the hardware versions", {"hardware": replace(IMAGE.header.hardware, maximum=0xFFFF)}),
    ],
)
def test_a_header_exchanged_under_a_right_signature_is_not_the_releases(field, changes):
    genuine = signed()
    forged = replace(genuine, header=header(**changes))
    forged.check_signature(supplier().certificate, NOW)
    with pytest.raises(ImageError, match=f"{field} holds .* it should be .* \\(release meter-2.1\\)"):
        release(Stage.SIGNED).check_image(forged)
    release(Stage.SIGNED).check_image(genuine)


def test_a_signed_image_stripped_to_the_ppmid_form_is_not_the_releases():
    with pytest.raises(ImageError, match="the form holds ppmid, it should be signed"):
        release(Stage.SIGNED).check_image(unsigned())


def test_a_signed_image_read_as_a_ppmid_image_has_another_hash():
    crossed = OtaImage.read(signed().pack(), Form.PPMID)
    assert crossed.hash != signed().hash


@pytest.mark.parametrize("claimed", [0, 59, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_total_size_that_lies_is_refused(claimed):
    with pytest.raises(ImageError, match="the total image size holds"):
        OtaImage.read(DATA[:52] + claimed.to_bytes(4, "little") + DATA[56:], Form.SIGNED)


def test_an_oversized_image_is_refused_at_once():
    data = DATA + bytes(2 * MAX_IMAGE_SIZE)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ImageError, match="it should have at most 10240000"):
        OtaImage.read(data, Form.SIGNED)
    spent, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 0.05
    assert peak < 1_000_000


def test_ten_megabytes_of_empty_elements_are_refused_early():
    body = SubElement(0, b"").pack() * 1_700_000
    data = header().pack(len(body)) + body
    started = time.perf_counter()
    with pytest.raises(ImageError, match="sub-elements"):
        ZigbeeImage.read(data)
    assert time.perf_counter() - started < 0.05
