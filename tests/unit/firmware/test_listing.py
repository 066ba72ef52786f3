from dataclasses import replace

import pytest

from hanwave.firmware.cpl import CplEntry
from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.image import manufacturer_image_hash
from hanwave.firmware.listing import check_listed
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion, Model
from tests.unit.firmware.making import BODY, MODEL, VERSION, release

pytestmark = pytest.mark.unit

ENTRY = CplEntry(2, DeviceType.ESME, MODEL, 0x1111, VERSION, manufacturer_image_hash(BODY), CplStatus.ACTIVE)
OTHER = Model(0x121D, 0x2222)


def test_a_release_that_the_cpl_lists_has_its_entries_named():
    elsewhere = [
        replace(ENTRY, line=3, model=OTHER),
        replace(ENTRY, line=4, hardware=0x1300, hash=bytes(32)),
        replace(ENTRY, line=5, firmware_version=FirmwareVersion(1), hash=bytes(32)),
    ]
    assert check_listed(release(), [ENTRY, *elsewhere]) == (ENTRY,)


def test_a_model_that_the_cpl_does_not_list_is_named():
    with pytest.raises(ReleaseError, match="lists no firmware 0123ABCD of model 121D/2222 on hardware 1111-1211"):
        check_listed(release(models=(MODEL, OTHER)), [ENTRY])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device_type": DeviceType.GSME}, "the device type of line 2 of the CPL .* holds GSME, it should hold ESME"),
        ({"hash": bytes(32)}, "the hash of line 2 of the CPL .* holds 0000"),
        ({"hash": None}, "the hash of line 2 of the CPL .* holds nothing"),
        ({"status": CplStatus.EXPIRED}, "the status of line 2 of the CPL .* holds Expired, it should hold Active"),
    ],
)
def test_an_entry_that_contradicts_the_release_says_which_field(changes, sentence):
    with pytest.raises(ReleaseError, match=sentence):
        check_listed(release(), [replace(ENTRY, **changes)])
