"""Releases in the ledger: imported with their images, held against the CPL, signed for a supplier.

Guarantees: what a name stands for never changes (a campaign's frame relies on it), only its life and its signed images
go on; an image that is kept is the release's own to the last octet of its Manufacturer Image; a release that its stage
says is on the CPL is, for each model, Active and with its hash, at the time of its import.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from sqlalchemy import Connection, text

from hanwave.credentials import Certificate
from hanwave.firmware.document import release_from_dict, release_to_dict
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import Form, OtaImage
from hanwave.firmware.life import NEEDS_ACTIVE_CPL, Stage, Step
from hanwave.firmware.release import Release, SignedImage
from hanwave.firmware.terms import DeviceType
from hanwave.ledger import campaigns, cpl, notes, planning
from hanwave.ledger.database import LedgerError
from hanwave.rollout.bench import VIRTUAL

EVERYONE = ""
"""The User ID under which an unsigned image is kept: a PPMID's, or one that waits to be signed."""
_LIVING = frozenset({"life", "signed_images", "cpl_entry", "cpl_status", "fallback", "manufacturer_image"})


@dataclass(frozen=True, slots=True)
class ReleaseImport:
    """What became of a release file: outcome is added, changed or unchanged."""

    name: str
    outcome: str
    stage: str
    images_added: int
    signatures_verified: int
    """Of the signed images given, those whose signer's certificate was given too."""
    fallback_known: bool


@dataclass(frozen=True, slots=True)
class _Image:
    user_id: str
    certificate: str | None
    data: bytes
    verified: bool = False


def import_release(
    connection: Connection,
    release: Release,
    images: Sequence[bytes],
    actor: str,
    now: datetime,
    certificates: Sequence[Certificate] = (),
) -> ReleaseImport:
    """Keep a release and its OTA Upgrade Images; ReleaseError, ImageError or LedgerError says why not.

    A signed image must be one that the release lists, and its signature is verified where its certificate is given.
    The same release again changes nothing; a later document of it must continue its life.
    """
    _check_one_manufacturer(release)
    if release.stage in NEEDS_ACTIVE_CPL:
        cpl.check_release(connection, release)
    found = [_read_image(release, image, certificates) for image in images]
    if release.manufacturer_image is not None:
        found.append(_Image(EVERYONE, None, _unsigned(release, release.manufacturer_image)))
    outcome = _keep(connection, release, now)
    added = sum(_keep_image(connection, release.name, image, now) for image in found)
    if outcome == "added" and not found:
        raise LedgerError(
            f"release {release.name} comes without an image: give its OTA Upgrade Image, or a document that holds its"
            " Manufacturer Image"
        )
    done = ReleaseImport(
        release.name,
        "changed" if added and outcome == "unchanged" else outcome,
        planning.release(connection, release.name).stage.value,
        added,
        sum(image.verified for image in found),
        fallback_known=release.fallback is None or _is_known(connection, release.fallback),
    )
    if done.outcome != "unchanged":
        _note(connection, "import_release", release, actor, now)
    return done


def _note(connection: Connection, verb: str, release: Release, actor: str, now: datetime) -> None:
    document = {"stage": release.stage.value, "hash": release.manufacturer_image_hash.hex().upper()}
    notes.add(connection, notes.Said(actor, verb, f"release/{release.name}", document=document), now)


def _check_one_manufacturer(release: Release) -> None:
    names = sorted({f"{model.manufacturer:04X}" for model in release.models})
    if len(names) > 1:
        raise LedgerError(
            f"release {release.name} is for models of the manufacturers {', '.join(names)}, it should be for one's"
        )


def _read_image(release: Release, data: bytes, certificates: Sequence[Certificate]) -> _Image:
    if release.device_type is DeviceType.PPMID:
        release.check_image(OtaImage.read(data, Form.PPMID))
        return _Image(EVERYONE, None, data)
    image = OtaImage.read(data, Form.SIGNED)
    release.check_image(image)
    signed = next((each for each in release.signed_images if each.is_image(data)), None)
    if signed is None:
        raise LedgerError(
            f"release {release.name} does not list the signed image given: it should be one of its"
            f" {len(release.signed_images)}, to the last octet"
        )
    issued = (signed.certificate_issuer, signed.certificate_serial)
    signer = next((each for each in certificates if (each.issuer, each.serial) == issued), None)
    if signer:
        image.check_signature(signer, signed.signed_at)
    return _Image(str(signed.user_id), str(signed.certificate_serial), data, verified=signer is not None)


def _unsigned(release: Release, manufacturer_image: bytes) -> bytes:
    title = header_string(release.name[:32])
    header = Header(
        release.manufacturer_code, release.image_type, release.firmware_version, title, hardware=release.hardware
    )
    return OtaImage(header, manufacturer_image).pack()


