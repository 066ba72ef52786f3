"""The keys and certificates of an installation, read from the files that its settings name. Nothing keeps them but memory.

Guarantee: what a User ID sends is signed by its own keys, or not at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hanwave import duis
from hanwave.credentials import Certificate, CredentialError, Role, load_private_key
from hanwave.settings import Settings, Signing, Trust, needed


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs the requests and commands of one User ID, and whose signatures it accepts."""

    xml_key: EllipticCurvePrivateKey = field(repr=False)
    xml_certificate: Certificate
    gbcs_key: EllipticCurvePrivateKey = field(repr=False)
    gbcs_certificate: Certificate
    trust: duis.TrustStore


Keys = Mapping[str, Credentials]
"""The credentials of each User ID that sends from here."""


def load_keys(settings: Settings) -> Keys:
    """Read them; CredentialError names the file that is wrong, or the two that do not belong together."""
    trust = load_trust(needed(settings.trust, "trust"))
    every = (needed(settings.signing, "signing"), *settings.suppliers.values())
    keys: dict[str, Credentials] = {}
    for signing in every:
        found = _credentials(signing, trust)
        user_id = str(found.xml_certificate.eui)
        if user_id in keys:
            raise CredentialError(
                f"the User ID {user_id} is signed for twice, by [signing] or [suppliers.NAME]: keep one"
            )
        keys[user_id] = found
    return keys


def of_user(keys: Keys, user_id: str) -> Credentials:
    """The credentials of a User ID; CredentialError where there are none, as its requests are signed by no other's."""
    if user_id not in keys:
        raise CredentialError(
            f"nothing here signs for the User ID {user_id}, only for {', '.join(keys)}: name its keys under"
            " [suppliers.NAME] in the settings"
        )
    return keys[user_id]


def _credentials(signing: Signing, trust: duis.TrustStore) -> Credentials:
    xml_key, xml_certificate = _pair(signing.xml_key, signing.xml_certificate)
    gbcs_key, gbcs_certificate = _pair(signing.gbcs_key, signing.gbcs_certificate)
    if xml_certificate.eui != gbcs_certificate.eui:
        raise CredentialError(
            f"{signing.xml_certificate} is of {xml_certificate.eui} and {signing.gbcs_certificate} of"
            f" {gbcs_certificate.eui}: one User ID's requests and commands are signed by its own keys"
        )
    return Credentials(xml_key, xml_certificate, gbcs_key, gbcs_certificate, trust)


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
