"""The audit chain on a real PostgreSQL: what is chained, by whom, and what an insider's change leaves behind."""

import json
import threading
from itertools import pairwise

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from hanwave.ledger import audit, beats, notes, outbox, permit, stops
from hanwave.ledger.audit_verify import GENESIS, AuditError, verify
from hanwave.ledger.database import LedgerError
from hanwave.rollout.events import Leg
from infra.stack.postgres import APPLICATION, OWNER
from tests.support.ledger import ACB, START, World
from workers import warden

pytestmark = pytest.mark.ledger


@pytest.fixture
def insider(ledger_dsn):
    """Somebody with the owner's role, for whom the triggers are no obstacle."""

    def act(table: str, statement: str) -> None:
        owner = create_engine(ledger_dsn.replace(APPLICATION, OWNER).replace("postgresql:", "postgresql+psycopg:"))
        with owner.begin() as connection:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            connection.execute(text(statement))
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
        owner.dispose()

    return act


def say(ledger, *reasons: str) -> None:
    with ledger.begin() as connection:
        notes.add(connection, [notes.Said("ann", "try", "campaign/x", reason) for reason in reasons], START)


def export(ledger):
    return list(audit.export(ledger))


def a_request_to_its_end(world: World) -> None:
    ids = world.campaign(world.fleet(2))
    with world.engine.begin() as connection:
        granted = permit.ask(connection, permit.Ask("spring", 1, Leg.DISTRIBUTE, ids, "11.1", ACB), world.now)
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted.outbox_id, b"<request/>")
    with world.engine.begin() as connection:
        outbox.begin(connection, granted.outbox_id, world.now)
    with world.engine.begin() as connection:
        outbox.answered(connection, granted.outbox_id, outbox.Answer("I99", b"<ok/>"), world.now)


def test_an_empty_ledger_has_an_empty_chain(ledger):
    assert audit.catch_up(ledger) == 0
    assert verify(export(ledger)).head == GENESIS


def test_every_source_is_chained_and_the_export_verifies_alone(world):
    a_request_to_its_end(world)
    with world.engine.begin() as connection:
        stop = stops.stop(connection, stops.Scope("all"), "halt", "smoke", "ann", world.now)
        stops.lift(connection, stop, "over", "bob", world.now)
    say(world.engine, "one", "two")
    chained = audit.catch_up(world.engine)
    lines = [json.loads(line) for line in export(world.engine)]
    assert {line["source"] for line in lines[1:-1]} == set(audit.SOURCES)
    found = verify(export(world.engine))
    assert (found.rows, found.unchained) == (chained, 0)
    with world.engine.connect() as connection:
        assert audit.status(connection) == audit.AuditStatus(chained, found.head, {})


def test_a_request_is_chained_in_parts_as_each_can_change_no_more(world):
    ids = world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        granted = permit.ask(connection, permit.Ask("spring", 1, Leg.DISTRIBUTE, ids, "11.1", ACB), world.now)
    audit.catch_up(world.engine)
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted.outbox_id, b"<request/>")
        outbox.begin(connection, granted.outbox_id, world.now)
    audit.catch_up(world.engine)
    assert world.count("audit", "source = 'outbox.ready'") == 1
    with world.engine.begin() as connection:
        outbox.answered(connection, granted.outbox_id, outbox.Answer("I99", b"<ok/>"), world.now)
    audit.catch_up(world.engine)
    assert world.count("audit", "source LIKE 'outbox.%'") == 3
    assert verify(export(world.engine)).unchained == 0


def test_chaining_again_chains_nothing_twice(ledger):
    say(ledger, "one")
    assert [audit.catch_up(ledger), audit.catch_up(ledger), audit.catch_up(ledger, whole=True)] == [1, 0, 0]


