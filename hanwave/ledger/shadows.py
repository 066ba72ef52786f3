"""What a shadow campaign sees: what becomes of its devices by others' doing, beside what it would have sent itself.

Guarantees: what a device or the DCC says of a device is kept with every open shadow update of it too, as far as the message
is for that campaign's User ID; it makes no step of the shadow's own, wakes no workflow, and takes no lease. A wave's devices
that would be sent something are watched for as long as an update could take, and no longer, so that the wave ends.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

from hanwave.ledger import leavers
from hanwave.ledger.campaigns import SHADOW, Frame
from hanwave.ledger.standing import Fact, Folded, record, standings
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.evidence import TELLS_VERSION, Finding

_SHOWN = 10


class Watched(NamedTuple):
    """A device's update in an open shadow campaign."""

    update_id: int
    eui: str
    hop: int
    user_id: str


def watching(connection: Connection, euis: Iterable[str]) -> dict[str, list[Watched]]:
    """The updates in open shadow campaigns of those devices, by EUI-64."""
    rows = connection.execute(
        text(
            "SELECT u.id, u.eui, u.hop, c.user_id FROM campaign c JOIN campaign_device u ON u.campaign = c.name"
            " WHERE c.shadow AND c.closed_at IS NULL AND u.eui = ANY(:euis) AND u.state NOT IN ('settled', 'closed')"
        ),
        {"euis": sorted(euis)},
    )
    found: dict[str, list[Watched]] = {}
    for row in rows:
        found.setdefault(row.eui, []).append(Watched(*row))
    return found


def fact(update: Watched, finding: Finding, message: str) -> Fact:
    """What a finding comes to for it: the version that the device runs, or that something was heard, and what."""
    what = finding.detail if finding.elsewhere else finding.code
    heard = Event(Kind.HEARD, finding.at, None, update.hop, 0, finding.evidence, detail=what)
    if finding.kind not in TELLS_VERSION or not finding.version:
        return Fact(update.update_id, heard, message)
    # Of an activation the device says so itself, in whoever's words.
    own = Evidence.DEVICE if finding.kind is not Kind.VERSION else finding.evidence
    event = replace(heard, kind=Kind.VERSION, evidence=own, version=finding.version, detail=None)
    return Fact(update.update_id, event, message)


def seen(connection: Connection, campaign: str) -> dict[str, int]:
    """What was seen of a shadow campaign's devices, by the number of them, the most first: versions that they run, and alerts."""
    rows = connection.execute(
        text(
            "SELECT what, count(DISTINCT id) AS n FROM ("
            " SELECT id, 'runs ' || version AS what FROM campaign_device WHERE campaign = :name AND version IS NOT NULL"
            " UNION ALL SELECT u.id, e.detail FROM campaign_device u JOIN device_event e ON e.update_id = u.id"
            " WHERE u.campaign = :name AND e.kind = 'heard' AND e.detail !~ '^I[0-9]'"
            ") found GROUP BY what ORDER BY n DESC, what LIMIT :most"
        ),
        {"name": campaign, "most": _SHOWN},
    )
    return {row.what: row.n for row in rows}


# A sweep has rows of its own locked: what somebody else has in hand is left to the next one.
_WATCHED = text(
    "SELECT u.id FROM campaign_device u JOIN wave w ON (w.campaign, w.number) = (u.campaign, u.wave)"
    " WHERE u.campaign = :campaign AND u.wave = :wave AND u.reason = :shadow AND w.opened_at <= :since"
    " AND u.state NOT IN ('settled', 'closed') ORDER BY u.id LIMIT :most FOR UPDATE OF u SKIP LOCKED"
)
_MOST = 2000


def stop_watching(connection: Connection, frame: Frame, wave: int, now: datetime) -> int:
    """End the updates of a shadow's wave that still would be sent something after that time; how many."""
    since = now - _as_long_as_an_update(frame, wave)
    values = {"campaign": frame.name, "wave": wave, "shadow": SHADOW, "since": since, "most": _MOST}
    ids = list(connection.execute(_WATCHED, values).scalars())
    return len(record(connection, [_ending(each, now) for each in standings(connection, ids, now)], now))


def _as_long_as_an_update(frame: Frame, wave: int) -> timedelta:
    """As long as its legs may take, hop by hop, in the region where that is longest, and its soak."""
    hop = max(leavers.reach(frame, Leg.DISTRIBUTE, region) for region in ("", *frame.policy.regions))
    return max(map(len, frame.paths)) * hop + frame.policy.of_wave(wave).soak


def _ending(device: Folded, now: datetime) -> Fact:
    runs = device.standing.state is State.CONFIRMED
    outcome = Outcome.UNKNOWN if runs else Outcome.NOT_STARTED
    why = "it runs the version, and nobody asks it how it does" if runs else "nobody was seen to bring it the version"
    reason = f"the campaign is a shadow: {why}"
    return Fact(device.update_id, Event(Kind.CLOSED, now, hop=device.hop, detail=outcome, reason=reason))
