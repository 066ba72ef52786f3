"""The permit: every request that can change a device passes it, and nothing else lets one into the outbox.

It has three classes. Forward is what this is about; withdraw (the cancel of a future-dated 11.3) and observe (11.2, 8.2) go on
when forward is stopped, and ask for neither stop rows nor the warden. One transaction asks everything, under locks taken in one order (stop rows shared, the wave, the devices by id), and
either writes outbox row, steps, leases and events together, or writes nothing and says why. Its list is exactly what it
granted. A step (update, hop, leg, attempt) is granted once, whatever the engine does.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64
from hanwave.ledger import beats, campaigns, stops, withdrawal
from hanwave.ledger.counters import next_request_id
from hanwave.ledger.standing import Fact, Folded, lock, record, standings
from hanwave.rollout.decide import Step
from hanwave.rollout.device import EXPOSED, State
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.policy import ActivationMode

HOME_LEASE = timedelta(days=7)
"""A home's turn ends with its update; this bounds it where an update is forgotten."""
_STEPS = {Leg.DISTRIBUTE: Step.DISTRIBUTE, Leg.ACTIVATE: Step.ACTIVATE, Leg.READ: Step.READ}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a permit: one leg of one wave's devices; parameters are kept with the outbox row."""

    campaign: str
    wave: int
    leg: Leg
    update_ids: Sequence[int]
    service_reference: str
    target: EUI64 | None = None
    """Whom the RequestID names: the Access Control Broker for a batch; None: the one device asked for."""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Permit:
    """What was granted: the outbox row and its devices; or nothing. refused gives a reason an update."""

    outbox_id: int | None
    request_id: str | None
    granted: tuple[int, ...]
    refused: dict[int, str]


def ask(connection: Connection, request: Ask, now: datetime) -> Permit:
    """Grant what may be granted of a request, at that time (aware UTC)."""
    frame = campaigns.frame(connection, request.campaign)
    forward = _CLASSES.get(request.leg, "forward") == "forward"
    if forward:
        stops.share(connection)
        stop = stops.blocking(connection, frame.user_id, request.campaign, request.wave, request.leg)
        if why := stop or beats.silent(connection, beats.WARDEN, now):
            return Permit(None, None, (), dict.fromkeys(request.update_ids, str(why)))
        _take_turns(connection, request, frame)
    lock(connection, request.update_ids)
    candidates = {f.update_id: f for f in standings(connection, request.update_ids, now)}
    refused: dict[int, str] = {}
    for check in _CHECKS.get(request.leg, _FORWARD):
        found = check(connection, request, list(candidates.values()), now)
        refused |= found
        candidates = {key: f for key, f in candidates.items() if key not in found}
    if forward:
        _give_back(connection, refused)
    if not candidates:
        return Permit(None, None, (), refused)
    outbox_id, request_id = _write(connection, request, list(candidates.values()), now)
    return Permit(outbox_id, request_id, tuple(candidates), refused)


def look(connection: Connection, update_id: int, now: datetime) -> int:
    """Have a device's version read (11.2) out of its turn, whatever the rule asks for: the gateway sends it. The request.

    It takes the device's lease, where nobody has it: the answer is this update's.
    """
    lock(connection, [update_id])
    connection.execute(_TAKE_LEASE, {"ids": [update_id], "now": now})
    campaign, wave = campaigns.where(connection, update_id)
    request = Ask(campaign, wave, Leg.READ, [update_id], "11.2", parameters={"out_of_turn": True})
    return _write(connection, request, standings(connection, [update_id], now), now)[0]


def _give_back(connection: Connection, refused: dict[int, str]) -> None:
    """A lease may have been taken before the last check refused: only what was ever granted a step keeps one."""
    statement = text(
        "DELETE FROM lease l WHERE update_id = ANY(:ids)"
        " AND NOT EXISTS (SELECT 1 FROM outbox_device o WHERE o.update_id = l.update_id)"
    )
    connection.execute(statement, {"ids": list(refused)})


