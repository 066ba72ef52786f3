"""`hanwave incident`, `hanwave campaign when`, `hanwave fleet load-calendars`: what they print, keep and refuse."""

import json

import pytest
from sqlalchemy import text

from tests.ledger.test_windows import policy
from tests.support.command import run
from tests.support.ledger import US, World, eui

pytestmark = pytest.mark.ledger


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path, ledger_dsn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_USER_ID", US)


def said(*arguments: str):
    found = run(*arguments, "--json")
    assert (found.code, found.err) == (0, "")
    return json.loads(found.out)


def test_an_incident_is_added_listed_and_ended(world: World):
    number = said("incident", "add", "INC7", "--region", "North", "--reason", "time-outs", "--actor", "ann")["id"]
    (listed,) = said("incident", "list")["incidents"]
    assert {key: listed[key] for key in ("id", "region", "service", "ends_at", "reference", "reason", "actor")} == {
        "id": number,
        "region": "North",
        "service": "all",
        "ends_at": None,
        "reference": "INC7",
        "reason": "time-outs",
        "actor": "ann",
    }
    assert said("incident", "end", str(number), "--reason", "closed")["id"] == number
    assert said("incident", "list") == {"incidents": []}
    assert [each["id"] for each in said("incident", "list", "--all")["incidents"]] == [number]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "INC7", "--reason", "x", "--region", "Wales"), "the incident's region holds 'Wales'"),
        (("add", "INC7", "--reason", "x", "--service", "reads"), "should be one of all, distribution, activation"),
        (("add", "INC7", "--reason", "x", "--to", "tomorrow"), "--to holds 'tomorrow', it should be a time"),
        (("add", "INC7", "--reason", "x", "--to", "2020-01-01T00:00:00Z"), "it should be later than its start"),
        (("end", "9", "--reason", "x"), "there is no incident 9 that is not over"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_changes_nothing(world: World, arguments, says):
    found = run("incident", *arguments)
    assert (found.code, found.out) == (1, "")
    assert says in found.err
    assert len(found.err) <= 250
    assert world.count("incident") == world.count("note") == 0


def test_when_says_for_each_leg_when_next_and_why_not_now(world: World):
    # Closed for all years to come, whenever this runs.
    world.campaign(world.fleet(2), policy(activate={"blackout": "2000-01-01/9999-12-31"}))
    distribution, activation = said("campaign", "when", "spring")["openings"]
    assert distribution == {
        "leg": "distribution",
        "region": "South",
        "prepayment": False,
        "devices": 2,
        "reason": None,
        "until": None,
    }
    assert activation["until"] is None
    assert activation["reason"].endswith("is blacked out")
    page = run("campaign", "when", "spring")
    assert "the activation window is closed, and no opening within a year is known" in page.out


def test_when_of_no_campaign_is_refused(world: World):
    found = run("campaign", "when", "winter")
    assert found.code == 1
    assert "there is no campaign 'winter'" in found.err


def test_load_calendars_are_taken_whole_and_again(world: World, tmp_path):
    file = tmp_path / "switching.csv"
    # With the byte order mark that a spreadsheet writes.
    file.write_text(f"eui,hours\n{eui(1)},00:30-07:30;13:00-16:00\n{eui(2)},\n", "utf-8-sig")
    assert said("fleet", "load-calendars", str(file)) == {"devices": 2}
    assert said("fleet", "load-calendars", str(file)) == {"devices": 2}
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT eui, hours FROM load_calendar ORDER BY eui")).all()
    assert [tuple(row) for row in rows] == [(eui(1), ["00:30-07:30", "13:00-16:00"]), (eui(2), [])]


def test_reports_of_outages_are_imported_with_a_spreadsheets_byte_order_mark(world: World, tmp_path):
    file = tmp_path / "outages.csv"
    file.write_text("scope,value,from,to,reference\nregion,4G North,2026-11-22T18:00:00Z,,R1\n", "utf-8-sig")
    assert said("outage", "import", str(file)) == {"reports": 1, "new_or_changed": 1}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("hours,eui\n", "line 1 holds 'hours,eui'"),
        ("", "line 1 holds ''"),
        (f"eui,hours\n{eui(1)}\n", "line 2 has 1 cells"),
        (f"eui,hours\n{eui(1)},00:30-07:30\n{eui(2)},half past\n", "line 3, hours: 'half past' is no range"),
        ("eui,hours\nDB,00:30-07:30\n", "line 2, eui:"),
        (f"eui,hours\n{eui(1)},\n{eui(1)},\n", "line 3: 00-DB-00-00-00-00-00-01 stands twice"),
        (f'eui,hours\n{eui(1)},"{"x" * 140_000}"\n', "line 2 is not CSV"),
    ],
)
def test_a_file_of_load_calendars_with_a_wrong_line_is_refused_whole(world: World, tmp_path, lines, says):
    file = tmp_path / "switching.csv"
    file.write_text(lines)
    found = run("fleet", "load-calendars", str(file))
    assert found.code == 1
    assert says in found.err
    assert world.count("load_calendar") == world.count("note") == 0