def test_the_chain_goes_on_over_batches_without_a_gap(ledger, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 3)
    monkeypatch.setattr(audit.chain, "__kwdefaults__", {"most": 3, "whole": False})
    say(ledger, *map(str, range(10)))
    assert audit.catch_up(ledger) == 10
    with ledger.connect() as connection:
        rows = connection.execute(text("SELECT seq, previous, hash FROM audit ORDER BY seq")).all()
    assert [row.seq for row in rows] == list(range(1, 11))
    assert all(after.previous == before.hash for before, after in pairwise(rows))


def test_a_row_that_commits_after_younger_ones_is_chained_too(ledger):
    with ledger.connect() as slow:
        notes.add(slow, notes.Said("ann", "slow", "campaign/x"), START)
        say(ledger, "fast")
        assert audit.catch_up(ledger) == 1
        slow.commit()
    assert audit.catch_up(ledger) == 1
    assert verify(export(ledger)).rows == 2


def test_a_row_that_commits_beyond_the_margin_is_chained_by_a_whole_pass(ledger, monkeypatch):
    monkeypatch.setattr(audit, "MARGIN", 1)
    with ledger.connect() as slow:
        notes.add(slow, notes.Said("ann", "slow", "campaign/x"), START)
        say(ledger, "one", "two", "three")
        audit.catch_up(ledger)
        slow.commit()
    with ledger.connect() as connection:
        assert audit.catch_up(ledger) == 0
        assert audit.status(connection).unchained == {"note": 1}
    assert audit.catch_up(ledger, whole=True) == 1


def test_two_chainers_never_run_at_once(ledger):
    say(ledger, "one")
    with ledger.begin() as first:
        audit.chain(first)
        with pytest.raises(LedgerError, match="another chainer is at work"), ledger.begin() as second:
            audit.chain(second)
    assert verify(export(ledger)).rows == 1


def test_of_two_wardens_one_chains_and_the_other_completes_its_round(ledger):
    say(ledger, "one")
    with ledger.begin() as chaining:
        audit.chain(chaining)
        warden._keep_house(ledger, START, whole=True)
        with ledger.connect() as connection:
            assert beats.last(connection, beats.WARDEN) == START
    assert verify(export(ledger)).rows == 1


