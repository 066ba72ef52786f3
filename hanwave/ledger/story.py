"""One device's whole story: every update it was ever in, what was sent to it, what was learnt of it, and by whose word.

Guarantee: nothing is summed up or left out: each event stands with its class of evidence, its times, the request that it
belongs to and the digest of the message that says so. A customer's number and the home's key are never in it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64
from hanwave.ledger.database import LedgerError
from hanwave.ledger.holds import ON_DEVICE
from hanwave.ledger.leavers import RESPONSIBLE


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One event: at is when it happened, recorded_at when we learnt of it."""

    at: datetime
    """When it happened."""
    recorded_at: datetime
    """When we learnt of it."""
    kind: str
    """What happened: sent, verified, activated, refused, ..."""
    leg: str | None
    """Of which leg: distribute, activate or read; null: of none."""
    hop: int
    """On a path of several releases, which of them; from 1 on."""
    attempt: int
    """The leg's try, from 1 on."""
    evidence: str
    """By whose word: ours, the DCC's, the device's, read back, observed in service, or imported."""
    version: str | None
    """The firmware version that it tells of; null: none."""
    detail: str | None
    """What came with it: a code, mostly; null: nothing."""
    reason: str | None
    """Why it was done, by whoever did it; null: nothing was said."""
    request_id: str | None
    """The Service Request that it is of; null: of none."""
    message: str | None
    """The stored message that says so, by its digest; null: there is none."""


@dataclass(frozen=True, slots=True)
class StoryRequest:
    """One Service Request about the device: for how many devices it was, and what became of it."""

    request_id: str
    """Originator, target and counter, as the DCC has it."""
    service_reference: str
    """By its variant: "11.3"; ZigBee on a bench."""
    permit_class: str
    """forward, withdraw or observe."""
    leg: str
    """distribute, activate or read."""
    hop: int
    """On a path of several releases, which of them; from 1 on."""
    attempt: int
    """The leg's try, from 1 on."""
    devices: int
    """For how many devices it was."""
    state: str
    """Where it stands in the outbox."""
    sends: int
    """How often it was POSTed: the same octets each time."""
    granted_at: datetime
    """When the permit let it out."""
    sending_at: datetime | None
    """When it was last about to be POSTed; null: it never was."""
    answered_at: datetime | None
    """When it was acknowledged or refused; null: it was not."""
    code: str | None
    """The DCC's response code; null: there was none."""


@dataclass(frozen=True, slots=True)
class StoryUpdate:
    """One campaign's update of the device: where it stands or how it ended, and what comes next."""

    campaign: str
    """By its name."""
    wave: int
    """From 1 on."""
    release: str
    """By its name: what the campaign installs."""
    version: str
    """Of that release, eight hexadecimal digits."""
    state: str
    """Where the update stands: planned, held, activating, settled, closed, ..."""
    outcome: str | None
    """How it ended, where it did not settle; null while it has not ended."""
    reason: str
    """Why it stands there, in a sentence; empty where there is nothing to say."""
    next: str
    """What comes next: a leg, a deadline, a wait, or nothing."""
    next_at: datetime | None
    """When; null once it has ended."""
    hop: int = 1
    """The hop in hand."""
    path: list[str] = field(default_factory=list)
    """The releases that it installs, in order, where there are several."""
    events: list[StoryEvent] = field(default_factory=list)
    """What was done to it or learnt of it, the oldest first."""
    requests: list[StoryRequest] = field(default_factory=list)
    """The Service Requests about it, the oldest first."""


@dataclass(frozen=True, slots=True)
class StoryNote:
    """What somebody, or hanwave, wrote down about the device."""

    at: datetime
    """When."""
    actor: str
    """Who; hanwave and warden are hanwave's own."""
    verb: str
    """What was done."""
    reason: str
    """Why, as whoever did it wrote it."""


@dataclass(frozen=True, slots=True)
class Story:
    """A device: what the fleet has of it (None: not in the fleet), its updates, and what kept it out of others."""

    eui: str
    """The device's EUI-64."""
    device: dict[str, Any] | None
    """Its row in the fleet; null: it is not there."""
    updates: list[StoryUpdate]
    """Its updates, the oldest first."""
    left_out: dict[str, str]
    """The campaigns whose plan left it out, and why."""
    holds: list[str]
    """The holds that lie on it now: their scope, why, and whose they are."""
    notes: list[StoryNote]
    """What was written down about it, the oldest first."""


def story(connection: Connection, eui: str, campaign: str | None = None, user_id: str | None = None) -> Story:
    """The device's story, in every campaign or in one; LedgerError where nothing is known of it there."""
    values = {"eui": str(EUI64.parse(eui)), "campaign": campaign, "user": user_id}
    found = Story(
        eui=values["eui"] or "",
        device=_device(connection, values),
        updates=_updates(connection, values),
        left_out={row.campaign: row.reason for row in connection.execute(_LEFT_OUT, values)},
        holds=[f"{row.scope}: {row.reason}, by {row.owner}" for row in connection.execute(_HOLDS, values)],
        notes=[StoryNote(*row) for row in connection.execute(_NOTES, values)],
    )
    if campaign and not found.updates and not found.left_out:
        raise LedgerError(
            f"device {found.eui} is not in campaign {campaign[:70]!r}: ask without one to see those it is in"
        )
    if not found.device and not found.updates:
        raise LedgerError(
            f"device {found.eui} is in no campaign, and not in the fleet: `hanwave fleet import` brings it there"
        )
    return found


