"""The DCC's inventory (SR 8.2): asking it, and what it has of a device, beside what the device says of itself.

Guarantees: a question changes no device, takes no lease and no turn, and waits for no stop; the gateway's own thread sends
it, so Temporal is not needed; what comes back is evidence of the class *dcc*, which confirms no version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.duis.inventory import DeviceStatus
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns, permit
from hanwave.ledger.standing import Folded
from hanwave.rollout.events import Leg

COMMANDED = frozenset({DeviceStatus.COMMISSIONED, DeviceStatus.SUSPENDED})
"""The statuses in which a device takes firmware; every other is one of a device that is not, or no more, in use."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the DCC last had of a device: its status (of the fleet, if never asked), and its version and as of when."""

    eui: str
    smi_status: str
    version: str | None
    at: datetime | None


def ask(connection: Connection, update_ids: Sequence[int], acb: EUI64, now: datetime) -> list[int]:
    """Have the gateway send an 8.2 for each of those updates' devices; the requests.

    One names one device. Those whose question of before has not left yet are not asked twice.
    """
    rows = connection.execute(
        text("SELECT id, campaign, wave FROM campaign_device WHERE id = ANY(:ids) ORDER BY id"),
        {"ids": list(update_ids)},
    )
    granted = []
    for row in rows.all():
        question = permit.Ask(row.campaign, row.wave, Leg.INVENTORY, [row.id], "8.2", acb, {"out_of_turn": True})
        granted.append(permit.ask(connection, question, now).outbox_id)
    return [outbox_id for outbox_id in granted if outbox_id is not None]


def ask_again(connection: Connection, device: Folded, acb: EUI64, now: datetime) -> list[int]:
    """Ask for a device that is about to be activated, where what the fleet has of it is old; the request, if any.

    Old is what the policy says (inventory_age). A question of that age that brought nothing is not repeated.
    """
    since = now - campaigns.frame(connection, device.campaign).policy.inventory_age
    old = connection.execute(
        text(
            "SELECT 1 FROM device d WHERE d.eui = :eui AND d.updated_at < :since AND NOT EXISTS (SELECT 1 FROM outbox b"
            " JOIN outbox_device m ON m.outbox_id = b.id WHERE m.update_id = :id AND m.leg = 'inventory'"
            " AND b.granted_at >= :since)"
        ),
        {"eui": device.eui, "id": device.update_id, "since": since},
    )
    return ask(connection, [device.update_id], acb, now) if old.first() else []


def entries(connection: Connection, update_ids: Sequence[int]) -> list[Entry]:
    """What the DCC has of those updates' devices, in the order of the devices."""
    rows = connection.execute(
        text(
            "SELECT u.eui, d.smi_status, e.version, e.at FROM campaign_device u JOIN device d ON d.eui = u.eui"
            " LEFT JOIN LATERAL (SELECT version, at FROM device_event WHERE update_id = u.id AND leg = 'inventory'"
            " AND kind = 'version' ORDER BY at DESC, id DESC LIMIT 1) e ON true WHERE u.id = ANY(:ids) ORDER BY u.eui"
        ),
        {"ids": list(update_ids)},
    )
    return [Entry(*row) for row in rows]
