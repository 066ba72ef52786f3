"""Outages and incidents in the gate: whom they hold out, whom they excuse, and the reports that tell of them."""

import pytest
from sqlalchemy import text

from hanwave.ledger import outages
from hanwave.ledger.database import LedgerError
from hanwave.rollout.gate import Counts, Verdict
from tests.support.judging import DAY, begin, close, counts, explained, go_quiet, settle
from tests.support.ledger import World

pytestmark = pytest.mark.ledger


def outage(world: World, scope: str, value: str, start: float, end: float | None, reference: str = "R1") -> int:
    ends = None if end is None else world.now + end * DAY
    report = outages.Report(scope, value, world.now + start * DAY, ends, reference)
    with world.engine.begin() as connection:
        return outages.import_outages(connection, [report], world.now)


def test_devices_that_an_outage_silenced_are_held_out_and_nothing_passes_or_fails_by_it_alone(world):
    ids = begin(world, 20)
    settle(world, ids[:14])
    go_quiet(world, ids[14:])
    outage(world, "hub", "home-14", 1, 5)
    outage(world, "hub", "home-15", 2.5, 5)  # it was asked before the outage, too
    close(world)
    assert counts(world) == Counts(settled=14, silent=5, held_out=1)


def test_an_outage_of_a_whole_region_neither_passes_nor_fails_a_bad_image(world):
    go_quiet(world, begin(world, 20))
    outage(world, "region", "South", -1, None)
    judged = close(world)
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert counts(world) == Counts(held_out=20)


def test_an_incident_of_the_dcc_explains_silence_where_it_lasted(world):
    ids = begin(world, 20)
    settle(world, ids[:14])
    go_quiet(world, ids[14:])
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO incident (region, service, starts_at, ends_at, reference, reason, actor, recorded_at)"
                " VALUES ('South', 'all', :start, NULL, 'INC1', 'down', 'ann', :start)"
            ),
            {"start": world.now + DAY},
        )
    close(world)
    assert counts(world) == Counts(settled=14, held_out=6)


def test_a_supply_that_went_off_after_its_activation_is_listed_and_excuses_nothing(world):
    ids = begin(world, 10)
    settle(world, ids[:9])
    go_quiet(world, ids[9:])
    outage(world, "device", "00-DB-00-00-00-00-00-09", 0.5, 5)
    outage(world, "device", "00-DB-00-00-00-00-00-08", -1, -0.5, "R2")
    close(world)
    assert counts(world) == Counts(settled=9, silent=1)
    (listed,) = explained(world).outages
    assert (listed["eui"], listed["reference"]) == ("00-DB-00-00-00-00-00-09", "R1")
    assert listed["after_seconds"] == 12 * 3600 - 120


def test_the_same_reports_again_change_nothing_and_an_end_that_is_known_now_does(world):
    assert outage(world, "hub", "home-1", 0, None) == 1
    assert outage(world, "hub", "home-1", 0, None) == 0
    assert outage(world, "hub", "home-1", 0, 1) == 1
    assert world.count("outage") == 1


def test_an_mpxn_becomes_its_devices_and_is_not_kept(world):
    world.fleet(2)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET mpxn = '1012345678901'"))
    assert outage(world, "mpxn", "1012345678901", 0, 1) == 2
    assert outage(world, "mpxn", "9999999999999", 0, 1) == 0
    assert world.count("outage", "scope = 'device' AND value LIKE '00-DB-%'") == 2


HEAD = "scope,value,from,to,reference"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["eui,from"], "o.csv, line 1: the columns are eui,from: they should be scope,value,from,to,reference"),
        ([HEAD, "street,x,2026-11-22T18:00:00Z,,R1"], "o.csv, line 2: scope is 'street': it should be one of device"),
        ([HEAD, "hub,home,2026-11-22T18:00:00Z,,R1"], "o.csv, line 2: value: 'home' is not an EUI-64"),
        (
            [HEAD, "region,South,2026-11-22T18:00:00,,R1"],
            "o.csv, line 2: from is '2026-11-22T18:00:00': it should be a time with its zone",
        ),
        ([HEAD, "region,South,yesterday,,R1"], "o.csv, line 2: from is 'yesterday': it should be a time"),
        ([HEAD, "region,South,2026-11-22T18:00:00Z,2026-11-22T17:00:00Z,R1"], "o.csv, line 2: to is 2026-11-22T17:00"),
        ([HEAD, "", "region,,2026-11-22T18:00:00Z,,R1"], "o.csv, line 3: value is empty"),
        ([HEAD, "region,South,2026-11-22T18:00:00Z,"], "o.csv, line 2: 4 fields, it should be 5"),
        ([HEAD, "region,south,2026-11-22T18:00:00Z,,R1"], "o.csv, line 2: value is 'south': it should be one of North"),
        ([HEAD, "hub,0,2026-11-22T18:00:00Z,,R\0"], "o.csv, line 2: value or reference holds control characters"),
        ([HEAD, 'region,"South'], "o.csv, line 2: it is not CSV"),
    ],
)
def test_a_wrong_report_is_refused_by_its_line(rows, says):
    with pytest.raises(LedgerError) as caught:
        outages.read_outages(rows, "o.csv")
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) <= 240
