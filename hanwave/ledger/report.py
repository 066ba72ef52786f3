"""What the report of a campaign is made of: planned, approved, done, judged, failed, forecast, sent, and proof of it.

Guarantee: one read-only snapshot, so that its figures agree with one another; no customer's number and no home's key is in it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger import audit, campaigns, forecasts, judging, overview
from hanwave.ledger.audit import AuditStatus
from hanwave.ledger.database import LedgerError
from hanwave.ledger.forecasts import Held
from hanwave.ledger.judging import Explained
from hanwave.ledger.overview import WaveView

_CAUSES = 20
"""Causes that are told apart; the rest are counted together."""
_ACTS = 200
_POINTS = 200
"""Points of a curve over time: more are not seen on a page."""


@dataclass(frozen=True, slots=True)
class Heading:
    """Which campaign it is, and when it was what."""

    name: str
    release: str
    version: str
    device_type: str
    kind: str
    of: str | None
    user_id: str
    digest: str
    status: str
    author: str
    approvals: int
    created_at: datetime
    began_at: datetime | None
    closed_at: datetime | None
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave as it was judged; explained is None before that."""

    view: WaveView
    opened_at: datetime | None
    closed_at: datetime | None
    explained: Explained | None


@dataclass(frozen=True, slots=True)
class Cause:
    """So many devices ended so, for one reason; an empty reason: several that are not told apart."""

    outcome: str
    reason: str
    devices: int


@dataclass(frozen=True, slots=True)
class Requests:
    """Service Requests of one variant: sent, POSTs made (more where an answer was lost), refused, and their devices."""

    variant: str
    sent: int
    posts: int
    refused: int
    devices: int


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody, or hanwave, did to the campaign."""

    at: datetime
    actor: str
    verb: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Homes:
    """Distinct homes: with a device that settled, with one that needs a visit, with one that waits for its customer."""

    settled: int
    visits: int
    customers: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything; by_time: (when, wave, devices settled in it until then)."""

    heading: Heading
    approvers: list[str]
    waves: list[Wave]
    outcomes: dict[str, int]
    """Devices by how they ended; `open` for those that have not."""
    causes: list[Cause]
    by_way: dict[str, int]
    """Devices that were to take another release first, by that release."""
    left_out: dict[str, int]
    by_time: list[tuple[datetime, int, int]]
    requests: list[Requests]
    forecast: list[Held]
    homes: Homes
    rolled_back_by: list[str]
    """The campaigns that take its devices back; empty where it was not rolled back."""
    acts: list[Act]
    beyond: int
    """Acts that are not shown."""
    audit: AuditStatus

    @property
    def devices(self) -> int:
        """Members of the plan."""
        return sum(wave.view.size for wave in self.waves)

    @property
    def settled(self) -> int:
        """Devices that run the release, by their own word or a read-back, and came through their soak."""
        return self.outcomes.get("settled", 0)


