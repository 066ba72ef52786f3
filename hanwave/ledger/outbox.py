"""The outbox: one row a Service Request, from its permit to what the DCC made of it.

Guarantees: the bytes are stored before the first POST, and every POST sends those bytes; no forward POST begins once a
stop that covers it has committed; a reply to a repeated POST never rejects a device, since the first may have been
accepted; an answer is recorded with the facts that it means, in one transaction.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.ledger import budgets, stops, windows
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, Folded, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg

SEND_WITHIN = timedelta(seconds=2)
"""A sender that has not begun its POST this long after `begin` must ask again: a halt may have come in between."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Leave to POST once, until the time given."""

    body: bytes
    until: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """An outbox row, as a sender needs it."""

    id: int
    request_id: str
    service_reference: str
    leg: Leg
    user_id: str
    campaign: str
    wave: int
    update_id: int | None
    parameters: dict[str, Any]
    permit_class: str
    granted_at: datetime
    state: str
    sends: int


def get(connection: Connection, outbox_id: int) -> Request:
    """The row; LedgerError where there is none."""
    row = connection.execute(_GET, {"id": outbox_id}).one_or_none()
    if row is None:
        raise LedgerError(f"there is no request {outbox_id} in the outbox")
    return Request(**{**row._mapping, "leg": Leg(row.leg)})  # noqa: SLF001 - the documented way to a row's names


_GET = text(
    "SELECT id, request_id, service_reference, leg, user_id, campaign, wave, update_id, parameters, permit_class,"
    " granted_at, state, sends FROM outbox WHERE id = :id"
)


def devices(connection: Connection, outbox_id: int) -> list[str]:
    """The EUI-64s of a request, in their order."""
    rows = connection.execute(
        text("SELECT eui FROM outbox_device WHERE outbox_id = :id ORDER BY eui"), {"id": outbox_id}
    )
    return list(rows.scalars())


def open_requests(connection: Connection, update_id: int) -> list[int]:
    """The requests of one device that were granted and have no answer yet, oldest first."""
    return list(connection.execute(_OPEN, {"id": update_id}).scalars())


_OPEN = text(
    "SELECT id FROM outbox WHERE update_id = :id AND state IN ('granted', 'ready', 'sending', 'ambiguous') ORDER BY id"
)


TRIES = 3
"""How often the same bytes are POSTed before silence is left to the deadline."""
LIFE = timedelta(minutes=15)
"""What a permit's checks are good for: an older request is given back, or its silence left to the deadline."""


def undelivered(connection: Connection, campaign: str, wave: int, leg: Leg, now: datetime) -> list[int]:
    """Requests of a wave's leg that must be POSTed (again) or given up: never sent, or without an answer, oldest first.

    Those whose silence is left to the deadline, or to a later attempt, are none of them.
    """
    values = {"campaign": campaign, "wave": wave, "leg": leg, "tries": TRIES}
    values |= {"since": now - stops.POST_BOUND, "oldest": now - LIFE}
    return list(connection.execute(_UNDELIVERED, values).scalars())


_LATER = (
    "SELECT 1 FROM outbox_device o JOIN outbox_device l USING (update_id, hop, leg)"
    " WHERE o.outbox_id = b.id AND l.attempt > o.attempt"
)
"""That a device of the request b has a later attempt of the same leg: then its bytes are not sent again."""
_UNDELIVERED = text(
    "SELECT id FROM outbox b WHERE campaign = :campaign AND wave = :wave AND leg = :leg AND ("
    " state IN ('granted', 'ready') OR (state = 'sending' AND sending_at < :since)"
    " OR (state = 'ambiguous' AND sends < :tries AND answered_at < :since AND granted_at >= :oldest"
    f" AND NOT EXISTS ({_LATER}))) ORDER BY id LIMIT 100"
)


def make_ready(connection: Connection, outbox_id: int, body: bytes) -> None:
    """Keep the bytes that will be sent. A body that is already kept stays: every POST sends the same bytes."""
    connection.execute(_MAKE_READY, {"id": outbox_id, "digest": hashlib.sha256(body).hexdigest(), "body": body})


_MAKE_READY = text(
    "WITH ready AS (UPDATE outbox SET state = 'ready', digest = :digest WHERE id = :id AND state = 'granted' RETURNING id)"
    " INSERT INTO outbox_body (outbox_id, request) SELECT id, :body FROM ready"
)


def begin_transform(connection: Connection, outbox_id: int, now: datetime) -> bool | str:
    """Give leave to ask the Transform Service for this request's pre-command; True for the first time, or why not."""
    row = _lock(connection, outbox_id)
    if row.state != "granted":
        return f"the request is {row.state}"
    if stop := _stopped(connection, row):
        return stop
    connection.execute(_ASKS, {"id": outbox_id, "now": now})
    return row.sending_at is None


