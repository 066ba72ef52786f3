"""Taking a message in: judged by its signature, kept either way, before anybody is answered.

Guarantees: nothing is kept as verified but what a trusted certificate of the DCC's signed; the same message again, newly
signed or dated, only counts a copy; what is refused is kept apart with its reason, and `replay` judges it again once
the trust store is mended.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from hanwave import duis
from hanwave.credentials import CredentialError
from hanwave.ledger import inbox
from hanwave.rollout.evidence import addressee

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Judged:
    """A message's key in the inbox, and why it was refused (None: it is verified)."""

    key: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the inbox made of a message."""

    judged: Judged
    new: bool

    @property
    def verified(self) -> bool:
        """Whether it may be answered 204."""
        return self.judged.refusal is None


def judge(raw: bytes, trust: duis.TrustStore, now: datetime) -> Judged:
    """Whether those bytes are a response or alert that the DCC signed, by the certificates valid now; and their key."""
    try:
        message = duis.read_signed(raw, trust, now).message
    except (duis.DuisError, CredentialError) as error:
        return Judged(f"unverified/{hashlib.sha256(raw).hexdigest()}", str(error))
    if not isinstance(message, duis.Response):
        return Judged(f"unverified/{hashlib.sha256(raw).hexdigest()}", "it is a Request, which only the DCC receives")
    return Judged(key_of(message, raw))


def key_of(message: duis.Response, raw: bytes) -> str:
    """ResponseID (or RequestID), kind and code, and the digest of the message without signature and time.

    The digest keeps apart what a device that begins to count anew says under an old ResponseID.
    """
    try:
        same = duis.write(replace(message, at=_NO_TIME))
    except duis.DuisError:
        # What can be read and not written must not be lost for its key.
        same = raw
    return f"{message.response_id or message.request_id or '-'}/{_kind(message)}/{hashlib.sha256(same).hexdigest()}"


def _kind(message: duis.Response) -> str:
    body = message.body
    if isinstance(body, duis.ResponseMessage):
        return f"{type(body.content).__name__}/{message.code}"
    if isinstance(body, duis.DeviceAlertMessage):
        return f"{type(body).__name__}/{body.alert_code}"
    if isinstance(body, duis.DCCAlertMessage):
        return f"{type(body.alert).__name__}/{body.code}"
    return f"{body.name}/{message.code}"


def keep(connection: Connection, judged: Judged, raw: bytes, now: datetime) -> Kept:
    """Store a judged message raw; commit before it is answered."""
    refusal = judged.refusal
    new = inbox.store(connection, judged.key, raw, now, verified=refusal is None, note=refusal)
    return Kept(judged, new)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that waits for a person: refused at the door, or (verified) kept but not understood."""

    id: int
    received_at: datetime
    size: int
    copies: int
    verified: bool
    reason: str


_WAITING = "((NOT verified AND routed_at IS NULL) OR (verified AND route = 'unread'))"


def refused(connection: Connection, most: int = 1000, user_id: str | None = None) -> list[Refused]:
    """The messages that could not be verified or understood, and were not yet replayed with success, oldest first.

    Where a User ID is given, without those that say that they are for another.
    """
    rows = connection.execute(
        text(
            "SELECT id, received_at, length(raw) AS size, copies, verified, note, raw FROM inbox"
            f" WHERE {_WAITING} ORDER BY id LIMIT :most"
        ),
        {"most": most},
    )
    return [
        Refused(row.id, row.received_at, row.size, row.copies, row.verified, row.note or "")
        for row in rows
        if _may_be_for(user_id, row.raw)
    ]


def _may_be_for(user_id: str | None, raw: bytes) -> bool:
    """Whether a message is not for another User ID, by its own word, which nobody need have signed."""
    if user_id is None:
        return True
    try:
        message = duis.read(raw)
    except duis.DuisError:
        return True
    to = addressee(message) if isinstance(message, duis.Response) else None
    return to is None or str(to) == user_id


def replay(
    connection: Connection, message_id: int, trust: duis.TrustStore, now: datetime, user_id: str | None = None
) -> str | None:
    """Judge a refused message again, by the certificates that were valid when it came; the reason, if still refused.

    A verified one goes the way of every message; the refused row stays, and says under which key it was taken in. One
    that was verified and not understood is routed again.
    """
    row = connection.execute(
        text(f"SELECT raw, received_at, verified FROM inbox WHERE id = :id AND {_WAITING} FOR UPDATE"),
        {"id": message_id},
    ).one_or_none()
    if row is None or not _may_be_for(user_id, row.raw):
        return f"message {message_id} is not one that waits to be judged again: `hanwave inbox list` shows those"
    if row.verified:
        connection.execute(
            text("UPDATE inbox SET routed_at = NULL, route = NULL, note = NULL WHERE id = :id"), {"id": message_id}
        )
        return None
    judged = judge(row.raw, trust, row.received_at)
    if judged.refusal is not None:
        return judged.refusal
    keep(connection, judged, row.raw, row.received_at)
    inbox.routed(connection, [(message_id, "replayed", f"verified, and taken in as {judged.key}")], now)
    return None
