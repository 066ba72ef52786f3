"""The supplier's own queries, by name: they say of devices what only its other systems know.

Guarantees: they come from one file of the installation (the setting `queries`), never from what an operator types; each runs
as one statement in a read-only transaction of its own, within its time; one that fails is a QueryError, and no answer.

    database: postgresql://reader@db/crm        # the ledger's own, where none is named
    queries:
      credit:
        sql: SELECT eui, credit > 0 AS ok, 'no credit' AS reason FROM prepayment WHERE eui = ANY(:euis)
        timeout: 1s
      readings:                                 # a service check's may be in PromQL too
        promql: increase(readings_total[2d])
        label: eui
    prometheus: http://prometheus:9090
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from hanwave import settings
from hanwave.errors import HanwaveError
from hanwave.ledger import database
from hanwave.plain_yaml import read_yaml
from hanwave.rollout.terms import Duration, Strict


class QueryError(HanwaveError):
    """A query is not there, or gave no answer that can be used."""


class Query(Strict):
    """One statement, and how long it may take: a permit waits for it, and a halt for the permit."""

    sql: Annotated[str, Field(pattern=r":euis\b")]
    """It takes :euis, a list of EUI-64s in DCC's form."""
    timeout: Annotated[Duration, Field(le=timedelta(seconds=2))] = timedelta(seconds=1)


class PromQuery(Strict):
    """One instant query of Prometheus, for a service check: nobody waits for it under a lock."""

    promql: Annotated[str, Field(min_length=1)]
    label: Annotated[str, Field(min_length=1)] = "eui"
    """The label that holds a device's EUI-64, in DCC's form."""
    timeout: Annotated[Duration, Field(le=timedelta(minutes=1))] = timedelta(seconds=10)


class Queries(Strict):
    """The file."""

    database: SecretStr | None = None
    prometheus: str | None = None
    queries: Mapping[str, Query | PromQuery]


def named(name: str) -> Query | PromQuery:
    """The query of that name; QueryError where there is none."""
    queries = _installed()[0].queries
    if name not in queries:
        raise QueryError(f"there is no query {name[:60]!r}, the installation has {', '.join(queries)[:100]}")
    return queries[name]


def prometheus(name: str) -> str:
    """Where Prometheus is, for the query of that name; QueryError where the file does not say."""
    url = _installed()[0].prometheus
    if url is None:
        raise QueryError(
            f"the query {name!r} is in PromQL and the file of queries has no prometheus: it should name its URL"
        )
    return url


def rows(name: str, euis: Sequence[str], times: Mapping[str, datetime] | None = None) -> list[dict[str, Any]]:
    """What the query of that name says of those devices, each row by its columns; QueryError where it says nothing.

    times are further values that its SQL may take, such as :began.
    """
    query, (_, engine) = named(name), _installed()
    if isinstance(query, PromQuery):
        raise QueryError(f"the query {name!r} is in PromQL: it should be SQL here")
    statement = text(query.sql)
    values = {key: at for key, at in (times or {}).items() if f":{key}" in query.sql}
    try:
        with engine.begin() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            milliseconds = max(1, query.timeout // timedelta(milliseconds=1))
            connection.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
            return [dict(row._mapping) for row in connection.execute(statement, {"euis": list(euis), **values})]  # noqa: SLF001 - the documented way to a row's names
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise QueryError(f"the query {name!r} failed: {reason[:150]}") from error


def check(name: str, euis: Sequence[str]) -> dict[str, str]:
    """Those of the devices of which the query does not say that they are ok, and why: unknown is not ok.

    The query gives the columns eui, ok (a boolean) and reason.
    """
    unknown, refused = set(euis), {}
    for row in rows(name, euis):
        if missing := {"eui", "ok", "reason"} - set(row):
            raise QueryError(f"the query {name!r} gives no column {min(missing)}, it should give eui, ok and reason")
        if row["ok"] is not True:
            refused[row["eui"]] = f"{name}: {str(row['reason'] or 'not ok')[:100]}"
        unknown.discard(row["eui"])
    refused |= dict.fromkeys(unknown, f"the query {name!r} does not know it")
    return {eui: refused[eui] for eui in euis if eui in refused}


def _installed() -> tuple[Queries, Engine]:
    found = settings.load()
    if found.queries is None:
        raise QueryError("no queries are installed: the setting queries should name their file")
    dsn = settings.needed(found.postgres, "postgres").dsn.get_secret_value()
    installed = _read(found.queries)
    return installed, _engine(installed.database.get_secret_value() if installed.database else dsn)


@lru_cache(maxsize=4)
def _read(path: Path) -> Queries:
    """The file as it was when this process first needed it."""
    try:
        held = read_yaml(path.read_bytes(), f"the file of queries {path}", QueryError)
        return TypeAdapter(Queries).validate_python(held)
    except OSError as error:
        raise QueryError(f"the file of queries {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise QueryError(f"the file of queries {path}: {where}: {first['msg'][:100]}") from error


_engines: dict[str, Engine] = {}


def _engine(dsn: str) -> Engine:
    if dsn not in _engines:
        _engines[dsn] = database.engine(dsn, pool=2)
    return _engines[dsn]


def forget() -> None:
    """Close what this process keeps open: between tests on many databases."""
    while _engines:
        _engines.popitem()[1].dispose()
    _read.cache_clear()
