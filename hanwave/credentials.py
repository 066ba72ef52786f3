"""SMKI organisation and device certificates, and ECDSA signatures as GBCS and XMLDSIG write them (raw r||s).

Keys are handed in; nothing here opens a file or asks the clock. A certificate that this module accepts is P-256, names
one EUI-64 and one Remote Party Role, and says what its key may be used for.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64, IdentifierError

SIGNATURE_LENGTH = 64
_ECDSA = ec.ECDSA(hashes.SHA256())
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class CredentialError(HanwaveError):
    """A key or a certificate cannot be used for what was asked of it."""


class Role(IntEnum):
    """The Remote Party Roles that hanwave meets; a certificate's OU holds one in hexadecimal (GBCS; OU=87 is 135).

    Certificates may carry others, so Certificate.role is a plain number that compares equal to these.
    """

    ROOT = 0
    RECOVERY = 1
    SUPPLIER = 2
    NETWORK_OPERATOR = 3
    ACCESS_CONTROL_BROKER = 4
    WAN_PROVIDER = 5
    TRANSITIONAL_COS = 6
    ISSUING_AUTHORITY = 7
    XML_SIGN = 135
    DSP_XML_SIGN = 137


def sign_raw(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-256 with SHA-256 over data, as 64 octets r||s (GBCS 4.3.2; XMLDSIG ECDSA)."""
    r, s = decode_dss_signature(key.sign(data, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify_raw(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Whether signature (64 octets r||s) is key's over data; never raises for a wrong signature."""
    if len(signature) != SIGNATURE_LENGTH:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER):
        return False
    try:
        key.verify(encode_dss_signature(r, s), data, _ECDSA)
    except InvalidSignature:
        return False
    return True


def load_private_key(data: bytes, name: str) -> ec.EllipticCurvePrivateKey:
    """Read an unencrypted P-256 private key, PEM or DER (PKCS 8 or SEC 1); name says in errors which it was."""
    loader = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = loader(data, password=None)
    except (ValueError, TypeError) as error:
        raise CredentialError(f"{name} holds no readable unencrypted private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise CredentialError(f"{name} holds a key that is not P-256, as SMKI's are")
    return key


@dataclass(frozen=True)
class Certificate:
    """A certificate of SMKI's form: a P-256 key bound to an EUI-64 and, for organisations, a Remote Party Role."""

    x509: x509.Certificate

    @classmethod
    def load(cls, data: bytes, name: str) -> Self:
        """Read PEM or DER; name says in errors which it was. CredentialError when it is not of SMKI's form."""
        loader = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
        try:
            certificate = cls(loader(data))
            _ = certificate.public_key, certificate.eui, certificate.role
        except CredentialError as error:
            raise CredentialError(f"{name}: {error}") from error
        except ValueError as error:
            raise CredentialError(f"{name} holds no readable X.509 certificate") from error
        return certificate

    @cached_property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The P-256 public key."""
        key = self.x509.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise CredentialError("the certificate's key is not P-256")
        return key

    @cached_property
    def eui(self) -> EUI64:
        """The organisation's EUI-64, from x500UniqueIdentifier: a BIT STRING of no unused bits and eight octets."""
        values = self.x509.subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER)
        if len(values) != 1 or not isinstance(values[0].value, bytes) or values[0].value[:1] != b"\0":
            raise CredentialError("the certificate's subject names no EUI-64 (x500UniqueIdentifier)")
        try:
            return EUI64(values[0].value[1:])
        except IdentifierError as error:
            raise CredentialError(f"the certificate's x500UniqueIdentifier: {error}") from error

    @cached_property
    def role(self) -> int:
        """The Remote Party Role, from the OU (two hexadecimal digits): equal to a Role where hanwave knows it."""
        values = [str(a.value) for a in self.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
        try:
            (text,) = values
            return int(text, 16)
        except ValueError as error:
            raise CredentialError(
                f"the certificate's OU {values} is not one Remote Party Role in hexadecimal"
            ) from error

    @cached_property
    def serial(self) -> int:
        """The serial number, as X509SerialNumber writes it."""
        return self.x509.serial_number

    @cached_property
    def issuer(self) -> str:
        """The issuer's name in RFC 4514 order, as X509IssuerName writes it: "CN=Z1,OU=07"."""
        return self.x509.issuer.rfc4514_string()

    @cached_property
    def may_sign(self) -> bool:
        """Whether keyUsage has digitalSignature."""
        try:
            return self.x509.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
        except x509.ExtensionNotFound:
            return False

    def check(self, role: int, at: datetime) -> None:
        """Refuse (CredentialError) a certificate of another role, that may not sign, or not valid at that time."""
        if self.role != role:
            raise CredentialError(f"the certificate of {self.eui} has role {self.role}, not {role}")
        if not self.may_sign:
            raise CredentialError(f"the certificate of {self.eui} may not sign (keyUsage has no digitalSignature)")
        if not self.x509.not_valid_before_utc <= at <= self.x509.not_valid_after_utc:
            raise CredentialError(
                f"the certificate of {self.eui} is valid from {self.x509.not_valid_before_utc:%Y-%m-%d %H:%M}Z"
                f" to {self.x509.not_valid_after_utc:%Y-%m-%d %H:%M}Z, not at {at:%Y-%m-%d %H:%M}Z"
            )
