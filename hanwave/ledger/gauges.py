"""How everything stands, for the control room: figures by label, read in one read-only transaction.

Guarantees: it asks roll-ups, small tables and indexed tails alone, so that a million devices make it no slower; no label
names a device, a home or a person; a campaign that is over drops out after a while, and of many models the largest stand
for themselves and the rest are `other`, so that the labels are bounded. `fleet` alone counts rows, and is asked seldom.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger import budgets, campaigns, metrics, quarantine, refusal_counts, webhooks
from hanwave.rollout import tallies
from hanwave.rollout.bounds import lower

OTHER = "other"
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Figure:
    """One gauge or counter: its name, its labels' names, and what it says."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure's value under some labels."""

    name: str
    labels: tuple[str, ...]
    value: float


_WAVE = ("campaign", "wave")
FIGURES = {
    each.name: each
    for each in (
        Figure(
            "campaign_info",
            "A campaign, always 1; closed ones drop out after a while",
            ("campaign", "type", "release", "kind", "status", "route"),
        ),
        Figure(
            "campaign_devices",
            "Devices of a campaign by state, closed ones by outcome",
            ("campaign", "wave", "type", "model", "state"),
        ),
        Figure("wave_devices", "Devices of a wave", _WAVE),
        Figure("wave_open", "1 while a wave runs", _WAVE),
        Figure("wave_held", "1 while a closed wave's gate keeps the next wave from beginning", _WAVE),
        Figure("wave_verdict", "The verdict of a wave's gate, always 1", (*_WAVE, "verdict")),
        Figure("wave_opened_timestamp_seconds", "When a wave began", _WAVE),
        Figure("wave_silent_ratio", "Silent devices of those that settled or are silent", _WAVE),
        Figure(
            "wave_silent_least_ratio",
            "Where more are silent than is tolerable: the share that is at least, at the gate's confidence",
            _WAVE,
        ),
        Figure("wave_silent_limit_ratio", "What is ordinary of the type, and what the gate tolerates beyond", _WAVE),
        Figure("wave_harm_ratio", "Devices harmed, of those with evidence", _WAVE),
        Figure("wave_harm_limit_ratio", "The largest share harmed that the gate tolerates", _WAVE),
        Figure("wave_deadlines_due", "Deadlines that have passed and that no sweep has recorded yet", _WAVE),
        Figure("stops", "Halts, pauses and breakers that hold now", ("kind", "scope", "campaign")),
        Figure(
            "forecast_settled_devices",
            "Devices that the rehearsal has settled by the end of this day",
            ("campaign", "bound"),
        ),
        Figure("forecast_end_timestamp_seconds", "When the rehearsal ends", ("campaign", "bound")),
        Figure("budget_used", "Counted against an anomaly-detection threshold", ("user", "variant", "period", "by")),
        Figure("budget_limit", "An anomaly-detection threshold", ("user", "variant", "period")),
        Figure("budget_warning_ratio", "From which share of it on people are told", ("user", "variant", "period")),
        Figure("quarantined_requests", "Requests that the DCC holds", ("campaign",)),
        Figure("quarantined_devices", "Devices of those requests", ("campaign",)),
        Figure("quarantine_oldest_timestamp_seconds", "Since when the oldest of them is held; 0: none is"),
        Figure("inbox_waiting_messages", "Messages that arrived and were not routed yet"),
        Figure("inbox_oldest_timestamp_seconds", "When the oldest of them arrived; 0: none waits"),
        Figure("inbox_to_forward_messages", "Messages of the supplier's other systems, not handed on yet"),
        Figure("requests_open", "Requests in the outbox without a final answer", ("state",)),
        Figure("beat_timestamp_seconds", "When a process that others rely on was last well", ("name",)),
        Figure("audit_chained_rows", "Rows of the audit chain"),
        Figure("audit_tail_rows", "Rows younger than the youngest chained one", ("source",)),
        Figure("audit_broken_row", "The first row of the chain that was found not to be what was chained; 0: none"),
        Figure("audit_checked_row", "How far the chain was last looked at"),
        Figure("audit_counted_rows", "Rows of the chain that the counters have counted"),
        Figure("webhook_waiting_events", "Events that a webhook has yet to take", ("webhook",)),
        Figure("webhook_failing_campaigns", "Campaigns of which a webhook's next event failed", ("webhook",)),
        Figure("webhook_failing_timestamp_seconds", "Since when the longest of them fails; 0: none does", ("webhook",)),
        Figure("webhook_given_up_campaigns", "Those of which it is told no more until it is sent again", ("webhook",)),
        Figure("fleet_devices", "The fleet", ("type", "model", "version", "status")),
    )
}
REFUSED = Figure(
    "permit_refusals", "Devices that a permit refused, by the check that did", ("campaign", "leg", "check")
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many labels there may be."""

    keep_closed: timedelta = timedelta(days=7)
    models: int = 20
    versions: int = 50


