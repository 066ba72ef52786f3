"""Counters for the control room, counted along the audit chain: each chained fact once, whoever restarts.

Guarantees: a total and how far it has counted change in one transaction, so that no fact is counted twice or missed; one
counter is at work at a time; a total is what a count over the ledger's own rows gives, for every row that is chained. They
are as late as the chainer is (the warden's round). Nothing here is needed for a rollout, and no writer waits for it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from hanwave.ledger import audit

_LOCK = 0x6D657472  # "metr": the advisory lock of whoever counts
BATCH = 20_000
"""Rows of the chain a transaction."""
BOUNDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86_400, 2 * 86_400, 4 * 86_400, 7 * 86_400, 14 * 86_400)
"""Upper bounds of a leg's duration, in seconds: from a demo's to a PPMID that was unplugged for a fortnight."""
COUNTED_TO, CHECKED_TO, BROKEN = "audit_counted", "audit_checked", "audit_broken"
"""Rows of the chain, in the same table: how far it was counted, and looked at, and the first that is not what it was."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A total: its labels, and what of a source's newly chained rows (`new`, by their ids) is added under each."""

    name: str
    help: str
    source: str
    labels: tuple[str, ...]
    select: str


# A code of the DCC, or nothing that a message could fill with names without end.
_CODE = "CASE WHEN {column} ~ '^[EIW][0-9]{{1,8}}$' THEN {column} ELSE 'other' END"
_EVENTS = 'FROM new JOIN device_event e ON e.id = new."row" JOIN campaign_device u ON u.id = e.update_id'
_REQUESTS = 'FROM new JOIN outbox o ON o.id = new."row"'
# Of several POSTs the first: a deadline counts from there.
_SINCE_SENT = (
    f"{_EVENTS} CROSS JOIN LATERAL (SELECT min(s.at) AS at FROM device_event s WHERE s.update_id = e.update_id"
    " AND s.kind = 'sent' AND (s.leg, s.hop, s.attempt) = (e.leg, e.hop, e.attempt)) sent"
    # A device's clock may be ahead of the time at which we sent.
    " CROSS JOIN LATERAL (SELECT greatest(0, extract(epoch FROM e.at - sent.at)) AS seconds) took"
    " WHERE e.evidence <> 'ours' AND sent.at IS NOT NULL GROUP BY 1"
)
_BUCKET = f"(SELECT count(*) FROM unnest(ARRAY{list(BOUNDS)}) AS b WHERE b < took.seconds)::text"

COUNTED = (
    Counted(
        "device_events",
        "Facts recorded of devices: what was done to them, or learnt of them, by whose word",
        "device_event",
        ("campaign", "type", "kind", "leg", "evidence"),
        f"SELECT ARRAY[u.campaign, u.device_type, e.kind, coalesce(e.leg, ''), e.evidence], count(*) {_EVENTS} GROUP BY 1",
    ),
    Counted(
        "device_codes",
        "Devices for which the DCC refused a request or could not reach them, by its code",
        "device_event",
        ("campaign", "leg", "kind", "code"),
        f"SELECT ARRAY[u.campaign, coalesce(e.leg, ''), e.kind, {_CODE.format(column='e.detail')}], count(*) {_EVENTS}"
        " WHERE e.kind IN ('refused', 'unreached') GROUP BY 1",
    ),
    Counted(
        "leg_duration_seconds",
        "From the first POST of a leg's request to what was learnt of it",
        "device_event",
        ("type", "leg", "until", "le"),
        f"SELECT ARRAY[u.device_type, e.leg, e.kind, {_BUCKET}], count(*) {_SINCE_SENT}",
    ),
    Counted(
        "leg_duration_seconds_sum",
        "",
        "device_event",
        ("type", "leg", "until"),
        f"SELECT ARRAY[u.device_type, e.leg, e.kind], sum(took.seconds) {_SINCE_SENT}",
    ),
    Counted(
        "requests_granted",
        "Service Requests that the permit let into the outbox",
        "outbox.granted",
        ("campaign", "service_reference", "permit_class"),
        f"SELECT ARRAY[coalesce(o.campaign, ''), o.service_reference, o.permit_class], count(*) {_REQUESTS} GROUP BY 1",
    ),
    Counted(
        "requests_ended",
        "Service Requests that were answered for good, or given back unsent, by the DCC's code",
        "outbox.ended",
        ("service_reference", "permit_class", "state", "code"),
        "SELECT ARRAY[o.service_reference, o.permit_class, o.state,"
        f" CASE WHEN o.code IS NULL THEN '' ELSE {_CODE.format(column='o.code')} END], count(*) {_REQUESTS} GROUP BY 1",
    ),
    Counted(
        "request_posts",
        "POSTs of those Service Requests: more than one where an acknowledgement was lost",
        "outbox.ended",
        ("service_reference", "permit_class"),
        f"SELECT ARRAY[o.service_reference, o.permit_class], sum(o.sends) {_REQUESTS} GROUP BY 1",
    ),
    Counted(
        "stops_placed",
        "Halts, pauses and breakers that were placed",
        "stop.placed",
        ("kind", "scope"),
        'SELECT ARRAY[s.kind, s.scope], count(*) FROM new JOIN stop s ON s.id = new."row" GROUP BY 1',
    ),
    Counted(
        "notes",
        "What people and the warden did",
        "note",
        ("verb",),
        'SELECT ARRAY[n.verb], count(*) FROM new JOIN note n ON n.id = new."row" GROUP BY 1',
    ),
)


