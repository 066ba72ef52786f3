"""The supervisor: one process that starts the others, watches them, and stops them.

It guarantees that nothing which it started outlives it (a killed supervisor's children get a signal from the kernel;
what is left in spite of that is ended by the next `up` or `down`), and that a process which dies is started again,
later each time. One loop, one thread: the thread that starts children must live as long as they should.
"""

import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from hanwave.errors import HanwaveError
from hanwave.settings import dump, variables
from infra.stack.launch import Identity, spawn
from infra.stack.ports import Ports
from infra.stack.postgres import Postgres
from infra.stack.processes import (
    Process,
    Restart,
    StackError,
    fill,
    is_ready,
    placeholders,
    postgres_process,
    temporal_process,
)
from infra.stack.state import MARK, Row, State, clear_leftovers, lock, open_folder

if TYPE_CHECKING:
    from subprocess import Popen

ORDER = "HANWAVE_STACK_ORDER"
_TICK_SECONDS = 0.05
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""A process that was ready for so long starts with the shortest delay again."""
_ALIVE_SECONDS = 0.5
"""How long a process that answers nowhere must run to count as ready."""
_LOG_LIMIT = 20_000_000


@dataclass(frozen=True)
class Order:
    """What a supervisor is told to run."""

    folder: Path
    processes: tuple[Process, ...] = ()
    settings: dict[str, str] | None = None
    port_base: int | None = None


class Runner:
    """One process of the table: its child, if it has one, and its row in state.json."""

    def __init__(self, process: Process, row: Row, environment: dict[str, str], log: Path) -> None:
        """Take over the row of an earlier run."""
        self.process = process
        self.row = row
        self.changed = True
        self._environment = environment
        self._log = log
        self._child: Popen[bytes] | None = None
        self._failures = 0
        self._due = 0.0
        self._deadline = 0.0

    @property
    def has_child(self) -> bool:
        """Whether it runs."""
        return self._child is not None

    def _enter(self, state: str, note: str | None = None) -> None:
        self.row.state, self.row.since, self.changed = state, time.time(), True
        if note is not None:
            self.row.note = note

    def tick(self, *, wanted: bool, can_start: bool) -> None:
        """Notice an end; stop, start or ask whether it is ready, as wanted."""
        self._notice_end()
        if self._child is not None and not wanted:
            self._stop()
        elif self._child is None and wanted and can_start and time.monotonic() >= self._due:
            if self.row.state != "done":
                self._start()
        elif self.row.state == "starting" and self._has_become_ready():
            self._enter("ready")
        elif self._child is None and not wanted and self.row.state != "stopped":
            self._enter("stopped")

    def _has_become_ready(self) -> bool:
        if self.process.restart is Restart.UNTIL_DONE:
            return False
        if not self.process.ready:
            return time.time() - self.row.since > _ALIVE_SECONDS
        return is_ready(self.process.ready)

    def _start(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        try:
            with self._log.open("ab") as log:
                self._child = spawn(
                    self.process.argv,
                    log=log,
                    environment={**self._environment, **self.process.environment},
                    on_parent_death=self.process.on_parent_death,
                    not_as_root=self.process.not_as_root,
                )
        except OSError as error:
            self._ended(f"{self.process.argv[0]} cannot be started: {error.strerror}")
            return
        self.row.identity = Identity.of(self._child.pid)
        self._enter("starting")

    def _stop(self) -> None:
        if self._child is None:
            return
        if self.row.state != "stopping":
            self._enter("stopping")
            self._deadline = time.monotonic() + self.process.stop_seconds
            self._child.send_signal(self.process.stop_signal)
            self._child.send_signal(signal.SIGCONT)
        elif time.monotonic() > self._deadline:
            self._child.kill()

    def _notice_end(self) -> None:
        if self._child is None:
            return
        # Seen but not yet reaped: until then its id, and so its group's, belongs to nobody else.
        if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        code = self._child.wait()
        self._child, self.row.identity = None, None
        if self.row.state == "stopping":
            self._enter("stopped", "")
        elif code == 0 and self.process.restart is Restart.UNTIL_DONE:
            self._enter("done", "")
        else:
            self._ended(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}")

    def _ended(self, note: str) -> None:
        steady = self.row.state == "ready" and time.time() - self.row.since > _STEADY_SECONDS
        self._failures = 0 if steady else self._failures
        delay = min(_FIRST_DELAY_SECONDS * 2**self._failures, _LONGEST_DELAY_SECONDS)
        self._failures += 1
        self.row.restarts += 1
        self._due = time.monotonic() + delay
        self._enter("waiting", note)
        say(f"{self.process.name} {note}; starting it again in {delay:.1f} s")


class Supervisor:
    """All processes of one state folder, whose lock the caller holds."""

    def __init__(self, order: Order, ports: Ports) -> None:
        """Clear what an earlier run left, and choose the ports."""
        self._folder = order.folder
        self._stopping = False
        self._state = State.read(order.folder)
        left = clear_leftovers(order.folder, self._state)
        if left:
            say(f"ended what an earlier run had left: {', '.join(map(str, left))}")
        table = (postgres_process(order.folder), temporal_process(order.folder), *order.processes)
        _check(table)
        names = [port for process in table for port in process.ports]
        self._state.ports = ports.claim(names, base=order.port_base, before=self._state.ports)
        self._runners = self._make_runners(table, order.settings or {})
        self._held = order.folder / "held"
        for path in self._held.iterdir():
            path.unlink()

    def _make_runners(self, table: Iterable[Process], settings: dict[str, str]) -> dict[str, Runner]:
        values = placeholders(self._folder, self._state.ports)
        filled = {name: fill(text, values, name) for name, text in {**STACK_SETTINGS, **settings}.items()}
        config = _write_config(self._folder, filled)
        environment = {**os.environ, **variables(filled), "HANWAVE_CONFIG": str(config), MARK: self._state.id}
        runners = {}
        for process in table:
            port = self._state.ports[process.ports[0]] if process.ports else None
            log = self._folder / "log" / f"{process.name}.log"
            row = Row(port=port, log=str(log))
            runners[process.name] = Runner(process.filled(values), row, environment, log)
        self._state.processes = {name: runner.row for name, runner in runners.items()}
        return runners

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """A signal handler: stop everything, and then return from run."""
        self._stopping = True

    def run(self) -> None:
        """Keep everything running until told to stop; return when nothing runs."""
        self._state.supervisor = Identity.of(os.getpid())
        postgres = Postgres(self._folder / "postgres")
        postgres.prepare()
        while not self._stopping or any(runner.has_child for runner in self._runners.values()):
            for name, runner in self._runners.items():
                self._tick(name, runner)
            self._publish()
            time.sleep(_TICK_SECONDS)
        for runner in self._runners.values():
            runner.tick(wanted=False, can_start=False)
        self._state.supervisor = None
        self._state.write(self._folder)

    def _tick(self, name: str, runner: Runner) -> None:
        held = (self._held / name).exists()
        needed_by = (other for other in self._runners.values() if name in other.process.after)
        if self._stopping:
            # From the last to the first: nothing loses what it stands on while it ends.
            runner.tick(wanted=any(other.has_child for other in needed_by), can_start=False)
            return
        ready = all(self._runners[other].row.is_up for other in runner.process.after)
        if name == "postgres" and not runner.has_child and not held:
            Postgres(self._folder / "postgres").clear()
        runner.tick(wanted=not held, can_start=ready)

    def _publish(self) -> None:
        if any(runner.changed for runner in self._runners.values()):
            self._state.write(self._folder)
            for runner in self._runners.values():
                runner.changed = False


STACK_SETTINGS = {
    "state": "{state}",
    "temporal.address": "{temporal_address}",
    "postgres.dsn": "{postgres_dsn}",
    "postgres.owner_dsn": "{postgres_owner_dsn}",
}
"""What every process of a stack is told, and the command line reads from hanwave.toml in the state folder."""


def _check(table: tuple[Process, ...]) -> None:
    names = [process.name for process in table]
    for process in table:
        if names.count(process.name) > 1:
            raise StackError(f"two processes are called {process.name}")
        for other in process.after:
            if other not in names[: names.index(process.name)]:
                raise StackError(f"{process.name} comes after {other}, which does not stand before it in the table")


def _write_config(folder: Path, settings: dict[str, str]) -> Path:
    """The user's own file with the stack's settings over it, for the processes and for the command line."""
    named = Path(os.environ.get("HANWAVE_CONFIG") or "hanwave.toml")
    base = tomllib.loads(named.read_text()) if named.is_file() else {}
    path = folder / "hanwave.toml"
    fresh = folder / "hanwave.toml.new"
    fresh.touch(mode=0o600)
    fresh.write_text(dump(settings, base))
    fresh.replace(path)
    return path


def say(sentence: str) -> None:
    """A line in the supervisor's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {sentence}\n")
    sys.stderr.flush()


def main() -> int:
    """Carry out the Order that the environment holds as JSON (it may name secrets: not for the command line)."""
    try:
        order = TypeAdapter(Order).validate_json(os.environ.pop(ORDER))
        held = lock(open_folder(order.folder))
        if held is None:
            raise StackError(f"a stack already runs in {order.folder}")
        supervisor = Supervisor(order, Ports())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.stop)
        supervisor.run()
    except HanwaveError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