def read(connection: Connection, now: datetime, bounds: Bounds) -> list[Reading]:
    """Every figure but the fleet's, at that time (aware UTC)."""
    rows = {row.name: row for row in connection.execute(_CAMPAIGNS, {"since": now - bounds.keep_closed})}
    return [
        *(
            Reading("campaign_info", (c.name, c.device_type, c.release, c.kind, c.status, c.route), 1)
            for c in rows.values()
        ),
        *_funnels(connection, rows, bounds.models),
        *_waves(connection, rows, now),
        *_stops(connection, rows),
        *_forecasts(rows, now),
        *_budgets(connection, now),
        *_quarantine(connection),
        *_messages(connection),
        *(Reading("beat_timestamp_seconds", (row.name,), row.at.timestamp()) for row in connection.execute(_BEATS)),
        *_audit(connection),
        *_webhooks(connection),
    ]


_CAMPAIGNS = text(
    """
    SELECT c.name, c.release, c.kind, c.status, c.route, c.closed_at, r.device_type, min(w.opened_at) AS began,
        f.document #> '{scenarios,0,days}' AS days, f.document #> '{scenarios,0,by_day}' AS by_day
    FROM campaign c JOIN release r ON r.name = c.release LEFT JOIN wave w ON w.campaign = c.name
    LEFT JOIN forecast f ON f.digest = c.digest WHERE c.closed_at IS NULL OR c.closed_at > :since
    GROUP BY c.name, r.name, f.digest ORDER BY c.name
    """
)
_BEATS = text("SELECT name, at FROM beat")
_FUNNELS = text(
    "SELECT campaign, wave, model, state, sum(delta) AS n FROM tally WHERE campaign = ANY(:names)"
    " GROUP BY 1, 2, 3, 4 HAVING sum(delta) <> 0"
)


def _funnels(connection: Connection, rows: Mapping[str, Any], most: int) -> Iterator[Reading]:
    found = connection.execute(_FUNNELS, {"names": list(rows)}).all()
    sizes: Counter[str] = Counter()
    for row in found:
        sizes[row.model] += row.n
    named = {model for model, _ in sizes.most_common(most)}
    sums: Counter[tuple[str, ...]] = Counter()
    for row in found:
        model = row.model if row.model in named else OTHER
        sums[row.campaign, str(row.wave), rows[row.campaign].device_type, model, row.state] += row.n
    yield from (Reading("campaign_devices", labels, n) for labels, n in sums.items())


_WAVES = text(
    """
    SELECT w.campaign, w.number, w.size, w.opened_at, w.closed_at, w.verdict, w.passed_by,
        (SELECT count(*) FROM campaign_device d WHERE d.campaign = w.campaign AND d.wave = w.number
         AND d.step = 'overdue' AND d.due_at <= :now AND w.opened_at IS NOT NULL AND w.closed_at IS NULL) AS due
    FROM wave w WHERE w.campaign = ANY(:names) ORDER BY 1, 2
    """
)


