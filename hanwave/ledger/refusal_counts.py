"""How often the permit said *not now*, by the check that did: deltas, written with the answer and rolled up behind it."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from hanwave.rollout.events import Leg


def add(connection: Connection, campaign: str, leg: Leg, refused: Mapping[str, int]) -> None:
    """Count so many devices as refused, by check."""
    if not refused:
        return
    connection.execute(
        text(
            'INSERT INTO refusal_count (campaign, leg, "check", delta) SELECT :campaign, :leg, *'
            " FROM unnest(CAST(:checks AS text[]), CAST(:deltas AS int[]))"
        ),
        {"campaign": campaign, "leg": leg, "checks": list(refused), "deltas": list(refused.values())},
    )


def roll_up(connection: Connection) -> int:
    """Add the deltas together; the number of rows that went. Readers see the same sums before, during and after."""
    result = connection.execute(
        text(
            'WITH gone AS (DELETE FROM refusal_count RETURNING campaign, leg, "check", delta)'
            ' INSERT INTO refusal_count (campaign, leg, "check", delta)'
            ' SELECT campaign, leg, "check", sum(delta) FROM gone GROUP BY 1, 2, 3'
        )
    )
    return result.rowcount


def totals(connection: Connection) -> dict[tuple[str, str, str], int]:
    """How many devices were refused, by campaign, leg and check."""
    rows = connection.execute(
        text('SELECT campaign, leg, "check", sum(delta) AS n FROM refusal_count GROUP BY 1, 2, 3')
    )
    return {(row.campaign, row.leg, row.check): int(row.n) for row in rows}