def catch_up(ledger: Engine, batches: int = 20) -> int:
    """Count what was chained since, a batch a transaction; how many rows. Nothing where another counter is at work."""
    total = 0
    for _ in range(batches):
        with ledger.begin() as connection:
            done = count(connection)
        total += done
        if not done:
            break
    return total


def count(connection: Connection, most: int = BATCH) -> int:
    """Count at most that many of the chain's next rows in this transaction; how many there were."""
    if not connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one():
        return 0
    since = _mark(connection, COUNTED_TO)
    until = connection.execute(
        text("SELECT max(seq) FROM (SELECT seq FROM audit WHERE seq > :since ORDER BY seq LIMIT :most) a"),
        {"since": since, "most": most},
    ).scalar_one()
    if until is None:
        return 0
    for counted in COUNTED:
        values = {"since": since, "until": until, "source": counted.source, "name": counted.name}
        connection.execute(text(_ADD.format(select=counted.select)), values)
    _set(connection, COUNTED_TO, until)
    return int(until - since)


def _mark(connection: Connection, name: str) -> int:
    value = connection.execute(text("SELECT value FROM metric WHERE name = :name"), {"name": name}).scalar_one_or_none()
    return int(value or 0)


def _set(connection: Connection, name: str, value: int) -> None:
    statement = text(
        "INSERT INTO metric (name, labels, value) VALUES (:name, '{}', :value)"
        " ON CONFLICT (name, labels) DO UPDATE SET value = EXCLUDED.value"
    )
    connection.execute(statement, {"name": name, "value": value})


_ADD = """
    WITH new AS (SELECT "row" FROM audit WHERE seq > :since AND seq <= :until AND source = :source),
    found (labels, value) AS ({select})
    INSERT INTO metric (name, labels, value) SELECT :name, labels, value FROM found
    ON CONFLICT (name, labels) DO UPDATE SET value = metric.value + EXCLUDED.value
"""


def totals(connection: Connection) -> dict[str, dict[tuple[str, ...], float]]:
    """Every total, by its name and its labels' values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for row in connection.execute(text("SELECT name, labels, value FROM metric")):
        found.setdefault(row.name, {})[tuple(row.labels)] = row.value
    return found


LOOK = 1000
"""Rows of the chain that one look takes: some 50 ms."""


def look(connection: Connection, most: int = LOOK) -> int:
    """Look at the chain's next rows, round and round: whether each still says what it said. The first that does not, or 0.

    It finds what was changed in the database by a mistake, within hours. Proof is `hanwave audit verify`, of an export.
    """
    broken, since = _mark(connection, BROKEN), _mark(connection, CHECKED_TO)
    if broken and not audit.first_broken(connection, broken - 1, 1)[0]:
        broken = 0  # it was put right
    found, until = audit.first_broken(connection, since, most)
    broken = min(filter(None, (broken, found)), default=0)
    _set(connection, BROKEN, broken)
    _set(connection, CHECKED_TO, until if until - since == most else 0)
    return broken
