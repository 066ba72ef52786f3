"""What a restored ledger may have sent and cannot remember: counted at its worst, until a person knows better.

Guarantees: what is counted is all that forward requests could still use, at the moment of the stop, so no anomaly-detection
threshold can be exceeded by it; a person who has the DCC's own figures puts them in its place, never more, by an act with a
name and a reason.
"""

from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import budgets, notes
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import Said
from hanwave.rollout.budget import OBSERVING


def exhaust(connection: Connection, now: datetime) -> None:
    """Count all that forward requests may still use as used now, by requests that the ledger has forgotten.

    What only looks is let go on: where too much of it was sent the DCC holds it, and no device acts on it.
    """
    rooms: dict[tuple[str, str], int] = {}
    for level in budgets.levels(connection, now):
        key = level.threshold.user_id, level.threshold.variant
        rooms[key] = max(rooms.get(key, 0), level.room)
    forgotten = [
        {"user": user, "variant": variant, "at": now, "units": units}
        for (user, variant), units in rooms.items()
        if units and variant not in OBSERVING
    ]
    if forgotten:
        connection.execute(_COUNT, forgotten)


def restate(connection: Connection, user_id: str, variant: str, sent: int, said: tuple[str, str], now: datetime) -> int:
    """Put what was really sent (by the DCC's figures; said: who says so, and why) in the place of the worst case.

    What was counted before; LedgerError where no restore counted anything of that variant, or less than what was sent.
    """
    budgets.lock(connection, user_id, variant)
    counted = connection.execute(_COUNTED, {"user": user_id, "variant": variant}).one()
    if counted.units is None:
        raise LedgerError(f"no restore has counted SR {variant} of {user_id} at its worst: there is nothing to restate")
    if not 0 <= sent <= counted.worst:
        raise LedgerError(
            f"{sent} requests of SR {variant} cannot have been sent: {counted.worst} is all that its thresholds left room for"
        )
    values = {"user": user_id, "variant": variant, "at": counted.at, "units": sent - counted.units}
    connection.execute(_COUNT, values)
    actor, reason = said
    document = {"variant": variant, "counted": counted.units, "sent": sent}
    notes.add(connection, Said(actor, "restate budget", f"user/{user_id}", reason, document), now)
    return int(counted.units)


# Every request of ours is of a campaign: what is of none is what a restore counted.
_COUNT = text(
    "INSERT INTO request_use (user_id, variant, permit_class, at, requests, devices)"
    " VALUES (:user, :variant, 'forward', :at, :units, :units)"
)
# The minute's rows are added together in time; what was counted at first is in the note of whoever restated it first.
_COUNTED = text(
    """
    WITH counted AS (
        SELECT sum(requests) AS units, max(at) AS at FROM request_use
        WHERE user_id = :user AND variant = :variant AND permit_class = 'forward' AND campaign IS NULL AND at >= (
            SELECT max(at) FROM request_use
            WHERE user_id = :user AND variant = :variant AND permit_class = 'forward' AND campaign IS NULL)
    )
    SELECT units, at, greatest(units, (
        SELECT max((n.document ->> 'counted')::bigint) FROM note n WHERE n.verb = 'restate budget'
        AND n.subject = 'user/' || :user AND n.document ->> 'variant' = :variant AND n.at >= counted.at)) AS worst
    FROM counted
    """
)
