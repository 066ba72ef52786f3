"""Stops: halts, pauses and breakers. Anyone may stop; what is stopped is a row, and lifting it is written into the row.

Guarantee: once `stop` has committed, no forward request is marked as sending. A sender holds the share lock while it reads
the stop rows and marks its request; a halt takes the exclusive lock, so every sender either was marked before or sees the
stop. Those that were marked before have begun, or never will, after BEGIN_BOUND (*recorded*), and have ended after
POST_BOUND (*quiet*); mostly both come as soon as their answers do.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.names import HANWAVE
from hanwave.rollout.events import Leg

_LOCK = 0x68616E77  # "hanw": the advisory lock of the stop rows
HELD_BOUND = timedelta(seconds=15)
"""No halt waits longer for a process that holds the lock and does nothing: one that was frozen, or whose machine has left the
network, would hold it for ever. PostgreSQL then ends its connection, so what it was about to mark is not marked. The longest
pause between two statements, the fold of a batch of 50,000, takes 3 s."""
POST_BOUND = timedelta(seconds=60)
"""No POST lasts longer: the gateway's client gives up before. A request sending for longer has no sender any more."""

BEGIN_BOUND = timedelta(seconds=12)
"""A POST whose request was marked has begun by then, or never will: two seconds to ask for a connection (SEND_WITHIN of
the outbox), and three each until there is one that is free, until it is up, and until it is secure."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a stop stops: all; a user (User ID), model (manufacturer/model), campaign, or wave (campaign/number)."""

    kind: str
    value: str = ""
    leg: Leg | None = None


@dataclass(frozen=True, slots=True)
class StopRow:
    """An open stop."""

    id: int
    kind: str
    scope: Scope
    reason: str
    actor: str
    at: datetime

    def __str__(self) -> str:
        of = f"{self.scope.kind} {self.scope.value}".strip()
        leg = f" ({self.scope.leg} only)" if self.scope.leg else ""
        return f"{self.kind} of {of}{leg} by {self.actor}: {self.reason}"


def share(connection: Connection) -> None:
    """Keep every halt waiting until this transaction ends: keep it small."""
    connection.execute(_SHARE, _held())


def lock(connection: Connection) -> None:
    """Wait for every sender that is marking its request, and keep the next ones waiting until this transaction ends."""
    connection.execute(_ALONE, _held())


_BOUNDED = "SELECT set_config('idle_in_transaction_session_timeout', :bound, true)"
_SHARE = text(f"{_BOUNDED}, pg_advisory_xact_lock_shared(:lock)")
_ALONE = text(f"{_BOUNDED}, pg_advisory_xact_lock(:lock)")


def _held() -> dict[str, Any]:
    return {"lock": _LOCK, "bound": f"{HELD_BOUND.total_seconds() * 1000:.0f}ms"}


def stop(connection: Connection, scope: Scope, kind: str, reason: str, actor: str, now: datetime) -> int:
    """Record a stop and return its id; it holds from the commit of this transaction on. Never gated."""
    lock(connection)
    return _insert(connection, scope, kind, reason, actor, now)


def _insert(connection: Connection, scope: Scope, kind: str, reason: str, actor: str, now: datetime) -> int:
    return int(
        connection.execute(
            text(
                "INSERT INTO stop (scope, value, leg, kind, reason, actor, at)"
                " VALUES (:scope, :value, :leg, :kind, :reason, :actor, :now) RETURNING id"
            ),
            {
                "scope": scope.kind,
                "value": scope.value,
                "leg": scope.leg,
                "kind": kind,
                "reason": reason,
                "actor": actor,
                "now": now,
            },
        ).scalar_one()
    )


def open_breaker(connection: Connection, wave: str, reason: str, now: datetime) -> None:
    """Open a wave's breaker ("campaign/3"), unless it is open. It holds from this transaction's commit on.

    It takes no exclusive lock: the evidence must not wait for senders, nor a sender that already holds the share lock
    for itself. A request that is being marked as sending in that moment still goes out.
    """
    found = connection.execute(
        text("SELECT 1 FROM stop WHERE scope = 'wave' AND value = :wave AND kind = 'breaker' AND lifted_at IS NULL"),
        {"wave": wave},
    ).first()
    if found is None:
        _insert(connection, Scope("wave", wave), "breaker", reason, HANWAVE, now)
        campaign, _, number = wave.rpartition("/")
        notes.add(connection, notes.Said(HANWAVE, "open breaker", f"campaign/{campaign}/wave/{number}", reason), now)


