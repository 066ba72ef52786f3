"""The supplier's own systems that are told of campaigns: who they are, and how far each was told.

Guarantees: a hook is told of a campaign's events in their order, each at least once, under the same id however often; who
tells one holds its row, so that two processes do not both; a hook that does not answer holds up no other, and is tried
less and less often; what is given up after a while stays where it is, and goes on from there when somebody asks for it.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine, Row, text

from hanwave import words
from hanwave.ledger import notes, scopes, webhook_events
from hanwave.ledger.database import LedgerError
from hanwave.ledger.webhook_events import Event

MOST = 20
"""Hooks of an installation: each has a thread and a connection while it is told."""
SOONEST, LATEST = timedelta(seconds=5), timedelta(hours=1)
"""How long after a first failure the next try is, twice as long each time, and no longer than the second."""
_ERROR = 200
"""Characters that are kept of why one failed."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_OF = "(CAST(:user AS text) IS NULL OR user_id = :user)"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a hook did not take an event."""

    why: str
    gone: bool = False
    """It says that it wants none ever again."""


Post = Callable[[str, str, Event], Refused | None]
"""Send the hook of that name and URL an event; None where it took it. It ends within a bounded time."""


def check(name: str, url: str) -> None:
    """Refuse a name that is no file's, or an address that is not HTTPS, that cannot be posted to, or holds a password."""
    # Here and not above: a command's help need not wait for it.
    import httpx  # noqa: PLC0415

    if not _NAME.fullmatch(name):
        raise LedgerError(f"the webhook's name {name[:50]!r} should be of a-z, 0-9 and '-', at most 40, as in billing")
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and not parts.fragment
        # What will post there has its own view of hosts: [v1.x] and xn--a are none to it.
        good = good and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good or "@" in url or not url.isprintable() or " " in url:
        raise LedgerError(
            "the webhook's address should be https://host/path, without a name or password before the host"
        )


def add(connection: Connection, name: str, url: str, actor: str, now: datetime, user_id: str | None = None) -> None:
    """Have a system told of what happens from now on; LedgerError where the name is taken or there are too many."""
    check(name, url)
    # First: what was done before it was added is not told, and whoever numbers waits for us.
    webhook_events.number(connection, whole=True)
    if connection.execute(text("SELECT count(*) FROM webhook")).scalar_one() >= MOST:
        raise LedgerError(f"there are {MOST} webhooks, which is as many as there may be: remove one")
    made = connection.execute(
        text(
            "INSERT INTO webhook (name, url, user_id, looked, added_at) VALUES (:name, :url, :user,"
            " (SELECT coalesce(max(seq), 0) FROM webhook_event), :now) ON CONFLICT DO NOTHING"
        ),
        {"name": name, "url": url, "user": user_id, "now": now},
    )
    if not made.rowcount:
        raise LedgerError(f"there is a webhook {name!r} already: choose another name, or remove it first")
    # The host alone: an address may be a secret in itself.
    host = {"host": urlsplit(url).hostname}
    notes.add(connection, notes.Said(actor, "add webhook", f"webhook/{name}", document=host), now)


def remove(
    connection: Connection, name: str, reason: str, actor: str, now: datetime, user_id: str | None = None
) -> None:
    """Tell a system no more; LedgerError where there is none of that name (of that User ID)."""
    _known(connection, name, user_id)
    connection.execute(text("DELETE FROM webhook WHERE name = :name"), {"name": name})
    notes.add(connection, notes.Said(actor, "remove webhook", f"webhook/{name}", reason), now)


def resend(connection: Connection, name: str, what: "Again", now: datetime, user_id: str | None = None) -> int:
    """Go on with what was given up, or go back to an event; how many campaigns are told again.

    LedgerError where the campaign is not of the User ID whose campaigns alone the hook is told of, whoever asks.
    """
    own = _known(connection, name, user_id)
    if own and what.campaign:
        scopes.named(connection, "campaign", what.campaign, own)
    values = {"name": name, "campaign": what.campaign, "seq": _place(connection, what)}
    done = connection.execute(_AGAIN_FROM if what.after else _AGAIN, values).rowcount
    if not done:
        which = f"of campaign {what.campaign!r} " if what.campaign else ""
        raise LedgerError(f"nothing {which}has failed for webhook {name!r}: --after says from where to send again")
    document = {"campaign": what.campaign, "after": what.after}
    notes.add(connection, notes.Said(what.actor, "resend webhook", f"webhook/{name}", document=document), now)
    return done


