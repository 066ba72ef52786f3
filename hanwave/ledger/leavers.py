"""Leavers: devices that are no longer ours to update leave their campaigns, with a note, and are no failure.

A device leaves by a change of supplier (that the fleet feed, the DCC's inventory or the DCC's refusal tells of, or that is
known beforehand), and by being taken out of use, as a meter is when it is exchanged. A Suspended one does not: firmware
rescues it, nor does one on a bench, which mostly is out of use. Guarantees: nothing more is sent to a leaver, what was permitted and has not left is given back, and what was
sent and has no last word stays on every halt's list.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, notes, outbox
from hanwave.ledger.campaigns import Frame
from hanwave.ledger.standing import Fact, Folded, lock, record, standings
from hanwave.ledger.urgency import AT_REST
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import ENDED, State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import ActivationMode

OUT_OF_USE = ("Decommissioned", "Withdrawn")
"""[I] SMI statuses from which no device comes back: it was taken off the wall, or never will be in use."""
RESPONSIBLE = (
    "coalesce(CASE d.device_type WHEN 'GSME' THEN d.gas_supplier = {user}"
    " WHEN 'PPMID' THEN d.gas_supplier = {user} OR d.import_supplier = {user}"
    " ELSE d.import_supplier = {user} END, false)"
)
"""Whether a User ID is responsible for a device d (domain 7, Roles): GSME firmware is the gas supplier's, a PPMID's either's."""
GONE = {
    "E4": "the DCC says that another supplier is responsible for it (E4)",
    "E19": "the DCC knows no such device (E19)",
}
"""Refusals that tell of a device that is not ours to command any more (domain 2.5); one of a whole batch tells of none."""


@dataclass(frozen=True, slots=True)
class Going:
    """A device of an open update that has left, or leaves at a time (aware UTC)."""

    update_id: int
    campaign: str
    why: str | None
    """Why it has left already; None for one that will."""
    leaves_at: datetime | None


_GOING = text(
    f"""
    SELECT u.id AS update_id, u.campaign, CASE
        WHEN d.eui IS NULL THEN 'it is no longer in the fleet'
        WHEN c.route = 'dcc' AND d.smi_status = ANY(:out_of_use) THEN 'it is out of use: its SMI status is ' || d.smi_status
        WHEN NOT {RESPONSIBLE.format(user="c.user_id")} THEN 'another supplier is responsible for it'
        WHEN d.leaves_at <= :now THEN 'it changed supplier on ' || to_char(d.leaves_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
        WHEN r.detail IS NOT NULL THEN r.detail
    END AS why, d.leaves_at
    FROM campaign_device u JOIN campaign c ON c.name = u.campaign LEFT JOIN device d ON d.eui = u.eui
    LEFT JOIN LATERAL (SELECT detail FROM device_event e WHERE CAST(:ids AS bigint[]) IS NOT NULL
        AND e.update_id = u.id AND e.kind = 'refused' AND e.leg <> 'distribute' AND e.detail = ANY(:gone) LIMIT 1) r ON true
    WHERE u.state NOT IN ('settled', 'closed')
        AND (CAST(:ids AS bigint[]) IS NULL OR u.id = ANY(:ids))
        AND (CAST(:euis AS text[]) IS NULL OR u.eui = ANY(:euis))
        AND (d.eui IS NULL OR d.leaves_at IS NOT NULL OR (c.route = 'dcc' AND d.smi_status = ANY(:out_of_use))
            OR NOT {RESPONSIBLE.format(user="c.user_id")} OR r.detail IS NOT NULL)
    """
)


def leave(
    connection: Connection,
    now: datetime,
    *,
    update_ids: Iterable[int] | None = None,
    euis: Iterable[str] | None = None,
) -> int:
    """Have every device that left close its open updates as *left* (of those updates, of those devices, or of all).

    A refusal by the DCC that tells of it is looked for in the updates that are named. So does one whose known change of supplier is nearer than its next leg reaches, once nothing of it is in flight. The
    number that left.
    """
    values = {
        "now": now,
        "out_of_use": list(OUT_OF_USE),
        "gone": list(GONE),
        "ids": None if update_ids is None else list(update_ids),
        "euis": None if euis is None else list(euis),
    }
    going = {row.update_id: Going(*row) for row in connection.execute(_GOING, values)}
    if not going:
        return 0
    _give_back(connection, going, now)
    lock(connection, going)
    left = [(f, why) for f in standings(connection, going, now) if (why := _why(connection, f, going, now))]
    record(connection, [_closing(f, why, now) for f, why in left], now)
    notes.add(connection, [_note(f, why) for f, why in left], now)
    return len(left)