def lift(connection: Connection, stop_id: int, reason: str, actor: str, now: datetime) -> None:
    """Lift a stop; LedgerError where it is not open, or no reason is given."""
    if not reason.strip():
        raise LedgerError("lifting a stop needs a reason")
    done = connection.execute(
        text(
            "UPDATE stop SET lifted_at = :now, lifted_by = :actor, lift_reason = :reason"
            " WHERE id = :id AND lifted_at IS NULL"
        ),
        {"id": stop_id, "reason": reason, "actor": actor, "now": now},
    )
    if done.rowcount == 0:
        raise LedgerError(f"there is no open stop {stop_id}: it was lifted, or never was")


def is_open(connection: Connection, stop_id: int) -> bool:
    """Whether that stop still holds."""
    statement = text("SELECT 1 FROM stop WHERE id = :id AND lifted_at IS NULL")
    return connection.execute(statement, {"id": stop_id}).first() is not None


_COLUMNS = "SELECT id, scope, value, leg, kind, reason, actor, at FROM stop WHERE lifted_at IS NULL"


def open_stops(connection: Connection, campaign: str | None = None) -> list[StopRow]:
    """Every open stop, or those of the campaign, of one of its waves, of its User ID, and of all."""
    rows = connection.execute(
        text(
            f"{_COLUMNS} AND (CAST(:campaign AS text) IS NULL OR scope = 'all'"
            " OR (scope = 'user' AND value = (SELECT user_id FROM campaign WHERE name = :campaign))"
            " OR (scope = 'campaign' AND value = :campaign)"
            " OR (scope = 'wave' AND left(value, length(:campaign) + 1) = :campaign || '/')) ORDER BY id"
        ),
        {"campaign": campaign},
    )
    return [_row(row) for row in rows]


def blocking(
    connection: Connection, user_id: str, campaign: str, wave: int, leg: Leg, outbox_id: int | None = None
) -> StopRow | None:
    """The first open stop that forbids a forward request of that wave and leg.

    Stops of models count where the request is granted, and one of its devices is of the model.
    """
    values = {"leg": leg, "user_id": user_id, "campaign": campaign, "wave": f"{campaign}/{wave}", "outbox": outbox_id}
    row = connection.execute(_BLOCKING, values).first()
    return _row(row) if row else None


_BLOCKING = text(
    f"{_COLUMNS} AND (leg IS NULL OR leg = :leg) AND (scope = 'all'"
    " OR (scope = 'user' AND value = :user_id) OR (scope = 'campaign' AND value = :campaign)"
    " OR (scope = 'wave' AND value = :wave)"
    " OR (scope = 'model' AND EXISTS (SELECT 1 FROM outbox_device o JOIN device d ON d.eui = o.eui"
    " WHERE o.outbox_id = CAST(:outbox AS bigint) AND d.manufacturer || '/' || d.model = stop.value)))"
    " ORDER BY id LIMIT 1"
)


def stopped_models(connection: Connection, leg: Leg) -> set[str]:
    """The models ("manufacturer/model") to which nothing forward goes in that leg."""
    rows = connection.execute(
        text("SELECT value FROM stop WHERE scope = 'model' AND lifted_at IS NULL AND (leg IS NULL OR leg = :leg)"),
        {"leg": leg},
    )
    return set(rows.scalars())


def _row(row: Row[tuple[Any, ...]]) -> StopRow:
    leg = Leg(row.leg) if row.leg else None
    return StopRow(row.id, row.kind, Scope(row.scope, row.value, leg), row.reason, row.actor, row.at)


@dataclass(frozen=True, slots=True)
class Marked:
    """A forward request whose POST may be under way: since when, and of which service."""

    outbox_id: int
    at: datetime
    transform: bool
    """It asks for a pre-command: that changes no device, so it is not waited for beyond its beginning."""


def sending(connection: Connection, now: datetime) -> set[Marked]:
    """The forward requests whose POST may be under way; none is *quiet*."""
    rows = connection.execute(
        text(
            "SELECT id, sending_at, state = 'granted' AS transform FROM outbox WHERE permit_class = 'forward' AND ("
            " (state = 'sending' AND sending_at > :since) OR (state = 'granted' AND sending_at > :beginning))"
        ),
        {"since": now - POST_BOUND, "beginning": now - BEGIN_BOUND},
    )
    return {Marked(*row) for row in rows}
