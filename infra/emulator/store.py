"""The emulator's memory: one SQLite file, so that kill -9 between any two steps loses nothing that was answered.

Everything that one step does is one transaction, committed before it is answered or the next one begins. The devices
stay in the file: 100,000 of them cost no memory. One process at a time holds the file.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from operator import attrgetter
from pathlib import Path
from typing import Any

from infra.emulator.errors import EmulatorError
from infra.emulator.tables import DEVICE_COLUMNS, SCHEMA, Delivery, Device, Timer, Upload

_CHUNK = 5_000
_values = attrgetter(*DEVICE_COLUMNS)
_MARKS = ", ".join("?" * len(DEVICE_COLUMNS))
# What is put into statements by name is this module's own: columns and question marks.
_INSERT_DEVICE = f"INSERT OR IGNORE INTO device ({', '.join(DEVICE_COLUMNS)}) VALUES ({_MARKS})"  # noqa: S608
_SAVE_DEVICE = f"UPDATE device SET {', '.join(f'{name} = ?' for name in DEVICE_COLUMNS)} WHERE eui = ?"  # noqa: S608
_SELECT_DEVICE = f"SELECT {', '.join(DEVICE_COLUMNS)} FROM device"  # noqa: S608


class Store:
    """The file, open."""

    def __init__(self, path: Path) -> None:
        """Open or make it; EmulatorError when another emulator has it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            self._connection.executescript(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                f"PRAGMA cache_size = -65536; BEGIN IMMEDIATE; {SCHEMA} COMMIT;"
            )
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise EmulatorError(f"{path} cannot be opened ({error}): does another emulator use it?") from error
        self.query("UPDATE delivery SET state = 'waiting' WHERE state = 'sending'")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def query(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement; its rows."""
        return self._connection.execute(sql, values)

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.query(sql, *values).fetchone()
        return row[0] if row else None

    def fact(self, name: str) -> str | None:
        """A single remembered text."""
        text: str | None = self.value("SELECT value FROM fact WHERE name = ?", name)
        return text

    def remember(self, name: str, value: str) -> None:
        """Remember a single text."""
        self.query("INSERT OR REPLACE INTO fact VALUES (?, ?)", name, value)

    def add_devices(self, devices: Iterable[Device]) -> int:
        """Add those that are new; how many that were."""
        before = self._connection.total_changes
        self._connection.executemany(_INSERT_DEVICE, map(_values, devices))
        return self._connection.total_changes - before

    def device(self, eui: str) -> Device | None:
        """A device, if there is one."""
        row = self.query(f"{_SELECT_DEVICE} WHERE eui = ?", eui).fetchone()
        return Device(*row) if row else None

    def devices(self, where: str, *values: Any) -> Iterator[Device]:
        """Devices by a condition; do not write while reading them."""
        return (Device(*row) for row in self.query(f"{_SELECT_DEVICE} {where}", *values))

    def named_devices(self, euis: Sequence[str]) -> dict[str, Device]:
        """Those of the devices that exist."""
        found: dict[str, Device] = {}
        for start in range(0, len(euis), _CHUNK):
            chunk = euis[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            found |= {device.eui: device for device in self.devices(f"WHERE eui IN ({marks})", *chunk)}
        return found

    def save(self, *devices: Device) -> None:
        """Write back what was changed in devices."""
        self._connection.executemany(_SAVE_DEVICE, ((*_values(device), device.eui) for device in devices))

    def note(self, at: float, device: str, what: str, request_id: str = "", detail: str = "") -> None:
        """Write into the books what happened to a device."""
        self.notes([(at, device, what, request_id, detail)])

    def notes(self, rows: Iterable[tuple[float, str, str, str, str]]) -> None:
        """Several at once: (at, eui, what, request_id, detail)."""
        self._connection.executemany(
            "INSERT INTO history (at, eui, what, request_id, detail) VALUES (?, ?, ?, ?, ?)", rows
        )

    def later(self, due: float, leg: str, eui: str, request_id: str, **data: Any) -> None:
        """Let something fall due for a device."""
        self.timers([(due, leg, eui, request_id, data)])

    def timers(self, rows: Iterable[tuple[float, str, str, str, dict[str, Any]]]) -> None:
        """Several at once."""
        self._connection.executemany(
            "INSERT INTO timer (due, leg, eui, request_id, data) VALUES (?, ?, ?, ?, ?)",
            ((due, leg, eui, request_id, json.dumps(data)) for due, leg, eui, request_id, data in rows),
        )

    def due(self, now: float, most: int) -> list[Timer]:
        """What has fallen due, the oldest first."""
        rows = self.query(
            "SELECT id, due, leg, eui, request_id, data FROM timer WHERE due <= ? ORDER BY due, id LIMIT ?", now, most
        )
        return [Timer(key, due, leg, eui, ids, json.loads(data)) for key, due, leg, eui, ids, data in rows]

    def next_due(self) -> float | None:
        """When the next falls due."""
        due: float | None = self.value("SELECT min(due) FROM timer")
        return due

    def add_upload(self, upload: Upload) -> None:
        """Keep what is to be known of an accepted image."""
        self.query("INSERT INTO upload VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *astuple(upload))

    def upload(self, request_id: str) -> Upload:
        """An accepted image by its request."""
        return Upload(*self.query("SELECT * FROM upload WHERE request_id = ?", request_id).fetchone())

    def deliverable(self, now: float, most: int, blocked: Sequence[str]) -> list[Delivery]:
        """Messages to be sent now, the oldest first, but for users that cannot be reached; they become `sending`."""
        marks = ",".join("?" * len(blocked))
        rows = self.query(
            "SELECT id, user, body, expires, tries FROM delivery"  # noqa: S608
            f" WHERE state = 'waiting' AND due <= ? AND user NOT IN ({marks}) ORDER BY due, id LIMIT ?",
            *(now, *blocked, most),
        )
        found = [Delivery(*row) for row in rows]
        self._connection.executemany(
            "UPDATE delivery SET state = 'sending' WHERE id = ?", [(delivery.id,) for delivery in found]
        )
        return found

    def next_delivery(self, blocked: Sequence[str]) -> float | None:
        """When the next message is to be sent."""
        marks = ",".join("?" * len(blocked))
        due: float | None = self.value(
            f"SELECT min(due) FROM delivery WHERE state = 'waiting' AND user NOT IN ({marks})",  # noqa: S608
            *blocked,
        )
        return due
