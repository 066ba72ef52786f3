"""GB's OTA Upgrade Images (GBCS 11.2.3): read, check, build, sign, verify.

An image is a ZigBee OTA header, the Manufacturer Image as it came from the manufacturer (no ZigBee sub-elements), and,
for ESME, GSME and HCALCS only, a supplier signature over the Manufacturer Image. Nothing in the bytes says which of the
two forms it is: the last 66 octets of a PPMID's Manufacturer Image could be anything. So the caller says which form it
expects, and an image that is not of that form is refused. looks_signed() is a hint for a person, and decides nothing.

The signature covers the Manufacturer Image and not the header. What binds a header to a release is
Release.check_image, and what binds a whole image to what was signed is its digest (SignedImage).
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from hanwave.credentials import SIGNATURE_LENGTH, Certificate, CredentialError, Role, sign_raw, verify_raw
from hanwave.firmware.errors import ImageError
from hanwave.firmware.header import MAX_IMAGE_SIZE, ZIGBEE_PRO, FieldControl, Header, mismatch

GB_FIELD_CONTROL = FieldControl.HARDWARE_VERSIONS
"""A GB header has hardware versions and no other optional field (both of DCC's sample images)."""

FORCE_REPLACE = (0, 1)
"""What forceReplace may hold: a flag, for the Communications Hub only. DCC's sample holds 0; 1 is inferred."""

TRAILER_SIZE = 2 + SIGNATURE_LENGTH


class Form(StrEnum):
    """The two forms of an OTA Upgrade Image."""

    SIGNED = "signed"
    """ESME, GSME, HCALCS (SR 11.1): ends with forceReplace, the length 0x40, and the supplier's signature."""
    PPMID = "ppmid"
    """PPMID (SR 11.4): ends with the Manufacturer Image."""


def manufacturer_image_hash(manufacturer_image: bytes) -> bytes:
    """SHA-256 of the Manufacturer Image, 32 octets: the CPL's, SR 11.3's and 8F72's hash (GBCS 11.2.4)."""
    return hashlib.sha256(manufacturer_image).digest()


def looks_signed(image: bytes) -> bool:
    """Whether the last 66 octets could be a supplier signature: a hint for a person, never a proof of either form.

    One in 32,768 unsigned images looks signed by chance; no signed image looks unsigned.
    """
    return len(image) >= TRAILER_SIZE and image[-TRAILER_SIZE] in FORCE_REPLACE and image[-65] == SIGNATURE_LENGTH


@dataclass(frozen=True, slots=True)
class SupplierSignature:
    """The Authorising Remote Party Signature, 64 octets r||s, with the flag that precedes it."""

    value: bytes
    force_replace: bool = False

    def __post_init__(self) -> None:
        """Refuse anything but 64 octets."""
        if len(self.value) != SIGNATURE_LENGTH:
            raise mismatch("the supplier signature", f"{len(self.value)} octets", SIGNATURE_LENGTH)

    def pack(self) -> bytes:
        """The 66 octets that end a signed image."""
        return bytes([self.force_replace, SIGNATURE_LENGTH]) + self.value

    @classmethod
    def read(cls, trailer: bytes) -> Self:
        """Read those 66 octets; ImageError names the field."""
        if trailer[0] not in FORCE_REPLACE:
            raise mismatch("forceReplace", f"0x{trailer[0]:02X}", "0x00 or 0x01 in a signed image")
        if trailer[1] != SIGNATURE_LENGTH:
            raise mismatch("the signature length", f"0x{trailer[1]:02X}", "0x40 in a signed image")
        return cls(trailer[2:], bool(trailer[0]))


@dataclass(frozen=True, slots=True)
class OtaImage:
    """An OTA Upgrade Image of either form; pack() and read() are each other's inverse."""

    header: Header
    manufacturer_image: bytes
    signature: SupplierSignature | None = None

    def __post_init__(self) -> None:
        """Refuse (ImageError) a header that is not GB's, no Manufacturer Image, or more than SR 11.1 can carry."""
        control = self.header.field_control
        if control != GB_FIELD_CONTROL:
            raise mismatch(
                "the header field control", f"0x{control:04X}", f"0x{GB_FIELD_CONTROL:04X} (hardware versions, no more)"
            )
        if self.header.stack_version != ZIGBEE_PRO:
            raise mismatch("the ZigBee stack version", f"0x{self.header.stack_version:04X}", f"0x{ZIGBEE_PRO:04X}")
        if not self.manufacturer_image:
            raise ImageError("the Manufacturer Image is empty, it should have at least one octet")
        if self.size > MAX_IMAGE_SIZE:
            raise ImageError(f"the image has {self.size} octets, it should have at most {MAX_IMAGE_SIZE}")

    @property
    def form(self) -> Form:
        """Which form it is, by whether it holds a signature."""
        return Form.SIGNED if self.signature else Form.PPMID

    @property
    def size(self) -> int:
        """The octets of the whole image."""
        return self.header.length + len(self.manufacturer_image) + (TRAILER_SIZE if self.signature else 0)

    @property
    def hash(self) -> bytes:
        """The Manufacturer Image Hash, 32 octets."""
        return manufacturer_image_hash(self.manufacturer_image)

    def pack(self) -> bytes:
        """The whole image, as FirmwareImage of SR 11.1 or 11.4 carries it before base64."""
        trailer = self.signature.pack() if self.signature else b""
        head = self.header.pack(len(self.manufacturer_image) + len(trailer))
        return b"".join((head, self.manufacturer_image, trailer))

    @classmethod
    def read(cls, data: bytes, form: Form) -> Self:
        """Read a whole image of that form; ImageError says which field, what it held, what it should hold."""
        header = Header.read(data)
        if form is Form.PPMID:
            return cls(header, data[header.length :])
        end = len(data) - TRAILER_SIZE
        if end <= header.length:
            raise ImageError(
                f"the image has {len(data) - header.length} octets after its header, a signed image needs more than"
                f" {TRAILER_SIZE}: a Manufacturer Image, forceReplace, the signature length and the signature"
            )
        return cls(header, data[header.length : end], SupplierSignature.read(data[end:]))

    def check_hash(self, expected: bytes) -> None:
        """Refuse (ImageError) an image whose Manufacturer Image Hash is not that one."""
        if self.hash != expected:
            raise mismatch("the Manufacturer Image Hash", self.hash.hex().upper(), expected.hex().upper())

    def sign(self, key: ec.EllipticCurvePrivateKey, certificate: Certificate, at: datetime) -> Self:
        """The same image signed by a supplier, in place of any signature that it has; forceReplace stays as it was.

        Raises CredentialError for a certificate that is not a supplier's, may not sign, or is not valid at that time;
        ImageError for a key that is not the certificate's.
        """
        certificate.check(Role.SUPPLIER, at)
        if key.public_key().public_numbers() != certificate.public_key.public_numbers():
            raise ImageError(f"the key is not the one that the certificate of {certificate.eui} certifies")
        force_replace = self.signature.force_replace if self.signature else False
        return replace(self, signature=SupplierSignature(sign_raw(key, self.manufacturer_image), force_replace))

    def check_signature(self, certificate: Certificate, at: datetime) -> None:
        """Refuse (ImageError) an image that this supplier did not sign, or whose certificate could not then sign.

        A right signature under a wrong or expired certificate is refused with both facts in the sentence. The caller
        vouches for the certificate itself: no chain is built here.
        """
        if self.signature is None:
            raise ImageError("the image is of the PPMID form and holds no supplier signature to verify")
        if not verify_raw(certificate.public_key, self.signature.value, self.manufacturer_image):
            raise ImageError(
                f"the signature is not that of {certificate.eui} (certificate {certificate.serial:X}) over the"
                f" Manufacturer Image with hash {self.hash.hex().upper()}"
            )
        try:
            certificate.check(Role.SUPPLIER, at)
        except CredentialError as error:
            raise ImageError(f"the signature is right, but {error}") from error