def _take_turns(connection: Connection, request: Ask, frame: campaigns.Frame) -> None:
    # What is counted and then added to: the exposure of a wave, and the future-dated activations of all campaigns.
    keys = [f"permit/{request.campaign}/{request.wave}"]
    if _is_dated(request, frame):
        keys.append("permit/dated")
    for key in keys:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": key})


def _is_dated(request: Ask, frame: campaigns.Frame) -> bool:
    return request.leg is Leg.ACTIVATE and frame.policy.activation is ActivationMode.FUTURE_DATED


def _date(frame: campaigns.Frame, now: datetime) -> datetime:
    """When a future-dated activation that is granted now is to act."""
    return (now + frame.policy.lead).replace(microsecond=0)


_Refusals = dict[int, str]
_Check = Callable[[Connection, Ask, list[Folded], datetime], _Refusals]


def _step_is_due(_: Connection, request: Ask, devices: list[Folded], __: datetime) -> _Refusals:
    """The rule itself must ask for this step now: a repeated or out-dated request is refused here."""
    wanted = _STEPS[request.leg]
    return {
        d.update_id: f"{d.standing.state}: {d.decision.reason or 'the next step is ' + d.decision.step}"
        for d in devices
        if d.decision.step is not wanted or (d.campaign, d.wave) != (request.campaign, request.wave)
    }


_ELIGIBLE = text(
    """
    SELECT u.id, CASE
        WHEN d.eui IS NULL THEN 'no longer in the fleet'
        WHEN NOT coalesce(CASE d.device_type
            WHEN 'GSME' THEN d.gas_supplier = :user_id
            WHEN 'PPMID' THEN d.gas_supplier = :user_id OR d.import_supplier = :user_id
            ELSE d.import_supplier = :user_id END, false) THEN 'another supplier is responsible'
        WHEN d.smi_status NOT IN ('Commissioned', 'Suspended') THEN 'its SMI status is ' || d.smi_status
        WHEN d.manufacturer || '/' || d.model = ANY(:models) THEN 'its model is stopped'
        WHEN h.reason IS NOT NULL THEN 'on hold: ' || h.reason
    END AS reason
    FROM campaign_device u
    LEFT JOIN device d ON d.eui = u.eui
    LEFT JOIN LATERAL (
        SELECT reason FROM hold WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
        AND (scope, value) IN (('device', d.eui), ('model', d.manufacturer || '/' || d.model), ('region', d.region),
                               ('hub', d.hub), ('home', coalesce(d.home, d.hub))) LIMIT 1
    ) h ON true
    WHERE u.id = ANY(:ids)
    """
)


def _still_eligible(connection: Connection, request: Ask, devices: list[Folded], now: datetime) -> _Refusals:
    values = {
        "ids": [d.update_id for d in devices],
        "user_id": campaigns.frame(connection, request.campaign).user_id,
        "models": list(stops.stopped_models(connection, request.leg)),
        "now": now,
    }
    return {row.id: row.reason for row in connection.execute(_ELIGIBLE, values) if row.reason}


def _under_cap(connection: Connection, request: Ask, devices: list[Folded], _: datetime) -> _Refusals:
    """Activated or in flight, and not settled, stays under the wave's cap. An 11.4 counts: the PPMID activates itself."""
    frame = campaigns.frame(connection, request.campaign)
    if request.leg is Leg.DISTRIBUTE and not frame.device_type.one_step:
        return {}
    room = frame.policy.exposure_cap - exposed(connection, request.campaign, request.wave)
    room += sum(d.standing.state in EXPOSED for d in devices)
    return {
        d.update_id: f"the wave's exposure cap of {frame.policy.exposure_cap} is reached"
        for d in devices[max(0, room) :]
    }


