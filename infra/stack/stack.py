"""A stack from the outside: start one, see how it is, kill and hold its parts, stop it.

The same calls serve the command line, the demo and the tests; all that they need to know is in the state folder, so a
stack may be started by one process and stopped by another.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from infra.stack.launch import Identity, spawn
from infra.stack.ports import HOST
from infra.stack.postgres import APPLICATION, OWNER, Postgres
from infra.stack.processes import Process, StackError
from infra.stack.state import MARK, Row, State, clear_leftovers, lock, open_folder
from infra.stack.supervisor import ORDER, Order

_READY_SECONDS = 120.0
_STOP_SECONDS = 120.0
_HOPELESS_RESTARTS = 5
_POLL_SECONDS = 0.03


class Stack:
    """The stack of one state folder. As a context manager: started and ready inside, stopped after."""

    def __init__(
        self,
        folder: Path,
        *,
        processes: Iterable[Process] = (),
        settings: Mapping[str, str] | None = None,
        port_base: int | None = None,
    ) -> None:
        """Name a stack; processes and settings (by dotted name) are what `start` adds to PostgreSQL and Temporal."""
        self.folder = open_folder(folder)
        self._order = Order(self.folder, tuple(processes), dict(settings or {}), port_base)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start(tied=True)
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *, tied: bool) -> None:
        """Start the supervisor; tied: it stops when this process ends. StackError when one runs already."""
        running = self.state().supervisor
        if running is not None and running.alive:
            raise StackError(
                f"a stack already runs in {self.folder} (process {running.pid}):"
                " `hanwave status` shows it, `hanwave down` stops it"
            )
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        # Otherwise a folder called infra or workers, where the command is given, would stand in for ours.
        environment["PYTHONSAFEPATH"] = "1"
        environment[ORDER] = TypeAdapter(Order).dump_json(self._order).decode()
        path = self.folder / "log" / "supervisor.log"
        with path.open("ab") as log:
            end = log.tell()
            supervisor = spawn(
                (sys.executable, "-m", "infra.stack.supervisor"),
                log=log,
                environment=environment,
                on_parent_death=signal.SIGTERM if tied else None,
            )
        self._wait_for(supervisor, path, end)

    def _wait_for(self, supervisor: subprocess.Popen[bytes], log: Path, end: int) -> None:
        while True:
            recorded = self.state().supervisor
            if recorded is not None and recorded.pid == supervisor.pid:
                break
            if supervisor.poll() is not None:
                lines = log.read_bytes()[end:].decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise StackError(f"the stack did not start: {lines[-1].partition(' ')[2]}")
            time.sleep(_POLL_SECONDS)
        self._supervisor = supervisor

    def state(self) -> State:
        """What the supervisor last wrote."""
        return State.read(self.folder)

    def row(self, name: str) -> Row:
        """How one process is; StackError when there is none of that name."""
        rows = self.state().processes
        if name not in rows:
            raise StackError(f"the stack has no process {name}: it has {', '.join(rows)}")
        return rows[name]

    def wait_ready(self, *names: str, seconds: float = _READY_SECONDS) -> None:
        """Wait until those processes (all, if none is named) are ready; StackError says which is not, and why."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state()
            waiting = {name: row for name, row in state.processes.items() if name in (names or state.processes)}
            waiting = {name: row for name, row in waiting.items() if not row.is_up}
            if not waiting and state.is_running:
                return
            if not state.is_running:
                raise StackError(f"the supervisor in {self.folder} has ended: see log/supervisor.log there")
            hopeless = [name for name, row in waiting.items() if row.restarts >= _HOPELESS_RESTARTS]
            if time.monotonic() > deadline or (hopeless and not names):
                name = (hopeless or list(waiting))[0]
                raise StackError(f"{name} did not become ready: {_why(waiting[name])}")
            time.sleep(_POLL_SECONDS)

    def wait_ended(self) -> None:
        """Wait until the supervisor ends; StackError when nobody told it to."""
        while self.state().is_running:
            time.sleep(_POLL_SECONDS)
        self._reap()
        # Read again: its last word may be younger than the state that was read while it still ran.
        if self.state().supervisor is not None:
            raise StackError(f"the supervisor in {self.folder} was killed: `hanwave up` goes on from there")

    def stop(self) -> list[int]:
        """Stop everything, and end what an earlier run left; the ids of those that had to be ended by force."""
        state = self.state()
        if state.supervisor is not None:
            state.supervisor.send(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while (held := lock(self.folder)) is None:
            if state.supervisor is None:
                # It holds the lock but has not yet written who it is.
                state = self.state()
            elif time.monotonic() > deadline:
                state.supervisor.send(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        try:
            state = self.state()
            ended = clear_leftovers(self.folder, state)
            state.supervisor = None
            for row in state.processes.values():
                row.identity, row.state = None, "done" if row.state == "done" else "stopped"
            state.write(self.folder)
        finally:
            os.close(held)
        self._reap()
        return ended

    def _reap(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wait()
            self._supervisor = None

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> Identity:
        """Send a process a signal; after SIGKILL it is gone when this returns. Who it was."""
        identity = self.row(name).identity
        if identity is None or not identity.send(number):
            raise StackError(f"{name} does not run: `hanwave status` shows what does")
        while number == signal.SIGKILL and identity.alive:
            time.sleep(0.002)
        return identity

    def hold(self, name: str) -> None:
        """Stop a process and keep it stopped until `release`; returns when it is gone."""
        self.row(name)
        (self.folder / "held" / name).touch()
        self._wait_state(name, "stopped")

    def release(self, name: str) -> None:
        """Let a process that was held run again; wait_ready waits for it."""
        (self.folder / "held" / name).unlink(missing_ok=True)

    def restart(self, name: str) -> None:
        """Stop a process in its own way and start it again; returns when it is ready."""
        self.hold(name)
        self.release(name)
        self.wait_ready(name)

    def _wait_state(self, name: str, wanted: str, seconds: float = _STOP_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while self.row(name).state != wanted:
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not come to be {wanted} in {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def port(self, name: str) -> int:
        """A port by its name in the table."""
        ports = self.state().ports
        if name not in ports:
            raise StackError(f"the stack has no port {name}: it has {', '.join(ports) or 'none yet'}")
        return ports[name]

    @property
    def temporal(self) -> str:
        """The Temporal frontend, host:port."""
        return f"{HOST}:{self.port('temporal')}"

    @property
    def ui(self) -> str:
        """The URL of Temporal's Web UI: of the operators' door to it, where the stack has that."""
        return f"http://{HOST}:{self.port('console' if 'console' in self.state().ports else 'temporal_ui')}"

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL server."""
        return Postgres(self.folder / "postgres")

    @property
    def dsn(self) -> str:
        """The ledger's database, as the application's role."""
        return self.postgres.dsn(APPLICATION)

    @property
    def owner_dsn(self) -> str:
        """The ledger's database, as its owner."""
        return self.postgres.dsn(OWNER)


def _why(row: Row) -> str:
    lines = Path(row.log).read_text(errors="replace").strip().splitlines() if Path(row.log).exists() else []
    said = f"; its log ends: {lines[-1][:120]}" if lines else ""
    return f"it is {row.state}{', ' + row.note if row.note else ''}, its log is {row.log}{said}"
