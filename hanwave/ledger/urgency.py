"""Urgent campaigns: what a security fix takes over from slower campaigns, and how.

An urgent campaign that runs (it is approved, then) takes its members from every slower campaign that is not yet activating
them. Guarantees: from then on nothing forward is granted to the slower update; a future-dated activation of it is withdrawn
first; it is closed as *superseded*, with a note, only once nothing of it is on its way, so that no alert is taken for the
other image's; what already activates is left to its end, and waited for.
"""

from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import notes
from hanwave.ledger.standing import Fact, Folded, lock, record, standings
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Kind
from hanwave.rollout.policy import DeviceType

AT_REST = frozenset(
    {
        *(State.PLANNED, State.HELD, State.STEPPED),
        *(State.REJECTED, State.DELIVERY_FAILED, State.VERIFICATION_FAILED),
    }
)
"""States in which nothing of an update is on its way."""
NOT_ACTIVATING = AT_REST | {State.REQUESTED, State.DELIVERED, State.SCHEDULED}
"""States in which a device can still be taken from a slower campaign: what is on its way, or dated, first comes to rest.
A PPMID activates what is on its way to it: one of those can be taken at rest alone."""


def takeable(device_type: DeviceType) -> list[str]:
    """The states in which a plan counts on taking a device of that type over."""
    return sorted(AT_REST if device_type.one_step else NOT_ACTIVATING)


TAKER = """
    SELECT n.campaign FROM campaign_device n JOIN campaign t ON t.name = n.campaign AND t.urgent AND t.status = 'running'
    WHERE n.eui = {update}.eui AND n.campaign <> {update}.campaign AND n.state NOT IN ('settled', 'closed')
        AND NOT EXISTS (SELECT 1 FROM campaign s WHERE s.name = {update}.campaign AND s.urgent)
"""
"""The urgent campaigns that take an update over; none takes from another urgent one."""


_SLOWER = text(
    """
    SELECT o.id FROM campaign_device n JOIN campaign_device o ON o.eui = n.eui AND o.campaign <> n.campaign
    JOIN campaign s ON s.name = o.campaign AND NOT s.urgent
    WHERE n.campaign = :campaign AND n.state = 'planned' AND o.state = ANY(:states) ORDER BY o.id
    """
)


def take_over(connection: Connection, campaign: str, now: datetime) -> int:
    """Close what is at rest of slower updates of that urgent campaign's devices; how many. What is not, comes later."""
    states = {"campaign": campaign, "states": [str(state) for state in AT_REST]}
    ids = list(connection.execute(_SLOWER, states).scalars())
    if not ids:
        return 0
    lock(connection, ids)
    taken = [f for f in standings(connection, ids, now) if _is_at_rest(f)]
    reason = f"the urgent campaign {campaign} takes the device over"
    record(connection, [_closing(f, reason, now) for f in taken], now)
    notes.add(connection, [_note(f, reason) for f in taken], now)
    return len(taken)


def _is_at_rest(device: Folded) -> bool:
    return device.standing.state in AT_REST and not device.standing.quarantined


def _closing(device: Folded, reason: str, now: datetime) -> Fact:
    return Fact(device.update_id, Event(Kind.CLOSED, now, hop=device.hop, detail=Outcome.SUPERSEDED, reason=reason))


def _note(device: Folded, reason: str) -> notes.Said:
    return notes.Said("hanwave", "superseded", f"device/{device.eui}", reason, {"campaign": device.campaign})