START = "start"


@dataclass(frozen=True, slots=True)
class Again:
    """What is to be sent again: of which campaign (None: of each in which one failed), after which event."""

    actor: str
    campaign: str | None = None
    after: str | None = None
    """Its webhook-id, or start; None: go on with the event that failed, at once."""


_RESET = "tries = 0, failing_since = NULL, due_at = NULL, gave_up_at = NULL, error = '', waiting = true"
_AGAIN = text(
    f"UPDATE webhook_cursor SET {_RESET} WHERE webhook = :name AND failing_since IS NOT NULL"
    " AND (CAST(:campaign AS text) IS NULL OR campaign = :campaign)"
)
_AGAIN_FROM = text(
    "INSERT INTO webhook_cursor (webhook, campaign, seq, waiting) VALUES (:name, :campaign, :seq, true)"
    f" ON CONFLICT (webhook, campaign) DO UPDATE SET seq = EXCLUDED.seq, {_RESET}"
)


def _place(connection: Connection, what: Again) -> int | None:
    if what.after is None:
        return None
    if what.campaign is None:
        raise LedgerError("--after is of one campaign: name it with --campaign")
    webhook_events.number(connection)
    found = connection.execute(_PLACE, {"id": what.after, "campaign": what.campaign}).one()
    place: int | None = found.first if what.after == START else found.that
    if place is None:
        raise LedgerError(
            f"campaign {what.campaign[:63]!r} has no event {what.after[:40]!r}: it should be a webhook-id of it, or {START}"
        )
    return place


_PLACE = text(
    "SELECT min(seq) - 1 AS first, max(seq) FILTER (WHERE message = :id) AS that FROM webhook_event"
    " WHERE campaign = :campaign"
)


def _known(connection: Connection, name: str, user_id: str | None) -> str | None:
    """Whose campaigns a hook is told of (None: everybody's), and its row held, so that nobody is telling it meanwhile."""
    statement = text(f"SELECT user_id FROM webhook WHERE name = :name AND {_OF} FOR UPDATE")
    if (found := connection.execute(statement, {"name": name, "user": user_id}).one_or_none()) is None:
        known = [each.name for each in listed(connection, user_id)]
        raise LedgerError(f"there is no webhook {name[:50]!r}; there are {', '.join(known)[:100] or 'none'}")
    own: str | None = found.user_id
    return own


