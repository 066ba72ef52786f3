"""Service checks at a gate: whether the updated devices still do their job, by the supplier's own records.

A gate names queries of the installation's file (`hanwave.ledger.queries`). One in SQL gives the columns eui, before and now
(booleans: did it do its job before the wave began, and does it now); one in PromQL is asked at both times, and a device, by
its label, does its job where the value is above 0. Guarantees: a check that fails or answers nonsense is a problem in a
sentence, with which the gate does not pass; as many devices that were not updated are asked, of the same type, regions and supplier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx
from sqlalchemy import Connection, Engine, text

from hanwave.ledger import campaigns, leavers, queries
from hanwave.ledger.queries import PromQuery, QueryError
from hanwave.rollout.soak import Answer, Observed, Service, compare

_AT_ONCE = 1000
"""Devices in one statement: it is to answer within its second."""
_FEWEST, _MOST = 1000, 20_000
"""Of those not updated, at least and at most so many are asked: what befalls them is then known to some 1 %."""

_Told = Mapping[str, tuple[bool | None, bool | None]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks of a gate came to, and what they told of each updated device that did its job before."""

    services: tuple[Service, ...] = ()
    observed: tuple[Observed, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom a check is asked about: each device's region, by its EUI-64; and since when."""

    updated: Mapping[str, str]
    others: Mapping[str, str]
    began: datetime
    now: datetime


def run(ledger: Engine, campaign: str, wave: int, now: datetime) -> Checked:
    """The answers of the service checks that a wave's gate names, at that time (aware UTC). No transaction is kept open."""
    with ledger.begin() as connection:
        wanted = campaigns.gate(connection, campaign, wave).services
        if not wanted:
            return Checked()
        asked = _asked(connection, campaign, wave, now)
    found = [_service(name, tolerable, asked) for name, tolerable in wanted.items()]
    return Checked(tuple(each for each, _ in found), tuple(one for _, observed in found for one in observed))


def _service(name: str, tolerable: float, asked: _Asked) -> tuple[Service, list[Observed]]:
    try:
        told = _ask(name, asked)
    except QueryError as error:
        return Service(name, tolerable, problem=str(error)), []
    answers = [
        Answer(region, updated, *told.get(eui, (None, None)))
        for updated, group in ((True, asked.updated), (False, asked.others))
        for eui, region in group.items()
    ]
    did = {eui: told[eui][1] for eui in asked.updated if eui in told and told[eui][0]}
    return compare(name, tolerable, answers), [Observed(eui, name, bool(now)) for eui, now in did.items()]


_UPDATED = text(
    "SELECT c.eui, d.region FROM campaign_device c JOIN device d ON d.eui = c.eui"
    " WHERE c.campaign = :campaign AND c.wave = :wave AND c.state = 'settled' ORDER BY c.eui"
)
_OTHERS = text(
    "SELECT d.eui, d.region FROM device d WHERE d.device_type = :type AND d.region = ANY(:regions)"
    f" AND {leavers.RESPONSIBLE.format(user=':user_id')}"
    " AND d.firmware_version <> :version AND NOT EXISTS ("
    "  SELECT 1 FROM campaign_device c WHERE c.eui = d.eui AND c.campaign = :campaign AND c.state <> 'planned')"
    " ORDER BY md5(d.eui || :campaign) LIMIT :most"
)


def _asked(connection: Connection, campaign: str, wave: int, now: datetime) -> _Asked:
    frame = campaigns.frame(connection, campaign)
    updated = {r.eui: r.region for r in connection.execute(_UPDATED, {"campaign": campaign, "wave": wave})}
    values = {
        "campaign": campaign,
        "user_id": frame.user_id,
        "type": frame.device_type,
        "version": frame.version,
        "regions": sorted(set(updated.values())),
        "most": min(max(len(updated), _FEWEST), _MOST),
    }
    others = {r.eui: r.region for r in connection.execute(_OTHERS, values)}
    began = connection.execute(
        text("SELECT coalesce(opened_at, :now) FROM wave WHERE campaign = :campaign AND number = :wave"),
        {"campaign": campaign, "wave": wave, "now": now},
    ).scalar_one()
    return _Asked(updated, others, began, now)


def _ask(name: str, asked: _Asked) -> _Told:
    query = queries.named(name)
    if isinstance(query, PromQuery):
        before, now = (_prometheus(name, query, at) for at in (asked.began, asked.now))
        return {eui: (before.get(eui), now.get(eui)) for eui in before.keys() | now.keys()}
    told: dict[str, tuple[bool | None, bool | None]] = {}
    times = {"began": asked.began, "now": asked.now}
    everyone = [*asked.updated, *asked.others]
    for first in range(0, len(everyone), _AT_ONCE):
        for row in queries.rows(name, everyone[first : first + _AT_ONCE], times):
            if missing := {"eui", "before", "now"} - set(row):
                raise QueryError(
                    f"the query {name!r} gives no column {min(missing)}: a service check gives eui, before and now"
                )
            told[row["eui"]] = (_boolean(name, row["before"]), _boolean(name, row["now"]))
    return told


def _boolean(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise QueryError(
        f"the query {name!r} gives {str(value)[:40]!r} for before or now: it should give true, false or null"
    )


def _prometheus(name: str, query: PromQuery, at: datetime) -> dict[str, bool]:
    """One evaluation (GET /api/v1/query): of each device named by the label, whether the value is above 0."""
    url = f"{queries.prometheus(name).rstrip('/')}/api/v1/query"
    values = {"query": query.promql, "time": at.isoformat(), "timeout": f"{query.timeout.total_seconds():g}s"}
    try:
        answer = httpx.get(url, params=values, timeout=query.timeout.total_seconds() + 1).raise_for_status().json()
        return {series["metric"][query.label]: float(series["value"][1]) > 0 for series in answer["data"]["result"]}
    except httpx.HTTPError as error:
        raise QueryError(
            f"the query {name!r} failed at Prometheus: {str(error)[:120] or type(error).__name__}"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise QueryError(
            f"the query {name!r} gave no vector with the label {query.label!r}: it should name a device in each series"
        ) from error