def _held(connection: Connection, name: str) -> Release | None:
    """The release as the ledger has it, locked until the transaction ends; None where there is none."""
    statement = text("SELECT document FROM release WHERE name = :name FOR UPDATE")
    document = connection.execute(statement, {"name": name}).scalar_one_or_none()
    return None if document is None else release_from_dict(document)


def _is_known(connection: Connection, name: str) -> bool:
    return connection.execute(text("SELECT 1 FROM release WHERE name = :name"), {"name": name}).first() is not None


def _keep(connection: Connection, release: Release, now: datetime) -> str:
    new = replace(release, manufacturer_image=None)
    held = _held(connection, release.name)
    if held is None:
        _insert(connection, new, now)
        return "added"
    _check_same(held, new)
    if held == new:
        return "unchanged"
    if _goes_on(held, new):
        _update(connection, new)
        return "changed"
    if not _goes_on(new, held):
        raise LedgerError(
            f"release {release.name}: its life or its signed images do not go on from what the ledger has, which is"
            f" {held.stage} after {len(held.life)} steps with {len(held.signed_images)} signed images"
        )
    return "unchanged"


def _goes_on(before: Release, after: Release) -> bool:
    same_life = after.life[: len(before.life)] == before.life
    return same_life and set(before.signed_images) <= set(after.signed_images)


def _check_same(held: Release, new: Release) -> None:
    for name in (each.name for each in fields(Release) if each.name not in _LIVING):
        if getattr(held, name) != getattr(new, name):
            raise LedgerError(
                f"the name {held.name!r} is taken by a release with another {name}: choose another name, or give the"
                " document that the ledger has"
            )


def _insert(connection: Connection, release: Release, now: datetime) -> None:
    statement = text(
        "INSERT INTO release (name, device_type, manufacturer, firmware_version, image_hash, stage, document, added_at)"
        " VALUES (:name, :device_type, :manufacturer, :version, :hash, :stage, CAST(:document AS jsonb), :now)"
    )
    values = {
        "device_type": release.device_type.value,
        "manufacturer": f"{release.models[0].manufacturer:04X}",
        "version": str(release.firmware_version),
        "hash": release.manufacturer_image_hash.hex().upper(),
        "now": now,
    }
    connection.execute(statement, _living(release) | values)


def _update(connection: Connection, release: Release) -> None:
    statement = "UPDATE release SET stage = :stage, document = CAST(:document AS jsonb) WHERE name = :name"
    connection.execute(text(statement), _living(release))


def _living(release: Release) -> dict[str, Any]:
    return {"name": release.name, "stage": release.stage.value, "document": json.dumps(release_to_dict(release))}


