"""The permit: every request that can change a device passes it, and nothing else lets one into the outbox.

It has three classes. Forward is what this is about; withdraw (the cancel of a future-dated 11.3) and observe (11.2, 8.2) go on
when forward is stopped, and ask for neither stop rows nor the warden. One transaction asks everything, under locks taken in
one order (stop rows shared, the wave, the devices by id), and either writes outbox row, steps, leases and events together, or
writes nothing and says why. Its list is exactly what it granted. A step (update, hop, leg, attempt) is granted once,
whatever the engine does.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64
from hanwave.ledger import beats, campaigns, checks, refusal_counts, stops, windows
from hanwave.ledger.checks import OF_IMAGE, Case, NotNow, Refusals
from hanwave.ledger.checks import Ask as Ask  # noqa: PLC0414 - what a permit is asked with
from hanwave.ledger.counters import next_request_id
from hanwave.ledger.standing import Fact, Folded, lock_standings, record_of
from hanwave.rollout.budget import PermitClass, class_of
from hanwave.rollout.events import Event, Kind, Leg


@dataclass(frozen=True, slots=True)
class Permit:
    """What was granted: the outbox row and its devices; or nothing. refused says why, an update."""

    outbox_id: int | None
    request_id: str | None
    granted: tuple[int, ...]
    refused: Refusals


def ask(connection: Connection, request: Ask, now: datetime) -> Permit:
    """Grant what may be granted of a request, at that time (aware UTC)."""
    permit = _ask(connection, request, now)
    refusal_counts.add(connection, request.campaign, request.leg, Counter(why.by for why in permit.refused.values()))
    return permit


def _ask(connection: Connection, request: Ask, now: datetime) -> Permit:
    frame = campaigns.frame(connection, request.campaign)
    dated = windows.dated(frame, request.leg)
    case = Case(request, frame, now, windows.acts_at(connection, frame, request.update_ids, now) if dated else None)
    forward = class_of(request.leg) is PermitClass.FORWARD
    if forward:
        stops.share(connection)
        if why := _stopped(connection, case):
            return Permit(None, None, (), dict.fromkeys(request.update_ids, why))
        _take_turns(connection, case)
    candidates = lock_standings(connection, request.update_ids, now)
    refused = checks.refusals(connection, case, candidates)
    granted = [f for f in candidates if f.update_id not in refused]
    if forward and refused:
        _give_back(connection, refused)
    if not granted:
        return Permit(None, None, (), refused)
    outbox_id, request_id = _write(connection, case, granted)
    return Permit(outbox_id, request_id, tuple(f.update_id for f in granted), refused)


def look(connection: Connection, update_id: int, now: datetime) -> int | None:
    """Have a device's version read (11.2) out of its turn, whatever the rule asks for: the gateway sends it.

    The request; None where the budget of 11.2 has no room now.

    It takes the device's lease, where nobody has it: the answer is this update's.
    """
    device = lock_standings(connection, [update_id], now)[0]
    request = Ask(device.campaign, device.wave, Leg.READ, [update_id], "11.2", parameters={"out_of_turn": True})
    case = Case(request, campaigns.frame(connection, device.campaign), now)
    if checks.budget_has_room(connection, case, [device]):
        return None
    checks.take_leases(connection, [update_id], now)
    return _write(connection, case, [device])[0]


def _stopped(connection: Connection, case: Case) -> NotNow | None:
    request = case.request
    if stop := stops.blocking(connection, case.frame.user_id, request.campaign, request.wave, request.leg):
        return NotNow(str(stop), by="stopped")
    silent = beats.silent(connection, beats.WARDEN, case.now)
    return NotNow(silent, by="warden") if silent else None


def _give_back(connection: Connection, refused: Refusals) -> None:
    """A lease may have been taken before the last check refused: only what was ever granted a step keeps one."""
    statement = text(
        "DELETE FROM lease l WHERE update_id = ANY(:ids)"
        " AND NOT EXISTS (SELECT 1 FROM outbox_device o WHERE o.update_id = l.update_id)"
    )
    connection.execute(statement, {"ids": list(refused)})


def _take_turns(connection: Connection, case: Case) -> None:
    # What is counted and then added to: the exposure of a wave, and the future-dated activations of all campaigns.
    keys = [f"permit/{case.request.campaign}/{case.request.wave}"]
    if case.acts_at:
        keys.append("permit/dated")
    for key in keys:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": key})


def _write(connection: Connection, case: Case, devices: list[Folded]) -> tuple[int, str]:
    request, now = case.request, case.now
    target = request.target or EUI64.parse(devices[0].eui)
    request_id = str(next_request_id(connection, case.frame.user_id, target, now))
    steps = [d.standing.next(request.leg) for d in devices]
    values = {
        "request_id": request_id,
        "reference": request.service_reference,
        "class": str(class_of(request.leg)),
        "leg": request.leg,
        "user_id": case.frame.user_id,
        "campaign": request.campaign,
        "wave": request.wave,
        "update_id": devices[0].update_id if request.target is None else None,
        "parameters": json.dumps(_parameters(case, devices[0])),
        "now": now,
        "ids": [d.update_id for d in devices],
        "euis": [d.eui for d in devices],
        "hops": [hop for hop, _ in steps],
        "attempts": [attempt for _, attempt in steps],
    }
    outbox_id = int(connection.execute(_GRANT, values).scalar_one())
    facts = [
        Fact(d.update_id, Event(Kind.GRANTED, now, request.leg, hop, attempt, detail=_date(case)))
        for d, (hop, attempt) in zip(devices, steps, strict=True)
    ]
    record_of(connection, devices, facts, now)
    return outbox_id, request_id


_GRANT = text(
    """
    WITH made AS (
        INSERT INTO outbox (request_id, service_reference, permit_class, leg, user_id, campaign, wave, update_id,
            parameters, state, granted_at, sends)
        VALUES (:request_id, :reference, :class, :leg, :user_id, :campaign, :wave, :update_id,
            CAST(:parameters AS jsonb), 'granted', :now, 0) RETURNING id, leg
    ), devices AS (
        INSERT INTO outbox_device (outbox_id, update_id, eui, hop, leg, attempt)
        SELECT made.id, f.update_id, f.eui, f.hop, made.leg, f.attempt
        FROM made, unnest(CAST(:ids AS bigint[]), CAST(:euis AS text[]), CAST(:hops AS int[]), CAST(:attempts AS int[]))
            AS f(update_id, eui, hop, attempt)
    )
    SELECT id FROM made
    """
)


def _parameters(case: Case, device: Folded) -> dict[str, Any]:
    # The date is fixed with the grant: the bound on what is outstanding counts on it. So is the image, in each hop another.
    leg, date = case.request.leg, _date(case)
    image = {"release": device.image(leg).release} if leg in OF_IMAGE else {}
    return case.request.parameters | image | ({"at": date} if date else {})


def _date(case: Case) -> str | None:
    return case.acts_at.isoformat() if case.acts_at else None
