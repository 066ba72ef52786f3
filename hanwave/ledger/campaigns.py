"""Campaigns as the ledger has them: frozen frames, waves and counts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger import notes
from hanwave.ledger.database import LedgerError
from hanwave.rollout import route as routes
from hanwave.rollout import tallies
from hanwave.rollout.gate import Progress
from hanwave.rollout.policy import DeviceType, Gate, Policy

OF_USER = "(CAST(:user AS text) IS NULL OR user_id = :user)"
"""Of campaigns: those of the User ID :user; of anybody where it is null."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One release on a path: what a hop brings."""

    release: str
    version: str
    image_hash: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What is frozen in a campaign: every process may keep it, since its digest never changes."""

    name: str
    release: str
    device_type: DeviceType
    version: str
    image_hash: str
    user_id: str
    policy: Policy
    digest: str
    urgent: bool = False
    shadow: bool = False
    route: str = routes.DCC
    kind: str = "forward"
    """Or retry, or rollback."""
    longer: tuple[tuple[Hop, ...], ...] = ()
    """The paths of several hops, from number 2 on."""

    @property
    def on_bench(self) -> bool:
        """Whether its devices are updated on a bench, and none of them by the DCC."""
        return routes.is_bench(self.route)

    @property
    def paths(self) -> tuple[tuple[Hop, ...], ...]:
        """Every path, from number 1 on, which is the release alone: its hops, in order."""
        return ((Hop(self.release, self.version, self.image_hash),), *self.longer)

    def image(self, release: str) -> Hop:
        """What a release of one of its paths brings."""
        return next(hop for path in self.paths for hop in path if hop.release == release)


Path = tuple[str, ...]
"""Releases, in order."""


def is_of(connection: Connection, campaign: str, user_id: str | None) -> bool:
    """Whether a campaign is there, and that User ID's (None: anybody's)."""
    statement = text(f"SELECT 1 FROM campaign WHERE name = :name AND {OF_USER}")
    return connection.execute(statement, {"name": campaign, "user": user_id}).first() is not None


def no_campaign(connection: Connection, name: str, user_id: str | None = None) -> str:
    """The sentence that says so, with the latest that there are; of another User ID's it says nothing."""
    statement = text(f"SELECT name FROM campaign WHERE {OF_USER} ORDER BY created_at DESC LIMIT 5")
    known = connection.execute(statement, {"user": user_id}).scalars()
    return f"there is no campaign {name[:70]!r}; the ledger has {', '.join(known) or 'none'}"


def frame(connection: Connection, campaign: str) -> Frame:
    """The campaign's frame; LedgerError where there is no such campaign.

    It is kept for as long as the connection to the database lasts, and not by the process: a restored ledger, which no
    connection outlives, may have another campaign of that name; nor is one kept that may yet be rolled back.
    """
    kept: dict[str, Frame] = connection.info.setdefault("frames", {})
    if campaign in kept:
        return kept[campaign]
    found, is_committed = _read_frame(connection, campaign)
    if is_committed:
        kept[campaign] = found
    return found


def gate(connection: Connection, campaign: str, wave: int) -> Gate:
    """The gate of a wave: its own, or the policy's."""
    return frame(connection, campaign).policy.of_wave(wave).gate


def _read_frame(connection: Connection, campaign: str) -> tuple[Frame, bool]:
    # And whether it was there before this transaction.
    row = connection.execute(
        text(
            "SELECT c.name, c.release, r.device_type, r.firmware_version AS version, r.image_hash, c.user_id, c.policy,"
            " c.digest, c.urgent, c.shadow, c.route, c.kind,"
            " c.xmin IS DISTINCT FROM CAST(pg_current_xact_id_if_assigned() AS xid) AS committed"
            " FROM campaign c JOIN release r ON r.name = c.release WHERE c.name = :name"
        ),
        {"name": campaign},
    ).one_or_none()
    if row is None:
        raise LedgerError(f"there is no campaign {campaign[:70]!r}: `hanwave campaign list` shows those there are")
    read = {"policy": Policy.model_validate(row.policy), "device_type": DeviceType(row.device_type)}
    held = {name: value for name, value in row._mapping.items() if name != "committed"}  # noqa: SLF001 - the documented way
    return Frame(**held | read, longer=_paths(connection, campaign)), row.committed


def _paths(connection: Connection, campaign: str) -> tuple[tuple[Hop, ...], ...]:
    rows = connection.execute(
        text(
            "SELECT p.path, r.name, r.firmware_version, r.image_hash FROM path_hop p JOIN release r ON r.name = p.release"
            " WHERE p.campaign = :name ORDER BY p.path, p.hop"
        ),
        {"name": campaign},
    )
    return tuple(tuple(Hop(*row[1:]) for row in hops) for _, hops in groupby(rows, lambda row: row.path))


