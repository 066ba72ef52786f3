"""How far a campaign is, for whoever watches it: how it stands, what it waits for, and how long its open wave may take."""

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, forecasts, overview
from hanwave.ledger.database import LedgerError
from hanwave.ledger.forecasts import Held
from hanwave.ledger.overview import View, WaveView
from hanwave.rollout.cohort import DORMANT
from hanwave.rollout.dormant import end

_ENOUGH = 3  # ended devices, below which a rate says nothing
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How long the open wave may go on, at the rate at which its devices have ended since the first one did.

    No less than `quiet`: where none has ended for long, the rate no longer holds. It says nothing of later waves: gates
    and people come between, and the last devices of a wave are its slowest.
    """

    wave: int
    """The open wave."""
    open: int
    """Its devices that have not ended."""
    ended: int
    """Its devices that have."""
    per_hour: float
    """Devices that ended in an hour, since the first one did."""
    quiet: timedelta
    """Since the last one ended."""
    left: timedelta
    """What the open ones take at that rate, and no less than `quiet`."""


@dataclass(frozen=True, slots=True)
class Progress(View):
    """A campaign's view, with what it waits for."""

    over: bool = False
    """Whether nothing more will be done in it."""
    waits_for: str = ""
    """A sentence; empty once it is over."""
    time_left: TimeLeft | None = None
    """None where no wave is open, or too few of its devices have ended to say."""
    forecast: list[Held] = field(default_factory=list)
    """Its figures against those of its last rehearsal; none where the plan was not rehearsed."""


def progress(connection: Connection, campaign: str, now: datetime, user_id: str | None = None) -> Progress:
    """How far it is; LedgerError where there is no campaign of that name (of that User ID, where one is given)."""
    view = overview.view(connection, campaign, now)
    if view is None or not campaigns.is_of(connection, campaign, user_id):
        raise LedgerError(campaigns.no_campaign(connection, campaign, user_id))
    over = overview.closed(connection, [campaign])
    return Progress(
        **{each.name: getattr(view, each.name) for each in fields(view)},
        over=over,
        waits_for="" if over else waits_for(view),
        time_left=None if over else _time_left(connection, view, now),
        forecast=forecasts.compare(connection, campaign, now),
    )


def waits_for(view: View) -> str:
    """What a campaign that is not over waits for, in a sentence."""
    if view.restoring:
        return f"the rollback: {', '.join(view.restoring)}"
    if view.status == "withdrawn":
        return "its devices in flight"
    if approvals := waits_for_approvals(view):
        return approvals
    wave = next((w for w in view.waves if not (w.closed and w.passed)), None)
    if wave is None:
        return "its end"
    return waits_at_gate(wave) if wave.closed else waits_for_wave(view, wave)


def waits_for_approvals(view: View) -> str:
    """What a campaign waits for before its first wave; nothing where enough people approved."""
    wanted = view.approvals - len(view.approvers)
    if wanted <= 0:
        return ""
    more = "approval" if wanted == 1 else "approvals"
    return f"{wanted} {more} of plan {view.digest[: overview.SHOWN]} by others than {view.author}"


def waits_for_wave(view: View, wave: WaveView) -> str:
    """What a campaign waits for while a wave runs."""
    if view.stops:
        return f"somebody to deal with what stops wave {wave.number}: resume, or roll back"
    return "; ".join([f"wave {wave.number} to close", *view.held])


def waits_at_gate(wave: WaveView) -> str:
    """What a campaign waits for when a wave has closed."""
    if wave.passed:
        return "the next wave"
    return (
        f"somebody to decide (go on, or roll back): the gate of wave {wave.number} says {wave.verdict}: {wave.reason}"
    )


def _time_left(connection: Connection, view: View, now: datetime) -> TimeLeft | None:
    wave = next((w for w in view.waves if w.opened and not w.closed), None)
    if wave is None or view.stops:
        return None
    ended, first, last = connection.execute(
        text(
            "SELECT count(*), min(changed_at), max(changed_at) FROM campaign_device WHERE campaign = :name AND wave = :wave"
            " AND state IN ('settled', 'closed')"
        ),
        {"name": view.name, "wave": wave.number},
    ).one()
    if ended < _ENOUGH or now <= first:
        return None
    per_second = ended / (now - first).total_seconds()
    quiet = timedelta(seconds=round((now - last).total_seconds()))
    left = max(quiet, timedelta(seconds=round((wave.size - ended) / per_second)))
    return TimeLeft(wave.number, wave.size - ended, ended, round(per_second * 3600, 1), quiet, left)


@dataclass(frozen=True, slots=True)
class Listed:
    """A campaign in a list."""

    name: str
    release: str
    kind: str
    status: str
    author: str
    devices: int
    created_at: datetime
    closed_at: datetime | None


def listed(connection: Connection, user_id: str | None = None) -> list[Listed]:
    """The campaigns (of that User ID, where one is given), newest first."""
    rows = connection.execute(
        text(
            "SELECT name, release, kind, status, author,"
            " (SELECT coalesce(sum(size), 0) FROM wave WHERE wave.campaign = campaign.name) AS devices,"
            f" created_at, closed_at FROM campaign WHERE {campaigns.OF_USER} ORDER BY created_at DESC, name"
        ),
        {"user": user_id},
    )
    return [Listed(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """How one device's update ended: outcome is settled, or why it did not settle (rollout's Outcome).

    One that was dormant when the plan was drawn had no update, and is of no wave.
    """

    update_id: int | None
    """The device's update in that campaign; null where it had none."""
    eui: str
    """The device's EUI-64."""
    wave: int | None
    """Its wave; null where it had none."""
    outcome: str
    """settled, or why it did not settle."""
    reason: str
    """In a sentence; empty where there is nothing to say."""
    version: str | None
    """What it was last known to run; null: nothing was heard."""
    ended_at: datetime
    """When it ended."""


def outcomes(connection: Connection, campaign: str, after: int = 0) -> list[DeviceOutcome]:
    """The next page of a campaign's devices whose updates have ended, in the order of their updates; empty at the end."""
    rows = connection.execute(
        text(
            "SELECT id, eui, wave, coalesce(outcome, state), reason, version, changed_at FROM campaign_device"
            " WHERE campaign = :campaign AND id > :after AND state IN ('settled', 'closed') ORDER BY id LIMIT :page"
        ),
        {"campaign": campaign, "after": after, "page": _PAGE},
    )
    return [DeviceOutcome(*row) for row in rows]


def dormant(connection: Connection, campaign: str, after: str = "") -> list[DeviceOutcome]:
    """The next page of the devices that a campaign's plan left out as dormant, by EUI-64; empty at the end."""
    frame = campaigns.frame(connection, campaign)
    rows = connection.execute(
        text(
            "SELECT l.eui, l.reason, d.firmware_version, c.created_at FROM left_out l JOIN campaign c ON c.name = l.campaign"
            " LEFT JOIN device d USING (eui) WHERE l.campaign = :campaign AND l.reason = :dormant AND l.eui > :after"
            " ORDER BY l.eui LIMIT :page"
        ),
        {"campaign": campaign, "dormant": DORMANT, "after": after, "page": _PAGE},
    )
    return [
        DeviceOutcome(None, row.eui, None, *end(frame.device_type, row.reason), row.firmware_version, row.created_at)
        for row in rows
    ]
