"""Releases, the CPL and holds in the ledger."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.credentials import CredentialError
from hanwave.errors import HanwaveError
from hanwave.firmware.cpl import CplEntry
from hanwave.firmware.errors import ImageError, ReleaseError
from hanwave.firmware.image import Form, OtaImage, manufacturer_image_hash
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release, SignedImage
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion, Model
from hanwave.ledger import cpl, holds, planning, releases
from hanwave.ledger.database import LedgerError
from tests.support.ledger import eui
from tests.unit.firmware import making
from tests.unit.firmware.making import BODY, MODEL, NOW, VERSION, expired_supplier, release, signed, supplier, unsigned

pytestmark = pytest.mark.ledger
ENTRY = CplEntry(2, DeviceType.ESME, MODEL, 0x1111, VERSION, manufacturer_image_hash(BODY), CplStatus.ACTIVE, "CPL-77")


def a_signed_release(image: OtaImage | None = None, **changes) -> tuple[Release, bytes]:
    image = image or signed()
    listed = (SignedImage.of(image, supplier().certificate, NOW),)
    return release(Stage.SIGNED, signed_images=listed, **changes), image.pack()


@pytest.fixture
def on_cpl(ledger):
    def put(*entries: CplEntry, now=NOW):
        with ledger.begin() as connection:
            return cpl.import_cpl(connection, entries, "ann", now)

    put(ENTRY, replace(ENTRY, device_type=DeviceType.PPMID, firmware_version=FirmwareVersion(7)))
    return put


@pytest.fixture
def bring(ledger, on_cpl):
    def bring(made: Release, *images: bytes, certificates=()):
        with ledger.begin() as connection:
            return releases.import_release(connection, made, images, "ann", NOW, certificates)

    return bring


def held(ledger, name="meter-2.1"):
    with ledger.connect() as connection:
        return planning.release(connection, name)


def image_for(ledger, user_id, certificate=None, name="meter-2.1"):
    with ledger.connect() as connection:
        return releases.image_for(connection, name, user_id, certificate)


def notes(ledger):
    with ledger.connect() as connection:
        return connection.execute(text("SELECT verb, subject, document FROM note ORDER BY id")).all()


def nothing_is_held(ledger):
    with ledger.connect() as connection:
        tables = ("release", "signed_image")
        return all(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0 for table in tables)


def test_a_release_is_kept_with_its_image_and_read_back_whole(ledger, bring):
    made, image = a_signed_release(fallback="meter-2.0")
    done = bring(made, image, certificates=(supplier().certificate,))
    assert done == releases.ReleaseImport("meter-2.1", "added", "signed", 1, 1, fallback_known=False)
    assert held(ledger) == made
    ours = supplier().certificate
    assert image_for(ledger, str(ours.eui)) == image_for(ledger, str(ours.eui), str(ours.serial)) == image
    assert notes(ledger)[-1][:2] == ("import_release", "release/meter-2.1")


def test_the_same_release_again_changes_nothing(ledger, bring):
    made, image = a_signed_release()
    bring(made, image)
    before = notes(ledger)
    assert bring(made, image).outcome == "unchanged"
    assert notes(ledger) == before


def test_a_later_document_goes_on_from_the_ledgers_and_an_earlier_one_takes_nothing_back(ledger, bring):
    made, image = a_signed_release()
    bring(made, image)
    later = made.advance(making.step(Stage.PILOT, 9))
    assert bring(later).outcome == "changed"
    assert held(ledger).stage is Stage.PILOT
    assert bring(made, image).outcome == "unchanged"
    assert held(ledger) == later


def test_a_life_that_goes_another_way_is_refused(ledger, bring):
    made, image = a_signed_release()
    bring(made.advance(making.step(Stage.PILOT, 9)), image)
    other = made.advance(Step(Stage.WITHDRAWN, "bob", NOW + timedelta(days=9), "withdrawn"))
    with pytest.raises(LedgerError, match="do not go on from what the ledger has, which is pilot after 7 steps"):
        bring(other)
    assert held(ledger).stage is Stage.PILOT


@pytest.mark.parametrize("changes", [{"may_downgrade": True}, {"models": (MODEL, Model(0x121D, 0x2222))}])
def test_a_name_that_is_taken_by_other_content_is_refused(ledger, bring, on_cpl, changes):
    made, image = a_signed_release()
    bring(made, image)
    on_cpl(ENTRY, replace(ENTRY, model=Model(0x121D, 0x2222)))
    with pytest.raises(LedgerError, match=f"'meter-2.1' is taken by a release with another {next(iter(changes))}"):
        bring(replace(made, **changes), image)
    assert held(ledger) == made


def other_body() -> tuple[Release, bytes]:
    made, _ = a_signed_release()
    return made, signed(b"another image" * 30).pack()


def resigned() -> tuple[Release, bytes]:
    return a_signed_release()[0], signed().pack()


def with_trailer_lost() -> tuple[Release, bytes]:
    made, _ = a_signed_release()
    return made, unsigned().pack()


def ppmid_that_is_signed() -> tuple[Release, bytes]:
    made = release(Stage.CPL_ACTIVE, DeviceType.PPMID, firmware_version=FirmwareVersion(7))
    return made, signed(file_version=FirmwareVersion(7)).pack()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (other_body, "the Manufacturer Image's length holds"),
        (resigned, "does not list the signed image given: it should be one of its 1"),
        (with_trailer_lost, "forceReplace holds|signature length"),
        (ppmid_that_is_signed, "the Manufacturer Image's length holds"),
    ],
)
def test_an_image_that_is_not_the_releases_own_is_refused_and_nothing_is_kept(ledger, bring, on_cpl, make, sentence):
    made, image = make()
    if made.device_type is DeviceType.PPMID:
        on_cpl(replace(ENTRY, device_type=DeviceType.PPMID, firmware_version=FirmwareVersion(7)))
    with pytest.raises(HanwaveError, match=sentence):
        bring(made, image)
    assert nothing_is_held(ledger)


def test_a_signature_that_is_not_the_suppliers_is_found_where_its_certificate_is_given(ledger, bring):
    made, image = a_signed_release()
    broken = image[:-1] + bytes([image[-1] ^ 1])
    listing = made.signed_images[0]
    forged = replace(listing, image_digest=hashlib.sha256(broken).digest())
    with pytest.raises(ImageError, match="the signature is not that of"):
        bring(replace(made, signed_images=(forged,)), broken, certificates=(supplier().certificate,))
    assert nothing_is_held(ledger)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (replace(ENTRY, hash=bytes(32)), "the hash of the CPL's entry .* holds 0000"),
        (replace(ENTRY, status=CplStatus.EXPIRED), "the status of the CPL's entry .* holds Expired"),
        (replace(ENTRY, device_type=DeviceType.GSME), "the device type of the CPL's entry .* holds GSME"),
    ],
)
def test_a_release_that_the_cpl_does_not_bear_out_is_refused(ledger, bring, on_cpl, entry, sentence):
    on_cpl(entry)
    with pytest.raises(ReleaseError, match=sentence):
        bring(*a_signed_release())
    assert nothing_is_held(ledger)


def test_a_release_that_the_cpl_does_not_know_is_refused(ledger, bring):
    models = (Model(0x121D, 0x9999),)
    with pytest.raises(ReleaseError, match="the CPL lists no firmware 0123ABCD of model 121D/9999"):
        bring(*a_signed_release(models=models))
    assert nothing_is_held(ledger)


def test_a_release_that_is_not_yet_on_the_cpl_may_come_in_early(ledger, bring):
    made = release(Stage.LAB_PASSED, models=(Model(0x121D, 0x9999),), manufacturer_image=BODY)
    assert bring(made).stage == "lab_passed"


def test_a_release_without_any_image_is_refused(ledger, bring):
    with pytest.raises(LedgerError, match=r"meter-2\.1 comes without an image"):
        bring(a_signed_release()[0])
    assert nothing_is_held(ledger)


def test_a_release_for_two_manufacturers_is_refused(bring):
    made, image = a_signed_release(models=(MODEL, Model(0x1234, 1)))
    with pytest.raises(LedgerError, match="of the manufacturers 121D, 1234, it should be for one's"):
        bring(made, image)


def test_a_ppmids_image_is_one_for_all_and_cannot_be_signed(ledger, bring, on_cpl):
    on_cpl(replace(ENTRY, device_type=DeviceType.PPMID, firmware_version=FirmwareVersion(7)))
    made = release(Stage.CPL_ACTIVE, DeviceType.PPMID, firmware_version=FirmwareVersion(7))
    image = unsigned(file_version=FirmwareVersion(7)).pack()
    bring(made, image)
    assert image_for(ledger, "anyone") == image_for(ledger, "another", "17") == image
    ours = supplier()
    with pytest.raises(LedgerError, match="is for PPMIDs"), ledger.begin() as connection:
        releases.sign_release(connection, "meter-2.1", ours.key, ours.certificate, "ann", NOW)


def sign(ledger, by, now=NOW + timedelta(days=30)):
    with ledger.begin() as connection:
        return releases.sign_release(connection, "meter-2.1", by.key, by.certificate, "ann", now)


def test_an_unsigned_release_is_signed_for_each_supplier_and_the_images_verify(ledger, bring):
    bring(release(Stage.CPL_ACTIVE, manufacturer_image=BODY))
    for number in (1, 2):
        by = supplier(number)
        described = sign(ledger, by)
        data = image_for(ledger, str(by.certificate.eui), str(by.certificate.serial))
        assert described.is_image(data)
        image = OtaImage.read(data, Form.SIGNED)
        image.check_signature(by.certificate, NOW)
        held(ledger).check_image(image)
    assert held(ledger).stage is Stage.SIGNED
    assert len(held(ledger).signed_images) == 2
    with ledger.connect() as connection:
        (listed,) = releases.listed(connection)
    assert listed.images == ["everyone", *(str(supplier(n).certificate.eui) for n in (1, 2))]


def test_a_document_from_before_the_signing_changes_nothing_after_it(ledger, bring):
    made = release(Stage.CPL_ACTIVE, manufacturer_image=BODY)
    bring(made)
    sign(ledger, supplier())
    assert bring(made).outcome == "unchanged"
    assert held(ledger).stage is Stage.SIGNED


def test_what_cannot_sign_is_refused_and_nothing_is_kept(ledger, bring, on_cpl):
    bring(release(Stage.CPL_ACTIVE, manufacturer_image=BODY))
    with pytest.raises(CredentialError, match="valid from"):
        sign(ledger, expired_supplier())
    with pytest.raises(ImageError, match="the key is not the one"):
        sign(ledger, replace(supplier(), key=supplier(2).key))
    on_cpl(replace(ENTRY, status=CplStatus.WITHDRAWN))
    with pytest.raises(ReleaseError, match="holds Withdrawn, it should hold Active"):
        sign(ledger, supplier())
    assert held(ledger).signed_images == ()


def test_signing_twice_under_one_certificate_is_refused(ledger, bring):
    bring(release(Stage.CPL_ACTIVE, manufacturer_image=BODY))
    sign(ledger, supplier())
    with pytest.raises(ReleaseError, match="two signed images for User ID"):
        sign(ledger, supplier())


def test_an_image_for_a_supplier_that_has_none_is_a_refusal_in_one_sentence(ledger, bring):
    bring(*a_signed_release())
    with pytest.raises(LedgerError, match=r"has no image signed for the User ID .* under the certificate 12: sign one"):
        image_for(ledger, str(supplier().certificate.eui), "12")


def test_the_cpl_is_kept_and_each_change_of_status_or_hash_leaves_a_note(ledger, on_cpl):
    hub = replace(ENTRY, device_type=DeviceType.CHF, hash=None)
    done = on_cpl(replace(ENTRY, status=CplStatus.WITHDRAWN), replace(ENTRY, hardware=0x1200), hub)
    assert (done.added, done.changed, done.unchanged, done.absent, done.not_updatable) == (1, 1, 0, 1, 1)
    (change,) = [note for note in notes(ledger) if note.verb == "change_cpl_entry"]
    assert change.subject == "cpl/ESME/121D/1111/1111/0123ABCD"
    assert (change.document["before"]["status"], change.document["after"]["status"]) == ("Active", "Withdrawn")


def test_the_same_cpl_again_changes_nothing(on_cpl):
    done = on_cpl(ENTRY)
    assert (done.added, done.changed, done.unchanged) == (0, 0, 1)


def test_the_import_names_the_releases_that_the_cpl_no_longer_bears_out(bring, on_cpl):
    bring(*a_signed_release())
    assert on_cpl(ENTRY).releases == {}
    assert (
        "holds Cancelled, it should hold Active"
        in on_cpl(replace(ENTRY, status=CplStatus.CANCELLED)).releases["meter-2.1"]
    )


def place(ledger, scope, value, reason="storm", expires=None):
    with ledger.begin() as connection:
        return holds.place(connection, holds.NewHold(scope, value, reason, "ann", expires), NOW)


def in_force(ledger, now=NOW, *, ended=False):
    with ledger.connect() as connection:
        return [(hold.scope, hold.value) for hold in holds.listed(connection, now, ended=ended)]


def test_holds_are_placed_in_canonical_form_expire_and_are_lifted(ledger):
    device = place(ledger, "device", eui(1).replace("-", "").lower())
    place(ledger, "model", "121d/11aa", expires=NOW + timedelta(days=1))
    place(ledger, "region", "4G South")
    assert in_force(ledger) == [("device", eui(1)), ("model", "121D/11AA"), ("region", "4G South")]
    assert in_force(ledger, NOW + timedelta(days=2)) == [("device", eui(1)), ("region", "4G South")]
    with ledger.begin() as connection:
        holds.lift(connection, device, "over", "bob", NOW)
    assert in_force(ledger) == [("model", "121D/11AA"), ("region", "4G South")]
    assert len(in_force(ledger, ended=True)) == 3
    assert [note[:2] for note in notes(ledger)][-1] == ("lift_hold", f"hold/{device}")


def test_whether_a_device_is_held_is_looked_up_and_not_searched_for(ledger):
    """With 5,000 holds, one ticket's, a search took 1.6 ms of each device of a plan or a permit."""
    with ledger.connect() as connection:
        # By the index wherever it can be: a test's few rows alone would be read through.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        asked = f"EXPLAIN SELECT h.reason FROM device d, LATERAL ({holds.HOLDING.format(now=':now')}) h"
        plan = connection.execute(text(asked), {"user_id": "us", "now": NOW}).scalars().all()
    assert any("hold_of" in line for line in plan), "\n".join(plan)


