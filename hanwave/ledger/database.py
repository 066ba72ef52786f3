"""Connections to the ledger, and its schema.

The application's role may insert everywhere, and update or delete only what is not append-only: the owner's role is
for migrations. A connection from `connect` is one transaction: committed at the end of its `with`, else rolled back.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from hanwave.errors import HanwaveError

if TYPE_CHECKING:
    from alembic.config import Config


class LedgerError(HanwaveError):
    """The ledger refused something, or cannot be used."""


def engine(dsn: str, *, pool: int = 10) -> Engine:
    """An engine for a postgresql:// DSN; pool is the most connections kept open. LedgerError where it is no such DSN."""
    try:
        url = make_url(dsn)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        url = None
    if url is None or url.drivername != "postgresql":
        # What it holds is not repeated: it may have a password.
        raise LedgerError(
            "the ledger's DSN should begin with postgresql://, as in postgresql://user@host:5432/database"
        )
    url = url.set(drivername="postgresql+psycopg")
    # What a statement that fails was given is a message, a home or a meter point: it belongs in no log and no history.
    made = create_engine(url, pool_size=pool, max_overflow=pool, hide_parameters=True)
    event.listen(made, "checkout", _check_idle)
    event.listen(made, "checkin", _note_use)
    return made


_IDLE_SECONDS = 1.0
"""A connection that was used since is not tried again before its next use: that is a tenth of a short transaction."""


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _check_idle(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Have the pool replace a connection that was lost while nobody used it: the database was restarted, say."""
    if time.monotonic() - record.info.get("used", 0.0) < _IDLE_SECONDS:
        return
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error


@contextmanager
def connect(ledger: Engine) -> Iterator[Connection]:
    """One transaction."""
    with ledger.begin() as connection:
        yield connection


def time_of(connection: Connection) -> datetime:
    """The ledger's time now, aware UTC: the one that all processes share."""
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found.astimezone(UTC)


def _config(connection: Connection) -> "Config":
    # Here and not above, as below: whoever uses the ledger need not wait for what migrates it.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(files("hanwave.ledger") / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(ledger: Engine, application_role: str | None = None, lookup_role: str | None = None) -> None:
    """Bring the schema to this version, and give the application's role, and the contact centre's, what they may do.

    The owner's DSN is needed.
    """
    from alembic import command  # noqa: PLC0415

    with ledger.begin() as connection:
        command.upgrade(_config(connection), "head")
        if application_role:
            _grant(connection, application_role)
        if lookup_role:
            _grant_lookup(connection, lookup_role)


_LOOKED_AT = "alembic_version, device, campaign, campaign_device, device_event, release, hold"


def _grant_lookup(connection: Connection, role: str) -> None:
    """Read what a home's story is made of; write that somebody looked, and a hold."""
    name = connection.dialect.identifier_preparer.quote(role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {name}"))
    connection.execute(text(f"GRANT SELECT ON {_LOOKED_AT} TO {name}"))
    connection.execute(text(f"GRANT INSERT ON note, hold TO {name}"))
    connection.execute(text(f"GRANT USAGE ON SEQUENCE note_id_seq, hold_id_seq TO {name}"))


def _grant(connection: Connection, role: str) -> None:
    # Here and not above: the tables, as their migrations know them, are 13 MB to every process that uses the ledger.
    from hanwave.ledger.tables import APPEND_ONLY  # noqa: PLC0415

    name = connection.dialect.identifier_preparer.quote(role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {name}"))
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    connection.execute(text(f"REVOKE UPDATE, DELETE, TRUNCATE ON {', '.join(APPEND_ONLY)} FROM {name}"))
    connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}"))
    # The fleet's import stages its rows in a temporary table.
    database = connection.dialect.identifier_preparer.quote(str(connection.engine.url.database))
    connection.execute(text(f"GRANT TEMPORARY ON DATABASE {database} TO {name}"))


def revision(ledger: Engine) -> tuple[str | None, str | None]:
    """The migration that the database stands at, and the one that this version wants."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    with ledger.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        return current, ScriptDirectory.from_config(_config(connection)).get_current_head()


def check_revision(ledger: Engine) -> None:
    """Nothing where the database has this version's schema; else LedgerError."""
    current, wanted = revision(ledger)
    if current != wanted:
        raise LedgerError(
            f"the ledger's schema is {current or 'not there yet'}, this version of hanwave wants {wanted}: migrate it"
            " first (`hanwave up` does, for the embedded stack)"
        )