_ASKS = text("UPDATE outbox SET sending_at = :now WHERE id = :id")


def begin(connection: Connection, outbox_id: int, now: datetime) -> Sending | str:
    """Mark a request as sending and give leave for one POST; or say in a sentence why not. Commit before the POST."""
    row = _lock(connection, outbox_id)
    if row.state not in ("ready", "sending", "ambiguous"):
        return f"the request is {row.state}"
    if stop := _stopped(connection, row):
        return stop
    if row.sends and _superseded(connection, row, now):
        return "a later attempt of the same step was permitted"
    # A request that a dead gateway left behind, or whose acknowledgement was lost, may be found long after its permit.
    if row.permit_class == "forward" and (why := windows.shut(connection, row, now)):
        return why
    if row.sends and (full := budgets.repeat(connection, row, now)):
        return full
    values = {"id": outbox_id, "now": now, "began": now, "times": budgets.times(row.sends)}
    return Sending(connection.execute(_BEGIN, values).scalar_one(), now + SEND_WITHIN)


_BEGIN = text(
    "WITH posted AS (UPDATE outbox SET state = 'sending', sending_at = :now, sends = sends + 1 WHERE id = :id RETURNING *),"
    f" counted AS ({budgets.COUNT}) SELECT request FROM outbox_body WHERE outbox_id = :id"
)


def _stopped(connection: Connection, row: Row[Any]) -> str | None:
    """What forbids a POST of a forward request; until this transaction ends, no halt is recorded."""
    if row.permit_class != "forward":
        return None
    stops.share(connection)
    stop = stops.blocking(connection, row.user_id, row.campaign, row.wave, Leg(row.leg), row.id)
    if stop and stop.scope.kind == "model":
        return "the model of a device of it is stopped"
    return str(stop) if stop else None


def _superseded(connection: Connection, row: Row[Any], now: datetime) -> bool:
    """Whether a later attempt has taken a request's place; one whose sender died in its POST has had no answer then."""
    if connection.execute(_IS_SUPERSEDED, {"id": row.id}).first() is None:
        return False
    if row.state == "sending" and row.sending_at < now - stops.POST_BOUND:
        _unanswered(connection, row, now, None)
    return True


_IS_SUPERSEDED = text(f"SELECT FROM outbox b WHERE id = :id AND EXISTS ({_LATER})")


def _lock(connection: Connection, outbox_id: int) -> Row[Any]:
    return connection.execute(_LOCK, {"id": outbox_id}).one()


_LOCK = text("SELECT * FROM outbox WHERE id = :id FOR UPDATE")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DCC said at once: its code, the bytes, and the devices that its warning lists, each with its list."""

    code: str
    raw: bytes
    listed: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether the request was taken (I0, I99), wholly or but for the devices listed (W...)."""
        return self.code.startswith(("I", "W"))


def answered(connection: Connection, outbox_id: int, answer: Answer, now: datetime) -> str:
    """Record an answer and what it means for each device; the request's state then."""
    row = _lock(connection, outbox_id)
    if row.state != "sending":
        return str(row.state)
    if not answer.accepted and row.sends > 1:
        # The first POST may have been taken, and this code may only say that it was: nothing is known.
        _unanswered(connection, row, now, answer)
        return "ambiguous"
    state = "acknowledged" if answer.accepted else "refused"
    members = _close(connection, outbox_id, state, answer, now)
    message = hashlib.sha256(answer.raw).hexdigest()
    facts: list[Fact] = []
    for update_id, eui, hop, attempt in members:
        refused = answer.listed.get(eui) or (None if answer.accepted else answer.code)
        kind = Kind.REFUSED if refused else Kind.ACCEPTED
        leg = Leg(row.leg)
        facts.append(Fact(update_id, Event(Kind.SENT, row.sending_at, leg, hop, attempt)))
        facts.append(Fact(update_id, Event(kind, now, leg, hop, attempt, Evidence.DCC, detail=refused), message))
    record(connection, facts, now)
    return state


def no_answer(connection: Connection, outbox_id: int, now: datetime) -> list[Folded]:
    """Record that a POST brought no answer: the request may have been taken, and the deadline counts from its sending."""
    row = _lock(connection, outbox_id)
    return _unanswered(connection, row, now, None) if row.state == "sending" else []


def _unanswered(connection: Connection, row: Row[Any], now: datetime, answer: Answer | None) -> list[Folded]:
    facts = [
        Fact(update_id, Event(Kind.SENT, row.sending_at, Leg(row.leg), hop, attempt))
        for update_id, _, hop, attempt in _close(connection, row.id, "ambiguous", answer, now)
    ]
    return record(connection, facts, now)