@dataclass(frozen=True, slots=True)
class Told:
    """How far a hook is with a campaign that it is behind in."""

    campaign: str
    """Empty: what is of more than one."""
    events: int
    """That it has yet to take."""
    tries: int
    """Of the first of them."""
    failing_since: datetime | None
    next_try: datetime | None
    gave_up_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A hook, and the campaigns that it is behind in."""

    name: str
    url: str
    user_id: str | None
    added_at: datetime
    behind: list[Told] = field(default_factory=list)


def listed(connection: Connection, user_id: str | None = None) -> list[Listed]:
    """The hooks (of that User ID, where one is given), by name."""
    rows = connection.execute(
        text(f"SELECT name, url, user_id, added_at FROM webhook WHERE {_OF} ORDER BY name"), {"user": user_id}
    )
    return [Listed(r.name, r.url, r.user_id, r.added_at, _behind(connection, r.name)) for r in rows.all()]


_BEHIND = text(
    f"""
    SELECT c.campaign, count(*) AS events, c.tries, c.failing_since, c.due_at, c.gave_up_at, c.error
    FROM webhook_cursor c JOIN webhook h ON h.name = c.webhook
    JOIN webhook_event e ON e.campaign = c.campaign AND e.seq > c.seq JOIN note n ON n.id = e.note
    WHERE c.webhook = :name AND c.waiting AND {webhook_events.SEEN.replace(":user", "h.user_id")}
    GROUP BY c.webhook, c.campaign ORDER BY c.campaign
    """
)


def _behind(connection: Connection, name: str) -> list[Told]:
    return [Told(*row) for row in connection.execute(_BEHIND, {"name": name})]


def names(connection: Connection) -> list[str]:
    """Every hook there is."""
    return list(connection.execute(text("SELECT name FROM webhook ORDER BY name")).scalars())


def tell_one(ledger: Engine, name: str, post: Post, now: Callable[[], datetime], give_up: timedelta) -> bool | None:
    """Tell a hook one event, of the campaign whose turn it is; whether it took it, or None where nothing is due.

    What has failed for so long as give_up is given up.
    """
    with ledger.begin() as connection:
        # Held until what came of it is recorded: nobody else tells this hook, or removes it, meanwhile.
        hook = connection.execute(_HOOK, {"name": name}).one_or_none()
        if hook is None:
            return None
        _look(connection, name)
        if (found := _next(connection, name, hook.user_id, now())) is None:
            return None
        cursor, event = found
        refused = post(name, hook.url, event)
        if refused is None:
            connection.execute(_TAKEN, {"name": name, "campaign": cursor.campaign, "seq": event.seq})
        else:
            _failed(connection, name, cursor, refused, now(), give_up)
        return refused is None


def _look(connection: Connection, name: str) -> None:
    """Find the campaigns that a hook is to be told something of."""
    values = {"name": name, "until": connection.execute(_YOUNGEST).scalar_one()}
    connection.execute(_LOOK, values)
    connection.execute(_LOOKED, values)


def _next(connection: Connection, name: str, user_id: str | None, now: datetime) -> tuple[Row[Any], Event] | None:
    while cursor := connection.execute(_DUE, {"name": name, "now": now}).first():
        if event := webhook_events.following(connection, cursor.campaign, cursor.seq, user_id):
            return cursor, event
        connection.execute(_UP_TO_DATE, {"name": name, "campaign": cursor.campaign})
    return None


def _failed(
    connection: Connection, name: str, cursor: Row[Any], refused: Refused, now: datetime, give_up: timedelta
) -> None:
    since = cursor.failing_since or now
    over = refused.gone or now - since >= give_up
    values = {"since": since, "due": now + _pause(cursor.tries), "up": now if over else None}
    where = {"name": name, "campaign": cursor.campaign}
    connection.execute(_FAILED, {**where, **values, "error": words.line(refused.why, _ERROR)})


def _pause(tries: int) -> timedelta:
    """How long to wait after one more failure: jittered, so that many campaigns are not all tried at once."""
    return min(LATEST, SOONEST * float(1 << min(tries, 30))) * random.uniform(0.8, 1.2)


_HOOK = text("SELECT url, user_id FROM webhook WHERE name = :name FOR UPDATE SKIP LOCKED")
_YOUNGEST = text("SELECT coalesce(max(seq), 0) FROM webhook_event")
_LOOK = text(
    """
    INSERT INTO webhook_cursor (webhook, campaign, seq, waiting)
    SELECT DISTINCT h.name, e.campaign, h.looked, true
    FROM webhook h JOIN webhook_event e ON e.seq > h.looked AND e.seq <= :until
    LEFT JOIN campaign c ON c.name = e.campaign
    WHERE h.name = :name AND (h.user_id IS NULL OR e.campaign = '' OR c.user_id = h.user_id)
    ON CONFLICT (webhook, campaign) DO UPDATE SET waiting = true
    """
)
_LOOKED = text("UPDATE webhook SET looked = :until WHERE name = :name AND looked < :until")
_DUE = text(
    "SELECT campaign, seq, tries, failing_since FROM webhook_cursor WHERE webhook = :name AND waiting"
    " AND gave_up_at IS NULL AND (due_at IS NULL OR due_at <= :now) ORDER BY due_at NULLS FIRST, seq LIMIT 1"
)
_UP_TO_DATE = text("UPDATE webhook_cursor SET waiting = false WHERE webhook = :name AND campaign = :campaign")
_TAKEN = text(
    "UPDATE webhook_cursor SET seq = :seq, tries = 0, failing_since = NULL, due_at = NULL, error = ''"
    " WHERE webhook = :name AND campaign = :campaign"
)
_FAILED = text(
    "UPDATE webhook_cursor SET tries = tries + 1, failing_since = :since, due_at = :due, gave_up_at = :up,"
    " error = :error WHERE webhook = :name AND campaign = :campaign"
)
