"""Notes: what people did, and why. Append-only, and part of the audit chain, so no customer's identifier stands in one.

Guarantee: what is done under a key is done once, however often it is asked for. An Update may be executed again in the
next run of its campaign, and an activity by another worker: both bring the same key, and find the note of the first.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, text

from hanwave import words
from hanwave.ledger.database import LedgerError

_T = TypeVar("_T")
MOST_ACTOR, MOST_REASON = 200, 1000
"""Characters that are kept of who did it, and why: a page shows several of them."""


@dataclass(frozen=True, slots=True)
class By:
    """Who lets more happen, why, on which plan (by the digest that was read), and under which idempotency key."""

    actor: str
    reason: str
    digest: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A note to be kept: who did what to which subject ("release/x", "campaign/x/wave/1"), and why.

    Who, why and the key are kept as one printable line each: no act, and least of all a halt, fails for how it was written.
    """

    actor: str
    verb: str
    subject: str
    reason: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    """The idempotency key that whoever asked gave it; it is one of this subject and verb."""

    def __post_init__(self) -> None:
        """Write what people said on one line."""
        object.__setattr__(self, "actor", words.line(self.actor, MOST_ACTOR))
        object.__setattr__(self, "reason", words.line(self.reason, MOST_REASON))
        object.__setattr__(self, "key", words.printable(self.key or "") or None)

    @property
    def kept_key(self) -> str | None:
        """The key as it is kept, unique among all notes."""
        return f"{self.subject}/{self.verb}/{self.key}" if self.key else None


def add(connection: Connection, notes: Said | list[Said], now: datetime) -> None:
    """Keep one or more notes."""
    rows = [
        {
            "now": now,
            "actor": note.actor,
            "verb": note.verb,
            "subject": note.subject,
            "reason": note.reason,
            "key": note.kept_key,
            "document": json.dumps(note.document),
        }
        for note in (notes if isinstance(notes, list) else [notes])
    ]
    if rows:
        statement = (
            "INSERT INTO note (at, actor, verb, subject, reason, key, document)"
            " VALUES (:now, :actor, :verb, :subject, :reason, :key, CAST(:document AS jsonb))"
        )
        connection.execute(text(statement), rows)


def once(connection: Connection, said: Said, act: Callable[[], _T], now: datetime) -> _T:
    """Act, and note what was said with the answer (JSON); again under the same key: the first answer, and nothing is done.

    LedgerError where the key came with something else. Without a key it is done each time.
    """
    if found := kept(connection, said):
        first = Said(found.actor, said.verb, said.subject, found.reason, found.document, said.key)
        answer: _T = found.document.pop("answer")
        if first != replace(said, document=dict(said.document)):
            raise LedgerError(
                f"the key {said.key!r:.50} was used for another {said.verb} by {first.actor:.50} ({first.reason:.40}):"
                " take a new key for a new act"
            )
        return answer
    answer = act()
    add(connection, replace(said, document={**said.document, "answer": answer}), now)
    return answer


def kept(connection: Connection, said: Said) -> Row[Any] | None:
    """The note of that key; None where there is none (or no key). Who asks at the same time waits for this transaction."""
    if said.kept_key is None:
        return None
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('note/' || :key))"), {"key": said.kept_key})
    return connection.execute(
        text("SELECT actor, reason, document FROM note WHERE key = :key"), {"key": said.kept_key}
    ).one_or_none()