def test_writers_and_a_chainer_together_leave_nothing_out(ledger):
    writers = [threading.Thread(target=lambda: [say(ledger, "x") for _ in range(30)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        audit.catch_up(ledger)
    audit.catch_up(ledger)
    found = verify(export(ledger))
    assert (found.rows, found.unchained) == (120, 0)


def test_the_unchained_tail_is_counted_and_named(ledger):
    say(ledger, "one")
    audit.catch_up(ledger)
    say(ledger, "two", "three")
    found = verify(export(ledger))
    assert (found.rows, found.unchained, found.unchained_rows) == (1, 2, ["note/2", "note/3"])


def test_the_hash_does_not_depend_on_the_sessions_time_zone(ledger_dsn, ledger):
    say(ledger, "one")
    audit.catch_up(ledger)
    here = create_engine(
        ledger_dsn.replace("postgresql:", "postgresql+psycopg:"), connect_args={"options": "-c TimeZone=Europe/London"}
    )
    assert verify(audit.export(here)).rows == 1
    here.dispose()


@pytest.mark.parametrize("table", ["note", "audit", "device_event"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_application_cannot_change_or_delete_what_is_append_only(ledger, table, verb):
    column = {"note": "reason = ''", "audit": "hash = ''", "device_event": "detail = ''"}[table]
    with pytest.raises(DBAPIError, match="permission denied"), ledger.begin() as connection:
        connection.execute(text(verb.format(table, column)))


INSIDERS = {
    "changes a row": (
        "note",
        "UPDATE note SET reason = 'nothing' WHERE id = 2",
        r"row 2 .* \(note/2, line 3\) was changed",
    ),
    "backdates a row": ("note", "UPDATE note SET at = at - interval '1 s' WHERE id = 3", "row 3 of .* was changed"),
    "removes a row": (
        "note",
        "DELETE FROM note WHERE id = 2",
        "row 2 .* no row behind it any more: note/2 was removed",
    ),
    "removes a link": ("audit", "DELETE FROM audit WHERE seq = 2", "row 2 is missing from the chain: row 3 stands on"),
    "removes links": ("audit", "DELETE FROM audit WHERE seq IN (2, 3)", "rows 2 to 3 are missing from the chain"),
    "removes a link and closes the gap": (
        "audit",
        "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = seq - 1 WHERE seq > 2",
        "row 2 of the chain .* does not follow row 1",
    ),
    "swaps two rows": (
        "note",
        "UPDATE note SET reason = CASE id WHEN 2 THEN 'three' ELSE 'two' END WHERE id IN (2, 3)",
        "row 2 of the chain .* was changed",
    ),
    "swaps two links": (
        "audit",
        "UPDATE audit SET seq = -seq WHERE seq IN (2, 3); UPDATE audit SET seq = 5 + seq WHERE seq < 0",
        "row 2 of the chain .* does not follow row 1",
    ),
    "makes up a link": (
        "audit",
        "INSERT INTO audit SELECT 5, 'note', 99, hash, repeat('A', 64) FROM audit WHERE seq = 4",
        "row 5 .* no row behind it",
    ),
    "chains an unknown table": (
        "audit",
        "INSERT INTO audit SELECT 5, 'wish', 1, hash, repeat('A', 64) FROM audit WHERE seq = 4",
        "row 5 .*wish/1",
    ),
}


@pytest.mark.parametrize("attack", INSIDERS)
def test_an_insider_who(ledger, insider, attack):
    table, statement, sentence = INSIDERS[attack]
    say(ledger, "one", "two", "three", "four")
    audit.catch_up(ledger)
    insider(table, statement)
    with pytest.raises(AuditError, match=sentence):
        verify(export(ledger))


def test_an_insider_who_takes_back_the_lifting_of_a_stop(ledger, insider):
    with ledger.begin() as connection:
        stop = stops.stop(connection, stops.Scope("all"), "halt", "smoke", "ann", START)
        stops.lift(connection, stop, "over", "bob", START)
    audit.catch_up(ledger)
    insider("stop", "UPDATE stop SET lifted_at = NULL")
    with pytest.raises(AuditError, match=r"stop\.lifted/1 was removed"):
        verify(export(ledger))


def test_an_insider_who_cuts_the_chain_is_found_by_a_checkpoint_alone(ledger, insider):
    say(ledger, "one", "two", "three", "four")
    audit.catch_up(ledger)
    with ledger.connect() as connection:
        checkpoint = audit.status(connection).head
    insider("audit", "DELETE FROM audit WHERE seq = 4")
    insider("note", "DELETE FROM note WHERE id = 4")
    assert verify(export(ledger)).rows == 3
    with pytest.raises(AuditError, match="does not pass through the checkpoint"):
        verify(export(ledger), checkpoint)


def test_an_insider_who_writes_the_chain_anew_is_found_by_a_checkpoint_alone(ledger, insider):
    say(ledger, "one", "two", "three", "four")
    audit.catch_up(ledger)
    checkpoint = verify(export(ledger)).head
    insider("note", "UPDATE note SET reason = 'nothing' WHERE id = 2")
    insider("audit", "DELETE FROM audit WHERE seq >= 2")
    audit.catch_up(ledger, whole=True)
    assert verify(export(ledger)).rows == 4
    with pytest.raises(AuditError, match="does not pass through the checkpoint"):
        verify(export(ledger), checkpoint)


def test_a_checkpoint_still_stands_after_the_chain_went_on(ledger):
    say(ledger, "one")
    audit.catch_up(ledger)
    checkpoint = verify(export(ledger)).head
    say(ledger, "two")
    audit.catch_up(ledger)
    assert verify(export(ledger), checkpoint.lower()).checkpoint_at == 1
