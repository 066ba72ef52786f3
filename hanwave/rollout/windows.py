"""When images may be sent and activated: windows that intersect, and the exact instant at which they next open.

Guarantees: a time is inside exactly where its wall clock reads as inside. Where the clocks go forward, what lay in the hour
that never was is not made up for, and a window that began in it opens as the clocks change; where they go back, an hour inside
is inside both times. A range that passes midnight belongs to the day on which it begins; a blackout and a bank holiday
close the day that the wall clock shows, from midnight to midnight. An end is excluded.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from hanwave.rollout.calendars import DAY, Nation, bank_holiday, edges
from hanwave.rollout.terms import Duration, Many, Some, Strict

LONDON = "Europe/London"
HORIZON = timedelta(days=366)
"""How far ahead an opening is looked for."""
_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_HOURS = re.compile(rf"(?P<begin>{_MINUTE})-(?P<end>{_MINUTE}|24:00)", re.ASCII)
_CLOCK = ZoneInfo(LONDON)


class Weekday(StrEnum):
    """A day of the week, in the order of datetime.weekday()."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEK = tuple(Weekday)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name[:40]!r} is no IANA time zone, such as {LONDON}") from error
    return name


def _hours(text: str) -> str:
    match = _HOURS.fullmatch(text.strip())
    if match is None or match["begin"] == match["end"]:
        raise ValueError(
            f"{text[:40]!r} is no range of local time, such as '08:00-16:00', '22:00-05:00' or '00:00-24:00'"
        )
    return text.strip()


def _dates(text: str) -> str:
    first, _, last = text.strip().partition("/")
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        begin, end = date.max, date.min
    if begin > end:
        raise ValueError(
            f"{text[:40]!r} is no date nor range of dates, such as '2026-12-24' or '2026-12-24/2027-01-02'"
        )
    return f"{begin}/{end}"


def _days(value: Any) -> Any:
    """'mon-fri' and 'sat' as the days that they name."""
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list | tuple) or not all(isinstance(each, str) for each in named):
        return value
    return [day for each in named for day in _run(each.strip().lower())]


def _run(text: str) -> Sequence[str]:
    first, dash, last = text.partition("-")
    if not dash or {first, last} - set(_WEEK):
        return [text]
    begin, end = _WEEK.index(Weekday(first)), _WEEK.index(Weekday(last))
    return [_WEEK[n % 7] for n in range(begin, end + 1 if end >= begin else end + 8)]


Zone = Annotated[str, AfterValidator(_zone)]
Hours = Annotated[str, AfterValidator(_hours)]
"""A range of local time, to the minute: '22:00-05:00' passes midnight."""
Dates = Annotated[str, AfterValidator(_dates)]
"""A date, or a range of them with its last: '2026-12-24/2027-01-02'."""
Days = Annotated[tuple[Weekday, ...], Field(min_length=1), BeforeValidator(_days)]


@cache
def _range(hours: str) -> tuple[int, int]:
    """The minutes of the day at which a range begins and ends."""
    begin, end = (int(each[:2]) * 60 + int(each[3:]) for each in hours.split("-"))
    return begin, end


@cache
def _bounds(ranges: tuple[str, ...]) -> frozenset[int]:
    return frozenset(minute for hours in ranges for minute in _range(hours))


@dataclass(frozen=True, slots=True)
class Place:
    """What of a device its windows depend on."""

    nations: frozenset[Nation] = frozenset(Nation)
    prepayment: bool = False
    switches: tuple[str, ...] | None = None
    """When its load is on (ranges of local time), of an HCALCS; empty where it is not known, None of another device."""


class Rule(Protocol):
    """Something that is open at some times and closed at others."""

    def why(self, at: datetime) -> str | None:
        """Why it is closed at that time (aware UTC), in a few words; None where it is open."""

    def edges(self, day: date) -> Iterable[datetime]:
        """Instants of that UTC day, among them all at which it opens."""


