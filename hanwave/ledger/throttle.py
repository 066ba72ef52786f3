"""How fast a campaign activates: as its plan says, or slower, where somebody has set that since (control.change_pace)."""

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns


def planned(connection: Connection, campaign: str) -> float:
    """Activations a second, over all, of the campaign's plan: what was approved, and never exceeded."""
    return campaigns.frame(connection, campaign).policy.pace.overall


def pace(connection: Connection, campaign: str) -> float:
    """Activations a second, over all, that the campaign may have now: the last that was set holds."""
    row = connection.execute(
        text("SELECT per_second FROM pace WHERE campaign = :name ORDER BY id DESC LIMIT 1"), {"name": campaign}
    ).one_or_none()
    most = planned(connection, campaign)
    return min(most, row.per_second) if row else most


def set_pace(connection: Connection, campaign: str, per_second: float) -> None:
    """Append it; who did it and why stands in the note of the act."""
    statement = text("INSERT INTO pace (campaign, per_second, at) VALUES (:name, :per_second, now())")
    connection.execute(statement, {"name": campaign, "per_second": per_second})
