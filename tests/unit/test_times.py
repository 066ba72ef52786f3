"""No time gets into the ledger that cannot be read out of it, and nothing onto a terminal that it would obey."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.cli.ledger_option import time_option
from hanwave.cli.output import emit, shown
from hanwave.errors import HanwaveError
from hanwave.times import read_time

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        *("2026-01-31", "2026-01-31T12:00:00", "", "soon"),
    ],
)
def test_a_time_that_no_program_could_read_back_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_time(text)
    with pytest.raises(HanwaveError, match=r"--until holds .*, it should be a time with its zone, from 2000 to 2100"):
        time_option(text, "--until")


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 30)),  # noqa: DTZ001 - the zone comes next
    st.timezones() | st.just(UTC),
)
def test_a_time_is_itself_in_utc(wall, zone):
    at = wall.replace(tzinfo=zone)
    read = read_time(at.isoformat())
    assert abs(read - at) < timedelta(minutes=1)  # zones of before 1972 have seconds, which an offset need not have
    assert read.tzinfo is UTC


@given(st.text(st.characters(), max_size=100))
def test_what_is_shown_is_nothing_that_a_terminal_obeys(text):
    assert shown(text).replace("\n", "").isprintable()
    assert shown("plain \u00e9\n") == "plain \u00e9\n"


def test_escapes_are_shown_and_not_sent(capsys):
    facts = {"reason": "\x1b[2J\x1b]0;evil\x07 \u202eback", "key\x1b[1m": "\ud800"}
    emit(facts, as_json=False)
    said = capsys.readouterr().out
    assert "\\x1b[2J" in said
    assert "\x1b[2J" not in said
    emit(facts, as_json=True)
    assert json.loads(capsys.readouterr().out) == facts
