"""Which day it is: the bank holidays of a region's nations, and the hours of a wall clock as instants.

Guarantees: a region that no table knows keeps the bank holidays of every nation; a wall clock is read at real instants, so an
hour that it leaves out is no hour, and one that it shows twice is two.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import holidays

from hanwave.errors import HanwaveError
from hanwave.plain_yaml import read_yaml
from hanwave.rollout.terms import Strict

DAY = timedelta(days=1)


class Nation(StrEnum):
    """A nation of Great Britain, as bank holidays go."""

    ENGLAND_AND_WALES = "england_and_wales"
    SCOTLAND = "scotland"


class Table(Strict):
    """The configuration table `calendars.yaml`."""

    regions: Mapping[str, frozenset[Nation]]
    holidays: Mapping[Nation, tuple[str, ...]]
    look_ahead_days: int
    """How many days ahead the DCC takes a future-dated command."""


@cache
def table() -> Table:
    """The packaged table."""
    packaged = files("hanwave.rollout").joinpath("calendars.yaml").read_bytes()
    return Table.model_validate(read_yaml(packaged, "calendars.yaml", HanwaveError))


def nations(region: str) -> frozenset[Nation]:
    """The nations that a CSP region touches: all of them where the region is not in the table."""
    return table().regions.get(region, frozenset(Nation))


@lru_cache(maxsize=4096)
def bank_holiday(keeps: frozenset[Nation], day: date) -> str | None:
    """What a day is called, where it is a bank holiday in any of those nations; None where it is an ordinary one."""
    return next((name for nation in sorted(keeps) if (name := _holidays(nation, day.year).get(day))), None)


@cache
def _holidays(nation: Nation, year: int) -> dict[date, str]:
    found: dict[date, str] = {}
    for part in table().holidays[nation]:
        found |= holidays.country_holidays("GB", subdiv=part, years=[year])
    return found


@lru_cache(maxsize=4096)
def edges(zone: str, minutes: frozenset[int], day: date) -> tuple[datetime, ...]:
    """The instants of a UTC day (its end is one too) when that zone's wall clock shows midnight or such a minute, or jumps.

    What is told by reading the wall clock's date and minute, at the bounds of those minutes, changes at no other instant.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    # Turned into UTC one by one: two datetimes that differ in fold alone are equal.
    instants = {
        datetime(
            local.year, local.month, local.day, *divmod(minute % 1440, 60), fold=fold, tzinfo=ZoneInfo(zone)
        ).astimezone(UTC)
        for local in (day - DAY, day, day + DAY)
        for minute in minutes | {0}
        for fold in (0, 1)
    }
    if jump := _jump(zone, start):
        instants.add(jump)
    return tuple(sorted(each for each in instants if start <= each <= start + DAY))


def _jump(zone: str, start: datetime) -> datetime | None:
    """When, to the second, the zone's clocks change in the day after start; None where they do not."""
    before, after = start, start + DAY
    if _offset(zone, before) == _offset(zone, after):
        return None
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _offset(zone, middle) == _offset(zone, start):
            before = middle
        else:
            after = middle
    return after


def _offset(zone: str, at: datetime) -> timedelta | None:
    return at.astimezone(ZoneInfo(zone)).utcoffset()
