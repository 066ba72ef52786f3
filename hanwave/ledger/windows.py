"""Windows as the ledger asks for them: which devices may have a leg now, when those that may not will, and what to say of it.

Guarantees: devices are asked about by what their windows depend on (region, payment, load calendar), not one by one; the rules
are those of `hanwave.rollout.windows`; the DCC's incidents close what needs their service, whatever the policy says. A
future-dated activation may be sent at any time, and its date lies inside.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.ledger import campaigns, incidents, queries
from hanwave.ledger.campaigns import Frame
from hanwave.ledger.database import LedgerError
from hanwave.ledger.incidents import Known
from hanwave.ledger.queries import QueryError
from hanwave.rollout.calendars import DAY, nations, table
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import ActivationMode, DeviceType, Policy
from hanwave.rollout.windows import Closed, Place, Rule, closed, next_open

LOOK_AGAIN = timedelta(minutes=10)
"""Where nobody knows when it opens: whoever ends an incident has its devices looked at again at once."""
_NAMES = {Leg.DISTRIBUTE: "distribution", Leg.ACTIVATE: "activation", Leg.READ: "reading"}


@dataclass(frozen=True, slots=True)
class _Group:
    """Devices that keep the same windows."""

    region: str
    prepayment: bool
    hours: tuple[str, ...]
    ids: tuple[int, ...]

    def place(self, device_type: DeviceType) -> Place:
        switches = self.hours if device_type is DeviceType.HCALCS else None
        return Place(nations(self.region), self.prepayment, switches)


# Of a device that the fleet has no more, the strictest is assumed.
_GROUPS = """
    SELECT coalesce(d.region, 'Unknown') AS region, coalesce(d.payment_mode = 'prepayment', true) AS prepayment,
        coalesce(CAST(c.hours AS text), '[]') AS hours, array_agg(u.id ORDER BY u.id) AS ids
    FROM campaign_device u LEFT JOIN device d ON d.eui = u.eui LEFT JOIN load_calendar c ON c.eui = u.eui
    WHERE {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_BY_ID = text(_GROUPS.format("u.id = ANY(:ids)"))
_DUE = text(_GROUPS.format("u.campaign = :campaign AND u.wave = :wave AND u.due_at <= :now AND u.step = :leg"))
_OPEN = text(
    _GROUPS.format(
        "u.campaign = :campaign AND u.state NOT IN ('settled', 'closed') AND u.wave = ("
        "SELECT min(number) FROM wave WHERE campaign = :campaign AND closed_at IS NULL)"
    )
)


def _groups(rows: Iterable[Row[Any]]) -> list[_Group]:
    return [_Group(row.region, row.prepayment, tuple(json.loads(row.hours)), tuple(row.ids)) for row in rows]


def dated(frame: Frame, leg: Leg) -> bool:
    """Whether a request of that leg names the time at which it acts."""
    return leg is Leg.ACTIVATE and frame.policy.activation is ActivationMode.FUTURE_DATED


def _acts(frame: Frame, leg: Leg) -> bool:
    return leg is Leg.ACTIVATE or (leg is Leg.DISTRIBUTE and frame.device_type.one_step)


def _rules(frame: Frame, leg: Leg, group: _Group, known: Known) -> tuple[Rule, ...]:
    """What must be open for that leg to be done, at the time when it is done."""
    windows, place = frame.policy.windows, group.place(frame.device_type)
    lasting = tuple(incident for incident in known.of(group.region) if incident.takes(leg))
    sending = windows.sending(place) if leg is Leg.DISTRIBUTE else ()
    return (*lasting, *sending, *(windows.acting(place) if _acts(frame, leg) else ()))


def _closed(frame: Frame, leg: Leg, group: _Group, known: Known, now: datetime) -> Closed | None:
    rules = _rules(frame, leg, group, known)
    if not dated(frame, leg):
        return closed(rules, now)
    if found := closed([i for i in known.of(group.region) if i.takes(leg)], now):
        return found
    earliest, ahead = _earliest(frame, now), table().look_ahead_days * DAY
    late = closed(rules, earliest)
    if late is None or (late.until and late.until <= now + ahead):
        return None
    return Closed(late.reason, late.until and late.until - ahead)


def _earliest(frame: Frame, now: datetime) -> datetime:
    return (now + frame.policy.lead).replace(microsecond=0)


def _says(leg: Leg, found: Closed) -> str:
    return f"the {_NAMES.get(leg, leg)} window is {found}"


def acts_at(connection: Connection, frame: Frame, update_ids: Sequence[int], now: datetime) -> datetime:
    """When an activation of those devices that is dated now is to act: after the lead, the first time inside the windows."""
    known = incidents.read(connection, now)
    groups = _groups(connection.execute(_BY_ID, {"ids": list(update_ids)}))
    rules = [rule for group in groups for rule in _rules(frame, Leg.ACTIVATE, group, known)]
    earliest = _earliest(frame, now)
    return next_open(rules, earliest) or earliest


def why_not(
    connection: Connection, frame: Frame, leg: Leg, update_ids: Sequence[int], now: datetime
) -> dict[int, tuple[str, datetime | None]]:
    """Those of the devices whose window is closed for that leg: why, and until when (None: nobody knows)."""
    known = incidents.read(connection, now)
    if not known.by_region and not _windows(frame, leg):
        return {}
    refused: dict[int, tuple[str, datetime | None]] = {}
    for group in _groups(connection.execute(_BY_ID, {"ids": list(update_ids)})):
        if found := _closed(frame, leg, group, known, now):
            refused |= dict.fromkeys(group.ids, (_says(leg, found), found.until))
    return refused


def _windows(frame: Frame, leg: Leg) -> bool:
    windows = frame.policy.windows
    sending = bool(windows.distribute) and leg is Leg.DISTRIBUTE
    acting = bool(windows.activate or windows.prepayment or windows.switching)
    return sending or (acting and _acts(frame, leg))


def shut(connection: Connection, request: Row[Any], now: datetime) -> str | None:
    """Why a request of the outbox that has not left may not leave now: it was permitted while its window was open."""
    frame, leg = campaigns.frame(connection, request.campaign), Leg(request.leg)
    if dated(frame, leg) or not _windows(frame, leg):
        return None
    ids = connection.execute(text("SELECT update_id FROM outbox_device WHERE outbox_id = :id"), {"id": request.id})
    found = why_not(connection, frame, leg, list(ids.scalars()), now)
    return next((reason for reason, _ in found.values()), None)


def check(policy: Policy, device_type: DeviceType, now: datetime) -> None:
    """LedgerError where a device of some region would find a window of the policy closed for a year; QueryError: no such query."""
    windows = policy.windows
    for region in sorted(table().regions):
        for prepayment in (False, True):
            place = Place(nations(region), prepayment, () if device_type is DeviceType.HCALCS else None)
            for name, rules in (("distribution", windows.sending(place)), ("activation", windows.acting(place))):
                if next_open(rules, now) is None:
                    paid = "prepayment" if prepayment else "credit"
                    raise LedgerError(
                        f"the policy's {name} windows have no opening within a year for {paid} devices in {region}:"
                        " they intersect, so mend or drop one"
                    )
    if windows.prepayment_check:
        queries.named(windows.prepayment_check)


def unpaid(connection: Connection, frame: Frame, leg: Leg, update_ids: Sequence[int]) -> dict[int, str]:
    """Those of the devices that pay beforehand and that the policy's query does not let be activated now, and why."""
    name = frame.policy.windows.prepayment_check
    if name is None or not _acts(frame, leg):
        return {}
    asked = {row.eui: row.id for row in connection.execute(_PREPAYMENT, {"ids": list(update_ids)})}
    if not asked:
        return {}
    try:
        refused = queries.check(name, list(asked))
    except QueryError as error:
        return dict.fromkeys(asked.values(), str(error))
    return {asked[eui]: reason for eui, reason in refused.items()}


_PREPAYMENT = text(
    "SELECT u.id, u.eui FROM campaign_device u LEFT JOIN device d ON d.eui = u.eui"
    " WHERE u.id = ANY(:ids) AND coalesce(d.payment_mode = 'prepayment', true) ORDER BY u.id"
)


def hold_back(connection: Connection, campaign: str, wave: int, now: datetime) -> None:
    """Have the due devices whose window is closed wait until it opens, with the reason: nobody is woken to be told so."""
    frame, known = campaigns.frame(connection, campaign), incidents.read(connection, now)
    for leg in (Leg.DISTRIBUTE, Leg.ACTIVATE, Leg.READ):
        if not known.by_region and not _windows(frame, leg):
            continue
        due = connection.execute(_DUE, {"campaign": campaign, "wave": wave, "now": now, "leg": leg})
        for group in _groups(due):
            if found := _closed(frame, leg, group, known, now):
                until = found.until or now + LOOK_AGAIN
                connection.execute(_WAIT, {"ids": list(group.ids), "until": until, "reason": _says(leg, found)})


_WAIT = text(
    "UPDATE campaign_device SET due_at = :until, reason = :reason, picked_at = NULL WHERE id IN ("
    " SELECT id FROM campaign_device WHERE id = ANY(:ids) ORDER BY id FOR UPDATE SKIP LOCKED)"
)


@dataclass(frozen=True, slots=True)
class Opening:
    """When a leg may next be done for some of a wave's devices, and why not now; open now where reason is None."""

    leg: str
    region: str
    prepayment: bool
    devices: int
    reason: str | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        which = f"{self.devices} device{'s' if self.devices > 1 else ''} in {self.region}" + (
            " that pay beforehand" if self.prepayment else ""
        )
        if self.reason is None:
            return f"the {self.leg} window is open for {which}"
        return f"the {self.leg} window is {Closed(self.reason, self.until)} for {which}"


def openings(connection: Connection, campaign: str, now: datetime) -> list[Opening]:
    """When each leg of its first wave that is not closed may next be done, for each kind of device; LedgerError: no campaign."""
    frame, known = campaigns.frame(connection, campaign), incidents.read(connection, now)
    groups = _groups(connection.execute(_OPEN, {"campaign": campaign}))
    legs = (Leg.DISTRIBUTE,) if frame.device_type.one_step else (Leg.DISTRIBUTE, Leg.ACTIVATE)
    return [_opening(leg, group, _closed(frame, leg, group, known, now)) for leg in legs for group in groups]


def _opening(leg: Leg, group: _Group, found: Closed | None) -> Opening:
    reason, until = (found.reason, found.until) if found else (None, None)
    return Opening(_NAMES[leg], group.region, group.prepayment, len(group.ids), reason, until)
