"""A real PostgreSQL for tests: one server a run, an empty database a test."""

from collections.abc import Iterator
from itertools import count

import pytest
from psycopg import sql

from infra.stack.postgres import APPLICATION, LOOKUP, OWNER, Postgres

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server, without care for its disk: nobody needs these rows after a power cut."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    with server.running("fsync=off", "synchronous_commit=off", "full_page_writes=off") as running:
        yield running


def create_database(postgres: Postgres, name: str, template: str = "template0") -> str:
    """A database of that name, a copy of a template that nobody is connected to; its owner's DSN."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*map(sql.Identifier, (name, template, OWNER)))
    with postgres.admin() as connection:
        connection.execute(statement)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        grant = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}")
        connection.execute(grant.format(sql.Identifier(name), sql.Identifier(APPLICATION)))
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(LOOKUP))
        )
    return postgres.dsn(OWNER, name)


def drop_database(postgres: Postgres, name: str) -> None:
    """Remove a database, and whoever is connected to it."""
    with postgres.admin() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The owner's DSN of an empty database, gone after the test."""
    name = f"test_{next(_numbers)}"
    yield create_database(postgres, name)
    drop_database(postgres, name)


@pytest.fixture
def database_app(database: str) -> str:
    """The DSN of the same database for the application's role, which owns nothing."""
    return database.replace(f"//{OWNER}@", f"//{APPLICATION}@", 1)
