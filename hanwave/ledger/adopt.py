"""Adopting a campaign that is half-way through other means: what its records say becomes events of the class *imported*.

The campaign is planned here first; the records then say how far some of its devices are, and it goes on from there. A CSV
file in UTF-8 with the columns eui, state, at (a time with its offset) and evidence (where it stands: a ticket, a sheet).
Guarantees: all rows are taken or none; the same file again changes nothing; a device that hanwave has itself sent something
to, or that another update has, is refused; what was adopted as activated is *confirmed* by the device's own word alone.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn, TextIO

from sqlalchemy import Connection, text

from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns, notes
from hanwave.ledger.campaigns import Frame
from hanwave.ledger.checks import take_leases
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, lock, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.times import read_time

COLUMNS = ("eui", "state", "at", "evidence")
_TWO_STEPS: Mapping[str, tuple[Leg, Kind]] = MappingProxyType(
    {
        "requested": (Leg.DISTRIBUTE, Kind.SENT),
        "delivered": (Leg.DISTRIBUTE, Kind.DELIVERED),
        "held": (Leg.DISTRIBUTE, Kind.VERIFIED),
        "activating": (Leg.ACTIVATE, Kind.SENT),
        "activated": (Leg.ACTIVATE, Kind.ACTIVATED),
        "failed": (Leg.ACTIVATE, Kind.ACTIVATION_FAILED),
    }
)
_ONE_STEP: Mapping[str, tuple[Leg, Kind]] = MappingProxyType(
    {
        "requested": (Leg.DISTRIBUTE, Kind.SENT),
        "delivered": (Leg.DISTRIBUTE, Kind.DELIVERED),
        "activating": (Leg.DISTRIBUTE, Kind.TRANSFERRED),
        "activated": (Leg.DISTRIBUTE, Kind.ACTIVATED),
        "failed": (Leg.DISTRIBUTE, Kind.ACTIVATION_FAILED),
    }
)


class AdoptError(LedgerError):
    """A file of records that cannot be adopted; the sentence names the line."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was adopted: how many devices, by the state that their records gave."""

    campaign: str
    devices: int
    states: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    eui: str
    state: str
    at: datetime
    evidence: str


def adopt(connection: Connection, campaign: str, file: TextIO, actor: str, now: datetime) -> Adopted:
    """Adopt the records of a file into a planned campaign; AdoptError names the first line that is wrong, and how many are."""
    frame = campaigns.frame(connection, campaign)
    if frame.shadow:
        raise AdoptError(f"campaign {campaign!r} is a shadow, which nothing goes on in: adopt into one that is none")
    known = _ONE_STEP if frame.device_type.one_step else _TWO_STEPS
    records = _read(file, known, now)
    lock(connection, _ids(connection, campaign, records))
    updates = _updates(connection, campaign, records)
    facts = [Fact(updates[each.eui], _event(each, known, frame)) for each in records]
    _check_leases(connection, records, updates, now)
    record(connection, facts, now)
    states = {state: sum(each.state == state for each in records) for state in known}
    adopted = Adopted(campaign, len(records), {state: n for state, n in states.items() if n})
    notes.add(connection, notes.Said(actor, "adopt", f"campaign/{campaign}", document=adopted.states), now)
    return adopted


def _event(each: _Record, known: Mapping[str, tuple[Leg, Kind]], frame: Frame) -> Event:
    leg, kind = known[each.state]
    # A record of an image that is held is one of this release's: the device's own word, if it comes, outranks it.
    detail = frame.image_hash if kind is Kind.VERIFIED else None
    return Event(kind, each.at, leg, attempt=1, evidence=Evidence.IMPORTED, detail=detail, reason=each.evidence)


