"""Ending one device's update: a complaint, a visit, a meter that is about to be exchanged.

Guarantees: from the commit on nothing is granted that would change the device, and what was granted and never left is given
back; what was sent is seen through to its end (a future-dated activation is withdrawn), so that the ledger never calls
cancelled what may still come.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from hanwave.identifiers import EUI64
from hanwave.ledger import notes, outbox
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, Folded, lock, record, standings
from hanwave.rollout.decide import Step
from hanwave.rollout.device import ENDED
from hanwave.rollout.events import Event, Kind


@dataclass(frozen=True, slots=True)
class CancelledDevice:
    """What a cancel came to: whether the update has ended, or what was sent is waited for."""

    eui: str
    state: str
    ended: bool
    outcome: str | None


def cancel_device(
    ledger: Engine, campaign: str, eui: str, reason: str, actor: str, *, key: str | None = None
) -> CancelledDevice:
    """End a device's update in a campaign; LedgerError where it has none there, or it has ended, or no reason is given."""
    eui = str(EUI64.parse(eui))
    said = notes.Said(actor, "cancel device", f"campaign/{campaign}/device/{eui}", reason, key=key)
    if not reason.strip():
        raise LedgerError("cancelling a device's update needs a reason")
    with ledger.begin() as connection:
        now = datetime.now(UTC)
        return CancelledDevice(
            **notes.once(connection, said, lambda: _cancel(connection, campaign, eui, said, now), now)
        )


def _cancel(connection: Connection, campaign: str, eui: str, said: notes.Said, now: datetime) -> dict[str, Any]:
    update_id = _update(connection, campaign, eui)
    lock(connection, _companions(connection, update_id))
    (device,) = standings(connection, [update_id], now)
    if device.standing.state in ENDED:
        raise LedgerError(f"the update of {eui} in {campaign!r} has ended: it is {device.standing.state}")
    for outbox_id in _unsent(connection, update_id):
        outbox.never_sent(connection, outbox_id, now, f"cancelled by {said.actor}")
    (device,) = record(connection, [_fact(device, Kind.CANCELLED, said.reason, now)], now)
    if device.decision.step is Step.CLOSE:
        closing = _fact(device, Kind.CLOSED, said.reason, now, detail=device.decision.outcome)
        (device,) = record(connection, [closing], now)
    standing = device.standing
    return asdict(CancelledDevice(eui, str(standing.state), standing.state in ENDED, standing.outcome))


def _fact(device: Folded, kind: Kind, reason: str, now: datetime, detail: str | None = None) -> Fact:
    return Fact(device.update_id, Event(kind, now, hop=device.hop, detail=detail, reason=reason))


def _update(connection: Connection, campaign: str, eui: str) -> int:
    row = connection.execute(
        text("SELECT id FROM campaign_device WHERE campaign = :campaign AND eui = :eui"),
        {"campaign": campaign, "eui": eui},
    ).one_or_none()
    if row is None:
        raise LedgerError(f"campaign {campaign!r} has no device {eui}: `hanwave device {eui}` shows where it is")
    return int(row.id)


_OURS = """
    FROM outbox_device o JOIN outbox b ON b.id = o.outbox_id AND b.state IN ('granted', 'ready') AND b.sends = 0
    AND b.permit_class = 'forward' WHERE o.update_id = :id
"""


def _companions(connection: Connection, update_id: int) -> list[int]:
    """The update, and those that share a request with it that has not left: it is given back whole."""
    rows = connection.execute(
        text(f"SELECT update_id FROM outbox_device WHERE outbox_id IN (SELECT o.outbox_id {_OURS})"), {"id": update_id}
    )
    return [update_id, *rows.scalars()]


def _unsent(connection: Connection, update_id: int) -> list[int]:
    # A sender that has its row locked is about to send, or to record an answer: it is not waited for, it is in flight.
    rows = connection.execute(text(f"SELECT b.id {_OURS} FOR UPDATE OF b SKIP LOCKED"), {"id": update_id})
    return list(rows.scalars())