def _why(connection: Connection, device: Folded, going: dict[int, Going], now: datetime) -> str | None:
    """Why it leaves now; None where it does not."""
    found = going[device.update_id]
    # A quarantined request may yet be released: its device stays locked until a person says what became of it.
    if device.standing.state in ENDED or device.standing.quarantined:
        return None
    if found.why or not found.leaves_at or device.standing.state not in AT_REST:
        return found.why and GONE.get(found.why, found.why)
    leg = Leg.ACTIVATE if device.standing.state is State.HELD else Leg.DISTRIBUTE
    frame = campaigns.frame(connection, device.campaign)
    return too_soon(frame, leg, device.region, found.leaves_at, now)


def too_soon(frame: Frame, leg: Leg, region: str, leaves_at: datetime, now: datetime) -> str | None:
    """Why a leg is not begun for a device that changes supplier then: its activation could fall due after it; or None."""
    if leaves_at > now + reach(frame, leg, region):
        return None
    return f"it changes supplier on {leaves_at:%Y-%m-%d}, before its {leg} request could be known to have ended well"


def reach(frame: Frame, leg: Leg, region: str) -> timedelta:
    """How long after a leg of that campaign is begun, in that region, its device's activation may still come."""
    deadlines, policy = frame.policy.deadlines_in(region, frame.device_type), frame.policy
    ahead = policy.lead if policy.activation is ActivationMode.FUTURE_DATED else timedelta(0)
    until = {
        Leg.DISTRIBUTE: deadlines.distribute + deadlines.activate + ahead,
        Leg.ACTIVATE: deadlines.activate + ahead,
    }
    return until.get(leg, timedelta(0))


def _closing(device: Folded, why: str, now: datetime) -> Fact:
    return Fact(device.update_id, Event(Kind.CLOSED, now, hop=device.hop, detail=Outcome.LEFT, reason=why))


def _note(device: Folded, why: str) -> notes.Said:
    return notes.Said("hanwave", "left", f"device/{device.eui}", why, {"campaign": device.campaign})


def _give_back(connection: Connection, update_ids: Iterable[int], now: datetime) -> None:
    """Give back the requests that name one of them and of which no POST began; a sender that has one keeps it."""
    rows = connection.execute(
        text(
            "SELECT id FROM outbox WHERE state IN ('granted', 'ready') AND sends = 0 AND permit_class <> 'withdraw'"
            " AND id IN (SELECT outbox_id FROM outbox_device WHERE update_id = ANY(:ids)) ORDER BY id"
            " FOR UPDATE SKIP LOCKED"
        ),
        {"ids": list(update_ids)},
    )
    for outbox_id in list(rows.scalars()):
        outbox.never_sent(connection, outbox_id, now, "a device of it has left")


_MOVED = text(
    """
    SELECT u.id, u.hop, u.eui FROM staged s JOIN device d ON d.eui = s.eui JOIN lease l ON l.eui = d.eui
    JOIN campaign_device u ON u.id = l.update_id AND u.state IN ('requested', 'delivered')
    WHERE s.hub <> d.hub ORDER BY u.id
    """
)


def hubs_exchanged(connection: Connection, now: datetime) -> int:
    """Of a fleet file that is staged: an image on its way to a hub that was exchanged is lost. It is sent again."""
    ids = [row.id for row in connection.execute(_MOVED)]
    lock(connection, ids)
    lost = [f for f in standings(connection, ids, now) if _is_at_the_hub(f)]
    record(connection, [_lost(f, now) for f in lost], now)
    reason = "its Communications Hub was exchanged while an image was on its way to it"
    subjects = [f"device/{f.eui}" for f in lost]
    notes.add(connection, [notes.Said("hanwave", "hub_exchanged", subject, reason) for subject in subjects], now)
    return len(lost)


def _is_at_the_hub(device: Folded) -> bool:
    on_its_way = device.standing.state in (State.REQUESTED, State.DELIVERED)
    return on_its_way and device.standing.cause is not Kind.TRANSFERRED


def _lost(device: Folded, now: datetime) -> Fact:
    attempt = device.standing.attempt(Leg.DISTRIBUTE)
    reason = "its Communications Hub was exchanged"
    event = Event(Kind.DELIVERY_FAILED, now, Leg.DISTRIBUTE, device.hop, attempt, Evidence.IMPORTED, detail=reason)
    return Fact(device.update_id, event)
