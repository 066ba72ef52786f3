import json
from itertools import product

import pytest

from hanwave.firmware.document import MAX_DOCUMENT, read_release, release_from_dict, release_to_dict
from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.life import Stage
from hanwave.firmware.terms import DeviceType, FirmwareVersion, GbcsVersion
from tests.unit.firmware.making import BODY, release

pytestmark = pytest.mark.unit

FULL = release(
    Stage.GENERAL,
    predecessors=(FirmwareVersion(1), FirmwareVersion(2)),
    minimum_hub_firmware=FirmwareVersion(0xCAFE),
    minimum_gbcs_version=GbcsVersion(4, 1),
    fallback="meter-2.0",
    manufacturer_image=BODY,
)


@pytest.mark.parametrize("made", [FULL, release(), release(Stage.PILOT, DeviceType.PPMID)])
def test_what_is_written_is_read_back(made):
    document = release_to_dict(made)
    assert release_from_dict(document) == made
    assert read_release(json.dumps(document).encode()) == made


def test_the_document_is_written_as_people_write_these_things():
    document = release_to_dict(FULL)
    assert document["manufacturer_code"] == "121D"
    assert document["models"] == ["121D/1111"]
    assert document["hardware"] == "1111-1211"
    assert document["predecessors"] == ["00000001", "00000002"]
    assert document["minimum_gbcs_version"] == "4.1"
    assert document["life"][1]["second_channel_hash"] == document["manufacturer_image_hash"]
    assert document["life"][0]["at"] == "2026-06-01T12:00:00Z"
    assert document["signed_images"][0]["user_id"] == "A0-00-00-00-00-00-00-01"
    assert document["signed_images"][0]["certificate_serial"].isdecimal()


WRONG = [
    ("manufacturer_code", 0x121D, "manufacturer_code: it should be a string"),
    ("manufacturer_code", "0x121D", r"manufacturer_code: '0x121D' should be 4 hexadecimal digits \(it held '0x121D'\)"),
    ("image_type", "84", "image_type: '84' should be 4"),
    ("device_type", "esme", "device_type: Input should be 'ESME'"),
    ("models", "121D/1111", "models: Input should be a valid array"),
    ("models", [7], "models.0: it should be a string"),
    ("hardware", "1211-1111", "hardware: the minimum hardware version holds"),
    ("firmware_version", "123ABCD", "firmware_version: '123ABCD' should be 8"),
    ("manufacturer_image_hash", "AB", "manufacturer_image_hash: 'AB' should be 64"),
    ("manufacturer_image_length", "460", "manufacturer_image_length: Input should be a valid integer"),
    ("manufacturer_image_length", 460.0, "manufacturer_image_length: Input should be a valid integer"),
    ("manufacturer_image", "!!", "manufacturer_image: it should be base64"),
    ("may_downgrade", 1, "may_downgrade: Input should be a valid boolean"),
    ("minimum_gbcs_version", 4.1, "minimum_gbcs_version: it should be a string"),
    ("cpl_status", "active", "cpl_status: Input should be 'Active'"),
    ("life", [{"stage": "received"}], "life.0.actor: Field required"),
    ("colour", "red", "colour: Unexpected keyword argument"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), WRONG)
def test_a_wrong_field_is_named_with_what_it_held(field, value, sentence):
    with pytest.raises(ReleaseError, match=f"the release document: {sentence}"):
        release_from_dict(release_to_dict(FULL) | {field: value})


@pytest.mark.parametrize(
    ("serial", "at"), [*product(["0", "1.5", "0x1", "-1"], ["2026-06-01T12:00:00Z"]), ("7", "2026-06-01T12:00:00")]
)
def test_a_signed_images_serial_is_decimal_and_its_time_has_a_zone(serial, at):
    document = release_to_dict(FULL)
    document["signed_images"][0] |= {"certificate_serial": serial, "signed_at": at}
    with pytest.raises(
        ReleaseError, match=r"signed_images\.0\.(certificate_serial: it should be|signed_at: .* timezone)"
    ):
        release_from_dict(document)


def test_a_missing_field_is_named():
    document = release_to_dict(FULL)
    del document["firmware_version"]
    with pytest.raises(ReleaseError, match="firmware_version: Field required"):
        release_from_dict(document)


def test_a_document_whose_life_skips_the_lab_is_refused():
    document = release_to_dict(FULL)
    del document["life"][2]
    with pytest.raises(ReleaseError, match="that is verified cannot become cpl_submitted"):
        release_from_dict(document)


@pytest.mark.parametrize("document", [[], None, "x", {"name": b"x"}, {"name": float("nan")}, {1j: 2}])
def test_what_is_no_json_object_is_refused(document):
    with pytest.raises(ReleaseError, match="the release document"):
        release_from_dict(document)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"name": "a", "name": "b"}', "'name' stands twice"),
        (b" " * (MAX_DOCUMENT + 1), "it should have at most"),
    ],
)
def test_a_file_that_is_no_release_is_refused(data, sentence):
    with pytest.raises(ReleaseError, match=sentence):
        read_release(data)


def test_nesting_that_python_cannot_follow_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ReleaseError, match="holds what JSON cannot"):
        release_from_dict(deep)
