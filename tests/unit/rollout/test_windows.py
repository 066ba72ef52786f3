"""Windows: what they read, when they are open, why they are closed and exactly until when.

The year of minutes is held against a calculation that knows neither zoneinfo nor the holidays package: the rule of the European
Union for summer time, and the bank holidays of 2026 as gov.uk prints them.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hanwave.rollout.calendars import Nation, bank_holiday, nations
from hanwave.rollout.incidents import Incident, Service
from hanwave.rollout.policy import Policy
from hanwave.rollout.windows import Closed, Place, Switching, Window, Windows, closed, next_open

pytestmark = pytest.mark.unit
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
NIGHT = Window(days="mon-fri", hours="22:00-05:00", on_bank_holidays=False, blackout="2026-12-24/2026-12-27")
SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
ENGLAND, SCOTLAND = frozenset({Nation.ENGLAND_AND_WALES}), frozenset({Nation.SCOTLAND})
GOV_UK = {
    Nation.ENGLAND_AND_WALES: {(1, 1), (4, 3), (4, 6), (5, 4), (5, 25), (8, 31), (12, 25), (12, 28)},
    Nation.SCOTLAND: {(1, 1), (1, 2), (4, 3), (5, 4), (5, 25), (6, 15), (8, 3), (11, 30), (12, 25), (12, 28)},
}
"""The bank holidays of 2026. Boxing Day is a Saturday, of which the library has the day and its substitute."""


def acting(*windows: Window, place: Place | None = None, **more):
    return Windows(activate=windows, **more).acting(place or Place(ENGLAND))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def last_sunday(year: int, month: int) -> datetime:
    day = datetime(year, month, 31, 1, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def london(at: datetime) -> datetime:
    """What a clock in London shows (that it calls it UTC means nothing)."""
    return at + HOUR if last_sunday(at.year, 3) <= at < last_sunday(at.year, 10) else at


def night_is_open(at: datetime, holidays: set[tuple[int, int]]) -> bool:
    """Whether NIGHT is, by another calculation."""
    wall = london(at)
    if (wall.month, wall.day) in holidays or (wall.month == 12 and 24 <= wall.day <= 27):
        return False
    # Monday's evening to Friday's, and each morning after.
    return (wall.hour >= 22 and wall.isoweekday() <= 5) or (wall.hour < 5 and 2 <= wall.isoweekday() <= 6)


@pytest.mark.long
@pytest.mark.parametrize("nation", list(Nation))
def test_a_year_of_minutes_agrees_with_another_calculation(nation):
    (window,) = acting(NIGHT, place=Place(frozenset({nation})))
    year, end = utc("2026-01-01"), utc("2027-01-01")
    wrong, opening = [], None
    for number in reversed(range((end - year) // MINUTE)):
        at = year + number * MINUTE
        is_open = night_is_open(at, GOV_UK[nation])
        if (window.why(at) is None) is not is_open:
            wrong.append(at)
        opening = at if is_open else opening
        # Each opening exactly, of every 101st minute: a search a minute would take minutes.
        if opening and number % 101 == 0:
            assert next_open([window], at) == opening, at
    assert wrong == []


@pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize(
    "hours", ["00:00-01:00", "00:30-01:30", "01:00-02:00", "01:30-02:30", "02:00-03:00", "23:30-01:30"]
)
def test_each_minute_of_the_nights_on_which_the_clocks_change(night, hours):
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in hours.split("-"))
    window = acting(Window(hours=hours))
    after = []
    for minute in reversed(range(30, 151)):
        at = night + minute * MINUTE
        wall = london(at).hour * 60 + london(at).minute
        inside = begin <= wall < end if begin < end else wall >= begin or wall < end
        found = closed(window, at)
        assert (found is None) is inside, (at, wall)
        after = [at] if inside else after
        if found and after:
            assert found.until == after[0]


def test_an_hour_that_never_was_is_not_made_up_for():
    # 29 March 2026, 01:00 GMT is 02:00 BST.
    assert closed(acting(Window(hours="01:00-02:00")), utc("2026-03-29 00:59")) == Closed(
        "open 01:00-02:00 Europe/London", utc("2026-03-30 00:00")
    )
    assert next_open(acting(Window(hours="01:30-02:30")), utc("2026-03-29 00:40")) == utc("2026-03-29 01:00")


def test_an_hour_that_was_twice_is_open_twice_and_closed_between_where_it_reads_so():
    window = acting(Window(hours="00:30-01:30"))
    assert closed(window, utc("2026-10-25 00:29:59")) is None  # 01:29:59 BST
    assert closed(window, utc("2026-10-25 00:30")).until == utc("2026-10-25 01:00")  # until 01:00 GMT
    assert closed(window, utc("2026-10-25 01:29:59")) is None
    assert closed(window, utc("2026-10-25 01:30")).until == utc("2026-10-25 23:30") + timedelta(hours=1)


def test_the_leap_day_is_a_day_like_any_other():
    window = acting(Window(days="tue", hours="08:00-16:00"))  # 29 February 2028
    assert closed(window, utc("2028-02-29 08:00")) is None
    assert closed(window, utc("2028-02-28 12:00")).until == utc("2028-02-29 08:00")
    shut = acting(Window(blackout="2028-02-28/2028-02-29"))
    assert closed(shut, utc("2028-02-29 23:59:59")) == Closed("2028-02-29 is blacked out", utc("2028-03-01"))
    with pytest.raises(ValidationError, match="is no date nor range"):
        Window(blackout="2027-02-29")


def test_the_last_second_of_a_window_is_inside_and_its_end_is_not():
    window = acting(Window(days="mon-fri", hours="08:00-16:00"))
    end = utc("2026-11-20 16:00")  # a Friday, in winter
    assert closed(window, end - INSTANT) is None
    assert closed(window, end).until == utc("2026-11-23 08:00")
    assert str(closed(window, end)) == (
        "closed until Mon 23 Nov 08:00 GMT (open mon tue wed thu fri 08:00-16:00 Europe/London)"
    )


def test_a_range_that_passes_midnight_belongs_to_the_day_on_which_it_begins():
    window = acting(Window(days="fri", hours="22:00-05:00"))
    assert closed(window, utc("2026-11-21 04:59:59")) is None  # Saturday morning
    assert closed(window, utc("2026-11-20 04:59:59")) is not None  # Friday morning


def test_a_bank_holiday_closes_the_nation_that_keeps_it():
    window = Window(on_bank_holidays=False)
    noon = utc("2026-11-30 12:00")  # Saint Andrew's Day
    assert closed(acting(window, place=Place(nations("South"))), noon) is None
    found = closed(acting(window, place=Place(nations("North"))), noon)
    assert found == Closed("bank holiday: Saint Andrew's Day", utc("2026-12-01"))
    assert nations("a region of another time") == frozenset(Nation)


@pytest.mark.parametrize("nation", list(Nation))
def test_the_bank_holidays_are_those_that_are_printed(nation):
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    found = {(day.month, day.day) for day in days if bank_holiday(frozenset({nation}), day)}
    assert found - {(12, 26)} == GOV_UK[nation]


def test_those_who_pay_beforehand_have_windows_of_their_own():
    windows = Windows(activate=Window(hours="00:00-05:00"), prepayment=Window(hours="04:00-12:00"))
    at = utc("2026-11-23 03:00")
    assert closed(windows.acting(Place(ENGLAND)), at) is None
    assert closed(windows.acting(Place(ENGLAND, prepayment=True)), at).until == utc("2026-11-23 04:00")


def test_a_load_switch_is_left_alone_while_its_load_is_on_and_just_before():
    windows = Windows(switching=Switching(hours="00:30-07:30", before="30m"))
    heater = windows.acting(Place(ENGLAND, switches=()))
    assert closed(heater, utc("2026-11-23 00:00") - INSTANT) is None
    assert closed(heater, utc("2026-11-23 00:00")).until == utc("2026-11-23 07:30")
    own = windows.acting(Place(ENGLAND, switches=("13:00-16:00",)))
    assert closed(own, utc("2026-11-23 01:00")) is None
    assert closed(own, utc("2026-11-23 12:30")) == Closed(
        "its load switches 13:00-16:00 Europe/London", utc("2026-11-23 16:00")
    )
    assert windows.acting(Place(ENGLAND)) == ()  # a meter has no load to switch


def test_just_before_is_counted_in_real_time():
    # At 00:45 GMT on 29 March the load switches on in a quarter of an hour: the clock then shows 02:00.
    heater = Windows(switching=Switching(hours="02:00-03:00", before="30m")).acting(Place(switches=()))
    assert closed(heater, utc("2026-03-29 00:29:59")) is None
    assert closed(heater, utc("2026-03-29 00:45")).until == utc("2026-03-29 02:00")


def test_a_window_of_another_zone_intersects_with_one_of_ours():
    rules = acting(Window(hours="22:00-23:00"), Window(zone="Asia/Tokyo", hours="07:30-09:00", days="sat"))
    # 07:30 on a Saturday in Tokyo is 22:30 on Friday in London, in winter.
    assert next_open(rules, utc("2026-11-17 12:00")) == utc("2026-11-20 22:30")


def test_what_never_opens_says_so():
    never = closed(acting(Window(days="mon"), Window(days="tue")), utc("2026-11-23 12:00"))
    assert never.until is None
    assert "no opening within a year" in str(never)


def test_an_incident_closes_until_it_ends():
    lasting = Incident("INC1", Service.ALL, utc("2026-11-23 10:00"))
    over = Incident("CHG2", Service.ALL, utc("2026-11-23 10:00"), utc("2026-11-23 10:30:15"))
    assert closed([lasting], utc("2026-11-23 09:59")) is None
    assert closed([lasting], utc("2026-11-23 10:00")) == Closed("DCC incident INC1, of which no end is known", None)
    assert closed([over, *acting(Window(hours="09:00-10:15"))], utc("2026-11-23 10:00")).until == utc(
        "2026-11-24 09:00"
    )
    assert closed([over], utc("2026-11-23 10:00")).until == utc("2026-11-23 10:30:15")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"zone": "Europe/Londinium"}, "is no IANA time zone"),
        ({"zone": "../../etc/passwd"}, "is no IANA time zone"),
        ({"days": "mon-fry"}, "days"),
        ({"days": []}, "days"),
        ({"days": 1}, "days"),
        ({"hours": "8-16"}, "is no range of local time"),
        ({"hours": "08:00-08:00"}, "is no range of local time"),
        ({"hours": "24:00-08:00"}, "is no range of local time"),
        ({"hours": "08:00-24:01"}, "is no range of local time"),
        ({"hours": []}, "hours"),
        ({"hours": "\u0660\u0668:00-16:00"}, "is no range of local time"),
        ({"blackout": "2026-12-27/2026-12-24"}, "is no date nor range"),
        ({"blackout": "Christmas"}, "is no date nor range"),
        ({"on_bank_holidays": "no"}, "on_bank_holidays"),
        ({"open": "08:00-16:00"}, "open"),
    ],
)
def test_a_window_that_cannot_be_understood_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Window(**fields)


def test_a_window_is_read_as_it_is_written_and_back():
    raw = {
        "windows": {
            "distribute": {"days": "sat-mon"},
            "activate": [{"days": ["mon-fri"], "hours": "08:00-16:00", "blackout": "20261224/2027-01-02"}],
            "switching": {"hours": ["00:30-07:30"]},
        }
    }
    policy = Policy.model_validate(raw)
    assert policy.windows.distribute[0].days == ("sat", "sun", "mon")
    assert policy.windows.activate[0].blackout == ("2026-12-24/2027-01-02",)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


spans = st.tuples(st.integers(0, 95), st.integers(1, 96)).filter(lambda s: s[0] != s[1])
hours = spans.map(lambda s: "-".join(f"{n // 4:02}:{n % 4 * 15:02}" for n in s))
windows = st.builds(
    Window,
    zone=st.sampled_from(["Europe/London", "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    days=st.lists(st.sampled_from(["mon", "tue", "wed", "sat", "sun"]), min_size=1),
    hours=st.lists(hours, min_size=1, max_size=3),
    on_bank_holidays=st.booleans(),
    blackout=st.lists(st.sampled_from(["2026-03-28/2026-03-30", "2026-10-25", "2026-04-04"]), max_size=2),
)
switching = st.none() | st.builds(
    Switching, hours=st.lists(hours, min_size=1, max_size=2), before=st.integers(1, 180).map(lambda m: m * MINUTE)
)
# Around the clock changes of several zones, and elsewhere.
times = st.builds(
    lambda day, seconds: day + timedelta(seconds=seconds),
    st.sampled_from([SPRING, AUTUMN, utc("2026-03-08"), utc("2026-04-04"), utc("2026-11-01"), utc("2028-02-29")]),
    st.floats(0, 86400).map(lambda s: round(s, 6)),
)
incidents = st.lists(
    st.builds(
        lambda start, length: Incident("INC", Service.ALL, start, start + timedelta(seconds=length)),
        times,
        st.integers(1, 200_000),
    ),
    max_size=2,
)


@given(windows=st.lists(windows, max_size=3), switching=switching, incidents=incidents, at=times)
@settings(max_examples=150)
def test_until_is_open_and_the_instant_before_it_is_closed(windows, switching, incidents, at):
    rules = [*incidents, *acting(*windows, switching=switching, place=Place(switches=()))]
    found = closed(rules, at)
    assert (found is None) is all(closed([rule], at) is None for rule in rules)
    if found and found.until:
        assert found.until > at
        assert closed(rules, found.until) is None
        assert closed(rules, found.until - INSTANT) is not None
        between = (at + (found.until - at) * n / 50 for n in range(50))
        # As closed() tells it, without searching for the end at each of them.
        assert all(any(rule.why(each) for rule in rules) for each in between)


@given(windows=st.lists(windows, min_size=1, max_size=3), at=times)
@settings(max_examples=100)
def test_an_intersection_is_open_exactly_where_all_are(windows, at):
    assert (closed(acting(*windows), at) is None) is all(closed(acting(window), at) is None for window in windows)
