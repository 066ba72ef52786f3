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
    told: dict[str, list[Alert]] = {}
    for alert in sorted(alerts, key=lambda alert: alert.at):
        told.setdefault(alert.eui, []).append(alert)
    rows = connection.execute(_SETTLED, {"euis": sorted(told)}).all() if told else ()
    record(connection, [fact for row in rows if (fact := _failed(connection, row, told[row.eui]))], now)


_SETTLED = text(
    """
    SELECT u.id, u.eui, u.hop, u.campaign, u.wave, e.at
    FROM (SELECT DISTINCT ON (eui) * FROM campaign_device WHERE eui = ANY(:euis) ORDER BY eui, id DESC) u
    JOIN wave w ON w.campaign = u.campaign AND w.number = u.wave AND w.closed_at IS NULL
    JOIN device_event e ON e.update_id = u.id AND e.kind = 'settled' WHERE u.state = 'settled'
    """
)


def _failed(
    connection: Connection, row: Row[tuple[int, str, int, str, int, datetime]], alerts: Iterable[Alert]
) -> Fact | None:
    """By the first that is an alarm since it settled, whatever else the device said beside it; None where none is."""
    alarms = campaigns.gate(connection, row.campaign, row.wave).alarms
    alert = next((alert for alert in alerts if alert.code in alarms and alert.at >= row.at), None)
    if alert is None:
        return None
    reason = f"it raised the alert {alert.code} after it had settled"
    return Fact(row.id, Event(Kind.CLOSED, alert.at, hop=row.hop, detail=Outcome.FAILED, reason=reason), alert.message)
