"""That something is being done: on standard error, where that is a terminal, once it has taken two seconds.

Guarantee: nothing is shown where nobody sees a screen, nothing is left on the screen, and what a command prints does not mix
with it: `emit` ends it, and so does whoever else prints before the end of `working`.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from rich.progress import Progress

AFTER_SECONDS = 2.0
Part = Callable[[], float]
"""How much of it is done, from 0 to 1; another thread asks."""


class _Working:
    def __init__(self, part: Part | None) -> None:
        self._part = part
        self._lock = threading.Lock()
        self._ended = False
        self._shown: Progress | None = None
        self._began = time.monotonic()
        self._timer = threading.Timer(AFTER_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self) -> None:
        # Here and not above: most commands have ended before they need it.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        part = self._part

        class Done(TextColumn):
            def render(self, _: object) -> Text:
                return Text(f"{min(1.0, part()):.0%}" if part else "")

        with self._lock:
            if self._ended:
                return
            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), Done(""), TimeElapsedColumn())
            screen = Console(stderr=True)
            # Standard output is the command's own: it may well be a pipe.
            self._shown = Progress(
                *columns, console=screen, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._shown.add_task(" ".join(sys.argv[1:3]), total=None)
            self._shown.tasks[0].start_time = self._began
            self._shown.start()

    def end(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._shown:
                self._shown.stop()


_working: list[_Working] = []


@contextmanager
def working(part: Part | None = None) -> Iterator[None]:
    """Show, while the block lasts, which command works, for how long and, where it is known, how much of it is done."""
    if not _working and sys.stderr.isatty():
        _working.append(_Working(part))
    try:
        yield
    finally:
        quiet()


@contextmanager
def reading(file: BinaryIO) -> Iterator[None]:
    """The same, of what reads that file: how much of it is read."""
    size = os.fstat(file.fileno()).st_size
    at = [0.0]

    def part() -> float:
        with suppress(ValueError, OSError):  # whoever reads it may close it before this ends
            at[0] = file.tell() / size
        return at[0]

    with working(part if size and file.seekable() else None):
        yield


def quiet() -> None:
    """Show nothing any more: something is about to be printed."""
    while _working:
        _working.pop().end()