def gather(connection: Connection, campaign: str, now: datetime, user_id: str | None = None) -> Report:
    """The report's facts, of a connection that has not been used yet; LedgerError where there is no such campaign."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    view = overview.view(connection, campaign)
    if view is None or not campaigns.is_of(connection, campaign, user_id):
        raise LedgerError(campaigns.no_campaign(connection, campaign, user_id))
    acts = _acts(connection, campaign)
    return Report(
        heading=_heading(connection, campaign, view.approvals, now),
        approvers=view.approvers,
        waves=_waves(connection, campaign, view.waves),
        outcomes=_outcomes(connection, campaign),
        causes=_causes(connection, campaign),
        by_way=_by_way(connection, campaign),
        left_out=_left_out(connection, campaign),
        by_time=_by_time(connection, campaign),
        requests=_requests(connection, campaign),
        forecast=forecasts.compare(connection, campaign, now),
        homes=_homes(connection, campaign),
        rolled_back_by=view.restoring or [],
        acts=acts[:_ACTS],
        beyond=max(0, len(acts) - _ACTS),
        audit=audit.status(connection),
    )


def _ask(connection: Connection, statement: str, campaign: str, **values: Any) -> list[Any]:
    return list(connection.execute(text(statement), {"campaign": campaign, **values}))


def _heading(connection: Connection, campaign: str, approvals: int, now: datetime) -> Heading:
    row = connection.execute(
        text(
            "SELECT c.name, c.release, r.firmware_version AS version, r.device_type, c.kind, c.of, c.user_id, c.digest, c.status, c.author,"
            " c.created_at, (SELECT min(opened_at) FROM wave WHERE campaign = c.name) AS began_at, c.closed_at"
            " FROM campaign c JOIN release r ON r.name = c.release WHERE c.name = :campaign"
        ),
        {"campaign": campaign},
    ).one()
    return Heading(**row._mapping, approvals=approvals, made_at=now)  # noqa: SLF001 - the documented way to a row's names


def _by_way(connection: Connection, campaign: str) -> dict[str, int]:
    rows = _ask(
        connection,
        "SELECT p.release, count(*) AS devices FROM campaign_device u JOIN campaign c ON c.name = u.campaign"
        " JOIN path_hop p ON p.campaign = u.campaign AND p.path = u.path AND p.release <> c.release"
        " WHERE u.campaign = :campaign GROUP BY 1 ORDER BY 1",
        campaign,
    )
    return {row.release: row.devices for row in rows}


def _waves(connection: Connection, campaign: str, views: list[WaveView]) -> list[Wave]:
    rows = _ask(connection, "SELECT number, opened_at, closed_at FROM wave WHERE campaign = :campaign", campaign)
    times = {row.number: (row.opened_at, row.closed_at) for row in rows}
    return [
        Wave(view, *times[view.number], judging.recompute(connection, campaign, view.number) if view.verdict else None)
        for view in views
    ]


def _outcomes(connection: Connection, campaign: str) -> dict[str, int]:
    rows = _ask(
        connection,
        "SELECT CASE WHEN state = 'settled' THEN 'settled' WHEN state = 'closed' THEN outcome ELSE 'open' END AS ended,"
        " count(*) AS n FROM campaign_device WHERE campaign = :campaign GROUP BY 1 ORDER BY n DESC, 1",
        campaign,
    )
    return {row.ended: row.n for row in rows}


def _causes(connection: Connection, campaign: str) -> list[Cause]:
    rows = _ask(
        connection,
        "SELECT outcome, reason, count(*) AS n FROM campaign_device WHERE campaign = :campaign AND state = 'closed'"
        " GROUP BY 1, 2 ORDER BY n DESC, 1, 2",
        campaign,
    )
    found = [Cause(row.outcome, row.reason, row.n) for row in rows]
    rest: dict[str, int] = {}
    for cause in found[_CAUSES:]:
        rest[cause.outcome] = rest.get(cause.outcome, 0) + cause.devices
    return found[:_CAUSES] + [Cause(outcome, "", n) for outcome, n in rest.items()]


def _left_out(connection: Connection, campaign: str) -> dict[str, int]:
    rows = _ask(
        connection,
        "SELECT reason, count(*) AS n FROM left_out WHERE campaign = :campaign GROUP BY reason ORDER BY n DESC, reason",
        campaign,
    )
    return {row.reason: row.n for row in rows}


def _by_time(connection: Connection, campaign: str) -> list[tuple[datetime, int, int]]:
    """At most some hundreds of points: the devices of each wave fall into slices of time of one length."""
    rows = _ask(
        connection,
        """
        WITH settled AS (SELECT wave, changed_at AS at FROM campaign_device WHERE campaign = :campaign AND state = 'settled'),
        span AS (SELECT min(at) AS first, greatest((max(at) - min(at)) / :points, interval '1 ms') AS slice FROM settled),
        sliced AS (
            SELECT wave, floor(extract(epoch FROM at - first) / extract(epoch FROM slice)) AS n, max(at) AS at, count(*) AS more
            FROM settled, span GROUP BY 1, 2
        )
        SELECT at, wave, sum(more) OVER (PARTITION BY wave ORDER BY n) AS so_far FROM sliced ORDER BY at, wave
        """,
        campaign,
        points=_POINTS,
    )
    return [(row.at, row.wave, int(row.so_far)) for row in rows]


def _requests(connection: Connection, campaign: str) -> list[Requests]:
    rows = _ask(
        connection,
        "SELECT o.service_reference, count(*) AS sent, sum(o.sends) AS posts,"
        " count(*) FILTER (WHERE o.state = 'refused') AS refused,"
        " sum((SELECT count(*) FROM outbox_device d WHERE d.outbox_id = o.id)) AS devices"
        " FROM outbox o WHERE o.campaign = :campaign AND o.sends > 0 GROUP BY 1 ORDER BY 1",
        campaign,
    )
    return [Requests(r.service_reference, r.sent, int(r.posts), r.refused, int(r.devices)) for r in rows]


def _homes(connection: Connection, campaign: str) -> Homes:
    row = connection.execute(
        text(
            "WITH homes AS (SELECT coalesce(d.home, d.hub, u.eui) AS home, bool_or(u.state = 'settled') AS settled,"
            " bool_or(u.outcome = 'needs_visit') AS visit, bool_or(u.outcome = 'customer_action') AS customer"
            " FROM campaign_device u LEFT JOIN device d ON d.eui = u.eui WHERE u.campaign = :campaign GROUP BY 1)"
            " SELECT count(*) FILTER (WHERE settled AND visit IS NOT TRUE) AS settled, count(*) FILTER (WHERE visit) AS visits,"
            " count(*) FILTER (WHERE customer) AS customers FROM homes"
        ),
        {"campaign": campaign},
    ).one()
    return Homes(*row)


def _acts(connection: Connection, campaign: str) -> list[Act]:
    rows = _ask(
        connection,
        "SELECT at, actor, verb, subject, reason FROM note WHERE subject = 'campaign/' || :campaign"
        " OR subject LIKE 'campaign/' || :pattern || '/wave/%' ORDER BY at, id",
        campaign,
        pattern=campaign.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_"),
    )
    return [Act(*row) for row in rows]
