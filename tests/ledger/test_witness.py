"""What a process saw last, kept beside the ledger: by it a ledger that was put back to an earlier copy is known."""

import json
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hanwave.ledger import audit, reconcile
from hanwave.ledger.witness import Witness
from tests.ledger.test_permit_and_outbox import distribute
from tests.support.ledger import World

pytestmark = [pytest.mark.ledger, pytest.mark.fault]


def missing(world: World, witness: Witness) -> str | None:
    with world.engine.connect() as connection:
        lost = witness.missing(connection)
    return lost.what if lost else None


def test_a_witness_that_saw_nothing_accuses_nobody(world, tmp_path):
    (tmp_path / "torn.json").write_text('{"request": ')
    assert missing(world, Witness(tmp_path / "none.json")) is None
    assert missing(world, Witness(tmp_path / "torn.json")) is None


def test_a_request_that_left_and_is_not_there_tells_a_restored_ledger_to_the_next_run_too(world, tmp_path):
    ids = world.campaign(world.fleet(1))
    witness = Witness(tmp_path / "gateway.json")
    witness.sends(distribute(world, ids).request_id, world.now)
    assert missing(world, Witness(tmp_path / "gateway.json")) is None
    witness.sends("a request of later", world.now)
    assert missing(world, Witness(tmp_path / "gateway.json")) == (
        "it lacks the request a request of later, which was to be sent"
    )


def test_what_a_witness_saw_is_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    """A loss of power after any step leaves the old file or the new one whole, and the new one once `sends` returned."""
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if not is_folder:
            (fresh,) = folder.glob("*.new")
            assert json.loads(fresh.read_text())["request"]["id"] == "one"
        done.append("folder" if is_folder else "file")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    folder = tmp_path / "witness"
    Witness(folder / "gateway.json").sends("one", datetime.now(UTC))
    assert done == ["file", "rename", "folder"]
    assert [path.name for path in folder.iterdir()] == ["gateway.json"]


def test_threads_that_send_at_once_leave_a_whole_witness(world, tmp_path):
    witness = Witness(tmp_path / "gateway.json")
    threads = [threading.Thread(target=witness.sends, args=(str(number), world.now)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "it lacks the request" in (missing(world, Witness(tmp_path / "gateway.json")) or "")


def test_two_processes_over_one_folder_leave_a_whole_witness(world, tmp_path, monkeypatch):
    """What the one writes is put in place in the midst of what the other does."""
    ours, theirs = (Witness(tmp_path / "gateway.json") for _ in range(2))
    replace = Path.replace

    def late(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        theirs.sends("theirs", world.now)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", late)
    ours.sends("ours", world.now)
    assert missing(world, Witness(tmp_path / "gateway.json")) == "it lacks the request ours, which was to be sent"


def test_a_chain_that_is_shorter_or_another_tells_a_restored_ledger(world, ledger, tmp_path):
    world.campaign(world.fleet(1))
    with world.engine.begin() as connection:
        reconcile.stop_all(connection, "a test", "ann", world.now)
    audit.catch_up(ledger)
    witness = Witness(tmp_path / "warden.json")
    with world.engine.connect() as connection:
        witness.sees_chain(connection, world.now)
    assert missing(world, witness) is None
    head = (tmp_path / "warden.json").read_text()
    (tmp_path / "warden.json").write_text(head.replace('"hash": "', '"hash": "0'))
    assert "of the audit chain, which was seen" in (missing(world, Witness(tmp_path / "warden.json")) or "")
