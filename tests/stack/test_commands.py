"""`hanwave up`, `down`, `status`, `doctor`, as a person types them."""

import json
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra import pki
from infra.stack.stack import Stack
from tests.support.stack import remains

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
PROGRAM = Path(sysconfig.get_path("scripts")) / "hanwave"


def hanwave(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=120
    )


def answer(folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(hanwave(folder, *arguments, "--json", **environment).stdout.splitlines()[0])
    return facts


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    hanwave(tmp_path, "down")


def test_up_status_doctor_down(folder: Path) -> None:
    up = answer(folder, "up")
    assert up["web_ui"].startswith("http://127.0.0.1:")
    with psycopg.connect(up["postgres"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("hanwave_app",)
        assert connection.execute("SELECT count(*) FROM device_event").fetchone() == (0,)

    status = hanwave(folder, "status")
    assert status.returncode == 0, status.stderr
    states = {name: row["state"] for name, row in answer(folder, "status")["processes"].items()}
    assert states["postgres"] == states["temporal"] == "ready"
    assert states["migrate"] == "done"
    assert all(name in status.stdout for name in states)

    twice = hanwave(folder, "up")
    assert twice.returncode == 1
    assert "already runs" in twice.stderr
    assert "Traceback" not in twice.stderr

    doctor = hanwave(folder, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "its search attributes" in doctor.stdout
    assert all(f"{name} worker: it takes" in doctor.stdout for name in ("campaign", "gateway"))
    assert "database: reachable, at migration 0001" in doctor.stdout

    down = hanwave(folder, "down")
    assert down.returncode == 0
    assert not remains(folder)
    after = hanwave(folder, "status")
    assert after.returncode == 1
    assert "no stack runs in" in after.stderr
    assert answer(folder, "down") == {"was_running": False, "ended_by_force": []}


def test_status_tells_a_dead_supervisor_from_a_running_one(folder: Path) -> None:
    hanwave(folder, "up")
    subprocess.run(["kill", "-9", str(answer(folder, "status")["supervisor"])], check=True)
    assert answer(folder, "status")["supervisor"] is None
    assert answer(folder, "up")["ready_in_s"] < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_foreground_stops_everything_when_it_is_stopped(folder: Path, number: signal.Signals) -> None:
    with subprocess.Popen([PROGRAM, "up", "--foreground", "--json"], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"web_ui" in process.stdout.readline()
        process.send_signal(number)
        process.wait(60)
    hanwave(folder, "down")
    assert not remains(folder)


def test_down_and_status_without_a_stack_make_nothing(tmp_path: Path) -> None:
    for command in ("down", "status"):
        done = hanwave(tmp_path, command)
        assert done.returncode == 1
        assert "is no state folder of a stack" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_embedded_stack_is_not_for_production(tmp_path: Path) -> None:
    done = hanwave(tmp_path, "up", HANWAVE_ENVIRONMENT="production")
    assert done.returncode == 1
    assert "the embedded stack is for the emulator only" in done.stderr
    assert not list(tmp_path.iterdir())


def findings(folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in answer(folder, "doctor", **environment)["findings"]}


def test_doctor_names_what_is_wrong_and_what_to_do_and_changes_nothing(tmp_path: Path) -> None:
    key, certificate = pki.Authority().tls("localhost")
    (tmp_path / "open.key").write_bytes(key)
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "good.pem").write_bytes(certificate)
    (tmp_path / "rubbish.pem").write_bytes(b"rubbish")
    before = sorted(tmp_path.iterdir())
    found = findings(
        tmp_path,
        HANWAVE_SIGNING__XML_KEY="open.key",
        HANWAVE_SIGNING__XML_CERTIFICATE="good.pem",
        HANWAVE_SIGNING__GBCS_KEY="absent.key",
        HANWAVE_SIGNING__GBCS_CERTIFICATE="rubbish.pem",
        HANWAVE_TEMPORAL__ADDRESS="127.0.0.1:1",
        HANWAVE_POSTGRES__DSN="postgresql://me:hunter2@127.0.0.1:1/x",
    )
    assert "chmod 600" in found["signing.xml_key"]["remedy"]
    assert found["signing.xml_certificate"]["well"]
    assert "No such file" in found["signing.gbcs_key"]["found"]
    assert "no readable X.509 certificate" in found["signing.gbcs_certificate"]["found"]
    assert "cannot be reached" in found["temporal"]["found"]
    assert "cannot be used" in found["database"]["found"]
    assert "hunter2" not in str(found)
    assert sorted(tmp_path.iterdir()) == before


def test_doctor_names_an_expired_certificate_and_one_not_yet_valid(tmp_path: Path) -> None:
    for name, days in (("old", -3650), ("new", 2)):
        _, certificate = pki.Authority(at=datetime.now(UTC) + timedelta(days=days)).tls("localhost")
        (tmp_path / f"{name}.pem").write_bytes(certificate)
    old = findings(tmp_path, HANWAVE_TRUST__CERTIFICATES='["old.pem"]')
    assert "expired on" in old["trust.certificates"]["found"]
    new = findings(tmp_path, HANWAVE_TRUST__CERTIFICATES='["new.pem"]')
    assert "not valid before" in new["trust.certificates"]["found"]


def test_doctor_names_a_database_that_is_behind(tmp_path: Path, database: str) -> None:
    found = findings(tmp_path, HANWAVE_POSTGRES__DSN=database)["database"]
    assert "at migration none, not 0001" in found["found"]
    assert "migrate" in found["remedy"]


def test_doctor_names_what_temporal_lacks(tmp_path: Path) -> None:
    with Stack(tmp_path / "bare") as stack:
        lacking = findings(tmp_path, HANWAVE_TEMPORAL__ADDRESS=stack.temporal, HANWAVE_TEMPORAL__NAMESPACE="absent")
        assert "has no namespace absent" in lacking["temporal"]["found"]
        assert "namespace create" in lacking["temporal"]["remedy"]


def test_doctor_names_an_open_state_folder_and_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / ".hanwave").mkdir(mode=0o755)
    (tmp_path / ".hanwave").chmod(0o755)
    assert "chmod 700" in findings(tmp_path)["state folder"]["remedy"]
    wrong = findings(tmp_path, HANWAVE_RECEIVE__PORT="x")
    assert "HANWAVE_RECEIVE__PORT" in wrong["settings"]["found"]
    assert hanwave(tmp_path, "doctor", HANWAVE_RECEIVE__PORT="x").returncode == 1
