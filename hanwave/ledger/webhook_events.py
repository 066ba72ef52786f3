"""The events that webhooks tell of: notes on campaigns, in the order in which one numberer found them committed.

Guarantees: a note is numbered once, and what was done after another note was committed is numbered after it; whoever goes by
these numbers misses none, since none is ever committed below another (ids of notes are: whoever went by those would lose
some). A device is never named.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, text

_LOCK = 0x686F6F6B  # "hook": the advisory lock of whoever numbers
_MARGIN = 5_000
"""How many ids behind the youngest numbered note one may be committed and still be found at once; a whole pass finds all."""


class Type(StrEnum):
    """What happened."""

    PLANNED = "campaign.planned"
    APPROVED = "campaign.approved"
    ADOPTED = "campaign.adopted"
    WAVE_OPENED = "wave.opened"
    BREAKER_OPENED = "wave.breaker_opened"
    WAVE_JUDGED = "wave.judged"
    LET_GO_ON = "campaign.let_go_on"
    PACE_CHANGED = "campaign.pace_changed"
    PAUSED = "campaign.paused"
    RESUMED = "campaign.resumed"
    HALTED = "halted"
    LIFTED = "lifted"
    WITHDRAWN = "campaign.withdrawn"
    ROLLED_BACK = "campaign.rolled_back"
    CLOSED = "campaign.closed"
    LEDGER_RESTORED = "ledger.restored"
    LEDGER_RECONCILED = "ledger.reconciled"


VERBS = {
    "plan": Type.PLANNED,
    "approve": Type.APPROVED,
    "adopt": Type.ADOPTED,
    "open wave": Type.WAVE_OPENED,
    "open breaker": Type.BREAKER_OPENED,
    "judge": Type.WAVE_JUDGED,
    "go on": Type.LET_GO_ON,
    "change pace": Type.PACE_CHANGED,
    "pause": Type.PAUSED,
    "resume": Type.RESUMED,
    "halt": Type.HALTED,
    "lift": Type.LIFTED,
    "withdraw": Type.WITHDRAWN,
    "roll back": Type.ROLLED_BACK,
    "close": Type.CLOSED,
    "restored": Type.LEDGER_RESTORED,
    "reconciled": Type.LEDGER_RECONCILED,
}
"""The notes that are told of, by their verbs."""


@dataclass(frozen=True, slots=True)
class Data:
    """What is known of it. What does not apply is null."""

    campaign: str | None
    """Null: it is of more than one. Such events are ordered among themselves."""
    wave: int | None
    """Its number, from 1 on."""
    actor: str
    """Who did it; hanwave and warden are hanwave's own."""
    reason: str
    """As whoever did it wrote it, or the gate's, in a sentence."""
    scope: str | None
    """Of a halt, or its lifting: all, or the user, model, campaign or wave that is halted."""
    digest: str | None
    """Of the plan that was made, approved or widened."""
    releases: list[str] | None
    """Of a plan: the one that it installs. Of a rollback: those that devices go back to."""
    waves: list[int] | None
    """Of a plan: how many devices each wave has."""
    verdict: str | None
    """Of a wave's gate: pass, fail or not enough evidence."""
    leg: str | None
    """Of a pause or a resumption of one leg: distribute or activate."""
    per_second: float | None
    """Of a pace: activations a second."""
    rollbacks: list[str] | None
    """Of a rollback: the campaigns that take the devices back."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a webhook."""

    type: Type
    """What happened."""
    timestamp: datetime
    """When it happened; the header webhook-timestamp says when it was sent."""
    data: Data
    """To what, by whom and why."""


_PAYLOAD = TypeAdapter(Payload)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is sent: under that id, the same octets each time."""

    seq: int
    message: str
    at: datetime
    body: bytes


def number(connection: Connection, *, whole: bool = False) -> int:
    """Number the notes that were committed since, those of one campaign in the order of their ids; how many there were.

    whole: however long the transaction of one took. Without it, one of more than _MARGIN ids ago is not found.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    values = {"verbs": list(VERBS), "margin": _MARGIN, "whole": whole}
    return connection.execute(_NUMBER, values).rowcount


_NUMBER = text(
    """
    INSERT INTO webhook_event (seq, note, campaign, message)
    SELECT (SELECT coalesce(max(seq), 0) FROM webhook_event) + row_number() OVER (ORDER BY n.id), n.id,
        coalesce((regexp_match(n.subject, '^(campaign/|campaign |wave )([^/]+)'))[2], ''),
        'msg_' || replace(CAST(gen_random_uuid() AS text), '-', '')
    FROM note n WHERE n.verb = ANY(:verbs) AND n.subject !~ '/device/'
    AND (:whole OR n.id > (SELECT coalesce(max(note), 0) FROM webhook_event) - :margin)
    AND NOT EXISTS (SELECT 1 FROM webhook_event e WHERE e.note = n.id)
    """
)

SEEN = "(CAST(:user AS text) IS NULL OR n.subject !~ '^user ' OR n.subject = 'user ' || :user)"
"""Whether whoever sees that User ID alone is told of an event of more than one campaign."""


def following(connection: Connection, campaign: str, seq: int, user_id: str | None) -> Event | None:
    """A campaign's next event after that number ('': of those of more than one); None where there is none yet."""
    row = connection.execute(_FOLLOWING, {"campaign": campaign, "seq": seq, "user": user_id}).first()
    return Event(row.seq, row.message, row.at, _PAYLOAD.dump_json(_payload(row))) if row else None


_FOLLOWING = text(
    "SELECT e.seq, e.campaign, e.message, n.at, n.actor, n.verb, n.subject, n.reason, n.document,"
    " CAST((regexp_match(n.subject, '(/wave/|^wave .*/)([0-9]+)$'))[2] AS int) AS wave FROM webhook_event e"
    f" JOIN note n ON n.id = e.note WHERE e.campaign = :campaign AND e.seq > :seq AND {SEEN} ORDER BY e.seq LIMIT 1"
)


def _payload(row: Row[Any]) -> Payload:
    document = row.document
    data = Data(
        campaign=row.campaign or None,
        wave=row.wave,
        actor=row.actor,
        reason=row.reason,
        scope=row.subject if row.verb in {"halt", "lift"} else None,
        digest=document.get("digest"),
        releases=document.get("releases") or ([document["release"]] if "release" in document else None),
        waves=document.get("waves"),
        verdict=document.get("verdict"),
        leg=document.get("leg"),
        per_second=document.get("per_second"),
        rollbacks=document["answer"]["campaigns"] if row.verb == "roll back" else None,
    )
    return Payload(VERBS[row.verb], row.at, data)