_OURS = f"(CAST(:user AS text) IS NULL OR {RESPONSIBLE.format(user=':user')})"
_DEVICE = text(
    "SELECT d.device_type, d.manufacturer, d.model, d.hardware_version, d.firmware_version, d.smi_status, d.hub, d.region,"
    " d.payment_mode, d.import_supplier, d.gas_supplier, d.last_heard, d.updated_at FROM device d"
    f" WHERE d.eui = :eui AND {_OURS}"
)
_LEFT_OUT = text(
    "SELECT l.campaign, l.reason FROM left_out l JOIN campaign c ON c.name = l.campaign WHERE l.eui = :eui"
    " AND (CAST(:user AS text) IS NULL OR c.user_id = :user)"
    " AND (CAST(:campaign AS text) IS NULL OR l.campaign = :campaign) ORDER BY l.campaign"
)
_HOLDS = text(
    "SELECT h.scope, h.reason, h.owner FROM device d JOIN hold h ON h.lifted_at IS NULL"
    " AND (h.expires_at IS NULL OR h.expires_at > now())"
    f" AND {ON_DEVICE} WHERE d.eui = :eui AND {_OURS} AND (CAST(:user AS text) IS NULL OR coalesce(h.user_id, :user) = :user) ORDER BY h.id"
)
# A note on a device names the campaign that it is of, if any: another User ID's is not told.
_NOTES = text(
    "SELECT n.at, n.actor, n.verb, n.reason FROM note n WHERE n.subject = 'device/' || :eui AND (CAST(:user AS text) IS NULL"
    " OR EXISTS (SELECT 1 FROM campaign c WHERE c.name = n.document ->> 'campaign' AND c.user_id = :user)"
    f" OR (n.document ->> 'campaign' IS NULL AND EXISTS (SELECT 1 FROM device d WHERE d.eui = :eui AND {_OURS})))"
    " ORDER BY n.at, n.id"
)
_UPDATES = text(
    "SELECT u.id, u.campaign, u.wave, c.release, r.firmware_version, u.state, u.outcome, u.reason, u.step, u.due_at, u.hop,"
    " array(SELECT p.release FROM path_hop p WHERE (p.campaign, p.path) = (u.campaign, u.path) ORDER BY p.hop) AS path"
    " FROM campaign_device u JOIN campaign c ON c.name = u.campaign JOIN release r ON r.name = c.release"
    " WHERE u.eui = :eui AND (CAST(:campaign AS text) IS NULL OR u.campaign = :campaign)"
    " AND (CAST(:user AS text) IS NULL OR c.user_id = :user) ORDER BY u.id"
)
_EVENTS = text(
    "SELECT e.at, e.recorded_at, e.kind, e.leg, e.hop, e.attempt, e.evidence, e.version, e.detail, e.reason,"
    " o.request_id, e.message FROM device_event e"
    " LEFT JOIN outbox_device d ON (d.update_id, d.hop, d.leg, d.attempt) = (e.update_id, e.hop, e.leg, e.attempt)"
    " LEFT JOIN outbox o ON o.id = d.outbox_id WHERE e.update_id = :id ORDER BY e.at, e.id"
)
_REQUESTS = text(
    "SELECT o.request_id, o.service_reference, o.permit_class, d.leg, d.hop, d.attempt,"
    " (SELECT count(*) FROM outbox_device b WHERE b.outbox_id = o.id) AS devices,"
    " o.state, o.sends, o.granted_at, o.sending_at, o.answered_at, o.code"
    " FROM outbox_device d JOIN outbox o ON o.id = d.outbox_id WHERE d.update_id = :id ORDER BY o.id"
)


def _device(connection: Connection, values: dict[str, str | None]) -> dict[str, Any] | None:
    row = connection.execute(_DEVICE, values).one_or_none()
    return dict(row._mapping) if row else None  # noqa: SLF001 - the documented way to a row's names


def _updates(connection: Connection, values: dict[str, str | None]) -> list[StoryUpdate]:
    return [_update(connection, row) for row in connection.execute(_UPDATES, values).all()]


def _update(connection: Connection, row: Any) -> StoryUpdate:
    ended = row.state in {"settled", "closed"}
    return StoryUpdate(
        campaign=row.campaign,
        wave=row.wave,
        release=row.release,
        version=row.firmware_version,
        state=row.state,
        outcome=row.outcome,
        reason=row.reason,
        next="nothing" if ended else row.step,
        next_at=None if ended else row.due_at,
        hop=row.hop,
        path=row.path,
        events=[StoryEvent(*each) for each in connection.execute(_EVENTS, {"id": row.id})],
        requests=[StoryRequest(*each) for each in connection.execute(_REQUESTS, {"id": row.id})],
    )
