"""Service checks in the gate: the supplier's own queries, by SQL and at Prometheus."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import text

from hanwave.ledger import queries, service_checks
from hanwave.ledger.queries import QueryError
from hanwave.rollout.bounds import Share
from hanwave.rollout.gate import Judgement, Verdict
from hanwave.rollout.policy import Gate
from tests.support.judging import DAY, begin, close, explained, settle
from tests.support.ledger import World, eui

pytestmark = pytest.mark.ledger
CHECKED = Gate(harm=0.3, silence=0.3, confidence=0.8, services={"readings": 0.3})
FILE = """
queries:
  readings:
    sql: |
      SELECT eui, firmware_version IS NOT NULL AS before, (eui >= '00-DB-00-00-00-00-00-{stopped:02X}') AS now
      FROM device WHERE eui = ANY(:euis) AND CAST(:began AS timestamptz) <= CAST(:now AS timestamptz)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch, ledger_dsn):
    """Writes the installation's file of queries."""
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_QUERIES", str(tmp_path / "queries.yaml"))
    queries._read.cache_clear()
    yield (tmp_path / "queries.yaml").write_text
    with contextlib.suppress(QueryError):
        queries._installed()[1].dispose()
    queries._read.cache_clear()


def checked(world: World) -> Judgement:
    found = service_checks.run(world.engine, "spring", 1, world.now + 5 * DAY)
    return close(world, services=found.services, observed=found.observed)


def observed(world: World) -> dict[str, list[str]]:
    """What each device's story has of its service, by the device."""
    with world.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT eui, detail FROM device_event WHERE kind = 'service' AND evidence = 'observed' ORDER BY eui")
        )
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row.eui, []).append(row.detail)
        return found


@pytest.mark.parametrize(
    ("stopped", "verdict"), [(0, Verdict.PASS), (20, Verdict.FAIL), (6, Verdict.NOT_ENOUGH_EVIDENCE)]
)
def test_devices_that_stopped_doing_their_job_fail_a_wave_whose_update_succeeded(world, installed, stopped, verdict):
    installed(FILE.format(stopped=stopped))
    settle(world, begin(world, 20, CHECKED, others=50))
    with world.engine.begin() as connection:  # these are nobody's to ask about
        connection.execute(text("UPDATE device SET import_supplier = 'another' WHERE eui >= '00-DB-00-00-00-00-00-3C'"))
    judged = checked(world)
    assert judged.verdict is verdict
    (service,) = explained(world).inputs.services
    (region,) = service.regions
    assert (region.updated, region.others) == (Share(stopped, 20), Share(0, 40))
    says = ["readings: it stopped doing its job"] * stopped + ["readings: it still does its job"] * (20 - stopped)
    before = dict(zip(map(eui, range(20)), ([each] for each in says), strict=True))
    assert observed(world) == before
    checked(world)  # the first verdict stands, and what it was made of is told once
    assert observed(world) == before
    assert world.count("campaign_device", "state = 'settled'") == 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("queries: {}", "there is no query 'readings'"),
        ("queries: {readings: {sql: 'SELECT eui FROM nowhere WHERE eui = ANY(:euis)'}}", "the query 'readings' failed"),
        ("queries: {readings: {sql: 'SELECT eui FROM device WHERE eui = ANY(:euis)'}}", "gives no column before"),
        (
            "queries: {readings: {sql: 'SELECT eui, 1 AS before, 1 AS now FROM device WHERE eui = ANY(:euis)'}}",
            "it should give true, false or null",
        ),
        (
            "queries: {readings: {sql: 'SELECT pg_sleep(2) FROM device WHERE eui = ANY(:euis)', timeout: 0.1s}}",
            "statement timeout",
        ),
        ("queries: {readings: {promql: up}}", "the file of queries has no prometheus"),
        ("{queries: {readings: {promql: up}}, prometheus: 'http://127.0.0.1:1'}", "failed at Prometheus"),
    ],
)
def test_a_check_that_gives_no_answer_is_not_enough_evidence(world, installed, content, says):
    installed(content)
    settle(world, begin(world, 10, CHECKED))
    judged = checked(world)
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert says in judged.reason
    assert observed(world) == {}


def test_a_check_may_not_write(world, installed):
    installed("queries: {readings: {sql: 'DELETE FROM hold WHERE owner = ANY(:euis) RETURNING owner AS eui'}}")
    settle(world, begin(world, 10, CHECKED))
    assert "read-only transaction" in checked(world).reason


@pytest.fixture
def prometheus():
    """Answers instant queries: the first six devices have no readings any more."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            later = len(asked) > 1
            series = [
                {"metric": {"eui": f"00-DB-00-00-00-00-00-{n:02X}"}, "value": [0, "0" if later and n < 20 else "3"]}
                for n in range(60)
            ]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_prometheus_is_asked_for_the_devices_past_and_for_now(world, installed, prometheus):
    url, asked = prometheus
    installed(f"{{queries: {{readings: {{promql: 'increase(readings_total[1d])'}}}}, prometheus: '{url}'}}")
    settle(world, begin(world, 20, CHECKED, others=40))
    assert checked(world).verdict is Verdict.FAIL
    assert ["2026-11-22" in path for path in asked] == [True, False]
    (service,) = explained(world).inputs.services
    assert service.regions[0].updated == Share(20, 20)
