"""One process of a stack: started, asked whether it is ready, started again when it dies, stopped.

A process that dies starts again after 0.2 s, and after twice as long each time that it does not last, up to 30 s.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hanwave.errors import HanwaveError
from infra.stack.launch import Identity, spawn
from infra.stack.processes import Process, Restart, is_ready
from infra.stack.state import Row

if TYPE_CHECKING:
    from subprocess import Popen

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""A process that was ready for so long starts with the shortest delay again."""
_ALIVE_SECONDS = 0.5
"""How long a process that answers nowhere must run to count as ready."""
_LOG_LIMIT = 20_000_000
"""A log that is longer at a start, in octets, is set aside once: <name>.log.1."""


def say(sentence: str) -> None:
    """A line in the supervisor's log."""
    with suppress(OSError):
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {sentence}\n")
        sys.stderr.flush()


class Runner:
    """One process of the table: its child, if it has one, and its row in state.json."""

    def __init__(
        self, process: Process, row: Row, environment: dict[str, str], prepare: Callable[[], None] | None
    ) -> None:
        """Watch nothing yet; prepare is called before each start, and may refuse it with a HanwaveError."""
        self.process = process
        self.row = row
        self.changed = True
        self._prepare = prepare
        self._environment = environment
        self._log = Path(row.log)
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
        try:
            if self._prepare is not None:
                self._prepare()
            self._spawn()
        except HanwaveError as error:
            self._ended(f"cannot be started: {error}")
        except OSError as error:
            self._ended(f"cannot be started: {self.process.argv[0]}: {error.strerror}")

    def _spawn(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._child = spawn(
                self.process.argv,
                log=log,
                environment={**self._environment, **self.process.environment},
                on_parent_death=self.process.on_parent_death,
                not_as_root=self.process.not_as_root,
            )
        self.row.identity = Identity.of(self._child.pid)
        self._enter("starting")

    def _stop(self) -> None:
        if self._child is None:
            return
        if self.row.state != "stopping":
            self._enter("stopping")
            self._deadline = time.monotonic() + self.process.stop_seconds
            # Not by Popen, which reaps a child that has ended: its end is noticed, and its group ended, before that.
            os.kill(self._child.pid, self.process.stop_signal)
            os.kill(self._child.pid, signal.SIGCONT)
        elif time.monotonic() > self._deadline:
            os.kill(self._child.pid, signal.SIGKILL)

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
