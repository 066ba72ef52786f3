from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.image import manufacturer_image_hash
from hanwave.firmware.life import TRANSITIONS, Stage, Step, next_stages
from hanwave.firmware.release import SignedImage
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion
from tests.unit.firmware.making import BODY, MODEL, NOW, ORDER, VERSION, release, signed, step, supplier, unsigned

pytestmark = pytest.mark.unit

SIGNED_IMAGE = SignedImage.of(signed(), supplier().certificate, NOW)


def with_cpl(made, entry, status, *steps):
    """The release with what the CPL now says of it, and the steps that this takes."""
    return replace(made, cpl_entry=entry, cpl_status=status, life=(*made.life, *steps))


def test_a_meter_release_lives_from_received_to_general():
    made = release()
    for day, stage in enumerate(ORDER[DeviceType.ESME][1:], 1):
        if stage is Stage.CPL_ACTIVE:
            made = with_cpl(made, "CPL-77", CplStatus.ACTIVE)
        if stage is Stage.SIGNED:
            made = made.with_signed_image(SIGNED_IMAGE)
        made = made.advance(step(stage, day))
        assert made.stage is stage
    assert [s.stage for s in made.life] == list(ORDER[DeviceType.ESME])


def test_a_ppmid_release_goes_from_cpl_active_to_pilot_without_being_signed():
    made = release(Stage.CPL_ACTIVE, DeviceType.PPMID)
    with pytest.raises(
        ReleaseError, match=r"for PPMID that is cpl_active cannot become signed, only lab_passed, pilot"
    ):
        made.advance(step(Stage.SIGNED, 9))
    piloted = made.advance(step(Stage.PILOT, 9))
    assert piloted.advance(step(Stage.GENERAL, 10)).stage is Stage.GENERAL
    assert piloted.advance(step(Stage.CPL_ACTIVE, 10)).stage is Stage.CPL_ACTIVE


def test_a_ppmid_release_holds_no_signed_image():
    with pytest.raises(ReleaseError, match="whose image carries no supplier signature, but has signed images"):
        release(Stage.CPL_ACTIVE, DeviceType.PPMID).with_signed_image(SIGNED_IMAGE)


def test_a_meter_release_cannot_skip_the_signature():
    with pytest.raises(ReleaseError, match="cannot become pilot, only lab_passed, signed, withdrawn"):
        release(Stage.CPL_ACTIVE).advance(step(Stage.PILOT, 9))
    with pytest.raises(ReleaseError, match="it cannot be signed before a supplier has signed an image of it"):
        release(Stage.CPL_ACTIVE).advance(step(Stage.SIGNED, 9))
    with pytest.raises(ReleaseError, match="cannot become cpl_active"):
        release(Stage.PILOT).advance(step(Stage.CPL_ACTIVE, 9))


@pytest.mark.parametrize("device_type", [DeviceType.ESME, DeviceType.PPMID])
@pytest.mark.parametrize("before", list(ORDER[DeviceType.ESME]))
@pytest.mark.parametrize("after", list(Stage))
def test_the_table_decides_every_pair_of_stages(device_type, before, after):
    if before not in ORDER[device_type]:
        return
    made = release(before, device_type)
    made = replace(
        made,
        cpl_entry="CPL-77",
        cpl_status=CplStatus.ACTIVE,
        signed_images=(SIGNED_IMAGE,)
        if before is Stage.CPL_ACTIVE and device_type is DeviceType.ESME
        else made.signed_images,
    )
    if after in next_stages(before, device_type):
        assert made.advance(step(after, 20)).stage is after
    else:
        with pytest.raises(ReleaseError, match=f"for {device_type} that is {before} cannot become {after}, only"):
            made.advance(step(after, 20))


def test_withdrawn_is_reached_from_every_stage_and_left_by_none():
    for stage in ORDER[DeviceType.ESME]:
        gone = release(stage).advance(step(Stage.WITHDRAWN, 20))
        with pytest.raises(ReleaseError, match="that is withdrawn cannot become pilot, only nothing more"):
            gone.advance(step(Stage.PILOT, 21))
    assert not TRANSITIONS[Stage.WITHDRAWN]


@given(st.lists(st.sampled_from(Stage), max_size=8))
def test_no_order_of_steps_reaches_a_fleet_without_lab_cpl_and_signature(stages):
    made = release()
    for day, stage in enumerate(stages, 1):
        try:
            made = made.advance(step(stage, day))
        except ReleaseError:
            continue
    assert made.stage not in {Stage.CPL_ACTIVE, Stage.SIGNED, Stage.PILOT, Stage.GENERAL}


