"""The audit chain: one chainer, behind the writers, so that nobody waits for it.

Guarantees: two chainers never run at once; each row is chained once; the numbers have no gap; what a row said when it
was chained is what it must say ever after. A row that changes in its life (a request, a stop) is chained in parts, each
from the moment at which that part can change no more. What is not chained yet is counted and named, never passed over.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from hanwave.ledger.audit_verify import FORMAT, GENESIS, link
from hanwave.ledger.database import LedgerError

_LOCK = 0x63686169  # "chai": the advisory lock of the chainer
BATCH = 5000
"""Rows a transaction: some 5 MB in memory, and under a second."""
MARGIN = 20_000
"""How far behind the youngest chained row a row may commit, or change for the last time, and still be found at once; a
whole pass finds all. Every round looks at so many rows of each source: at 2 us each, half a percent of a core."""


class BusyError(LedgerError):
    """Another chainer is at work, and will come to every row that this one would have."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What is chained of a table. The columns are named, so that a later column changes no earlier hash."""

    table: str
    columns: str
    when: str = "true"
    """Those columns change no more once this holds."""
    in_order: bool = True
    """Whether rows become due in about the order of their ids."""

    def rows(self) -> str:
        return f"(SELECT {self.columns} FROM {self.table} WHERE {self.when})"


SOURCES = {
    "device_event": _Source(
        "device_event",
        "id, update_id, eui, kind, leg, hop, attempt, at, recorded_at, evidence, version, detail, message",
    ),
    "note": _Source("note", "id, at, actor, verb, subject, reason, key, document"),
    "outbox.granted": _Source(
        "outbox",
        "id, request_id, service_reference, permit_class, leg, user_id, campaign, wave, update_id, parameters, granted_at",
    ),
    "outbox.ready": _Source("outbox", "id, digest", "digest IS NOT NULL"),
    "outbox.ended": _Source(
        "outbox",
        "id, state, code, sends, sending_at, answered_at",
        "state IN ('acknowledged', 'refused', 'abandoned')",
    ),
    "stop.placed": _Source("stop", "id, scope, value, leg, kind, reason, actor, at"),
    "stop.lifted": _Source("stop", "id, lifted_at, lifted_by, lift_reason", "lifted_at IS NOT NULL", in_order=False),
}


def chain(connection: Connection, *, most: int = BATCH, whole: bool = False) -> int:
    """Chain at most that many rows in this transaction; how many were. BusyError where another chainer is at work.

    whole looks at every row; otherwise those that a table's youngest chained row has left more than MARGIN ids behind
    are not looked at. Call it with whole now and then, as the warden does.
    """
    if not connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one():
        raise BusyError("another chainer is at work on this ledger: one is enough, and may chain at a time")
    _in_utc(connection)
    seq, head = _head(connection)
    done = 0
    for name, source in SOURCES.items():
        floor = _floor(connection, name) if source.in_order and not whole else 0
        rows = connection.execute(text(_unchained(source)), {"source": name, "floor": floor, "most": most - done}).all()
        head = _append(connection, name, rows, seq + done, head)
        done += len(rows)
    return done


def catch_up(ledger: Engine, *, whole: bool = False) -> int:
    """Chain until nothing is left, a batch a transaction; how many rows were chained. BusyError as `chain`."""
    total = 0
    while True:
        with ledger.begin() as connection:
            done = chain(connection, whole=whole)
        total += done
        if done < BATCH:
            return total


def _in_utc(connection: Connection) -> None:
    # to_jsonb writes times in the session's zone, and the hash must not depend on who asks.
    connection.execute(text("SELECT set_config('TimeZone', 'UTC', true)"))


