"""What a process has seen committed, kept in a file outside of the database: by it a ledger that was put back is known.

A database that was restored to an earlier copy has forgotten requests that left and halts that were pressed, and cannot
know it. Guarantees: over a ledger that lacks the last request that it was to send, the gateway sends nothing before all is
stopped; nor does the warden's heart beat over one that lacks the last link of the audit chain that it saw. Both outlast a
loss of power: a request leaves after it is on the disk (two syncs, a millisecond on a solid-state disk). What was committed
since the warden's last round, and led to no request, may be missed: half a minute. What was lost in a restore that has been
reconciled since accuses nobody: each process finds it in its own time, and one stop is enough.
"""

import json
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, text

from hanwave.ledger import reconcile


class Lost(NamedTuple):
    """What a process saw and the ledger lacks, in words, and when it was seen (aware UTC)."""

    what: str
    seen: datetime


class Witness:
    """The memory of one process; its threads may share it. An empty or lost file has seen nothing, and accuses nobody."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run saw."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._seen: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._seen = {}

    def missing(self, connection: Connection) -> Lost | None:
        """What this process saw and the ledger lacks; None where it lacks nothing, or has been reconciled since."""
        seen = self._seen
        if request := seen.get("request"):
            statement = text("SELECT 1 FROM outbox WHERE request_id = :id")
            if _lacks(connection, statement, request):
                return Lost(f"it lacks the request {request['id']}, which was to be sent", _at(request))
        if link := seen.get("audit"):
            statement = text("SELECT 1 FROM audit WHERE seq = :seq AND hash = :hash")
            if _lacks(connection, statement, link):
                return Lost(f"it lacks link {link['seq']} of the audit chain, which was seen", _at(link))
        return None

    def sends(self, request_id: str, now: datetime) -> None:
        """Remember a request that is about to leave, at that time (aware UTC)."""
        self._remember({"request": {"id": request_id, "at": now.isoformat()}})

    def sees_chain(self, connection: Connection, now: datetime) -> None:
        """Remember the head of the audit chain, as it is at that time (aware UTC)."""
        row = connection.execute(text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")).one_or_none()
        if row:
            self._remember({"audit": {"seq": row.seq, "hash": row.hash, "at": now.isoformat()}})

    def forget(self) -> None:
        """Begin anew: what is missing has been dealt with."""
        self._remember({"request": None, "audit": None})

    def _remember(self, seen: dict[str, Any]) -> None:
        with self._lock:
            self._seen = {**self._seen, **seen}
            _write(self._path, json.dumps(self._seen))


def _lacks(connection: Connection, statement: TextClause, seen: dict[str, Any]) -> bool:
    values = {name: value for name, value in seen.items() if name != "at"}
    if connection.execute(statement, values).first():
        return False
    return not reconcile.is_done_since(connection, _at(seen))


def _at(seen: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(seen["at"])


def _write(path: Path, text: str) -> None:
    """Put it in the file's place, and have it on the disk, and so its name in the folder, before returning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may share a folder: each writes a file of its own, and the last puts it in place.
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