SHADOW = "it would be sent now: the campaign is a shadow, which permits nothing"
"""Why a shadow campaign's device is refused; how many devices wait with it is what would have been sent."""


def shown(connection: Connection, campaign: str) -> dict[str, int]:
    """The funnel as people are shown it: of a shadow campaign, what would have been sent stands by itself."""
    found = funnel(connection, campaign)
    if not frame(connection, campaign).shadow:
        return found
    rows = connection.execute(
        text(
            "SELECT state, count(*) AS n FROM campaign_device WHERE campaign = :campaign AND reason = :shadow"
            " AND step <> 'read' AND state NOT IN ('settled', 'closed') GROUP BY state"
        ),
        {"campaign": campaign, "shadow": SHADOW},
    )
    for row in rows.all():
        found[row.state] -= row.n
        found[f"{row.state}:would be sent"] = row.n
    return {state: n for state, n in found.items() if n}


def funnel(connection: Connection, campaign: str, wave: int | None = None) -> dict[str, int]:
    """Devices by state (closed ones by outcome), of a wave or of the whole campaign; states with none are left out."""
    rows = connection.execute(
        text(
            "SELECT state, sum(delta) AS n FROM tally WHERE campaign = :campaign"
            " AND (CAST(:wave AS int) IS NULL OR wave = :wave) GROUP BY state HAVING sum(delta) <> 0 ORDER BY state"
        ),
        {"campaign": campaign, "wave": wave},
    )
    return {row.state: int(row.n) for row in rows}


def progress(connection: Connection, campaign: str, wave: int) -> Progress:
    """What the breaker looks at, of a wave."""
    further = _further(connection, campaign, wave) if frame(connection, campaign).longer else {}
    return tallies.progress(funnel(connection, campaign, wave), further)


def _further(connection: Connection, campaign: str, wave: int) -> dict[str, int]:
    """Devices of open updates in a later hop, by state."""
    rows = connection.execute(
        text(
            "SELECT state, count(*) AS n FROM campaign_device WHERE campaign = :campaign AND wave = :wave AND hop > 1"
            " AND state NOT IN ('settled', 'closed') GROUP BY state"
        ),
        {"campaign": campaign, "wave": wave},
    )
    return {row.state: row.n for row in rows}


def roll_up(connection: Connection) -> int:
    """Add the deltas together; the number of rows that went. Readers see the same sums before, during and after."""
    result = connection.execute(
        text(
            # Of a past wave each sum is one row already: they stay as they are.
            "WITH many AS (SELECT campaign, wave FROM tally GROUP BY 1, 2 HAVING count(*) > count(DISTINCT (model, state))),"
            " gone AS (DELETE FROM tally t USING many m WHERE (t.campaign, t.wave) = (m.campaign, m.wave)"
            " RETURNING t.campaign, t.wave, t.model, t.state, t.delta)"
            " INSERT INTO tally (campaign, wave, model, state, delta)"
            " SELECT campaign, wave, model, state, sum(delta) FROM gone GROUP BY 1, 2, 3, 4 HAVING sum(delta) <> 0"
        )
    )
    return result.rowcount


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """A campaign to be kept, with its frozen plan."""

    name: str
    release: str
    user_id: str
    policy: Policy
    seed: str
    digest: str
    author: str
    kind: str = "forward"
    of: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    urgent: bool = False
    shadow: bool = False
    route: str = routes.DCC


