"""Rehearsals of a plan over the fleet that the ledger knows, kept by the plan's digest and held against what happens.

Guarantee: what is rehearsed is the plan that `start` would freeze, with its waves, strata, windows and thresholds.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from pydantic import TypeAdapter
from sqlalchemy import Connection, text

from hanwave.ledger import budgets, campaigns, incidents, planning
from hanwave.rollout.bounds import Share
from hanwave.rollout.budget import Threshold
from hanwave.rollout.incidents import Incident
from hanwave.rollout.plan import Plan
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.rehearsal.behaviour import Behaviour
from hanwave.rollout.rehearsal.forecast import Day, Forecast, Interval
from hanwave.rollout.rehearsal.run import Rules
from hanwave.rollout.request import CampaignRequest, check_name

_FORECAST = TypeAdapter(Forecast)
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Material:
    """What of a drawn plan is rehearsed: its digest, devices by wave, and the share of each stratum."""

    digest: str
    kind: DeviceType
    sizes: tuple[int, ...]
    strata: tuple[float, ...]
    regions: tuple[str, ...]
    """Of each stratum."""
    incidents: Mapping[str | None, Sequence[Incident]]
    hops: tuple[float, ...]
    """The share of devices whose paths have one hop, two, and so on."""
    request: CampaignRequest
    thresholds: tuple[Threshold, ...]

    def rules(self, behaviour: Behaviour, start: datetime) -> Rules:
        """The rules of a rehearsal that begins then, over devices that behave so."""
        devices = sum(self.sizes)
        ordinary = Share(round(behaviour.absent * devices), devices)
        return Rules(
            *(self.kind, self.request.policy, self.sizes, start, ordinary, self.strata, self.thresholds),
            regions=self.regions,
            incidents=self.incidents,
            hops=self.hops,
        )


def material(connection: Connection, name: str, request: CampaignRequest, user_id: str) -> Material:
    """Draw a plan, of a connection that has not been used yet, and keep nothing; LedgerError or PlanError says why not."""
    connection.execute(text("SET TRANSACTION READ ONLY"))
    check_name(name)
    now = datetime.now(UTC)
    plan = planning.draw(connection, name, request, user_id, now)
    strata = _strata(connection, [eui for wave in plan.waves for eui in wave])
    kind = DeviceType(planning.release(connection, request.release).device_type.value)
    return Material(
        digest=plan.digest,
        kind=kind,
        sizes=tuple(map(len, plan.waves)),
        strata=tuple(share for share, _ in strata),
        regions=tuple(region for _, region in strata),
        incidents=incidents.read(connection, now).by_region,
        hops=_hops(plan),
        request=request,
        thresholds=tuple(t for variant in _VARIANTS for t in budgets.thresholds(connection, user_id, variant)),
    )


def _hops(plan: Plan) -> tuple[float, ...]:
    devices: Counter[int] = Counter()
    for way in plan.statement.ways:
        devices[len(way.releases)] += way.devices
    return tuple(devices[hops] / plan.statement.devices for hops in range(1, max(devices) + 1))


_VARIANTS = ("11.1", "11.3", "11.4")


def _strata(connection: Connection, euis: list[str]) -> list[tuple[float, str]]:
    """The share of each stratum, and its region."""
    rows = connection.execute(
        text(
            "SELECT count(*) AS n, region FROM device WHERE eui = ANY(:euis)"
            " GROUP BY manufacturer, model, firmware_version, region ORDER BY n DESC"
        ),
        {"euis": euis},
    )
    return [(row.n / len(euis), row.region) for row in rows]


def keep(connection: Connection, digest: str, forecast: Forecast, now: datetime) -> None:
    """Keep the forecast of a plan; a later one takes its place."""
    connection.execute(
        text(
            "INSERT INTO forecast (digest, made_at, document) VALUES (:digest, :now, CAST(:document AS jsonb))"
            " ON CONFLICT (digest) DO UPDATE SET made_at = EXCLUDED.made_at, document = EXCLUDED.document"
        ),
        {"digest": digest, "now": now, "document": _FORECAST.dump_json(forecast).decode()},
    )


@dataclass(frozen=True, slots=True)
class Held:
    """One figure of a forecast, held against what happened by now."""

    what: str
    """The figure: settled devices, or the Service Requests of one reference ("SR 11.3")."""
    fact: float
    """What the ledger has of it."""
    expected: Interval
    """What the rehearsals had of it by now."""

    @property
    def says(self) -> str:
        """In a word: as expected, or on which side of nine in ten rehearsals."""
        if self.fact < self.expected.low:
            return "below"
        return "above" if self.fact > self.expected.high else "as expected"

    def __str__(self) -> str:
        return f"{self.what}: {self.fact:g}, expected by now {self.expected}: {self.says}"


def compare(connection: Connection, campaign: str, now: datetime) -> list[Held]:
    """A campaign against what its forecast has for the same moment; nothing where none was made, or it has not begun."""
    row = connection.execute(
        text(
            "SELECT f.document, (SELECT min(opened_at) FROM wave WHERE campaign = c.name) AS began,"
            " coalesce(c.closed_at, :now) AS until, c.closed_at IS NOT NULL AS over FROM campaign c JOIN forecast f ON f.digest = c.digest WHERE c.name = :name"
        ),
        {"name": campaign, "now": now},
    ).one_or_none()
    if row is None or row.began is None:
        return []
    good = _FORECAST.validate_python(row.document).good
    facts = _facts(connection, campaign)
    days = (row.until - row.began).total_seconds() / _DAY
    # Of a campaign that is over, the whole of its last day is held against it: nothing more comes in that.
    expected = _expected(good.by_day, max(1.0, ceil(days)) if row.over else days)
    return [Held(what, facts[what], some) for what, some in expected.items()]


def _expected(by_day: Sequence[Day], days: float) -> dict[str, Interval]:
    """What nine in ten rehearsals had so many days after their start: within a day, between its two ends."""
    if days >= len(by_day):
        return _figures(by_day[-1])
    whole = int(days)
    before = _figures(by_day[whole - 1]) if whole else {}
    return {
        what: _between(before.get(what, Interval(0, 0, 0)), after, days - whole)
        for what, after in _figures(by_day[whole]).items()
    }


def _figures(day: Day) -> dict[str, Interval]:
    return {"settled": day.settled, **{f"SR {variant}": some for variant, some in day.so_far.items()}}


def _between(before: Interval, after: Interval, share: float) -> Interval:
    """A share of the way from one to the other, whose bounds hold for any course between them."""
    high = after.high if share else before.high
    return Interval(before.low, before.middle + share * (after.middle - before.middle), high)


def _facts(connection: Connection, campaign: str) -> Counter[str]:
    frame = campaigns.frame(connection, campaign)
    if frame.shadow:
        return _would_be(connection, frame)
    settled = connection.execute(
        text("SELECT count(*) FROM campaign_device WHERE campaign = :name AND state = 'settled'"), {"name": campaign}
    ).scalar_one()
    sent = connection.execute(
        text(
            "SELECT service_reference, count(*) AS n FROM outbox WHERE campaign = :name AND sends > 0"
            " AND leg IN ('distribute', 'activate', 'read') GROUP BY service_reference"
        ),
        {"name": campaign},
    )
    return Counter({"settled": int(settled), **{f"SR {row.service_reference}": row.n for row in sent}})


def _would_be(connection: Connection, frame: campaigns.Frame) -> Counter[str]:
    """Of a shadow: the requests that would be sent now, and the devices that run the release by others' doing."""
    rows = connection.execute(
        text(
            "SELECT CASE WHEN state = 'confirmed' THEN 'settled' WHEN reason = :shadow THEN step END AS what, count(*) AS n"
            " FROM campaign_device WHERE campaign = :name GROUP BY what"
        ),
        {"name": frame.name, "shadow": campaigns.SHADOW},
    )
    found = {row.what: row.n for row in rows}
    images = "SR 11.4" if frame.device_type.one_step else "SR 11.1"
    batches = -(-found.get("distribute", 0) // frame.policy.batch)
    return Counter({"settled": found.get("settled", 0), images: batches, "SR 11.3": found.get("activate", 0)})