@pytest.mark.parametrize("status", [CplStatus.WITHDRAWN, CplStatus.EXPIRED, CplStatus.CANCELLED])
@pytest.mark.parametrize("stage", [Stage.CPL_ACTIVE, Stage.SIGNED, Stage.PILOT, Stage.GENERAL])
def test_a_lost_cpl_entry_sends_the_release_back_to_the_lab_stage(stage, status):
    made = release(stage)
    with pytest.raises(
        ReleaseError, match=rf"it cannot be {stage} with its CPL entry {status}: .* go back to lab_passed"
    ):
        with_cpl(made, "CPL-77", status)
    back = with_cpl(made, "CPL-77", status, step(Stage.LAB_PASSED, 20))
    assert back.stage is Stage.LAB_PASSED
    assert back.signed_images == made.signed_images
    submitted = back.advance(step(Stage.CPL_SUBMITTED, 21))
    with pytest.raises(ReleaseError, match="it cannot be cpl_active with its CPL entry"):
        submitted.advance(step(Stage.CPL_ACTIVE, 22))
    assert with_cpl(submitted, "CPL-78", CplStatus.ACTIVE, step(Stage.CPL_ACTIVE, 22)).stage is Stage.CPL_ACTIVE


def test_the_second_channel_must_give_the_same_hash():
    with pytest.raises(
        ReleaseError, match=r"the second channel gave the hash 0{64}, the Manufacturer Image has [0-9A-F]{64}"
    ):
        release().advance(step(Stage.VERIFIED, 1, second_channel_hash=bytes(32)))
    with pytest.raises(ReleaseError, match="the step to verified should hold the hash from the second channel"):
        step(Stage.VERIFIED, 1, second_channel_hash=None)
    with pytest.raises(ReleaseError, match="the step to pilot should not hold the hash"):
        step(Stage.PILOT, 1, second_channel_hash=manufacturer_image_hash(BODY))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"actor": " "}, "names no actor"),
        ({"evidence": ""}, "evidence of the step to pilot has 0 characters"),
        ({"evidence": "\n "}, "not be blank"),
        ({"evidence": "x" * 2001}, "has 2001 characters"),
        ({"at": NOW.replace(tzinfo=None)}, "it should have a time zone"),
    ],
)
def test_a_step_without_actor_evidence_or_zone_is_refused(changes, sentence):
    with pytest.raises(ReleaseError, match=sentence):
        Step(**({"stage": Stage.PILOT, "actor": "a", "at": NOW, "evidence": "e"} | changes))


def test_a_step_dated_before_the_one_before_it_is_refused():
    with pytest.raises(
        ReleaseError, match=r"the step to verified is dated 2026-05-31 .*, it should not be before received"
    ):
        release().advance(step(Stage.VERIFIED, -1))
    assert release().advance(step(Stage.VERIFIED, 0)).life[-1].at - NOW == timedelta(0)


@pytest.mark.parametrize("life", [(), (step(Stage.VERIFIED),)])
def test_a_life_begins_with_received(life):
    with pytest.raises(ReleaseError, match="a release's life begins with received"):
        release(life=life)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Meter 2.1"}, "the name 'Meter 2.1' should be of a-z"),
        ({"fallback": "../x"}, "the name '../x' should be"),
        ({"fallback": "meter-2.1"}, "it cannot be its own fallback"),
        ({"device_type": DeviceType.IHD}, "the device type holds IHD, it should be one of ESME, GSME, HCALCS, PPMID"),
        ({"models": ()}, "it names no model"),
        ({"models": (MODEL, MODEL)}, "its models hold one twice: 121D/1111, 121D/1111"),
        ({"predecessors": (FirmwareVersion(1),) * 2}, "its predecessors hold one twice"),
        ({"predecessors": (VERSION,)}, "its own version 0123ABCD cannot be a predecessor"),
        ({"predecessors": (FirmwareVersion(0x0200_0000),)}, "02000000 is newer than its version 0123ABCD, which needs"),
        ({"manufacturer_image_length": 0}, "the Manufacturer Image's length holds 0"),
        ({"manufacturer_image": BODY + b"x"}, "Manufacturer Image has 461 octets, it should have 460"),
        ({"manufacturer_image": BODY[::-1]}, "Manufacturer Image has the hash [0-9A-F]{64}, it should have"),
        ({"cpl_entry": "CPL-1"}, "a CPL entry and its status come together"),
        ({"signed_images": (SIGNED_IMAGE,)}, "it has signed images, but never was cpl_active"),
    ],
)
def test_a_release_that_contradicts_itself_is_refused_by_name(changes, sentence):
    with pytest.raises(ReleaseError, match=f"release .*: .*{sentence}"):
        release(**changes)


def test_a_release_that_may_downgrade_may_have_newer_predecessors():
    made = release(predecessors=(FirmwareVersion(0x0200_0000),), may_downgrade=True, manufacturer_image=BODY)
    assert made.may_downgrade


def test_each_supplier_has_its_own_signed_image_once():
    made = release(Stage.SIGNED)
    with pytest.raises(ReleaseError, match="two signed images for User ID A0-00-00-00-00-00-00-01 and certificate"):
        made.with_signed_image(SIGNED_IMAGE)
    theirs = signed(by=supplier(2))
    both = made.with_signed_image(SignedImage.of(theirs, supplier(2).certificate, NOW))
    assert [s.user_id for s in both.signed_images] == [supplier().certificate.eui, supplier(2).certificate.eui]
    assert both.signed_images[1].is_image(theirs.pack())
    assert not both.signed_images[0].is_image(theirs.pack())


def test_a_release_knows_its_own_images():
    release(Stage.CPL_ACTIVE, DeviceType.PPMID).check_image(unsigned())
    release().check_image(signed())
