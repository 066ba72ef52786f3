"""What the permit asks before it grants a step: its checks, in their order, for each leg.

A check gets the devices that every earlier one let through, under the permit's locks, and gives those that it refuses. What
it takes for a device (a lease, a home) is given back with the transaction, or by the permit where a later one refuses.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64
from hanwave.ledger import budgets, eligible, home_order, windows, withdrawal
from hanwave.ledger.campaigns import SHADOW, Frame
from hanwave.ledger.standing import Folded
from hanwave.rollout import tallies
from hanwave.rollout.decide import Step
from hanwave.rollout.device import EXPOSED, State
from hanwave.rollout.events import Leg

CREDIT_AGAIN = timedelta(hours=1)
"""A home without credit is asked about again after this long."""
HOME_LEASE = timedelta(days=7)
"""A home's turn ends with the leg that has it, however long that takes. After this it ends where its update has ended, or is
of a PPMID that has not taken its image: that is unplugged, perhaps for weeks, and holds up nobody else of its home."""
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
class Case:
    """What a check judges by: the request, its campaign's frame, and when it is asked (aware UTC)."""

    request: Ask
    frame: Frame
    now: datetime
    acts_at: datetime | None = None
    """When a future-dated activation that is granted now is to act; None for every other request."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """A refusal: why, in a few words, and until when it holds (aware UTC), where that is known."""

    reason: str
    until: datetime | None = None
    by: str = field(default="", compare=False)
    """What refused, for the count of refusals: a check's name."""


Refusals = dict[int, NotNow]
"""Those that are refused, by the id of the update."""
Check = Callable[[Connection, Case, list[Folded]], Refusals]
"""Which of the devices are refused; it is never asked about none."""


def _all(update_ids: Iterable[int], reason: str) -> Refusals:
    return dict.fromkeys(update_ids, NotNow(reason))


ON_BENCH = "ZigBee"
"""The service reference of what a bench asks leave for: there is no Service Request of it."""


