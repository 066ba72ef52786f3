"""What was done to a home's devices, when, and what comes next, in a customer's words: for whoever takes the call.

Guarantees: the answer never repeats a customer's number or the home's key; a home that is another supplier's is not found;
each look leaves a note of who looked at which devices; and all of it is read by keys, however large the fleet is.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64, IdentifierError
from hanwave.ledger import holds, notes
from hanwave.ledger.database import LedgerError
from hanwave.ledger.holds import NewHold
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import State

HELD_FOR = timedelta(days=30)
"""How long a home stays held by the button: by then somebody has looked into it, or places a hold of their own."""
_HOME_DEVICES = 40
"""More devices than any home has; a key that finds more is a hub's of a whole building."""

CALLED = {
    "ESME": "electricity meter",
    "GSME": "gas meter",
    "HCALCS": "load switch",
    "PPMID": "in-home display",
}
"""What a customer calls the device."""

_SAYS = {
    State.PLANNED: ("Nothing was done yet: an update is planned.", "We send the update when its turn comes."),
    State.REQUESTED: ("The update was sent.", "It is stored on the device, which may take days."),
    State.DELIVERED: ("The update reached the home's hub.", "The hub passes it on, which may take days."),
    State.HELD: ("The device holds the update, and works as before.", "It changes over at a quiet time."),
    State.ACTIVATING: ("The device is changing over to the update.", "It answers within hours."),
    State.SCHEDULED: ("The device holds the update, and works as before.", "It changes over on the date given."),
    State.ACTIVATED: ("The device runs the update.", "We watch that it works as it should."),
    State.STEPPED: ("The device has taken the first of several updates.", "The next one follows."),
    State.CONFIRMED: ("The device runs the update, and has said so.", "We watch that it works as it should."),
    State.SETTLED: ("The device was updated, and works as it should.", "Nothing: it is done."),
    State.REJECTED: ("The update was turned down; the device works as before.", "We look into it."),
    State.DELIVERY_FAILED: ("The update did not get through; the device works as before.", "We try again."),
    State.VERIFICATION_FAILED: ("The device turned the update down, and works as before.", "We look into it."),
    State.FAILED: ("The update did not work.", "We look into it, and may call."),
    State.UNKNOWN: ("We do not know yet how the update ended.", "We ask the device again."),
    State.QUARANTINED: ("The update waits at the network.", "We look into it."),
}
_ENDED = {
    Outcome.FAILED: ("The update did not work.", "We look into it, and may call."),
    Outcome.REJECTED: ("The update was turned down; the device works as before.", "We look into it."),
    Outcome.NOT_DELIVERED: ("The update did not get through; the device works as before.", "We try again later."),
    Outcome.NOT_VERIFIED: ("The device turned the update down, and works as before.", "We look into it."),
    Outcome.QUIET: (
        "The device was updated, and has not been heard from since.",
        "Ask whether it works; we look into it.",
    ),
    Outcome.UNKNOWN: ("We do not know how the update ended.", "Ask whether it works; we look into it."),
    Outcome.CUSTOMER_ACTION: ("The update is waiting for the customer.", "Ask the customer to plug the device in."),
    Outcome.NEEDS_VISIT: ("The update did not get through.", "Somebody must visit: book an appointment."),
    Outcome.NOT_STARTED: ("Nothing was sent; the device works as before.", "It may be planned again."),
    Outcome.INSPECT: ("The update was not started; the device works as before.", "We look into it."),
    Outcome.LEFT: ("Nothing more was done: the device left us, or was exchanged.", "Nothing."),
    Outcome.CANCELLED: ("The update was cancelled.", "Nothing."),
    Outcome.SUPERSEDED: (
        "The update was called off, or another one takes its place.",
        "Nothing, unless another update is told of here.",
    ),
}
_MPXN = re.compile(r"[0-9][0-9 ]{4,18}[0-9]", re.ASCII)
_BEGUN = "kind = 'sent'"
_CHANGED = "kind IN ('activated', 'version') AND version IS NOT NULL"


@dataclass(frozen=True, slots=True)
class HomeUpdate:
    """One update of one device: when it was sent and when the device changed over, where known."""

    version: str
    said: str
    next: str
    next_at: datetime | None
    sent_at: datetime | None
    changed_at: datetime | None
    done_at: datetime | None
    """When it was over; None while it goes on."""


@dataclass(frozen=True, slots=True)
class HomeDevice:
    """A device of the home, with its updates, the newest first."""

    eui: str
    called: str
    version: str
    held: bool
    """Whether a hold keeps updates away from it: its own, or one on its home, hub, model or region."""
    updates: list[HomeUpdate]


@dataclass(frozen=True, slots=True)
class Home:
    """A home's devices, and whether updates are kept away from all of them."""

    devices: list[HomeDevice]
    held: bool


