"""What every command that uses the ledger shares: which database, who asks, and when."""

import getpass
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from hanwave.cli.progress import working
from hanwave.errors import HanwaveError
from hanwave.times import read_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

Database = Annotated[
    str | None,
    typer.Option(metavar="DSN", help="The ledger, as postgresql://... (default: the setting postgres.dsn)."),
]
Actor = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it (default: the user of this machine).")]

Ended = Annotated[bool, typer.Option("--all", help="Those that are over, too.")]


@contextmanager
def open_ledger(dsn: str | None) -> "Iterator[Engine]":
    """The ledger of that DSN, or of the settings; HanwaveError where it cannot be reached or has another schema."""
    # Here and not above: these take half a second that a command's help need not wait.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from hanwave import settings  # noqa: PLC0415
    from hanwave.ledger import database  # noqa: PLC0415

    dsn = dsn or settings.needed(settings.load().postgres, "postgres").dsn.get_secret_value()
    ledger = database.engine(dsn, pool=2)
    try:
        with working():
            database.check_revision(ledger)
            yield ledger
    except DBAPIError as error:
        # The driver's own first line names the host and the refusal; the statement, with its values, stays out.
        reason = (str(error.orig).strip().splitlines() or ["it gave no reason"])[0]
        raise HanwaveError(f"the ledger refused or was lost: {reason}") from error
    finally:
        ledger.dispose()


def actor_or_user(actor: str | None) -> str:
    """The name that was given, or that of the user of this machine."""
    return actor or getpass.getuser()


def own_user_id() -> str | None:
    """The User ID of the settings, whose requests alone are shown and acted upon; None: every User ID's."""
    from hanwave import settings  # noqa: PLC0415

    found = settings.load().user_id
    return str(found) if found else None


def check_own(connection: "Connection", campaign: str) -> None:
    """Refuse a campaign that is not there, or not that User ID's: HanwaveError says the same of both."""
    from hanwave.ledger import scopes  # noqa: PLC0415

    scopes.named(connection, "campaign", campaign, own_user_id())


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def time_option(value: str | None, option: str) -> datetime | None:
    """The time that an option names, with its zone; HanwaveError names the option."""
    if value is None:
        return None
    try:
        return read_time(value)
    except ValueError as error:
        raise HanwaveError(
            f"{option} holds {value[:40]!r}, it should be a time with its zone, from 2000 to 2100: 2026-01-31T12:00:00Z"
        ) from error
