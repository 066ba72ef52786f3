"""Lifting a halt of more than one campaign: of all, a User ID or a model. A campaign's own stops are lifted by `resume`.

Guarantees: what is lifted is the halt that was read, by its number; one that stands since the ledger was restored is lifted
by `reconcile` alone; what was permitted before and never left was given back, so that lifting sends nothing by itself.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from hanwave.ledger import notes, reconcile, stops
from hanwave.ledger.database import LedgerError

_WIDE = ("all", "user", "model")


@dataclass(frozen=True, slots=True)
class Wide:
    """An open stop of more than one campaign."""

    id: int
    stops: str
    """What is stopped: all, or the user or model."""
    reason: str
    actor: str
    at: datetime


def standing(connection: Connection, user_id: str | None = None) -> list[Wide]:
    """The open stops of more than one campaign; of users that one alone, where it is given."""
    return [
        Wide(stop.id, f"{stop.scope.kind} {stop.scope.value}".strip(), stop.reason, stop.actor, stop.at)
        for stop in stops.open_stops(connection)
        if stop.scope.kind in _WIDE and (stop.scope.kind != "user" or user_id in {None, stop.scope.value})
    ]


def lift(
    ledger: Engine, stop_id: int, reason: str, actor: str, *, key: str | None = None, user_id: str | None = None
) -> str:
    """Lift an open stop of more than one campaign; what it stopped. Again under the same key: the same answer.

    LedgerError where there is no such stop, another command lifts it, or no reason is given.
    """
    with ledger.begin() as connection:
        now = datetime.now(UTC)
        said = notes.Said(actor, "lift", _of(connection, stop_id, user_id), reason, {"stop": stop_id}, key)
        return notes.once(connection, said, lambda: _lift(connection, said, now), now)


def _of(connection: Connection, stop_id: int, user_id: str | None) -> str:
    """What a stop, open or lifted, stops; LedgerError where it is none of more than one campaign, or another User ID's."""
    row = connection.execute(text("SELECT scope, value FROM stop WHERE id = :id"), {"id": stop_id}).one_or_none()
    if row and row.scope not in _WIDE:
        campaign = row.value.partition("/")[0]
        raise LedgerError(f"stop {stop_id} is of campaign {campaign}: `hanwave campaign resume {campaign}` lifts those")
    if row is None or (row.scope == "user" and user_id not in {None, row.value}):
        known = ", ".join(str(each.id) for each in standing(connection, user_id)) or "none"
        raise LedgerError(f"there is no stop {stop_id} of more than one campaign; open are {known[:80]}")
    return f"{row.scope} {row.value}".strip()


def _lift(connection: Connection, said: notes.Said, now: datetime) -> str:
    stop_id = said.document["stop"]
    restored = reconcile.open_stop(connection)
    if restored and restored[0] == stop_id:
        raise LedgerError(f"stop {stop_id} stands since the ledger was restored: `hanwave reconcile` lifts it")
    stops.lift(connection, stop_id, said.reason, said.actor, now)
    return said.subject