def _head(connection: Connection) -> tuple[int, str]:
    row = connection.execute(text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")).one_or_none()
    return (row.seq, row.hash) if row else (0, GENESIS)


def _floor(connection: Connection, name: str) -> int:
    youngest = connection.execute(text('SELECT max("row") FROM audit WHERE source = :source'), {"source": name})
    return (youngest.scalar_one() or 0) - MARGIN


def _unchained(source: _Source) -> str:
    return (
        f"SELECT s.id, to_jsonb(s) AS document FROM {source.rows()} s WHERE s.id > :floor AND NOT EXISTS"
        ' (SELECT 1 FROM audit a WHERE a.source = :source AND a."row" = s.id) ORDER BY s.id LIMIT :most'
    )


def _append(connection: Connection, name: str, rows: Sequence[Row[Any]], seq: int, head: str) -> str:
    """Add links to the chain; the new head."""
    hashes = [head]
    for row in rows:
        hashes.append(link(hashes[-1], name, row.id, row.document))
    connection.execute(
        text(
            'INSERT INTO audit (seq, source, "row", previous, hash)'
            " SELECT :seq + f.n, :source, f.id, f.previous, f.hash FROM unnest(CAST(:ids AS bigint[]),"
            " CAST(:before AS text[]), CAST(:after AS text[])) WITH ORDINALITY AS f(id, previous, hash, n)"
        ),
        {"seq": seq, "source": name, "ids": [row.id for row in rows], "before": hashes[:-1], "after": hashes[1:]},
    )
    return hashes[-1]


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """Where the chain stands. Keep the head elsewhere: it is a checkpoint for `hanwave audit verify`."""

    rows: int
    head: str
    unchained: dict[str, int]
    """Rows not chained yet, by source; those with none are left out."""


def status(connection: Connection) -> AuditStatus:
    """Where the chain stands now."""
    rows, head = _head(connection)
    unchained = {}
    for name, source in SOURCES.items():
        counted = f"SELECT count(*) FROM ({_unchained(source)}) AS u"
        values = {"source": name, "floor": 0, "most": None}
        if n := connection.execute(text(counted), values).scalar_one():
            unchained[name] = n
    return AuditStatus(rows, head, unchained)


def export(ledger: Engine) -> Generator[bytes, None, None]:
    """The chain and the rows behind it, as audit_verify has it: one snapshot, streamed, each line with its line break."""
    with ledger.connect() as plain:
        # REPEATABLE READ: every statement sees the same snapshot, so that the tail agrees with the rows.
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            _in_utc(connection)
            yield _line({"format": FORMAT})
            yield from map(_line, _chained(connection))
            unchained = 0
            for name, source in SOURCES.items():
                values = {"source": name, "floor": 0, "most": None}
                for row in _stream(connection, _unchained(source), values):
                    unchained += 1
                    yield _line({"seq": None, "source": name, "row": row["id"], "document": row["document"]})
            rows, head = _head(connection)
            yield _line({"tail": {"rows": rows, "head": head, "unchained": unchained}})


def first_broken(connection: Connection, after: int, most: int) -> tuple[int, int]:
    """Of at most that many rows of the chain after a number: the first that is not what was chained (0: none); the last."""
    _in_utc(connection)
    before = connection.execute(text("SELECT hash FROM audit WHERE seq = :seq"), {"seq": after}).scalar_one_or_none()
    previous, last = before or GENESIS, after
    for row in _chained(connection, after, after + most):
        if row["document"] is None or (row["seq"], row["previous"]) != (last + 1, previous):
            return last + 1, last + 1
        last, previous = row["seq"], link(previous, row["source"], row["row"], row["document"])
        if row["hash"] != previous:
            return last, last
    return 0, last


def _chained(connection: Connection, after: int = 0, until: int | None = None) -> Iterator[dict[str, Any]]:
    behind = " ".join(
        f"WHEN '{name}' THEN (SELECT to_jsonb(s) FROM {source.rows()} s WHERE s.id = a.\"row\")"
        for name, source in SOURCES.items()
    )
    statement = (
        f'SELECT a.seq, a.source, a."row", a.previous, a.hash, CASE a.source {behind} END AS document'
        " FROM audit a WHERE a.seq > :after AND (CAST(:until AS bigint) IS NULL OR a.seq <= :until) ORDER BY a.seq"
    )
    return _stream(connection, statement, {"after": after, "until": until})


def _stream(connection: Connection, statement: str, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with connection.execute(text(statement).execution_options(yield_per=1000), values) as rows:
        yield from map(dict, rows.mappings())


def _line(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