def _waves(connection: Connection, rows: Mapping[str, Any], now: datetime) -> Iterator[Reading]:
    for row in connection.execute(_WAVES, {"names": list(rows), "now": now}).all():
        labels = row.campaign, str(row.number)
        is_open, campaign = row.opened_at is not None and row.closed_at is None, rows[row.campaign]
        held = row.verdict not in {None, "pass"} and row.passed_by is None and campaign.closed_at is None
        yield Reading("wave_devices", labels, row.size)
        yield Reading("wave_open", labels, is_open)
        yield Reading("wave_held", labels, held)
        yield Reading("wave_deadlines_due", labels, row.due)
        if row.verdict is not None:
            yield Reading("wave_verdict", (*labels, row.verdict), 1)
        if row.opened_at is not None:
            yield Reading("wave_opened_timestamp_seconds", labels, row.opened_at.timestamp())
            yield from _evidence(connection, row.campaign, row.number, labels)


def _evidence(connection: Connection, campaign: str, wave: int, labels: tuple[str, ...]) -> Iterator[Reading]:
    """Silence and harm against what the wave's gate tolerates; the gate itself also looks at regions and baselines."""
    gate, frame = campaigns.gate(connection, campaign, wave), campaigns.frame(connection, campaign)
    counts = tallies.counts(campaigns.funnel(connection, campaign, wave))
    # A device that has not ended is not silent yet, while the wave runs.
    silent = type(counts)(settled=counts.settled, silent=counts.silent).silence
    limit = tallies.borne(gate, frame.device_type)
    yield Reading("wave_silent_ratio", labels, silent.point)
    yield Reading("wave_silent_limit_ratio", labels, limit)
    if silent.point > limit:
        # Below the limit it is no more than that either, and would cost a process of 90 MB another 27.
        yield Reading("wave_silent_least_ratio", labels, lower(silent, gate.confidence))
    yield Reading("wave_harm_ratio", labels, counts.harm.point)
    yield Reading("wave_harm_limit_ratio", labels, gate.harm)


_STOPS = text(
    "SELECT kind, scope, CASE WHEN scope IN ('campaign', 'wave') THEN regexp_replace(value, '/[0-9]+$', '') ELSE '' END"
    " AS campaign, count(*) AS n FROM stop WHERE lifted_at IS NULL GROUP BY 1, 2, 3"
)


def _stops(connection: Connection, rows: Mapping[str, Any]) -> Iterator[Reading]:
    # Zeros, so that a first breaker is seen to rise.
    sums: Counter[tuple[str, ...]] = Counter({(kind, "all", ""): 0 for kind in ("halt", "pause", "breaker")})
    for row in connection.execute(_STOPS):
        if row.campaign in rows or not row.campaign:
            sums[row.kind, row.scope, row.campaign] += row.n
    yield from (Reading("stops", labels, n) for labels, n in sums.items())


