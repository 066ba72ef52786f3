"""Independent implementations, had at test time and asked; where one can't be had, its tests skip and say why.

DCC's npm packages are GPL-3.0 and carry test keys: they live in the user's cache folder, and nothing of them here.
"""

import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hanwave.credentials import Certificate, Role, load_private_key
from infra.pki import Authority, Identity
from tests.peer.messages import ACB, SUPPLIER
from tests.support.npm import PATIENCE, installed, program

PACKAGES = ("@smartdcc/duis-sign-wrap@0.1.2", "@smartdcc/duis-parser@0.6.0", "@smartdcc/dccboxed-keystore@0.4.2")
_JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java's own settings for a process that lives for a second."""

Ran = subprocess.CompletedProcess[bytes]


def run(*command: object, cwd: Path | None = None) -> Ran:
    return subprocess.run([str(c) for c in command], capture_output=True, check=False, timeout=PATIENCE, cwd=cwd)


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of DCC's packages."""
    return installed(*PACKAGES) / "@smartdcc"


@dataclass(frozen=True)
class DccTool:
    """DCC's own signing tool, and the test identities that DCC publishes inside it."""

    jar: Path
    java: str
    folder: Path

    def _call(self, what: str, data: bytes, *arguments: object) -> Ran:
        file = self.folder / "message.xml"
        file.write_bytes(data)
        name = f"uk.co.smartdcc.boxed.xmldsig.{what}"
        return run(self.java, *_JAVA_OPTIONS, "-cp", self.jar, name, file, *arguments, cwd=self.folder)

    def sign(self, data: bytes) -> bytes:
        """The message signed with the key of the first EUI-64 of its RequestID, which the tool has."""
        done = self._call("Sign", data, "--preserveCounter")
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def validate(self, data: bytes) -> tuple[int, str]:
        """The tool's verdict, 0 for valid and 10 for not, and what it says; with its own certificates."""
        done = self._call("Validate", data)
        return done.returncode, done.stderr.decode()

    def identity(self, name: str) -> Identity:
        """A key and a certificate that DCC publishes in the tool."""
        with zipfile.ZipFile(self.jar) as jar:
            key = load_private_key(jar.read(f"{name}.key"), name)
            return Identity(key, Certificate.load(jar.read(f"{name}.pem"), name))


@pytest.fixture(scope="session")
def dcc_tool(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> DccTool:
    java = program("java")
    jar = packages / "duis-sign-wrap" / "dist" / "tool.jar"
    return DccTool(jar, java, tmp_path_factory.mktemp("dcc-tool"))


@pytest.fixture(scope="session")
def dcc_supplier(dcc_tool: DccTool) -> Identity:
    """The supplier of DCC's test PKI, to sign XML."""
    return dcc_tool.identity("xml-sign-90B3D51F30010000-ds")


@pytest.fixture(scope="session")
def dcc_signer(dcc_tool: DccTool) -> Identity:
    """The DCC of DCC's test PKI, to sign XML."""
    return dcc_tool.identity("dsp-xml-sign-90B3D51F30000002-ds")


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def authority(now: datetime) -> Authority:
    return Authority(at=now)


@pytest.fixture(scope="session")
def supplier(authority: Authority) -> Identity:
    return authority.organisation(SUPPLIER, Role.XML_SIGN)


@pytest.fixture(scope="session")
def dcc(authority: Authority) -> Identity:
    return authority.organisation(ACB, Role.DSP_XML_SIGN)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes, str], Path]:
    def write_it(data: bytes, name: str = "message.xml") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write_it
