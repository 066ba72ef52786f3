"""The embedded PostgreSQL: who may connect, and what survives a kill."""

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from infra.stack.launch import spawn
from infra.stack.postgres import APPLICATION, DATABASE, OWNER, Postgres, PostgresError

pytestmark = pytest.mark.part


def test_each_test_gets_an_empty_database_of_its_own(database: str, database_app: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE device (eui text)")
    with psycopg.connect(database_app) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
    assert row is not None
    assert row[0] == APPLICATION


def test_the_application_role_may_not_create_or_read_what_it_was_not_granted(database: str, database_app: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE audit (entry text)")
    for statement in ("SELECT * FROM audit", "CREATE TABLE mine (entry text)", "ALTER ROLE hanwave_app SUPERUSER"):
        with psycopg.connect(database_app) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_the_server_is_not_root_and_listens_on_no_network(postgres: Postgres) -> None:
    pid = int((postgres.data / "postmaster.pid").read_text().split()[0])
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    with postgres.admin() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_only_the_user_who_started_it_gets_in(postgres: Postgres) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    report, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(12345, 12345, 12345)
        try:
            psycopg.connect(postgres.dsn())
            os.write(answer, b"in")
        except psycopg.OperationalError:
            os.write(answer, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(report, 10) == b"refused"


def test_rows_survive_a_kill_that_leaves_the_lock_file_behind(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    server.prepare()
    with (tmp_path / "log").open("ab") as log:
        process = spawn(server.argv(), log=log, not_as_root=True)
    while not server.is_ready():
        time.sleep(0.02)
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (7)")
    process.kill()
    process.wait()
    assert (server.data / "postmaster.pid").exists()
    # The id in the lock file now belongs to a process that is not a server: ourselves.
    text = (server.data / "postmaster.pid").read_text().splitlines()
    (server.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *text[1:]]) + "\n")
    with server.running(), psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_server_that_still_runs_over_the_folder_is_ended_before_another_starts(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    with server.running() as first, psycopg.connect(first.dsn()):
        assert server.strangers()
        server.clear()
        assert not server.strangers()


def test_a_half_made_data_folder_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir(mode=0o700)
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    with Postgres(tmp_path).running() as server, psycopg.connect(server.dsn(APPLICATION, DATABASE)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_path_too_long_for_a_socket_gets_a_short_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with Postgres(deep).running() as server, psycopg.connect(server.dsn(OWNER)) as connection:
        assert deep not in server.socket.parents
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.socket.rmdir()


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 16, not 18"):
        server.prepare()


def test_a_socket_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "socket").mkdir(mode=0o777)
    (tmp_path / "socket").chmod(0o777)
    with pytest.raises(PostgresError, match="mode 0700"):
        Postgres(tmp_path).prepare()


def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    server.prepare()
    child = os.fork()
    if child == 0:
        with (tmp_path / "log").open("ab") as log:
            spawn(server.argv(), log=log, on_parent_death=signal.SIGQUIT, not_as_root=True)
        while not server.is_ready():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 10
    while server.strangers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.strangers()
