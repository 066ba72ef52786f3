"""The ledger's tables. What must never change is append-only by trigger and privilege (see migrations).

EUI-64s are text in DCC's form, times are timestamptz, hashes are upper-case hexadecimal.
"""

from hanwave.ledger.tables.budgets import OthersUse, RequestUse, ThresholdRow
from hanwave.ledger.tables.campaigns import (
    Campaign,
    CampaignDevice,
    DeviceEvent,
    HomeLease,
    Lease,
    LeftOut,
    PathHop,
    Tally,
    WaveRow,
)
from hanwave.ledger.tables.control import Audit, Beat, Note, Pace, Stop
from hanwave.ledger.tables.fleet import Device, Hold
from hanwave.ledger.tables.forecasts import ForecastRow
from hanwave.ledger.tables.messages import Counter, Inbox, Outbox, OutboxBody, OutboxDevice
from hanwave.ledger.tables.metrics import Metric, RefusalCount
from hanwave.ledger.tables.outages import Outage
from hanwave.ledger.tables.releases import CplRow, Release, SignedImage
from hanwave.ledger.tables.webhooks import Webhook, WebhookCursor, WebhookEvent
from hanwave.ledger.tables.windows import IncidentRow, LoadCalendar

__all__ = [
    "APPEND_ONLY",
    "Audit",
    "Beat",
    "Campaign",
    "CampaignDevice",
    "Counter",
    "CplRow",
    "Device",
    "DeviceEvent",
    "ForecastRow",
    "Hold",
    "HomeLease",
    "Inbox",
    "IncidentRow",
    "Lease",
    "LeftOut",
    "LoadCalendar",
    "Metric",
    "Note",
    "OthersUse",
    "Outage",
    "Outbox",
    "OutboxBody",
    "OutboxDevice",
    "Pace",
    "PathHop",
    "RefusalCount",
    "Release",
    "RequestUse",
    "SignedImage",
    "Stop",
    "Tally",
    "ThresholdRow",
    "WaveRow",
    "Webhook",
    "WebhookCursor",
    "WebhookEvent",
]

APPEND_ONLY = ("device_event", "audit", "note", "pace", "path_hop")
"""Tables whose rows are never changed or deleted, by trigger and privilege."""