def _forecasts(rows: Mapping[str, Any], now: datetime) -> Iterator[Reading]:
    for c in rows.values():
        if c.by_day and c.began:
            until = c.closed_at or now
            today = c.by_day[min(int((until - c.began).total_seconds() // _DAY), len(c.by_day) - 1)]
            for bound in ("low", "middle", "high"):
                end = c.began.timestamp() + c.days[bound] * _DAY
                yield Reading("forecast_settled_devices", (c.name, bound), today["settled"][bound])
                yield Reading("forecast_end_timestamp_seconds", (c.name, bound), end)


def _budgets(connection: Connection, now: datetime) -> Iterator[Reading]:
    for level in budgets.levels(connection, now):
        threshold = level.threshold
        labels = str(threshold.user_id), threshold.variant, f"{threshold.period.total_seconds():.0f}s"
        yield Reading("budget_limit", labels, threshold.limit)
        yield Reading("budget_warning_ratio", labels, threshold.warn)
        for by in ("forward", "withdraw", "observe", "others"):
            yield Reading("budget_used", (*labels, by), getattr(level.used, by))


def _quarantine(connection: Connection) -> Iterator[Reading]:
    held = quarantine.listed(connection)
    for campaign in sorted({each.campaign for each in held} or {""}):
        mine = [each for each in held if each.campaign == campaign]
        yield Reading("quarantined_requests", (campaign,), len(mine))
        yield Reading("quarantined_devices", (campaign,), sum(each.devices for each in mine))
    yield Reading("quarantine_oldest_timestamp_seconds", (), held[0].since.timestamp() if held else 0)


_INBOX = text(
    """
    SELECT count(*) AS waiting, min(received_at) AS oldest, (SELECT count(*) FROM inbox WHERE forwarded_at IS NULL
        AND verified AND route IN ('foreign', 'unread')) AS to_forward FROM inbox WHERE routed_at IS NULL
    """
)
_OPEN = ("granted", "ready", "sending", "ambiguous")
_OUTBOX = text("SELECT state, count(*) AS n FROM outbox WHERE state = ANY(:states) GROUP BY state")


def _messages(connection: Connection) -> Iterator[Reading]:
    inbox = connection.execute(_INBOX).one()
    yield Reading("inbox_waiting_messages", (), inbox.waiting)
    yield Reading("inbox_oldest_timestamp_seconds", (), inbox.oldest.timestamp() if inbox.oldest else 0)
    yield Reading("inbox_to_forward_messages", (), inbox.to_forward)
    waiting = dict.fromkeys(_OPEN, 0) | {
        row.state: row.n for row in connection.execute(_OUTBOX, {"states": list(_OPEN)})
    }
    yield from (Reading("requests_open", (state,), n) for state, n in waiting.items())


_TAILS = {"device_event": "device_event", "note": "note", "outbox.granted": "outbox", "stop.placed": "stop"}


def _audit(connection: Connection) -> Iterator[Reading]:
    chained = connection.execute(text("SELECT coalesce(max(seq), 0) FROM audit")).scalar_one()
    yield Reading("audit_chained_rows", (), chained)
    for source, table in _TAILS.items():
        statement = text(
            f'SELECT count(*) FROM {table} WHERE id > coalesce((SELECT max("row") FROM audit WHERE source = :source), 0)'
        )
        yield Reading("audit_tail_rows", (source,), connection.execute(statement, {"source": source}).scalar_one())
    positions = connection.execute(text("SELECT name, value FROM metric WHERE name LIKE 'audit%'")).all()
    known = {row.name: row.value for row in positions}
    yield Reading("audit_counted_rows", (), known.get(metrics.COUNTED_TO, 0))
    yield Reading("audit_checked_row", (), known.get(metrics.CHECKED_TO, 0))
    yield Reading("audit_broken_row", (), known.get(metrics.BROKEN, 0))


def _webhooks(connection: Connection) -> Iterator[Reading]:
    for hook in webhooks.listed(connection):
        yield Reading("webhook_waiting_events", (hook.name,), sum(each.events for each in hook.behind))
        yield Reading("webhook_failing_campaigns", (hook.name,), sum(each.tries > 0 for each in hook.behind))
        since = min((each.failing_since for each in hook.behind if each.failing_since), default=None)
        yield Reading("webhook_failing_timestamp_seconds", (hook.name,), since.timestamp() if since else 0)
        given_up = sum(each.gave_up_at is not None for each in hook.behind)
        yield Reading("webhook_given_up_campaigns", (hook.name,), given_up)


_FLEET = text(
    "SELECT device_type, manufacturer || '/' || model AS model, firmware_version AS version, smi_status AS status,"
    " count(*) AS n FROM device GROUP BY 1, manufacturer, model, 3, 4 ORDER BY n DESC"
)


def fleet(connection: Connection, bounds: Bounds) -> list[Reading]:
    """The fleet by type, model, version and status: a count over all of its rows, so ask every few minutes at most."""
    models: dict[str, int] = {}
    versions: dict[str, int] = {}
    sums: Counter[tuple[str, ...]] = Counter()
    for row in connection.execute(_FLEET):
        model = _bounded(row.model, models, bounds.models)
        version = _bounded(row.version, versions, bounds.versions)
        sums[row.device_type, model, version, row.status] += row.n
    return [Reading("fleet_devices", labels, n) for labels, n in sums.items()]


def _bounded(name: str, known: dict[str, int], most: int) -> str:
    if name in known or len(known) < most:
        known[name] = known.get(name, 0) + 1
        return name
    return OTHER


def refusals(connection: Connection) -> list[Reading]:
    """How many devices the permit refused, by campaign, leg and check: a counter."""
    return [Reading(REFUSED.name, labels, n) for labels, n in refusal_counts.totals(connection).items()]