def never_left(connection: Connection, outbox_id: int, leave: Sending, now: datetime) -> None:
    """Take back a leave of which nothing was used: no connection came about. Not where another has begun since.

    Of a repeat, the first POST is left, which brought no answer.
    """
    row, began = _lock(connection, outbox_id), leave.until - SEND_WITHIN
    if (row.state, row.sending_at) != ("sending", began):
        return
    before = row.sends - 1
    connection.execute(_TAKE_BACK, {"id": outbox_id, "began": began, "times": -budgets.times(before)})
    if before:
        _unanswered(connection, row, now, None)


_TAKE_BACK = text(
    "WITH posted AS (UPDATE outbox SET state = 'ready', sends = sends - 1 WHERE id = :id RETURNING *)" + budgets.COUNT
)


def refused_unsent(connection: Connection, outbox_id: int, answer: Answer, now: datetime) -> list[Folded]:
    """Record that the Transform Service refused: nothing can be sent to the device."""
    row = _lock(connection, outbox_id)
    if row.state != "granted":
        return []
    connection.execute(
        text("UPDATE outbox SET state = 'refused', code = :code, answered_at = :now WHERE id = :id"),
        {"id": outbox_id, "code": answer.code, "now": now},
    )
    message = hashlib.sha256(answer.raw).hexdigest()
    facts = [
        Fact(update_id, Event(Kind.REFUSED, now, Leg(row.leg), hop, attempt, Evidence.DCC, detail=answer.code), message)
        for update_id, _, hop, attempt in _members(connection, outbox_id)
    ]
    return record(connection, facts, now)


def never_sent(connection: Connection, outbox_id: int, now: datetime, reason: str) -> list[Folded]:
    """Give a permit back, where no POST ever began; nothing otherwise."""
    row = _lock(connection, outbox_id)
    if row.sends or row.state not in ("granted", "ready"):
        return []
    connection.execute(text("UPDATE outbox SET state = 'abandoned' WHERE id = :id"), {"id": outbox_id})
    facts = [
        Fact(update_id, Event(Kind.ABANDONED, now, Leg(row.leg), hop, attempt, detail=reason))
        for update_id, _, hop, attempt in _members(connection, outbox_id)
    ]
    return record(connection, facts, now)


_UNSENT = text(
    """
    SELECT o.id FROM outbox o WHERE o.state IN ('granted', 'ready') AND o.sends = 0 AND o.permit_class = 'forward'
    AND (CAST(:leg AS text) IS NULL OR o.leg = :leg)
    AND (:kind = 'all' OR (:kind = 'user' AND o.user_id = :value) OR (:kind = 'campaign' AND o.campaign = :value)
         OR (:kind = 'wave' AND o.campaign || '/' || o.wave = :value)
         OR (:kind = 'model' AND EXISTS (SELECT 1 FROM outbox_device m JOIN device d ON d.eui = m.eui
             WHERE m.outbox_id = o.id AND d.manufacturer || '/' || d.model = :value)))
    ORDER BY o.id
    """
)


def unsent(connection: Connection, scope: stops.Scope) -> list[int]:
    """Forward requests of a scope that were granted and of which no POST ever began."""
    values = {"kind": scope.kind, "value": scope.value, "leg": scope.leg}
    return list(connection.execute(_UNSENT, values).scalars())


_Members = list[tuple[int, str, int, int]]
"""Update, EUI-64, hop and attempt of each device of a request."""


def _close(connection: Connection, outbox_id: int, state: str, answer: Answer | None, now: datetime) -> _Members:
    """Keep how a request's POST ended; its devices."""
    values = {"state": state, "code": answer and answer.code, "raw": answer and answer.raw}
    rows = connection.execute(_CLOSE, {"id": outbox_id, "now": now} | values)
    return [(row.update_id, row.eui, row.hop, row.attempt) for row in rows]


_MEMBERS = "SELECT update_id, eui, hop, attempt FROM outbox_device WHERE outbox_id = :id ORDER BY update_id"
_OF_REQUEST = text(_MEMBERS)
_CLOSE = text(
    "WITH kept AS (UPDATE outbox_body SET answer = :raw WHERE outbox_id = :id AND CAST(:raw AS bytea) IS NOT NULL),"
    " ended AS (UPDATE outbox SET state = :state, code = :code, answered_at = :now WHERE id = :id)"
    f" {_MEMBERS}"
)


def _members(connection: Connection, outbox_id: int) -> _Members:
    rows = connection.execute(_OF_REQUEST, {"id": outbox_id})
    return [(row.update_id, row.eui, row.hop, row.attempt) for row in rows]
