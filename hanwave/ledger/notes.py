"""Notes: what people did, and why. Append-only, and part of the audit chain, so no customer's identifier stands in one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Said:
    """A note to be kept: who did what to which subject ("release/x", "campaign/x/wave/1"), and why."""

    actor: str
    verb: str
    subject: str
    reason: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


def add(connection: Connection, notes: Said | list[Said], now: datetime) -> None:
    """Keep one or more notes."""
    rows = [
        {
            "now": now,
            "actor": note.actor,
            "verb": note.verb,
            "subject": note.subject,
            "reason": note.reason,
            "document": json.dumps(note.document),
        }
        for note in (notes if isinstance(notes, list) else [notes])
    ]
    if rows:
        statement = (
            "INSERT INTO note (at, actor, verb, subject, reason, document)"
            " VALUES (:now, :actor, :verb, :subject, :reason, CAST(:document AS jsonb))"
        )
        connection.execute(text(statement), rows)
