"""The state folder: who runs in it, on which ports, and what is left of those who died.

One supervisor at a time holds the folder's lock; the kernel lets go of it when the supervisor ends, however it ends.
state.json is replaced as a whole, so a reader never sees half of it.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from infra.stack.launch import Identity, boot_id
from infra.stack.postgres import Postgres
from infra.stack.processes import StackError

MARK = "HANWAVE_STACK"
"""The environment variable by which a stack's processes, and their children, are known again."""
_END_SECONDS = 10


@dataclass(slots=True)
class Row:
    """One process as the supervisor last saw it."""

    state: str = "stopped"
    identity: Identity | None = None
    since: float = 0.0
    """When it came to this state, in seconds since 1970."""
    restarts: int = 0
    port: int | None = None
    log: str = ""
    note: str = ""
    """How it ended the last time, or why it is not running."""

    @property
    def is_up(self) -> bool:
        """Whether it is ready and this very process still runs, or it is a step that is done."""
        alive = self.identity is not None and self.identity.alive
        return self.state == "done" or (self.state == "ready" and alive)


@dataclass(slots=True)
class State:
    """What state.json holds."""

    id: str = field(default_factory=lambda: uuid4().hex)
    boot: str = field(default_factory=boot_id)
    supervisor: Identity | None = None
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The folder's state; a fresh one when there is none. Identities of an earlier boot are forgotten."""
        path = folder / "state.json"
        try:
            held = json.loads(path.read_text())
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise StackError(f"{path} cannot be read: {error}; `hanwave down`, then remove it") from error
        same_boot = held["boot"] == boot_id()
        rows = {name: Row(**{**row, "identity": _identity(row, same_boot)}) for name, row in held["processes"].items()}
        supervisor = Identity(**held["supervisor"]) if held["supervisor"] and same_boot else None
        return cls(held["id"], boot_id(), supervisor, held["ports"], rows)

    def write(self, folder: Path) -> None:
        """Replace state.json."""
        fresh = folder / "state.json.new"
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        fresh.replace(folder / "state.json")

    @property
    def is_running(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return self.supervisor is not None and self.supervisor.alive


def _identity(row: Mapping[str, Any], same_boot: bool) -> Identity | None:  # noqa: FBT001
    return Identity(**row["identity"]) if row["identity"] and same_boot else None


def open_folder(folder: Path) -> Path:
    """Make the state folder if need be; its absolute path. StackError when it is not ours to use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("log", "held", "temporal"):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise StackError(
            f"the state folder {folder} cannot be made: {error.strerror}; choose one with --state"
        ) from error
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StackError(
            f"the state folder {folder} belongs to user {owner}, and you are user {os.geteuid()}:"
            " run as that user, or choose another with --state"
        )
    return folder.resolve()


def lock(folder: Path) -> int | None:
    """Take the folder's lock: a descriptor that holds it until closed; None when another process has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def clear_leftovers(folder: Path, state: State) -> list[int]:
    """End whatever an earlier supervisor left behind; their process ids. Call it while holding the lock.

    Each is known by id and start time, or by the mark in its environment: never by id alone.
    """
    postgres = Postgres(folder / "postgres")
    ended = [identity.pid for identity in postgres.strangers()]
    if postgres.data.exists():
        postgres.clear()
    deadline = time.monotonic() + _END_SECONDS
    while remaining := _leftovers(state):
        if time.monotonic() > deadline:
            raise StackError(f"process {remaining[0].pid}, left by an earlier run, does not end: end it by hand")
        for identity in remaining:
            if identity.send(signal.SIGKILL) and identity.pid not in ended:
                ended.append(identity.pid)
        time.sleep(0.02)
    return ended


def _leftovers(state: State) -> list[Identity]:
    recorded = [row.identity for row in state.processes.values() if row.identity and row.identity.alive]
    return recorded + [identity for identity in _marked(state.id) if identity not in recorded]


def _marked(mark: str) -> list[Identity]:
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # Before its environment is read: an id that changes hands in between will not be hit.
        identity = Identity.of(int(entry.name))
        try:
            if identity and needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(identity)
        except OSError:
            continue
    return found