def _read(file: TextIO, known: Iterable[str], now: datetime) -> list[_Record]:
    try:
        rows = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise AdoptError(f"the file of records is not CSV in UTF-8: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        held = ",".join(rows[0])[:60] if rows else "nothing"
        raise AdoptError(f"the first line of the records should be {','.join(COLUMNS)}, it holds {held!r}")
    wrong: list[str] = []
    found: dict[str, _Record] = {}
    for line, cells in enumerate(rows[1:], 2):
        try:
            each = _record(line, cells, list(known), now)
            if first := found.get(each.eui):
                _wrong(f"eui stands on line {first.line} already")
            found[each.eui] = each
        except HanwaveError as error:
            wrong.append(f"line {line}: {error}")
    _refuse(wrong)
    if not found:
        raise AdoptError("the file of records names no device: it should have a line for each one, after the header")
    return list(found.values())


def _record(line: int, cells: list[str], known: list[str], now: datetime) -> _Record:
    if len(cells) != len(COLUMNS):
        _wrong(f"it has {len(cells)} cells, it should have {len(COLUMNS)}")
    eui, state, at, evidence = (cell.strip() for cell in cells)
    if state not in known:
        _wrong(f"state holds {state[:20]!r}, it should be one of {', '.join(known)}")
    if not 1 <= len(evidence) <= 200 or not evidence.isprintable():
        _wrong("evidence should say where it stands, in at most 200 printable characters")
    return _Record(line, str(EUI64.parse(eui)), state, _time(at, now), evidence)


def _time(at: str, now: datetime) -> datetime:
    try:
        when = read_time(at)
    except ValueError:
        when = None
    if when is None or when > now:
        _wrong(f"at holds {at[:30]!r}, it should be a time gone by with its offset, as 2026-01-31T12:00:00Z")
    return when


def _wrong(sentence: str) -> NoReturn:
    raise AdoptError(sentence)


def _refuse(wrong: list[str]) -> None:
    if wrong:
        more = f" (and {len(wrong) - 1} more lines)" if len(wrong) > 1 else ""
        raise AdoptError(f"{wrong[0][:190]}{more}; nothing is adopted")


def _ids(connection: Connection, campaign: str, records: list[_Record]) -> list[int]:
    statement = text("SELECT id FROM campaign_device WHERE campaign = :campaign AND eui = ANY(:euis)")
    values = {"campaign": campaign, "euis": [each.eui for each in records]}
    return list(connection.execute(statement, values).scalars())


_UPDATES = text(
    """
    SELECT f.eui, u.id, l.reason, u.state, u.path, EXISTS (
        SELECT 1 FROM device_event e WHERE e.update_id = u.id AND e.evidence <> 'imported') AS known
    FROM unnest(CAST(:euis AS text[])) AS f(eui)
    LEFT JOIN campaign_device u ON u.eui = f.eui AND u.campaign = :campaign
    LEFT JOIN left_out l ON l.eui = f.eui AND l.campaign = :campaign
    """
)


def _updates(connection: Connection, campaign: str, records: list[_Record]) -> dict[str, int]:
    """The update of each device; AdoptError where one is no member, or is known otherwise."""
    values = {"campaign": campaign, "euis": [each.eui for each in records]}
    found: dict[str, Any] = {row.eui: row for row in connection.execute(_UPDATES, values)}
    wrong = [f"line {each.line}: {why}" for each in records if (why := _unfit(found[each.eui], campaign))]
    _refuse(wrong)
    return {eui: row.id for eui, row in found.items()}


def _unfit(row: Any, campaign: str) -> str | None:
    if row.id is None:
        why = f"it was left out: {row.reason}" if row.reason else "it is not in its plan"
        return f"{row.eui} is no device of campaign {campaign}: {why}"
    if row.path > 1:
        return f"{row.eui} takes several hops, and a record does not say which it is of: leave the line out"
    return f"hanwave knows of {row.eui} itself, it is {row.state}: leave the line out" if row.known else None


def _check_leases(connection: Connection, records: list[_Record], updates: Mapping[str, int], now: datetime) -> None:
    """Take the devices, whose answers are then this campaign's; AdoptError where another update has one."""
    taken = take_leases(connection, list(updates.values()), now)
    _refuse([f"line {each.line}: {each.eui} is in another update" for each in records if updates[each.eui] in taken])
