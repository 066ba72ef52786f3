"""Devices that ran the target of their update, and say later that they run something else.

Guarantees: people are told of each, once a device's update and version; while its wave is open it counts as harm, so that
the breaker and the gate see it, whether it was still soaking or had settled. A settled device's update has ended: it has no
workflow, and nothing is sent to it because of this.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.ledger import notes
from hanwave.ledger.standing import Fact, Folded, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Kind
from hanwave.rollout.facts import same_version


@dataclass(frozen=True, slots=True)
class Word:
    """What a device is said to run, when; to is the User ID that the message was for, where it says so."""

    eui: str
    version: str
    at: datetime
    to: str | None
    own: bool
    """Whether the device itself said it; the DCC's inventory may be old, and does no harm."""


def tell(connection: Connection, folded: Iterable[Folded], words: Iterable[Word], now: datetime) -> None:
    """Note who has regressed, by what was just folded and by what was said of devices in no open update."""
    for device in folded:
        standing = device.standing
        was_well = device.was in (State.STEPPED, State.CONFIRMED)
        if was_well and standing.state is State.FAILED and standing.cause is not Kind.HEARD:
            said = _note(device.eui, device.update_id, device.campaign, standing.version, "while it soaked")
            notes.once(connection, said, lambda: None, now)
    latest = {word.eui: word for word in sorted(words, key=lambda word: (word.own, word.at))}
    for row in connection.execute(_SETTLED, {"euis": sorted(latest)}).all() if latest else ():
        word = latest[row.eui]
        if word.at > row.at and word.to in (None, row.user_id) and not same_version(word.version, row.target):
            _regressed(connection, row, word, now)


_SETTLED = text(
    """
    SELECT u.eui, u.id AS update_id, u.hop, u.campaign, c.user_id, r.firmware_version AS target,
        w.closed_at IS NULL AS is_open, e.at
    FROM (SELECT DISTINCT ON (eui) * FROM campaign_device WHERE eui = ANY(:euis) ORDER BY eui, id DESC) u
    JOIN campaign c ON c.name = u.campaign JOIN release r ON r.name = c.release
    JOIN wave w ON w.campaign = u.campaign AND w.number = u.wave
    JOIN device_event e ON e.update_id = u.id AND e.kind = 'settled'
    WHERE u.state = 'settled' AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.eui = u.eui)
    """
)


def _regressed(connection: Connection, row: Row[Any], word: Word, now: datetime) -> None:
    """Note that the device of a settled update regressed, once a version; it is harm while the wave may still be judged."""
    is_harm = row.is_open and word.own
    reason = f"it says that it runs {word.version} after it had settled"
    failed = Event(Kind.CLOSED, now, hop=row.hop, detail=Outcome.FAILED, reason=reason)

    def act() -> bool:
        if is_harm:
            record(connection, [Fact(row.update_id, failed)], now)
        return is_harm

    notes.once(connection, _note(row.eui, row.update_id, row.campaign, word.version, "after it had settled"), act, now)


def _note(eui: str, update_id: int, campaign: str, version: str | None, when: str) -> notes.Said:
    reason = f"it runs {version} {when} on its update's version"
    return notes.Said("hanwave", "regressed", f"device/{eui}", reason, {"campaign": campaign}, f"{update_id}/{version}")
