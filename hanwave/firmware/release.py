"""A release: one Manufacturer Image, what it is for, what it needs, and its life so far.

A Release is always consistent: its history is one that the life's table permits, and its present stage has what that
stage needs (an Active CPL entry; a signed image, unless it is for PPMIDs). Every change makes a new Release.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from hanwave.credentials import Certificate
from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.header import mismatch
from hanwave.firmware.image import Form, OtaImage, manufacturer_image_hash
from hanwave.firmware.life import NEEDS_ACTIVE_CPL, NEEDS_SIGNATURE, Stage, Step, check_history
from hanwave.firmware.terms import UPDATABLE, CplStatus, DeviceType
from hanwave.firmware.written import (
    STRICT,
    DeviceModel,
    Digest,
    Eui,
    Gbcs,
    Hardware,
    Octets,
    Serial,
    Time,
    Uint16,
    Version,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A release's image as one supplier signed it: for one User ID, under one certificate.

    image_digest is the SHA-256 of the whole OTA Upgrade Image, header and signature included, and so its identity.
    """

    __pydantic_config__ = STRICT

    user_id: Eui
    certificate_issuer: str
    certificate_serial: Serial
    image_digest: Digest
    signed_at: Time

    @classmethod
    def of(cls, image: OtaImage, certificate: Certificate, at: datetime) -> Self:
        """Describe an image that this supplier signed; ImageError if it did not, or could not at that time."""
        image.check_signature(certificate, at)
        digest = hashlib.sha256(image.pack()).digest()
        return cls(certificate.eui, certificate.issuer, certificate.serial, digest, at)

    def is_image(self, image: bytes) -> bool:
        """Whether these bytes are that image, to the last octet."""
        return hashlib.sha256(image).digest() == self.image_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a campaign installs.

    manufacturer_code and image_type are those of the OTA header. predecessors are the versions that a device must run
    to take this release (none given: any). The Manufacturer Image itself may be absent; its hash and length never are.
    """

    __pydantic_config__ = STRICT

    name: str
    device_type: DeviceType
    manufacturer_code: Uint16
    image_type: Uint16
    models: tuple[DeviceModel, ...]
    hardware: Hardware
    firmware_version: Version
    manufacturer_image_hash: Digest
    manufacturer_image_length: int
    life: tuple[Step, ...]
    predecessors: tuple[Version, ...] = ()
    may_downgrade: bool = False
    minimum_hub_firmware: Version | None = None
    minimum_gbcs_version: Gbcs | None = None
    cpl_entry: str | None = None
    cpl_status: CplStatus | None = None
    fallback: str | None = None
    signed_images: tuple[SignedImage, ...] = ()
    manufacturer_image: Octets | None = None

    def __post_init__(self) -> None:
        """Refuse (ReleaseError) whatever contradicts itself."""
        for name in filter(None, (self.name, self.fallback)):
            if not _NAME.fullmatch(name):
                raise self._refused(f"the name {name[:80]!r} should be of a-z, 0-9, '.', '_', '-', at most 64 long")
        check_history(self.life, self.device_type, self.manufacturer_image_hash)
        self._check_target()
        self._check_image_facts()
        self._check_cpl()
        self._check_signed_images()

    @property
    def stage(self) -> Stage:
        """Where it is in its life."""
        return self.life[-1].stage

    def advance(self, step: Step) -> Self:
        """The release after one more step; ReleaseError says why the step is out of order or lacks something."""
        return replace(self, life=(*self.life, step))

    def with_signed_image(self, signed: SignedImage) -> Self:
        """The release with one more signed image; ReleaseError when that User ID and certificate have one."""
        return replace(self, signed_images=(*self.signed_images, signed))

    def check_image(self, image: OtaImage) -> None:
        """Refuse (ImageError) an OTA Upgrade Image that is not this release's: each field says what it should hold."""
        header = image.header
        form = Form.PPMID if self.device_type is DeviceType.PPMID else Form.SIGNED
        facts: tuple[tuple[str, object, object], ...] = (
            ("the form", image.form, form),
            ("the manufacturer code", f"0x{header.manufacturer_code:04X}", f"0x{self.manufacturer_code:04X}"),
            ("the image type", f"0x{header.image_type:04X}", f"0x{self.image_type:04X}"),
            ("the file version", header.file_version, self.firmware_version),
            ("the hardware versions", header.hardware, self.hardware),
            ("the Manufacturer Image's length", len(image.manufacturer_image), self.manufacturer_image_length),
        )
        for field, held, should in facts:
            if held != should:
                raise mismatch(field, held, f"{should} (release {self.name})")
        image.check_hash(self.manufacturer_image_hash)

    def _refused(self, sentence: str) -> ReleaseError:
        return ReleaseError(f"release {self.name[:80]}: {sentence}")

    def _check_target(self) -> None:
        if self.device_type not in UPDATABLE:
            raise self._refused(
                f"the device type holds {self.device_type}, it should be one of {', '.join(sorted(UPDATABLE))}"
            )
        if not self.models:
            raise self._refused("it names no model, it should be for at least one")
        for what, values in (("models", self.models), ("predecessors", self.predecessors)):
            if len(set(values)) != len(values):
                raise self._refused(f"its {what} hold one twice: {', '.join(map(str, values))}")
        if self.firmware_version in self.predecessors:
            raise self._refused(f"its own version {self.firmware_version} cannot be a predecessor of it: leave it out")
        if self.fallback == self.name:
            raise self._refused("it cannot be its own fallback: name another release, or none")
        newer = [version for version in self.predecessors if version > self.firmware_version]
        if newer and not self.may_downgrade:
            raise self._refused(
                f"its predecessor {newer[0]} is newer than its version {self.firmware_version},"
                " which needs may_downgrade"
            )

    def _check_image_facts(self) -> None:
        if self.manufacturer_image_length < 1:
            raise self._refused(
                f"the Manufacturer Image's length holds {self.manufacturer_image_length}, it should be at least 1"
            )
        if self.manufacturer_image is None:
            return
        held = manufacturer_image_hash(self.manufacturer_image)
        if len(self.manufacturer_image) != self.manufacturer_image_length:
            raise self._refused(
                f"its Manufacturer Image has {len(self.manufacturer_image)} octets,"
                f" it should have {self.manufacturer_image_length}"
            )
        if held != self.manufacturer_image_hash:
            raise self._refused(
                f"its Manufacturer Image has the hash {held.hex().upper()},"
                f" it should have {self.manufacturer_image_hash.hex().upper()}"
            )

    def _check_cpl(self) -> None:
        if (self.cpl_entry is None) != (self.cpl_status is None):
            raise self._refused("a CPL entry and its status come together, it has only one of them")
        if self.stage in NEEDS_ACTIVE_CPL and self.cpl_status is not CplStatus.ACTIVE:
            raise self._refused(
                f"it cannot be {self.stage} with its CPL entry {self.cpl_status or 'absent'}: the entry should be"
                f" {CplStatus.ACTIVE}, or the release go back to {Stage.LAB_PASSED}"
            )

    def _check_signed_images(self) -> None:
        if self.device_type is DeviceType.PPMID and self.signed_images:
            raise self._refused("it is for PPMIDs, whose image carries no supplier signature, but has signed images")
        if self.signed_images and not any(step.stage is Stage.CPL_ACTIVE for step in self.life):
            raise self._refused(f"it has signed images, but never was {Stage.CPL_ACTIVE}")
        keys = [(s.user_id, s.certificate_issuer, s.certificate_serial) for s in self.signed_images]
        for key in keys:
            if keys.count(key) > 1:
                raise self._refused(f"it has two signed images for User ID {key[0]} and certificate {key[2]:X}")
        if self.stage in NEEDS_SIGNATURE and self.device_type is not DeviceType.PPMID and not self.signed_images:
            raise self._refused(f"it cannot be {self.stage} before a supplier has signed an image of it")
