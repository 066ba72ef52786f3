"""Starting a child that cannot outlive its parent, and naming a process so that no other is ever taken for it.

A child leads its own session, is signalled by the kernel when its parent dies however it dies (Linux only), and, where
it must not be root, gives root up before it starts. A process is named by its id *and* its start time, and is
signalled through a file descriptor of its own, so an id that was given to another process is never hit.
"""

import ctypes
import os
import pwd
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_VERSION_3 = 0x20080522
_DEAD_STATES = "ZX"


@dataclass(frozen=True, slots=True)
class Identity:
    """A process of this boot: its id, and its start time in clock ticks since boot (proc(5), field 22 of stat)."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of the process that has this id now; None when there is none, or only its zombie."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in _DEAD_STATES else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether this very process runs."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # From here on the descriptor means one process: if it is ours now, it stays ours.
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def boot_id() -> str:
    """The id of this boot: identities of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def unprivileged() -> pwd.struct_passwd | None:
    """The user that stands in for root where a program refuses root; None when we are not root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def spawn(
    argv: Sequence[str],
    *,
    log: IO[bytes],
    environment: Mapping[str, str] | None = None,
    on_parent_death: signal.Signals | None = signal.SIGKILL,
    not_as_root: bool = False,
) -> subprocess.Popen[bytes]:
    """Start argv in a session of its own, its output into log; the caller is the parent whose death it shares.

    Call it from a thread that lives as long as the process: the kernel takes the death of the thread for its parent's.
    """
    return subprocess.Popen(  # noqa: S603
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=_prepare(on_parent_death, unprivileged() if not_as_root else None),  # noqa: PLW1509
    )


def _prepare(on_parent_death: signal.Signals | None, user: pwd.struct_passwd | None) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if user is not None:
            drop_root(user)
        if on_parent_death is not None:
            # After the change of user, which clears it.
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def drop_root(user: pwd.struct_passwd) -> None:
    """Become that user for good, keeping only the right to pass folders that are root's alone.

    A checkout, its virtual environment and its state may lie under a folder that only root may enter. Making that
    folder open to all is worse than one capability for the one process (capabilities(7), CAP_DAC_OVERRIDE).
    """
    _LIBC.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    mask = 1 << _CAP_DAC_OVERRIDE
    header, sets = struct.pack("Ii", _CAP_VERSION_3, 0), struct.pack("6I", mask, mask, mask, 0, 0, 0)
    _LIBC.capset(header, sets)
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)
