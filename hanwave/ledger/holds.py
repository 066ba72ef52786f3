"""Holds: nothing forward goes to what one names, until it expires or is lifted. Each placing and lifting leaves a note."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave import words
from hanwave.duis.inventory import Region
from hanwave.errors import HanwaveError
from hanwave.firmware.terms import Model
from hanwave.identifiers import EUI64
from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.ledger.leavers import RESPONSIBLE

SCOPES = ("device", "model", "region", "hub", "home")
ON_DEVICE = (
    "(scope, value) IN (('device', d.eui), ('model', d.manufacturer || '/' || d.model), ('region', d.region), ('hub', d.hub),"
    " ('home', coalesce(d.home, d.hub)))"
)
"""Whether a hold is on a device, d."""
HOLDING = (
    "SELECT reason FROM hold WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > {now})"
    f" AND (user_id IS NULL OR user_id = :user_id) AND {ON_DEVICE} LIMIT 1"
)
"""Why a device, d, is held back at that time in :user_id's campaigns; no row where it is not."""


def of_device(connection: Connection, eui: str, user_id: str, now: datetime) -> str | None:
    """Why a device is held back at that time in that User ID's campaigns; None where it is not."""
    found: str | None = connection.execute(
        _OF_DEVICE, {"eui": eui, "user_id": user_id, "now": now}
    ).scalar_one_or_none()
    return found


_OF_DEVICE = text(
    f"SELECT h.reason FROM device d CROSS JOIN LATERAL ({HOLDING.format(now=':now')}) h WHERE d.eui = :eui"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold; a home's value is the supplier's key of the premises, which never leaves the database."""

    id: int
    scope: str
    value: str
    reason: str
    owner: str
    placed_at: datetime
    expires_at: datetime | None = None
    lifted_at: datetime | None = None
    user_id: str | None = None
    """Of which User ID's campaigns; None: of all."""

    def holds(self, now: datetime) -> bool:
        """Whether it is in force at that time."""
        return self.lifted_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class NewHold:
    """A hold to be placed: on a device or hub (EUI-64), a model ("121D/1111"), a region, or a home (its key)."""

    scope: str
    value: str
    reason: str
    owner: str
    expires_at: datetime | None = None
    user_id: str | None = None
    """Of which User ID's campaigns; None: of all."""


def place(connection: Connection, hold: NewHold, now: datetime) -> int:
    """Place a hold and return its id; LedgerError where its scope, value, reason or expiry is not one."""
    hold = replace(
        hold, reason=words.line(hold.reason, notes.MOST_REASON), owner=words.line(hold.owner, notes.MOST_ACTOR)
    )
    value = _value(hold)
    if not hold.reason.strip():
        raise LedgerError("a hold needs a reason")
    if hold.expires_at is not None and hold.expires_at <= now:
        raise LedgerError(
            f"the hold would expire at {hold.expires_at:%Y-%m-%d %H:%M %Z}, it should be later than now,"
            f" {now:%Y-%m-%d %H:%M %Z}"
        )
    statement = text(
        "INSERT INTO hold (scope, value, reason, owner, user_id, placed_at, expires_at)"
        " VALUES (:scope, :value, :reason, :owner, :user_id, :now, :expires) RETURNING id"
    )
    values = {"scope": hold.scope, "value": value, "reason": hold.reason, "owner": hold.owner, "now": now}
    hold_id = int(
        connection.execute(statement, values | {"expires": hold.expires_at, "user_id": hold.user_id}).scalar_one()
    )
    # The note is exported with the audit chain, and a home's key is a customer's identifier.
    document = {"scope": hold.scope, "value": None if hold.scope == "home" else value}
    notes.add(connection, notes.Said(hold.owner, "place_hold", f"hold/{hold_id}", hold.reason, document), now)
    return hold_id


def _value(hold: NewHold) -> str:
    try:
        match hold.scope:
            case "device" | "hub":
                return str(EUI64.parse(hold.value))
            case "model":
                return str(Model.parse(hold.value))
            case "region" if hold.value in set(Region):
                return hold.value
            case "home" if hold.value.strip():
                return hold.value
    except HanwaveError as error:
        raise LedgerError(f"the hold on a {hold.scope}: {error}") from error
    if hold.scope == "region":
        raise LedgerError(f"the hold's region holds {hold.value[:40]!r}, it should be one of {', '.join(Region)}")
    if hold.scope == "home":
        raise LedgerError("the hold names no home: it should give its reference, as the fleet has it")
    raise LedgerError(f"the hold's scope holds {hold.scope[:40]!r}, it should be one of {', '.join(SCOPES)}")


def lift(
    connection: Connection, hold_id: int, reason: str, actor: str, now: datetime, user_id: str | None = None
) -> None:
    """Lift a hold; LedgerError where it is not there (or another's than that User ID's), was lifted, or no reason is given."""
    if not reason.strip():
        raise LedgerError("lifting a hold needs a reason")
    statement = text(f"UPDATE hold SET lifted_at = :now WHERE id = :id AND lifted_at IS NULL AND {_OF}")
    if connection.execute(statement, {"id": hold_id, "now": now, "user": user_id}).rowcount == 0:
        raise LedgerError(
            f"there is no hold {hold_id} that is not lifted: `hanwave hold list` shows those that are open"
        )
    notes.add(connection, notes.Said(actor, "lift_hold", f"hold/{hold_id}", reason), now)


_OF = "(CAST(:user AS text) IS NULL OR user_id IS NULL OR user_id = :user)"
_LISTED = text(
    f"""
    SELECT h.id, h.scope, h.value, h.reason, h.owner, h.placed_at, h.expires_at, h.lifted_at, h.user_id FROM hold h
    LEFT JOIN LATERAL (
        SELECT bool_or({RESPONSIBLE.format(user=":user")}) AS ours FROM device d WHERE (h.scope = 'device' AND d.eui = h.value)
            OR (h.scope = 'hub' AND d.hub = h.value) OR (h.scope = 'home' AND coalesce(d.home, d.hub) = h.value)
    ) f ON CAST(:user AS text) IS NOT NULL AND h.scope IN ('device', 'hub', 'home')
    WHERE {_OF} AND coalesce(f.ours, true) ORDER BY h.id
    """
)


def listed(connection: Connection, now: datetime, *, ended: bool = False, user_id: str | None = None) -> list[Hold]:
    """The holds that are in force at that time, oldest first; with ended, those that are over too.

    Where a User ID is given, its own and those of all, but for those on another supplier's devices, hubs and homes alone.
    """
    rows = connection.execute(_LISTED, {"user": user_id})
    holds = [Hold(**row._mapping) for row in rows]  # noqa: SLF001 - the documented way to a row's names
    return [hold for hold in holds if ended or hold.holds(now)]
