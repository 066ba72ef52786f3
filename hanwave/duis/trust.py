"""Which certificates may sign messages: found by issuer and serial number, right in role, valid at the time."""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from hanwave.credentials import Certificate, CredentialError, Role
from hanwave.duis.errors import SignatureError

_SERIAL = re.compile(r"[0-9]{1,49}", re.ASCII)
_AROUND = re.compile(r"\s*(?<!\\)([,+=])\s*")


class TrustStore:
    """The certificates whose signatures are accepted, found by issuer and serial number.

    DCC signs pre-commands with one key and everything else with another, so a supplier's store holds two.
    """

    def __init__(self, certificates: Iterable[Certificate], role: int = Role.DSP_XML_SIGN) -> None:
        """The role is that of DCC's signers; an emulator, which reads requests, wants Role.XML_SIGN."""
        self._role = role
        self._certificates: dict[tuple[x509.Name, int], Certificate] = {}
        for certificate in certificates:
            name = (certificate.x509.issuer, certificate.serial)
            if self._certificates.setdefault(name, certificate) != certificate:
                raise SignatureError(
                    f"two trusted certificates have the issuer {certificate.issuer} and the serial {certificate.serial}"
                )

    def find(self, issuer: str, serial: str, at: datetime) -> Certificate:
        """The certificate of that X509IssuerSerial, when its role and validity allow; else SignatureError."""
        if not _SERIAL.fullmatch(serial):
            raise SignatureError(f"X509SerialNumber holds {serial[:60]!r}, it should be a decimal number")
        certificate = self._certificates.get((_parse_name(issuer), int(serial)))
        if certificate is None:
            raise SignatureError(f"no trusted certificate has the issuer {issuer[:80]!r} and the serial {serial}")
        try:
            certificate.check(self._role, at)
        except CredentialError as error:
            raise SignatureError(f"the signer is not accepted: {error}") from error
        return certificate


@lru_cache(maxsize=256)
def _parse_name(text: str) -> x509.Name:
    # Java and OpenSSL write "CN=Z1, OU=07", RFC 4514 knows no space there.
    try:
        return x509.Name.from_rfc4514_string(_AROUND.sub(r"\1", text.strip()))
    except ValueError as error:
        raise SignatureError(f"X509IssuerName holds {text[:80]!r}, it should be a name such as CN=Z1,OU=07") from error