def _by_its_route(_: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Nothing goes to a device on a bench by the DCC, and nothing over ZigBee to one in a home."""
    if (case.request.service_reference == ON_BENCH) is case.frame.on_bench:
        return {}
    return _all((d.update_id for d in devices), f"its campaign's route is {case.frame.route}, and no other")


def _step_is_due(_: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """The rule itself must ask for this step now: a repeated or out-dated request is refused here."""
    request, wanted = case.request, _STEPS[case.request.leg]
    return {
        d.update_id: NotNow(f"{d.standing.state}: {d.decision.reason or 'the next step is ' + d.decision.step}")
        for d in devices
        if d.decision.step is not wanted or (d.campaign, d.wave) != (request.campaign, request.wave)
    }


OF_IMAGE = frozenset({Leg.DISTRIBUTE, Leg.ACTIVATE, Leg.WITHDRAW})
"""The legs whose requests are of one image."""


def _one_image(_: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """A request carries one image: devices whose hop is of another release than the first's ask again."""
    release = devices[0].image(case.request.leg).release
    others = (d.update_id for d in devices if d.image(case.request.leg).release != release)
    return _all(others, f"its hop is of another release than {release}, which this request carries")


_STILL_OPEN = text(
    """
    SELECT DISTINCT o.update_id FROM outbox_device o JOIN outbox b ON b.id = o.outbox_id
    WHERE o.update_id = ANY(:ids) AND o.leg = :leg AND b.state IN ('granted', 'ready')
    """
)


def _none_waits(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """A request that was granted and has not left could still leave after a second one: one at a time."""
    rows = connection.execute(_STILL_OPEN, {"ids": [d.update_id for d in devices], "leg": case.request.leg})
    return _all(rows.scalars(), "an earlier request of this leg has not left yet")


def _still_eligible(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    reasons = eligible.why_not(connection, case.frame, case.request.leg, devices, case.now)
    return {update_id: NotNow(reason) for update_id, reason in reasons.items()}


def _window_open(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Its windows are open (where it is dated: at its date), and no incident of the DCC takes away what it needs."""
    ids = [d.update_id for d in devices]
    found = windows.why_not(connection, case.frame, case.request.leg, ids, case.now)
    return {update_id: NotNow(reason, until) for update_id, (reason, until) in found.items()}


def _paid_up(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """The supplier's query lets it be activated, where its home pays beforehand."""
    found = windows.unpaid(connection, case.frame, case.request.leg, [d.update_id for d in devices])
    return {update_id: NotNow(reason, case.now + CREDIT_AGAIN) for update_id, reason in found.items()}


def _not_in_shadow(_: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """The last that only looks: what a shadow campaign refuses here, another would have been granted."""
    return _all((d.update_id for d in devices), SHADOW) if case.frame.shadow else {}


def _under_cap(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Activated or in flight, and not settled, stays under the wave's cap. An 11.4 counts: the PPMID activates itself.

    A device that counts already takes no more room when it is asked again.
    """
    frame, request = case.frame, case.request
    if request.leg is Leg.DISTRIBUTE and not frame.device_type.one_step:
        return {}
    cap = frame.policy.of_wave(request.wave).exposure_cap
    room = max(0, cap - exposed(connection, frame, request.wave))
    new = [d.update_id for d in devices if d.hop == 1 and d.standing.state not in _exposing(frame)]
    if not (over := new[room:]):
        return {}
    silent = _lost(connection, frame, request.wave)
    why = f": {silent} devices more than its gate bears fell silent, and keep their places" if silent else ""
    return _all(over, f"the wave's exposure cap of {cap} is reached{why}")


def exposed(connection: Connection, frame: Frame, wave: int) -> int:
    """Devices of a wave that are activated or in flight and not settled (for PPMIDs, from the request on).

    Of those that ended in silence only so many count as are more than the wave's gate bears.
    """
    statement = text(
        "SELECT count(*) FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND"
        + (_IN_ANY_HOP if frame.longer else " state = ANY(:states)")
    )
    values = {"campaign": frame.name, "wave": wave, "states": sorted(map(str, _exposing(frame)))}
    return int(connection.execute(statement, values).scalar_one()) + _lost(connection, frame, wave)


def _lost(connection: Connection, frame: Frame, wave: int) -> int:
    if frame.kind == "rollback":  # its devices were silenced before it, and it waits for nobody
        return 0
    values = {"campaign": frame.name, "wave": wave, "states": [*tallies.LOST, "settled"]}
    funnel = {row.state: int(row.n) for row in connection.execute(_ENDED, values)}
    return tallies.lost(funnel, frame.policy.of_wave(wave).gate, frame.device_type)


# Asked for each activation: of the wave's deltas, mostly many, only those of these states are read.
_ENDED = text(
    "SELECT state, sum(delta) AS n FROM tally WHERE campaign = :campaign AND wave = :wave AND state = ANY(:states)"
    " GROUP BY state"
)


# In a later hop a device runs what the hop before it brought.
_IN_ANY_HOP = " (state = ANY(:states) OR (hop > 1 AND state NOT IN ('settled', 'closed')))"


def _exposing(frame: Frame) -> frozenset[State]:
    on_its_way = {State.REQUESTED, State.DELIVERED, State.DELIVERY_FAILED}
    return EXPOSED | on_its_way if frame.device_type.one_step else EXPOSED


def _can_be_withdrawn(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Future-dated activations outstanding, of all campaigns, stay within what can be cancelled before the earliest."""
    if case.acts_at is None:
        return {}
    room = withdrawal.room(connection, case.frame.policy, case.acts_at, case.now)
    reason = "no more future-dated activations may be outstanding than can be cancelled before the earliest falls due"
    return _all((d.update_id for d in devices[max(0, room) :]), reason)


def _is_to_be_withdrawn(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """A stop withdraws it, it has not fallen due, and no cancel is under way: the counter of this one is above its own."""
    ids = [d.update_id for d in devices]
    found = {each.update_id for each in withdrawal.due(connection, case.now, len(ids), ids)}
    return _all((each for each in ids if each not in found), "it has nothing to withdraw now")


def _before_it_at_home(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Of a home's devices that several campaigns are to update, the earlier type goes first, where it is due.

    One in the midst of its path has the home, and would wait for what waits for it.
    """
    ids = [d.update_id for d in devices if not d.standing.is_between]
    found = home_order.waiting_before(connection, case.frame.device_type, ids, case.now)
    return {update_id: NotNow(f"the {first} of its home is due, and goes first") for update_id, first in found.items()}


def budget_has_room(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """The anomaly-detection thresholds of the User ID and the variant have room, and it is this campaign's turn."""
    request, frame = case.request, case.frame
    asked = budgets.Asked(
        *(frame.user_id, request.service_reference, request.leg, frame.name, len(devices), frame.policy.batch)
    )
    allowed = budgets.take(connection, asked, case.now)
    return {d.update_id: NotNow(allowed.reason, allowed.until) for d in devices[allowed.devices :]}


_TAKE_LEASE = text(
    """
    WITH wanted AS (SELECT id, eui FROM campaign_device WHERE id = ANY(:ids) ORDER BY eui),
    taken AS (INSERT INTO lease (eui, update_id, taken_at) SELECT eui, id, :now FROM wanted
              ON CONFLICT (eui) DO NOTHING RETURNING eui)
    SELECT w.id FROM wanted w JOIN lease l ON l.eui = w.eui WHERE l.update_id <> w.id
    """
)


def take_leases(connection: Connection, update_ids: Sequence[int], now: datetime) -> set[int]:
    """Take the lease of each of those updates' devices; those whose device another update holds. Its holder's id is the fence."""
    return set(connection.execute(_TAKE_LEASE, {"ids": list(update_ids), "now": now}).scalars())


def _lease_free(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Take each device's lease, or find that another update holds it."""
    return _all(take_leases(connection, [d.update_id for d in devices], case.now), "in another update")


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
        WHERE h.update_id = EXCLUDED.update_id OR (h.expires_at <= :now AND NOT EXISTS (
            SELECT 1 FROM campaign_device o WHERE o.id = h.update_id AND o.state NOT IN ('settled', 'closed')
            AND NOT (o.device_type = 'PPMID' AND o.state IN ('requested', 'delivered'))))
        RETURNING update_id
    )
    SELECT u FROM unnest(CAST(:ids AS bigint[])) AS u WHERE u NOT IN (SELECT update_id FROM taken)
    """
)


def _home_free(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """One image and one activation a home at a time; a PPMID's 11.4 is both. Without a known home, the hub stands for it."""
    refused: set[int] = set()
    for kind in (Leg.DISTRIBUTE, Leg.ACTIVATE) if case.frame.device_type.one_step else (case.request.leg,):
        ids = [d.update_id for d in devices if d.update_id not in refused]
        values = {"ids": ids, "kind": kind, "now": case.now, "expires": case.now + HOME_LEASE}
        refused |= set(connection.execute(_TAKE_HOME, values).scalars())
    if refused:
        connection.execute(text("DELETE FROM home_lease WHERE update_id = ANY(:ids)"), {"ids": sorted(refused)})
    return _all(refused, "its home has another update under way")


# In their order: what only looks comes before what takes.
FORWARD: tuple[Check, ...] = (
    _by_its_route,
    _step_is_due,
    _one_image,
    _none_waits,
    _still_eligible,
    _window_open,
    _paid_up,
    _under_cap,
    _can_be_withdrawn,
    _not_in_shadow,
    _before_it_at_home,
    budget_has_room,
    _lease_free,
    _home_free,
)
OBSERVE: tuple[Check, ...] = (_by_its_route, _step_is_due, _none_waits, _window_open, _not_in_shadow, budget_has_room)
WITHDRAW: tuple[Check, ...] = (_is_to_be_withdrawn, _none_waits, budget_has_room)
CHECKS: dict[Leg, tuple[Check, ...]] = {
    Leg.DISTRIBUTE: FORWARD,
    Leg.ACTIVATE: FORWARD,
    Leg.READ: OBSERVE,
    Leg.INVENTORY: (_none_waits, budget_has_room),
    Leg.WITHDRAW: WITHDRAW,
}
_NOT_ON_BENCH = frozenset({_before_it_at_home, _home_free, budget_has_room})
"""What asks for the home that a device is not in, or for Service Requests that are not sent."""


def _checks(case: Case) -> tuple[Check, ...]:
    found = CHECKS[case.request.leg]
    return tuple(each for each in found if each not in _NOT_ON_BENCH) if case.frame.on_bench else found


def refusals(connection: Connection, case: Case, devices: list[Folded]) -> Refusals:
    """Those of the devices that a check of the request's leg refuses, each by the first that does."""
    refused: Refusals = {}
    for check in _checks(case):
        left = [d for d in devices if d.update_id not in refused]
        if not left:
            break
        by = check.__name__.strip("_")
        refused |= {each: replace(why, by=by) for each, why in check(connection, case, left).items()}
    return refused
