"""A test PKI made by code: issuing authority, organisations, devices and TLS peers, of the form that SMKI gives them.

For tests, the emulator and the demo only: its private keys are written without a passphrase, and its root is trusted
by nobody. Nothing of DCC's is in it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hanwave.credentials import Certificate, Role
from hanwave.identifiers import EUI64

_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Identity:
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: Certificate

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS 8 in PEM, unencrypted: this is a test PKI."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.x509.public_bytes(serialization.Encoding.PEM)


def _eui_name(eui: EUI64) -> x509.NameAttribute[bytes]:
    # SMKI writes the EUI-64 as a BIT STRING: a count of unused bits (none), then the octets.
    return x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0" + eui.octets, _ASN1Type.BitString)


class Authority:
    """An issuing authority. Two authorities of one name are two different roots."""

    def __init__(self, name: str = "T1", *, at: datetime | None = None) -> None:
        """Make its key; certificates are valid from an hour before `at` (now, if not given)."""
        self.at = at or datetime.now(UTC)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{Role.ISSUING_AUTHORITY:02X}"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        builder = self._build(self.name, self.key.public_key(), 20 * _YEAR)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self.x509 = builder.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())

    @property
    def certificate_pem(self) -> bytes:
        """The root certificate in PEM."""
        return self.x509.public_bytes(serialization.Encoding.PEM)

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        life: timedelta,
        start: datetime | None = None,
    ) -> x509.CertificateBuilder:
        start = start or self.at - timedelta(hours=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + life)
        )

    def organisation(
        self,
        eui: EUI64,
        role: int,
        *,
        start: datetime | None = None,
        life: timedelta = 10 * _YEAR,
        may_sign: bool = True,
    ) -> Identity:
        """An organisation's certificate: EUI-64 and role; for key agreement instead of signing if not may_sign."""
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{role:02X}"), _eui_name(eui)])
        return self._issue(subject, life, start, may_sign=may_sign)

    def device(self, eui: EUI64, *, may_sign: bool = True, key: ec.EllipticCurvePrivateKey | None = None) -> Identity:
        """A device's certificate. The role of a device stands as FF: hanwave reads devices by their EUI-64."""
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "FF"), _eui_name(eui)])
        return self._issue(subject, 20 * _YEAR, None, may_sign=may_sign, key=key)

    def _issue(
        self,
        subject: x509.Name,
        life: timedelta,
        start: datetime | None,
        *,
        may_sign: bool,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Identity:
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = self._build(subject, key.public_key(), life, start).add_extension(
            x509.KeyUsage(
                digital_signature=may_sign,
                key_agreement=not may_sign,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        return Identity(key, Certificate(certificate.sign(self.key, hashes.SHA256())))

    def tls(self, name: str, *, addresses: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
        """A TLS key and certificate (PEM, PEM) for a host or a client of that name, valid for both uses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        names += [x509.IPAddress(ip_address(a)) for a in addresses]
        certificate = (
            self._build(subject, key.public_key(), 5 * _YEAR)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key_pem, certificate.public_bytes(serialization.Encoding.PEM)