class Window(Strict):
    """Local times at which something may be done."""

    zone: Zone = LONDON
    """Whose local time it is, by its IANA name."""
    days: Days = _WEEK
    """Of the week; an hour after midnight is of the day on which its range began."""
    hours: Some[Hours] = ("00:00-24:00",)
    """Ranges; one that ends before it begins runs past midnight."""
    on_bank_holidays: StrictBool = True
    """Whether it opens on the bank holidays of the device's nation."""
    blackout: Many[Dates] = ()
    """Dates, or ranges of them, on which it is closed."""

    def includes(self, wall: datetime) -> bool:
        """Whether its days and hours include what that wall clock shows."""
        minute, today = wall.hour * 60 + wall.minute, wall.weekday()
        return any(self._covers(*_range(hours), today, minute) for hours in self.hours)

    def _covers(self, begin: int, end: int, today: int, minute: int) -> bool:
        if begin < end:
            return begin <= minute < end and _WEEK[today] in self.days
        return (minute >= begin and _WEEK[today] in self.days) or (minute < end and _WEEK[today - 1] in self.days)

    def blacked_out(self, day: date) -> bool:
        """Whether a blackout names that day."""
        text = day.isoformat()
        return any(dates[:10] <= text <= dates[11:] for dates in self.blackout)

    def __str__(self) -> str:
        days = "" if set(self.days) == set(_WEEK) else " ".join(self.days) + " "
        return f"open {days}{', '.join(self.hours)} {self.zone}"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A window as a device of those nations keeps it."""

    window: Window
    nations: frozenset[Nation]

    def why(self, at: datetime) -> str | None:
        wall = at.astimezone(ZoneInfo(self.window.zone))
        day = wall.date()
        if self.window.blacked_out(day):
            return f"{day} is blacked out"
        if not self.window.on_bank_holidays and (name := bank_holiday(self.nations, day)):
            return f"bank holiday: {name}"
        return None if self.window.includes(wall) else str(self.window)

    def edges(self, day: date) -> Iterable[datetime]:
        return edges(self.window.zone, _bounds(self.window.hours), day)


class Switching(Strict):
    """When an HCALCS's load is on: it is not activated then, nor so short a time before."""

    zone: Zone = LONDON
    """Whose local time the hours are in, by its IANA name."""
    hours: Some[Hours]
    """Of the devices whose own calendar is not known."""
    before: Annotated[Duration, Field(le=DAY)] = timedelta(minutes=30)
    """So long before a switching it is left alone too."""

    def why(self, at: datetime) -> str | None:
        """Why its load must not be disturbed at that time."""
        until = at + self.before
        days = {each.astimezone(UTC).date() for each in (at, until)}
        soon = (edge for day in days for edge in self.edges(day) if at < edge <= until)
        if self._on(at) or any(map(self._on, soon)):
            return f"its load switches {', '.join(self.hours)} {self.zone}"
        return None

    def edges(self, day: date) -> Iterable[datetime]:
        """When its load may be switched in that UTC day."""
        return edges(self.zone, _bounds(self.hours), day)

    def _on(self, at: datetime) -> bool:
        return Window(zone=self.zone, hours=self.hours).includes(at.astimezone(ZoneInfo(self.zone)))


class Windows(Strict):
    """When a campaign may send images, and activate them. Those of one leg intersect; none, at any time.

    A PPMID activates what it is sent, so its 11.4 must lie in the windows of both; when it acts is then out of our hands.
    """

    distribute: Many[Window] = ()
    """For sending images."""
    activate: Many[Window] = ()
    """For activations."""
    prepayment: Many[Window] = ()
    """Further windows for activations in homes that pay beforehand, such as their supplier's non-disconnect hours."""
    switching: Switching | None = None
    """For an HCALCS: when its load is on; null: nothing is known of it, and nothing minded."""
    prepayment_check: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """The installation's query that says which devices that pay beforehand may be activated now (see `queries`)."""

    def sending(self, place: Place) -> tuple[Rule, ...]:
        """The windows of an image's distribution."""
        return tuple(_Kept(window, place.nations) for window in self.distribute)

    def acting(self, place: Place) -> tuple[Rule, ...]:
        """The windows of an activation."""
        windows = (*self.activate, *(self.prepayment if place.prepayment else ()))
        kept = tuple(_Kept(window, place.nations) for window in windows)
        if self.switching is None or place.switches is None:
            return kept
        own = {"hours": place.switches or self.switching.hours}
        return (*kept, self.switching.model_copy(update=own))


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing may be done, in a few words, and the first instant (aware UTC) when it may; None: not within a year."""

    reason: str
    until: datetime | None

    def __str__(self) -> str:
        if self.until is None:
            return f"closed, and no opening within a year is known ({self.reason})"
        return f"closed until {self.until.astimezone(_CLOCK):%a %d %b %H:%M %Z} ({self.reason})"


def closed(rules: Sequence[Rule], at: datetime) -> Closed | None:
    """Why they are not all open at that time (aware UTC), and when they next are; None where they are open."""
    reason = _why(rules, at)
    return None if reason is None else Closed(reason, next_open(rules, at))


def next_open(rules: Sequence[Rule], at: datetime) -> datetime | None:
    """The first instant from that time on when all are open (aware UTC); None where there is none within a year."""
    if _why(rules, at) is None:
        return at
    first = at.astimezone(UTC).date()
    for number in range(HORIZON.days + 1):
        day = first + number * DAY
        for edge in sorted({edge for rule in rules for edge in rule.edges(day)}):
            if edge > at and _why(rules, edge) is None:
                return edge
    return None


def _why(rules: Iterable[Rule], at: datetime) -> str | None:
    return next((why for rule in rules if (why := rule.why(at)) is not None), None)