def look(connection: Connection, key: str, actor: str, now: datetime, user_id: str | None = None) -> Home:
    """The home of an MPxN, an EUI-64 or the supplier's own key; LedgerError where it is not known, or not that User ID's."""
    rows = _rows(connection, key, user_id)
    document = {"devices": [row.eui for row in rows]}
    notes.add(connection, notes.Said(actor, "lookup", "home", "", document), now)
    updates = _updates(connection, document["devices"], user_id)
    held = _held(connection, document["devices"], now, user_id)
    devices = [
        HomeDevice(row.eui, CALLED[row.device_type], row.firmware_version, row.eui in held, updates.get(row.eui, []))
        for row in rows
    ]
    return Home(devices, all(device.held for device in devices))


def hold_home(
    connection: Connection, key: str, reason: str, actor: str, now: datetime, user_id: str | None = None
) -> int:
    """Keep every update away from the home for HELD_FOR; the hold's number. LedgerError as `look`, or without a reason."""
    (first, *_) = _rows(connection, key, user_id)
    return holds.place(connection, NewHold("home", first.premises, reason, actor, now + HELD_FOR, user_id), now)


def _rows(connection: Connection, key: str, user_id: str | None) -> list[Any]:
    for column, value in _meanings(key.strip()):
        values = {"value": value, "user": user_id, "most": _HOME_DEVICES}
        if rows := connection.execute(text(_HOME.format(column=column)), values).all():
            return list(rows)
    raise LedgerError("no device of ours is known by that: give the MPAN or MPRN, the device's EUI-64, or our own key")


_HOME = """
    WITH found AS (
        SELECT coalesce(home, hub) AS premises FROM device WHERE {column} = :value
        AND (CAST(:user AS text) IS NULL OR :user IN (import_supplier, gas_supplier)) LIMIT 1
    )
    SELECT d.eui, d.device_type, d.firmware_version, f.premises FROM found f JOIN device d ON coalesce(d.home, d.hub) = f.premises
    WHERE CAST(:user AS text) IS NULL OR :user IN (d.import_supplier, d.gas_supplier) ORDER BY d.device_type, d.eui LIMIT :most
"""


def _meanings(key: str) -> Iterator[tuple[str, str]]:
    """The columns that a key may be of, and its value there: a supplier's own key may look like anything."""
    if _MPXN.fullmatch(key):
        yield "mpxn", key.replace(" ", "")
    with suppress(IdentifierError):
        yield "eui", str(EUI64.parse(key))
    yield "coalesce(home, hub)", key


def _updates(connection: Connection, euis: list[str], user_id: str | None) -> dict[str, list[HomeUpdate]]:
    rows = connection.execute(
        text(
            "SELECT u.eui, u.state, u.outcome, u.due_at, u.changed_at, r.firmware_version, e.sent_at, e.changed_over"
            " FROM campaign_device u JOIN campaign c ON c.name = u.campaign JOIN release r ON r.name = c.release"
            f" LEFT JOIN LATERAL (SELECT min(at) FILTER (WHERE {_BEGUN}) AS sent_at,"
            f"  min(at) FILTER (WHERE {_CHANGED} AND version = r.firmware_version) AS changed_over"
            "  FROM device_event WHERE update_id = u.id) e ON true"
            # What a shadow would do is no business of the customer's: nothing of it is ever sent.
            " WHERE u.eui = ANY(:euis) AND NOT c.shadow AND (CAST(:user AS text) IS NULL OR c.user_id = :user)"
            " ORDER BY u.id DESC"
        ),
        {"euis": euis, "user": user_id},
    )
    found: dict[str, list[HomeUpdate]] = {}
    for row in rows:
        found.setdefault(row.eui, []).append(_update(row))
    return found


def _update(row: Any) -> HomeUpdate:
    ended = row.state in {State.SETTLED, State.CLOSED}
    said, then = _ENDED[Outcome(row.outcome)] if row.state == State.CLOSED else _SAYS[State(row.state)]
    return HomeUpdate(
        version=row.firmware_version,
        said=said,
        next=then,
        next_at=None if ended else row.due_at,
        sent_at=row.sent_at,
        changed_at=row.changed_over,
        done_at=row.changed_at if ended else None,
    )


def _held(connection: Connection, euis: list[str], now: datetime, user_id: str | None) -> set[str]:
    statement = text(
        "SELECT d.eui FROM device d WHERE d.eui = ANY(:euis) AND EXISTS (SELECT 1 FROM hold"
        " WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"
        f" AND (CAST(:user AS text) IS NULL OR coalesce(user_id, :user) = :user) AND {holds.ON_DEVICE})"
    )
    return set(connection.execute(statement, {"euis": euis, "now": now, "user": user_id}).scalars())
