"""The fleet's import on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hanwave.ledger import fleet as fleet_module
from hanwave.ledger.database import LedgerError, engine, migrate
from hanwave.ledger.fleet import import_fleet
from infra.stack.postgres import APPLICATION
from tests.support.fleet import ROW, fleet, row
from tests.support.ledger import START, eui

pytestmark = pytest.mark.ledger


@pytest.fixture
def bring(ledger, tmp_path):
    def bring(file, now=START):
        with ledger.begin() as connection:
            return import_fleet(connection, file, tmp_path / "refused.csv", "ann", now)

    return bring


def devices(ledger):
    with ledger.connect() as connection:
        rows = connection.execute(text("SELECT * FROM device ORDER BY eui")).mappings()
        return {each["eui"]: dict(each) for each in rows}


def counts(done):
    return (done.rows, done.added, done.changed, done.unchanged, done.repeated, done.refused)


def test_the_rows_of_a_file_become_the_fleet(ledger, bring):
    done = bring(fleet(row(1), row(2, gas_supplier=ROW["import_supplier"], device_type="GSME", home=r"a\N\tb")))
    assert counts(done) == (2, 2, 0, 0, 0, 0)
    held = devices(ledger)
    times = {name: datetime.fromisoformat(ROW[name]) for name in ("leaves_at", "last_heard")}
    known = {"gas_supplier": None, "updated_at": START} | times
    assert held[eui(1)] == row(1) | known
    assert held[eui(2)]["home"] == r"a\N\tb"


def test_the_same_file_again_changes_nothing_not_even_a_row_version(ledger, bring):
    versions = text("SELECT eui, xmin, ctid, updated_at FROM device ORDER BY eui")
    bring(fleet(*(row(n) for n in range(50))))
    with ledger.connect() as connection:
        before = connection.execute(versions).all()
    assert counts(bring(fleet(*(row(n) for n in range(50))), START + timedelta(days=1))) == (50, 0, 0, 50, 0, 0)
    with ledger.connect() as connection:
        assert connection.execute(versions).all() == before


def test_of_when_a_device_was_last_heard_the_later_is_kept_and_the_future_is_none(ledger, bring):
    def told(*times):
        rows = (row(number, last_heard=time) for number, time in enumerate(times))
        done = bring(fleet(*rows))
        return done.changed, [each["last_heard"] for each in devices(ledger).values()]

    earlier, heard, later = (datetime(2026, 11, day, 10, tzinfo=UTC) for day in (19, 20, 21))
    assert told(str(heard), "2027-01-31", "") == (0, [heard, None, None])
    assert told(str(earlier), str(later), "") == (1, [heard, later, None])


def test_a_delta_changes_what_it_names_and_deletes_nothing(ledger, bring):
    bring(fleet(row(1), row(2), row(3)))
    later = START + timedelta(days=1)
    done = bring(fleet(row(2, smi_status="Suspended"), row(3), row(4)), later)
    assert counts(done) == (3, 1, 1, 1, 0, 0)
    held = devices(ledger)
    assert list(held) == [eui(n) for n in (1, 2, 3, 4)]
    assert held[eui(2)]["smi_status"] == "Suspended"
    assert [held[eui(n)]["updated_at"] for n in (1, 2, 3)] == [START, later, START]


def test_columns_that_the_file_does_not_have_stay_as_they_are(ledger, bring):
    bring(fleet(row(1)))
    needed = tuple(ROW)[:9]
    assert counts(bring(fleet(row(1), row(2), columns=needed))) == (2, 1, 0, 1, 0, 0)
    held = devices(ledger)
    assert held[eui(1)]["mpxn"] == ROW["mpxn"]
    assert (held[eui(2)]["mpxn"], held[eui(2)]["payment_mode"]) == (None, "credit")


def test_an_empty_cell_takes_away_what_was_known(ledger, bring):
    bring(fleet(row(1)))
    assert counts(bring(fleet(row(1, protected_class="")))) == (1, 0, 1, 0, 0, 0)
    assert devices(ledger)[eui(1)]["protected_class"] is None


def test_bad_rows_are_reported_and_the_good_ones_are_in(ledger, bring):
    done = bring(fleet(row(1), row(2, hub="nowhere"), "a,b", row(3), row(4, region="SMETS1")))
    assert counts(done) == (5, 2, 0, 0, 0, 3)
    assert [each.line for each in done.refusals] == [3, 4, 6]
    assert list(devices(ledger)) == [eui(1), eui(3)]
    assert done.refusals_file is None


def test_a_device_described_in_two_ways_is_refused_on_each_of_its_lines(ledger, bring):
    done = bring(fleet(row(1), row(2), row(1, model="2222"), row(2), row(1)))
    assert counts(done) == (5, 1, 0, 0, 1, 3)
    reason = "eui stands on 3 lines, the first of them 2, with different content: it should stand once"
    assert [(each.line, each.reason) for each in done.refusals] == [(2, reason), (4, reason), (6, reason)]
    assert list(devices(ledger)) == [eui(2)]


def test_the_same_eui_written_in_two_forms_is_one_device(ledger, bring):
    plain = eui(1).replace("-", "").lower()
    assert counts(bring(fleet(row(1), row(eui=plain)))) == (2, 1, 0, 0, 1, 0)


def test_more_refusals_than_are_kept_in_memory_are_all_in_a_file(bring, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet_module, "KEPT", 3)
    done = bring(fleet(*(row(n, device_type='"IHD"') for n in range(5)), row(9), row(9, model="2222")))
    assert (done.refused, len(done.refusals)) == (7, 3)
    lines = done.refusals_file.read_text().splitlines()
    assert lines[0] == "line,reason"
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "3", "4", "5", "6", "7", "8"]


def test_a_file_for_the_refusals_that_cannot_be_written_ends_the_import_with_nothing_changed(ledger, monkeypatch):
    monkeypatch.setattr(fleet_module, "KEPT", 0)
    with pytest.raises(LedgerError, match=r"cannot be written to .*: Is a directory"), ledger.begin() as connection:
        import_fleet(connection, fleet(row(1), row(2, hub="")), Path("/"), "ann", START)
    assert devices(ledger) == {}


def test_a_file_that_is_no_fleet_changes_nothing(ledger, bring):
    bring(fleet(row(1)))
    with pytest.raises(LedgerError, match="header has no column hub"):
        bring(fleet(row(1, model="2222"), columns=tuple(name for name in ROW if name != "hub")))
    assert devices(ledger)[eui(1)]["model"] == "1111"


def test_a_file_of_a_header_alone_is_an_import_of_nothing(bring):
    assert counts(bring(fleet())) == (0, 0, 0, 0, 0, 0)


def test_an_open_update_keeps_its_facts_when_its_device_changes_in_the_feed(world, tmp_path):
    (update_id,) = world.campaign(world.fleet(1))
    before = world.count("device_event"), world.state(update_id)
    with world.engine.begin() as connection:
        file = fleet(row(0, firmware_version="00000009", smi_status="Suspended", leaves_at=""))
        done = import_fleet(connection, file, tmp_path / "refused", "ann", START)
    assert done.changed == 1
    assert (world.count("device_event"), world.state(update_id)) == before
    assert world.count("campaign_device", "version IS NULL AND device_type = 'ESME'") == 1


def test_a_second_import_waits_for_the_first_and_then_sees_its_rows(ledger, tmp_path):
    with ledger.connect() as first, ledger.connect() as second:
        import_fleet(first, fleet(row(1)), tmp_path / "a", "ann", START)
        second.execute(text("SET lock_timeout = '100ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            import_fleet(second, fleet(row(1, model="2222")), tmp_path / "b", "bob", START)
        second.rollback()
        first.commit()
        assert import_fleet(second, fleet(row(1)), tmp_path / "b", "bob", START).unchanged == 1


def test_an_import_leaves_a_note_with_its_counts_and_no_customer(ledger, bring):
    bring(fleet(row(1), row(2, hub="")))
    with ledger.connect() as connection:
        note = connection.execute(text("SELECT actor, verb, document FROM note")).one()
    assert (note.actor, note.verb) == ("ann", "import_fleet")
    assert note.document == {"rows": 2, "added": 1, "changed": 0, "unchanged": 0, "repeated": 0, "refused": 1}


def test_the_migration_lets_the_application_stage_its_rows(database):
    owner = engine(database)
    allowed = text(f"SELECT has_database_privilege('{APPLICATION}', current_database(), 'TEMPORARY')")
    with owner.begin() as connection:
        connection.execute(text(f"REVOKE TEMPORARY ON DATABASE {owner.url.database} FROM {APPLICATION}"))
        assert not connection.execute(allowed).scalar_one()
    migrate(owner, APPLICATION)
    with owner.begin() as connection:
        assert connection.execute(allowed).scalar_one()
    owner.dispose()