def _can_be_withdrawn(connection: Connection, request: Ask, devices: list[Folded], now: datetime) -> _Refusals:
    """Future-dated activations outstanding, of all campaigns, stay within what can be cancelled before the earliest."""
    frame = campaigns.frame(connection, request.campaign)
    if not _is_dated(request, frame):
        return {}
    room = withdrawal.room(connection, frame.policy, _date(frame, now), now)
    reason = "no more future-dated activations may be outstanding than can be cancelled before the earliest falls due"
    return {d.update_id: reason for d in devices[max(0, room) :]}


def _is_to_be_withdrawn(connection: Connection, _: Ask, devices: list[Folded], now: datetime) -> _Refusals:
    """A stop withdraws it, it has not fallen due, and no cancel is under way: the counter of this one is above its own."""
    found = {each.update_id for each in withdrawal.due(connection, now, len(devices), [d.update_id for d in devices])}
    return {d.update_id: "it has nothing to withdraw now" for d in devices if d.update_id not in found}


def exposed(connection: Connection, campaign: str, wave: int) -> int:
    """Devices of a wave that are activated or in flight and not settled (for PPMIDs, from the request on)."""
    states = {str(state) for state in EXPOSED}
    if campaigns.frame(connection, campaign).device_type.one_step:
        states |= {str(State.REQUESTED), str(State.DELIVERED), str(State.DELIVERY_FAILED)}
    statement = text(
        "SELECT count(*) FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND state = ANY(:states)"
    )
    values = {"campaign": campaign, "wave": wave, "states": sorted(states)}
    return int(connection.execute(statement, values).scalar_one())


_TAKE_LEASE = text(
    """
    WITH wanted AS (SELECT id, eui FROM campaign_device WHERE id = ANY(:ids) ORDER BY eui),
    taken AS (INSERT INTO lease (eui, update_id, taken_at) SELECT eui, id, :now FROM wanted
              ON CONFLICT (eui) DO NOTHING RETURNING eui)
    SELECT w.id FROM wanted w JOIN lease l ON l.eui = w.eui WHERE l.update_id <> w.id
    """
)


_STILL_OPEN = text(
    """
    SELECT DISTINCT o.update_id FROM outbox_device o JOIN outbox b ON b.id = o.outbox_id
    WHERE o.update_id = ANY(:ids) AND o.leg = :leg AND b.state IN ('granted', 'ready')
    """
)


def _none_waits(connection: Connection, request: Ask, devices: list[Folded], _: datetime) -> _Refusals:
    """A request that was granted and has not left could still leave after a second one: one at a time."""
    rows = connection.execute(_STILL_OPEN, {"ids": [d.update_id for d in devices], "leg": request.leg})
    return dict.fromkeys(rows.scalars(), "an earlier request of this leg has not left yet")


def _lease_free(connection: Connection, _: Ask, devices: list[Folded], now: datetime) -> _Refusals:
    """Take each device's lease, or find that another update holds it. Its holder's id is the fence."""
    rows = connection.execute(_TAKE_LEASE, {"ids": [d.update_id for d in devices], "now": now})
    return dict.fromkeys(rows.scalars(), "in another update")


_TAKE_HOME = text(
    """
    WITH wanted AS (
        SELECT DISTINCT ON (home) u.id, coalesce(d.home, d.hub) AS home FROM campaign_device u
        JOIN device d ON d.eui = u.eui WHERE u.id = ANY(:ids) ORDER BY home, u.id
    ),
    taken AS (
        INSERT INTO home_lease AS h (home, kind, update_id, expires_at)
        SELECT home, :kind, id, :expires FROM wanted ORDER BY home
        ON CONFLICT (home, kind) DO UPDATE SET update_id = EXCLUDED.update_id, expires_at = EXCLUDED.expires_at
        WHERE h.expires_at <= :now OR h.update_id = EXCLUDED.update_id RETURNING update_id
    )
    SELECT u FROM unnest(CAST(:ids AS bigint[])) AS u WHERE u NOT IN (SELECT update_id FROM taken)
    """
)


