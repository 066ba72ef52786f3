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
from pathlib import Path
from types import FrameType

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from hanwave.errors import HanwaveError
from hanwave.settings import dump, variables
from infra.stack.launch import Identity
from infra.stack.ports import Ports
from infra.stack.postgres import Postgres
from infra.stack.processes import (
    Process,
    StackError,
    fill,
    placeholders,
    postgres_process,
    temporal_process,
)
from infra.stack.runner import Runner, say
from infra.stack.state import MARK, Row, State, clear_leftovers, lock, open_folder

ORDER = "HANWAVE_STACK_ORDER"
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Order:
    """What a supervisor is told to run."""

    folder: Path
    processes: tuple[Process, ...] = ()
    settings: dict[str, str] | None = None
    port_base: int | None = None


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
            row = Row(port=port, log=str(self._folder / "log" / f"{process.name}.log"))
            prepare = self._prepare_postgres if process.name == "postgres" else None
            runners[process.name] = Runner(process.filled(values), row, environment, prepare)
        self._state.processes = {name: runner.row for name, runner in runners.items()}
        return runners

    def _prepare_postgres(self) -> None:
        postgres = Postgres(self._folder / "postgres")
        postgres.prepare()
        postgres.clear()

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """A signal handler: stop everything, and then return from run."""
        self._stopping = True

    def run(self) -> None:
        """Keep everything running until told to stop; return when nothing runs."""
        self._state.supervisor = Identity.of(os.getpid())
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
        runner.tick(wanted=not held, can_start=ready)

    def _publish(self) -> None:
        if any(runner.changed for runner in self._runners.values()):
            try:
                self._state.write(self._folder)
            except OSError:
                # A full disk is no reason to end what still runs: the next tick tries again.
                return
            for runner in self._runners.values():
                runner.changed = False


STACK_SETTINGS = {
    "environment": "emulator",
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
