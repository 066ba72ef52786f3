"""Alerts that an activated device should not send, after its update has settled (before, the fold sees to them).

Guarantee: while its wave may still be judged such a device's update is failed in the transaction that records the alert,
so that the breaker and the gate see it. Nothing is sent to it because of this.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, text

from hanwave.ledger import campaigns
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.events import Event, Kind


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of a device, by its code, when it came (aware UTC), and the message that says so, by its digest."""

    eui: str
    code: str
    at: datetime
    message: str


def tell(connection: Connection, alerts: Iterable[Alert], now: datetime) -> None:
    """Fail the settled updates whose devices raised what their wave's gate lists among its alarms."""
    told = {alert.eui: alert for alert in sorted(alerts, key=lambda alert: alert.at)}
    rows = connection.execute(_SETTLED, {"euis": sorted(told)}).all() if told else ()
    harmed = [row for row in rows if told[row.eui].code in campaigns.gate(connection, row.campaign, row.wave).alarms]
    record(connection, [_failed(row, told[row.eui]) for row in harmed if told[row.eui].at >= row.at], now)


_SETTLED = text(
    """
    SELECT u.id, u.eui, u.hop, u.campaign, u.wave, e.at
    FROM (SELECT DISTINCT ON (eui) * FROM campaign_device WHERE eui = ANY(:euis) ORDER BY eui, id DESC) u
    JOIN wave w ON w.campaign = u.campaign AND w.number = u.wave AND w.closed_at IS NULL
    JOIN device_event e ON e.update_id = u.id AND e.kind = 'settled' WHERE u.state = 'settled'
    """
)


def _failed(row: Row[tuple[int, str, int, str, int, datetime]], alert: Alert) -> Fact:
    reason = f"it raised the alert {alert.code} after it had settled"
    return Fact(row.id, Event(Kind.CLOSED, alert.at, hop=row.hop, detail=Outcome.FAILED, reason=reason), alert.message)
