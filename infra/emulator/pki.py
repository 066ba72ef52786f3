"""The emulator's test PKI: one folder of PEM files with well-known names, made on first start.

NAME.pem is a certificate, NAME.key its private key without a passphrase. SMKI (who signs) and DCCKI (who connects) are
two roots, as with the DCC. The folder appears whole or not at all.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hanwave.credentials import Certificate, Role, load_private_key
from hanwave.identifiers import EUI64
from infra.emulator.errors import EmulatorError
from infra.pki import Authority, Identity

SUPPLIER = EUI64.parse("02-48-57-41-56-45-00-01")
"""The User ID that hanwave uses with the emulator."""
SECOND_SUPPLIER = EUI64.parse("02-48-57-41-56-45-00-02")
TRANSFORM = EUI64.parse("02-48-57-41-56-45-DC-01")
ACCESS_CONTROL_BROKER = EUI64.parse("02-48-57-41-56-45-DC-02")
"""The target of Non-Device requests, and the originator of DCC Alerts."""

SUPPLIERS = {"supplier": SUPPLIER, "second": SECOND_SUPPLIER}
"""Each has NAME-xml (signs DUIS), NAME-gbcs (signs commands and images), NAME-agree (MACs), NAME-tls."""

_TLS = ("emulator-tls", *(f"{name}-tls" for name in SUPPLIERS))


@dataclass(frozen=True)
class Pki:
    """A folder of the test PKI."""

    folder: Path

    def certificate_path(self, name: str) -> Path:
        """The PEM file of a certificate."""
        return self.folder / f"{name}.pem"

    def key_path(self, name: str) -> Path:
        """The PEM file of a private key."""
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Certificate:
        """An SMKI certificate by its name."""
        return Certificate.load(_read(self.certificate_path(name)), name)

    def identity(self, name: str) -> Identity:
        """An SMKI key with its certificate, by their name."""
        return Identity(load_private_key(_read(self.key_path(name)), name), self.certificate(name))

    @property
    def tls_root(self) -> Path:
        """The root that both sides of every TLS connection trust."""
        return self.certificate_path("tls-root")


@cache
def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EmulatorError(f"{path} of the test PKI cannot be read: {error.strerror}") from error


def make_pki(folder: Path) -> Pki:
    """The test PKI of that folder, made if it is not there."""
    if not (folder / "root.pem").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        _write_all(Pki(fresh))
        try:
            fresh.rename(folder)
        except OSError:
            # Somebody else was faster, and his stays.
            shutil.rmtree(fresh)
            if not (folder / "root.pem").is_file():
                raise EmulatorError(f"{folder} is in the way of the test PKI: it should be empty or absent") from None
    return Pki(folder)


def _write_all(pki: Pki) -> None:
    smki, tls = Authority("HANWAVE-TEST-SMKI"), Authority("HANWAVE-TEST-DCCKI")
    for name, eui in SUPPLIERS.items():
        _write(pki, f"{name}-xml", smki.organisation(eui, Role.XML_SIGN))
        _write(pki, f"{name}-gbcs", smki.organisation(eui, Role.SUPPLIER))
        _write(pki, f"{name}-agree", smki.organisation(eui, Role.SUPPLIER, may_sign=False))
    _write(pki, "transform", smki.organisation(TRANSFORM, Role.DSP_XML_SIGN))
    _write(pki, "acb", smki.organisation(ACCESS_CONTROL_BROKER, Role.DSP_XML_SIGN))
    for name in _TLS:
        _write_pem(pki, name, *tls.tls("localhost", addresses=("127.0.0.1",)))
    pki.certificate_path("tls-root").write_bytes(tls.certificate_pem)
    pki.certificate_path("root").write_bytes(smki.certificate_pem)


def _write(pki: Pki, name: str, identity: Identity) -> None:
    _write_pem(pki, name, identity.key_pem, identity.certificate_pem)


def _write_pem(pki: Pki, name: str, key: bytes, certificate: bytes) -> None:
    pki.certificate_path(name).write_bytes(certificate)
    with os.fdopen(os.open(pki.key_path(name), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(key)