def test_the_note_of_a_home_on_hold_does_not_name_the_home(ledger):
    place(ledger, "home", "premises 4711")
    assert "4711" not in str(notes(ledger))


@pytest.mark.parametrize(
    ("scope", "value", "more", "sentence"),
    [
        ("planet", "Mars", {}, "scope holds 'planet', it should be one of device, model, region, hub, home"),
        ("device", "12-34", {}, "the hold on a device: '12-34' is not an EUI-64"),
        ("hub", "", {}, "the hold on a hub"),
        ("model", "1111", {}, "the hold on a model: '1111' should be a model such as"),
        ("region", "Wales", {}, "region holds 'Wales', it should be one of North"),
        ("home", " ", {}, "names no home"),
        ("region", "South", {"reason": " "}, "a hold needs a reason"),
        ("region", "South", {"expires": NOW}, "it should be later than now"),
    ],
)
def test_a_hold_that_holds_nothing_is_refused(ledger, scope, value, more, sentence):
    with pytest.raises(LedgerError, match=sentence):
        place(ledger, scope, value, **more)
    assert in_force(ledger, ended=True) == []


@pytest.mark.parametrize(("number", "reason", "sentence"), [(99, "x", "no hold 99"), (1, " ", "needs a reason")])
def test_lifting_what_is_not_there_or_without_a_reason_is_refused(ledger, number, reason, sentence):
    place(ledger, "region", "South")
    with pytest.raises(LedgerError, match=sentence), ledger.begin() as connection:
        holds.lift(connection, number, reason, "ann", NOW)
    assert in_force(ledger) == [("region", "South")]
