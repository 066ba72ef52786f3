"""The keys and certificates of an installation, read from the files that its settings name. Nothing keeps them but memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hanwave import duis
from hanwave.credentials import Certificate, CredentialError, Role, load_private_key
from hanwave.settings import Signing, Trust


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs our requests and commands, and whose signatures we accept."""

    xml_key: EllipticCurvePrivateKey = field(repr=False)
    xml_certificate: Certificate
    gbcs_key: EllipticCurvePrivateKey = field(repr=False)
    gbcs_certificate: Certificate
    trust: duis.TrustStore


def load_credentials(signing: Signing, trust: Trust) -> Credentials:
    """Read them; CredentialError names the file that is wrong, or the two that do not belong together."""
    xml_key, xml_certificate = _pair(signing.xml_key, signing.xml_certificate)
    gbcs_key, gbcs_certificate = _pair(signing.gbcs_key, signing.gbcs_certificate)
    return Credentials(xml_key, xml_certificate, gbcs_key, gbcs_certificate, load_trust(trust))


def load_trust(trust: Trust) -> duis.TrustStore:
    """The DCC's signers among the trusted certificates; CredentialError where there is none."""
    certificates = [Certificate.load(_read(path), str(path)) for path in _files(trust.certificates)]
    signers = [certificate for certificate in certificates if certificate.role == Role.DSP_XML_SIGN]
    if not signers:
        named = ", ".join(map(str, trust.certificates)) or "nothing"
        raise CredentialError(
            f"trust.certificates names {named}: it should hold at least one certificate of the DCC's XML signers"
            f" (role {int(Role.DSP_XML_SIGN)})"
        )
    return duis.TrustStore(signers)


def _pair(key_file: Path, certificate_file: Path) -> tuple[EllipticCurvePrivateKey, Certificate]:
    key = load_private_key(_read(key_file), str(key_file))
    certificate = Certificate.load(_read(certificate_file), str(certificate_file))
    if key.public_key() != certificate.public_key:
        raise CredentialError(f"the key in {key_file} is not the one that {certificate_file} certifies")
    return key, certificate


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}") from error