def _home_free(connection: Connection, request: Ask, devices: list[Folded], now: datetime) -> _Refusals:
    """One image and one activation a home at a time; a PPMID's 11.4 is both. Without a known home, the hub stands for it."""
    one_step = campaigns.frame(connection, request.campaign).device_type.one_step
    refused: set[int] = set()
    for kind in (Leg.DISTRIBUTE, Leg.ACTIVATE) if one_step else (request.leg,):
        ids = [d.update_id for d in devices if d.update_id not in refused]
        values = {"ids": ids, "kind": kind, "now": now, "expires": now + HOME_LEASE}
        refused |= set(connection.execute(_TAKE_HOME, values).scalars())
    connection.execute(text("DELETE FROM home_lease WHERE update_id = ANY(:ids)"), {"ids": sorted(refused)})
    return dict.fromkeys(refused, "its home has another update under way")


_FORWARD: tuple[_Check, ...] = (
    *(_step_is_due, _none_waits, _still_eligible, _under_cap, _can_be_withdrawn),
    *(_lease_free, _home_free),
)
_CHECKS: dict[Leg, tuple[_Check, ...]] = {
    Leg.READ: (_step_is_due, _none_waits),
    Leg.WITHDRAW: (_is_to_be_withdrawn, _none_waits),
}
_CLASSES = {Leg.READ: "observe", Leg.WITHDRAW: "withdraw"}


def _write(connection: Connection, request: Ask, devices: list[Folded], now: datetime) -> tuple[int, str]:
    frame = campaigns.frame(connection, request.campaign)
    target = request.target or EUI64.parse(devices[0].eui)
    request_id = str(next_request_id(connection, frame.user_id, target, now))
    one = devices[0].update_id if request.target is None else None
    outbox_id = _insert_outbox(connection, request, frame.user_id, request_id, one, now)
    attempts = [d.standing.attempt(request.leg) + 1 for d in devices]
    connection.execute(
        text(
            "INSERT INTO outbox_device (outbox_id, update_id, eui, hop, leg, attempt)"
            " SELECT :outbox, u.id, u.eui, u.hop, :leg, f.attempt"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:attempts AS int[])) AS f(id, attempt)"
            " JOIN campaign_device u ON u.id = f.id"
        ),
        {"outbox": outbox_id, "leg": request.leg, "ids": [d.update_id for d in devices], "attempts": attempts},
    )
    facts = [
        Fact(d.update_id, Event(Kind.GRANTED, now, request.leg, d.hop, attempt))
        for d, attempt in zip(devices, attempts, strict=True)
    ]
    record(connection, facts, now)
    return outbox_id, request_id


def _insert_outbox(
    connection: Connection, request: Ask, user_id: str, request_id: str, update_id: int | None, now: datetime
) -> int:
    statement = text(
        "INSERT INTO outbox (request_id, service_reference, permit_class, leg, user_id, campaign, wave, update_id,"
        " parameters, state, granted_at, sends) VALUES (:request_id, :reference, :class, :leg, :user_id, :campaign,"
        " :wave, :update_id, CAST(:parameters AS jsonb), 'granted', :now, 0) RETURNING id"
    )
    values = {
        "request_id": request_id,
        "reference": request.service_reference,
        "class": _CLASSES.get(request.leg, "forward"),
        "leg": request.leg,
        "user_id": user_id,
        "campaign": request.campaign,
        "wave": request.wave,
        "update_id": update_id,
        "parameters": json.dumps(_parameters(connection, request, now)),
        "now": now,
    }
    return int(connection.execute(statement, values).scalar_one())


def _parameters(connection: Connection, request: Ask, now: datetime) -> dict[str, Any]:
    # The date is fixed with the grant: the bound on what is outstanding counts on it.
    frame = campaigns.frame(connection, request.campaign)
    return request.parameters | ({"at": _date(frame, now).isoformat()} if _is_dated(request, frame) else {})