def create(
    connection: Connection,
    campaign: NewCampaign,
    waves: tuple[tuple[str, ...], ...],
    left_out: dict[str, str],
    now: datetime,
    longer: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Keep a campaign, its waves, its devices and what was left out; LedgerError where the name is taken.

    longer: the releases that each device of several hops installs, in order.
    """
    taken = connection.execute(
        text(
            "INSERT INTO campaign (name, release, user_id, policy, seed, digest, status, author, kind, of, urgent, shadow,"
            " route, request, created_at) VALUES (:name, :release, :user_id, :policy, :seed, :digest, 'planned', :author, :kind,"
            " :of, :urgent, :shadow, :route, CAST(:request AS jsonb), :now)"
            " ON CONFLICT DO NOTHING"
        ),
        {
            "name": campaign.name,
            "release": campaign.release,
            "user_id": campaign.user_id,
            "policy": campaign.policy.model_dump_json(),
            "seed": campaign.seed,
            "digest": campaign.digest,
            "author": campaign.author,
            "kind": campaign.kind,
            "of": campaign.of,
            "urgent": campaign.urgent,
            "shadow": campaign.shadow,
            "route": campaign.route,
            "request": json.dumps(campaign.request),
            "now": now,
        },
    )
    if taken.rowcount == 0:
        raise LedgerError(f"the campaign name {campaign.name!r} is taken: choose another")
    paths = _create_paths(connection, campaign.name, longer)
    for number, euis in enumerate(waves, 1):
        _create_wave(connection, campaign.name, number, euis, now)
    put_on_paths(connection, campaign.name, paths)
    connection.execute(
        text(
            "INSERT INTO left_out (campaign, eui, reason) SELECT :campaign, f.eui, f.reason"
            " FROM unnest(CAST(:euis AS text[]), CAST(:reasons AS text[])) AS f(eui, reason)"
        ),
        {"campaign": campaign.name, "euis": list(left_out), "reasons": list(left_out.values())},
    )


def _create_paths(connection: Connection, campaign: str, longer: Mapping[str, Path]) -> dict[str, int]:
    """Number the distinct paths of several hops and keep them; the number of each device's."""
    numbers = {path: number for number, path in enumerate(sorted(set(longer.values())), 2)}
    hops = [(number, hop, name) for path, number in numbers.items() for hop, name in enumerate(path, 1)]
    connection.execute(
        text(
            "INSERT INTO path_hop (campaign, path, hop, release) SELECT :campaign, f.path, f.hop, f.release"
            " FROM unnest(CAST(:paths AS int[]), CAST(:hops AS int[]), CAST(:releases AS text[])) AS f(path, hop, release)"
        ),
        {
            "campaign": campaign,
            "paths": [path for path, _, _ in hops],
            "hops": [hop for _, hop, _ in hops],
            "releases": [name for _, _, name in hops],
        },
    )
    return {eui: numbers[path] for eui, path in longer.items()}


def put_on_paths(connection: Connection, campaign: str, paths: Mapping[str, int]) -> None:
    """Have devices that nothing was done to yet take those paths, by number; every other one takes the first."""
    connection.execute(
        text(
            "UPDATE campaign_device d SET path = f.path FROM unnest(CAST(:euis AS text[]), CAST(:paths AS int[]))"
            " AS f(eui, path) WHERE d.campaign = :campaign AND d.eui = f.eui"
        ),
        {"campaign": campaign, "euis": list(paths), "paths": list(paths.values())},
    )


def _create_wave(connection: Connection, campaign: str, number: int, euis: tuple[str, ...], now: datetime) -> None:
    values = {"campaign": campaign, "wave": number, "size": len(euis)}
    connection.execute(text("INSERT INTO wave (campaign, number, size) VALUES (:campaign, :wave, :size)"), values)
    add_devices(connection, campaign, number, euis, now)


def add_devices(connection: Connection, campaign: str, wave: int, euis: tuple[str, ...], now: datetime) -> None:
    """Add devices to a wave whose row is there."""
    connection.execute(
        text(
            "WITH made AS (INSERT INTO campaign_device (campaign, wave, eui, device_type, model, hop, state, step, due_at,"
            " reason, started, told, changed_at, from_version) SELECT :campaign, :wave, d.eui, d.device_type,"
            " d.manufacturer || '/' || d.model, 1, 'planned', 'distribute', :now, '', false, false, :now,"
            " d.firmware_version FROM device d WHERE d.eui = ANY(:euis) RETURNING model)"
            " INSERT INTO tally (campaign, wave, model, state, delta)"
            " SELECT :campaign, :wave, model, 'planned', count(*) FROM made GROUP BY model"
        ),
        {"campaign": campaign, "wave": wave, "euis": list(euis), "now": now},
    )


def where(connection: Connection, update_id: int) -> tuple[str, int]:
    """The campaign and the wave of an update."""
    row = connection.execute(text("SELECT campaign, wave FROM campaign_device WHERE id = :id"), {"id": update_id}).one()
    return row.campaign, row.wave


def withdrawn(connection: Connection, campaign: str) -> bool:
    """Whether the campaign was withdrawn, or rolled back: its updates only end."""
    statement = text("SELECT status = 'withdrawn' FROM campaign WHERE name = :name")
    return bool(connection.execute(statement, {"name": campaign}).scalar_one())


def close(connection: Connection, campaign: str, now: datetime) -> None:
    """Record that a campaign is over; a withdrawn one stays withdrawn."""
    closed = connection.execute(
        text(
            "UPDATE campaign SET closed_at = :now, status = CASE WHEN status = 'withdrawn' THEN status ELSE 'closed' END"
            " WHERE name = :name AND closed_at IS NULL"
        ),
        {"name": campaign, "now": now},
    )
    if closed.rowcount:
        notes.add(connection, notes.Said("hanwave", "close", f"campaign/{campaign}"), now)
