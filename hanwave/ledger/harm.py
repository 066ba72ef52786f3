"""When a campaign is rolled back without a person: where its approved plan says so, and harm is proven.

Guarantees: silence, however much of it, never begins a rollback; nor does anything while a person's own halt or pause holds
the campaign, or after a person let the next wave begin.
"""

from sqlalchemy import Connection, text

from hanwave.errors import fitted
from hanwave.ledger import campaigns, stops
from hanwave.names import HANWAVE
from hanwave.rollout.gate import Verdict, breaker
from hanwave.rollout.policy import OnHarm


def proven(connection: Connection, campaign: str) -> str | None:
    """Why the plan has it rolled back now, in a sentence; None where it does not, or it is being rolled back already."""
    frame = campaigns.frame(connection, campaign)
    if frame.policy.on_harm is not OnHarm.ROLL_BACK or frame.shadow or _is_done(connection, campaign):
        return None
    open_stops = stops.open_stops(connection, campaign)
    # Its own are no hindrance: a rollback that a kill cut short has left the halt with which it began.
    if any(stop.actor != HANWAVE for stop in open_stops):
        return None
    found = _failed(connection, campaign) or _broken(connection, campaign, open_stops)
    return found and fitted(f"the plan says so once harm is proven: {found}")


def _is_done(connection: Connection, campaign: str) -> bool:
    statement = text("SELECT restored IS NOT NULL OR closed_at IS NOT NULL FROM campaign WHERE name = :name")
    return bool(connection.execute(statement, {"name": campaign}).scalar_one())


def _failed(connection: Connection, campaign: str) -> str | None:
    row = connection.execute(
        text(
            "SELECT number, judged ->> 'reason' AS reason FROM wave WHERE campaign = :campaign AND verdict = :fail"
            " AND passed_by IS NULL ORDER BY number LIMIT 1"
        ),
        {"campaign": campaign, "fail": Verdict.FAIL},
    ).one_or_none()
    return f"the gate of wave {row.number} says fail: {row.reason}" if row else None


def _broken(connection: Connection, campaign: str, open_stops: list[stops.StopRow]) -> str | None:
    # A breaker also opens for refusals that a person must look up: they are no harm.
    for stop in (each for each in open_stops if each.kind == "breaker"):
        wave = int(stop.scope.value.rpartition("/")[2])
        progress = campaigns.progress(connection, campaign, wave)
        if breaker(progress, campaigns.gate(connection, campaign, wave)):
            return f"the breaker of wave {wave} is open: {stop.reason}"
    return None