def _keep_image(connection: Connection, release: str, image: _Image, now: datetime) -> bool:
    statement = text(
        "INSERT INTO signed_image (release, user_id, certificate, image, added_at)"
        " VALUES (:release, :user_id, :certificate, :image, :now) ON CONFLICT DO NOTHING"
    )
    values = {"user_id": image.user_id, "certificate": image.certificate, "image": image.data, "now": now}
    return connection.execute(statement, values | {"release": release}).rowcount == 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A release in short."""

    name: str
    device_type: str
    manufacturer: str
    firmware_version: str
    stage: str
    image_hash: str
    images: list[str]
    """The User IDs that have an image of it; "everyone" for an unsigned one."""
    added_at: datetime


def listed(connection: Connection, user_id: str | None = None) -> list[Listed]:
    """Every release, by name; where a User ID is given, with the images for it and for everyone alone."""
    rows = connection.execute(
        text(
            "SELECT r.name, r.device_type, r.manufacturer, r.firmware_version, r.stage, r.image_hash,"
            " array(SELECT coalesce(nullif(i.user_id, ''), 'everyone') FROM signed_image i WHERE i.release = r.name"
            " AND (CAST(:user AS text) IS NULL OR i.user_id IN ('', :user)) ORDER BY i.id) AS images, r.added_at"
            " FROM release r ORDER BY r.name"
        ),
        {"user": user_id},
    )
    return [Listed(*row) for row in rows]


def image_for(connection: Connection, name: str, user_id: str, certificate: str | None = None) -> bytes:
    """The OTA Upgrade Image of a release that this User ID sends; LedgerError where there is none for it.

    certificate is the serial, in decimal, of the supplier's certificate on the device; None: the image signed last.
    """
    one_for_all = planning.release(connection, name).device_type is DeviceType.PPMID
    image: bytes | None = connection.execute(
        text(
            "SELECT image FROM signed_image WHERE release = :name AND user_id = :user_id"
            " AND (CAST(:certificate AS text) IS NULL OR certificate = :certificate) ORDER BY id DESC LIMIT 1"
        ),
        {
            "name": name,
            "user_id": EVERYONE if one_for_all else user_id,
            "certificate": None if one_for_all else certificate,
        },
    ).scalar_one_or_none()
    if image is None:
        under = f" under the certificate {certificate}" if certificate else ""
        raise LedgerError(f"release {name} has no image signed for the User ID {user_id}{under}: sign one")
    return image


def sign_release(
    connection: Connection,
    name: str,
    key: EllipticCurvePrivateKey,
    certificate: Certificate,
    actor: str,
    now: datetime,
) -> SignedImage:
    """Sign a release for the supplier of that certificate and keep the image; a release at cpl_active becomes signed.

    ReleaseError, ImageError or CredentialError says why not: it is for PPMIDs, is not Active on the CPL, was signed
    under that certificate before, or the certificate cannot sign at that time.
    """
    release = _held(connection, name) or planning.release(connection, name)
    if release.device_type is DeviceType.PPMID:
        raise LedgerError(
            f"release {name} is for PPMIDs, whose image carries no supplier signature: there is nothing to sign"
        )
    cpl.check_release(connection, release)
    image = _any_image(connection, release).sign(key, certificate, now)
    signed = SignedImage.of(image, certificate, now)
    release = release.with_signed_image(signed)
    if release.stage is Stage.CPL_ACTIVE:
        evidence = f"signed for {certificate.eui} under the certificate {certificate.serial}"
        release = release.advance(Step(Stage.SIGNED, actor, now, evidence))
    _update(connection, release)
    _keep_image(connection, name, _Image(str(certificate.eui), str(certificate.serial), image.pack()), now)
    _note(connection, "sign_release", release, actor, now)
    return signed


def _any_image(connection: Connection, release: Release) -> OtaImage:
    row = connection.execute(
        text("SELECT user_id, image FROM signed_image WHERE release = :name ORDER BY user_id LIMIT 1"),
        {"name": release.name},
    ).one()
    image = OtaImage.read(row.image, Form.PPMID if row.user_id == EVERYONE else Form.SIGNED)
    image.check_hash(release.manufacturer_image_hash)
    return image


def pass_lab(connection: Connection, campaign: str, actor: str, now: datetime, *, training: bool = False) -> str:
    """Move a verified release to lab_passed, on the evidence of a bench campaign whose gates all passed; its name.

    LedgerError where the campaign is none of a bench, is not over, a gate of it did not pass, no device was sent the image,
    or (unless in a training installation) a step of it went by a simulated radio; ReleaseError where the release is at
    another stage.
    """
    frame = campaigns.frame(connection, campaign)
    if not frame.on_bench:
        raise LedgerError(f"campaign {campaign} went by {frame.route}: only one of a bench is evidence for lab_passed")
    waves = connection.execute(_GATES, {"name": campaign}).one()
    if waves.closed_at is None or waves.passed < waves.waves:
        raise LedgerError(
            f"{waves.waves - waves.passed} of {waves.waves} gates of campaign {campaign} did not pass: it is no evidence"
            " for lab_passed"
        )
    radios = _radios(connection, campaign, training=training)
    release = _held(connection, frame.release) or planning.release(connection, frame.release)
    evidence = (
        f"bench campaign {campaign} over {frame.route} by {radios}: {waves.devices} devices, every gate passed, plan"
        f" {frame.digest}"
    )
    release = release.advance(Step(Stage.LAB_PASSED, actor, now, evidence))
    _update(connection, release)
    _note(connection, "pass_lab", release, actor, now)
    return release.name


def _radios(connection: Connection, campaign: str, *, training: bool) -> str:
    """The radios that a bench campaign went by."""
    rows = connection.execute(_RADIOS, {"name": campaign}).all()
    if not any(row.sent for row in rows):
        raise LedgerError(
            f"no device of campaign {campaign} was sent its image: it is no evidence for lab_passed, give one to devices"
            " that run another version"
        )
    if not training and any(row.radio in {None, VIRTUAL} for row in rows):
        raise LedgerError(
            f"campaign {campaign} went by a simulated radio: that is evidence for lab_passed in the environment emulator"
            " alone, run it on a coordinator"
        )
    return ", ".join(sorted(row.radio or "?" for row in rows))


_RADIOS = text(
    "SELECT parameters ->> 'radio' AS radio, bool_or(leg = 'distribute') AS sent FROM outbox WHERE campaign = :name GROUP BY 1"
)
_GATES = text(
    "SELECT c.closed_at, count(*) AS waves, count(*) FILTER (WHERE w.verdict = 'pass') AS passed, sum(w.size) AS devices"
    " FROM campaign c JOIN wave w ON w.campaign = c.name WHERE c.name = :name GROUP BY c.name"
)
