"""DCC's own sample image, within its 11.1 template, read beside the checkout and never copied."""

import base64
import re
from pathlib import Path

import pytest

from hanwave.firmware.image import Form, OtaImage, looks_signed

pytestmark = pytest.mark.dcc

TEMPLATE = Path(__file__).parents[4] / "shared/domain/templates/11.1_UPDATE_FIRMWARE.xml"


@pytest.fixture
def sample() -> bytes:
    if not TEMPLATE.exists():
        pytest.skip("DCC's templates are not beside the checkout")
    found = re.search(r"<sr:FirmwareImage>([^<]*)<", TEMPLATE.read_text(encoding="utf-8"))
    assert found
    return base64.b64decode(found[1], validate=True)


def test_the_sample_image_dissects_as_the_domain_says(sample):
    image = OtaImage.read(sample, Form.SIGNED)
    header = image.header
    assert (header.length, header.field_control, header.stack_version) == (60, 0x0004, 0x0002)
    assert (header.manufacturer_code, header.image_type, str(header.file_version)) == (0x121D, 0x0000, "ACDCACDC")
    assert header.title == "I am a GFI ESME[] firmware image"
    assert str(header.hardware) == "1111-1211"
    assert (image.size, len(image.manufacturer_image)) == (361, 235)
    assert image.signature.force_replace is False
    assert image.manufacturer_image == sample[60:295]
    assert image.signature.value == sample[297:]
    assert looks_signed(sample)
    assert image.pack() == sample
