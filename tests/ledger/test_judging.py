"""The gate's judgement on a real PostgreSQL: what it is judged by, what is kept of it, and what comes out again."""

import contextlib
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import text

from hanwave.cli.main import main
from hanwave.ledger import campaigns, judging, outages, queries, service_checks, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.queries import QueryError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.bounds import Share
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.gate import Baseline, Counts, Judgement, Verdict
from hanwave.rollout.policy import Gate, Policy, Proof, Wave
from tests.support.ledger import HASH, VERSION, World

pytestmark = pytest.mark.ledger
GATE = Gate(harm=0.3, silence=0.3, confidence=0.8)
DAY = timedelta(days=1)


def begin(world: World, size: int, gate: Gate = GATE, *, others: int = 0) -> list[int]:
    """A campaign of one wave, opened; some devices of the fleet are in none."""
    ids = world.campaign(world.fleet(size + others)[:size], Policy(waves=(Wave(share=1),), gate=gate))
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
    return ids


def say(world: World, ids: list[int], *events: Event) -> None:
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, event) for update_id in ids for event in events], world.now)


def event(kind: Kind, at, leg: Leg | None = None, evidence=Evidence.DEVICE, **more) -> Event:
    return Event(kind, at, leg, attempt=1 if leg else 0, evidence=evidence, **more)


def activated(world: World) -> list[Event]:
    at = world.now
    return [
        event(Kind.SENT, at, Leg.DISTRIBUTE, Evidence.OURS),
        event(Kind.VERIFIED, at + timedelta(minutes=1), Leg.DISTRIBUTE, detail=HASH),
        event(Kind.SENT, at + timedelta(minutes=2), Leg.ACTIVATE, Evidence.OURS),
        event(Kind.ACTIVATED, at + timedelta(minutes=3), Leg.ACTIVATE, version=VERSION),
    ]


def settle(world: World, ids: list[int], without: Kind | None = None) -> None:
    end = world.now + 2 * DAY
    told = [
        *activated(world),
        event(Kind.SENT, end, Leg.READ, Evidence.OURS),
        event(Kind.VERSION, end, Leg.READ, Evidence.READ_BACK, version=VERSION),
        event(Kind.SETTLED, end, evidence=Evidence.OURS),
    ]
    say(world, ids, *(each for each in told if each.kind is not without))


def go_quiet(world: World, ids: list[int]) -> None:
    asked = [event(Kind.SENT, world.now + days * DAY, Leg.READ, Evidence.OURS) for days in (2, 3)]
    closed = event(Kind.CLOSED, world.now + 4 * DAY, evidence=Evidence.OURS, detail="quiet")
    say(world, ids, *activated(world), *asked, closed)


def close(world: World, **more) -> Judgement:
    with world.engine.begin() as connection:
        return judging.close_wave(connection, "spring", 1, world.now + 5 * DAY, **more)


def explained(world: World) -> judging.Explained:
    with world.engine.begin() as connection:
        return judging.recompute(connection, "spring", 1)


def counts(world: World) -> Counts:
    return explained(world).inputs.counts


def test_a_wave_that_went_well_passes_and_its_verdict_comes_out_of_its_inputs_again(world):
    settle(world, begin(world, 8))
    assert close(world) == Judgement(Verdict.PASS, "8 of 8 devices with evidence settled")
    found = explained(world)
    assert found.equal
    (stratum,) = found.inputs.strata
    assert str(stratum) == "121D/1111 from 00000001 in South"
    assert stratum.counts == Counts(settled=8)
    assert stratum.seen == {Proof.VERIFIED: 8, Proof.ACTIVATED: 8, Proof.READ_BACK: 8}
    assert found.gate == GATE


def test_the_first_verdict_of_a_wave_stands(world):
    ids = begin(world, 8)
    settle(world, ids[:4])
    first = close(world)
    assert first.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    settle(world, ids[4:])
    assert close(world) == first


def test_every_device_counts_once_and_the_excused_nowhere(world):
    ids = begin(world, 8)
    settle(world, ids[:2])
    go_quiet(world, ids[2:3])
    for update_id, outcome in zip(ids[3:6], ("failed", "not_verified", "left"), strict=True):
        say(world, [update_id], event(Kind.CLOSED, world.now, evidence=Evidence.OURS, detail=outcome))
    close(world)
    assert counts(world) == Counts(settled=2, failed=1, refused=1, silent=1, open=2)


def test_a_visit_that_an_activated_device_needs_is_not_excused(world):
    ids = begin(world, 8)
    say(world, ids[:1], *activated(world))
    say(world, ids[:2], event(Kind.CLOSED, world.now + DAY, evidence=Evidence.OURS, detail="needs_visit"))
    settle(world, ids[2:])
    close(world)
    assert counts(world) == Counts(settled=6, silent=1)


@pytest.mark.parametrize("missing", [Kind.VERIFIED, Kind.ACTIVATED, Kind.VERSION])
def test_a_kind_of_evidence_that_was_lost_whole_never_passes(world, missing):
    settle(world, begin(world, 30), without=missing)
    judged = close(world)
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert f"evidence of the kind '{missing}' came from none of the 30 settled devices" in judged.reason


def test_the_inventorys_word_is_no_read_back(world):
    ids = begin(world, 10)
    settle(world, ids, without=Kind.VERSION)
    say(world, ids, event(Kind.VERSION, world.now + 3 * DAY, evidence=Evidence.DCC, version=VERSION))
    assert "'version' came from none" in close(world).reason


def test_a_failed_verification_at_power_on_during_the_soak_is_harm(world):
    ids = begin(world, 8)
    settle(world, ids)
    with world.engine.begin() as connection:
        for number, reason, at in ((0, "8F1B", DAY), (1, "8F1B", -DAY), (2, "another alarm", DAY)):
            connection.execute(
                text(
                    "INSERT INTO note (at, actor, verb, subject, reason, document) SELECT :at, 'hanwave', 'alarm',"
                    " 'device/' || eui, :reason, '{}' FROM campaign_device WHERE id = :id"
                ),
                {"at": world.now + at, "reason": reason, "id": ids[number]},
            )
    close(world)
    assert counts(world) == Counts(settled=7, failed=1)


def heard(world: World, where: str, **ago: float) -> None:
    with world.engine.begin() as connection:
        statement = text(f"UPDATE device SET last_heard = :at WHERE {where}")
        connection.execute(statement, {"at": world.now - timedelta(**ago)})


def test_silence_is_compared_with_what_it_was_before_and_with_the_not_yet_updated(world):
    world.fleet(60)
    heard(world, "eui < '00-DB-00-00-00-00-00-10'", days=30)  # 16 of the 40 of the wave
    heard(world, "eui >= '00-DB-00-00-00-00-00-10'", days=1)
    heard(world, "eui >= '00-DB-00-00-00-00-00-32'", days=40)  # 10 of the 20 beside it
    with world.engine.begin() as connection:
        euis = list(connection.execute(text("SELECT eui FROM device ORDER BY eui LIMIT 40")).scalars())
    ids = world.campaign(euis, Policy(waves=(Wave(share=1),), gate=GATE))
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
    heard(world, "eui < '00-DB-00-00-00-00-00-28'", days=0)  # what is heard after it began changes nothing
    settle(world, ids)
    close(world)
    assert explained(world).inputs.baselines == (Baseline("South", Share(16, 40), Share(10, 20)),)
    assert explained(world).inputs.ordinary == 0.02


def test_a_fleet_that_was_never_heard_of_is_no_baseline(world):
    settle(world, begin(world, 8, others=5))
    close(world)
    assert explained(world).inputs.baselines == ()


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
        ([HEAD, "region,South,2026-11-22T18:00:00,,R1"], "o.csv, line 2: from is 2026-11-22T18:00:00, without a zone"),
        ([HEAD, "region,South,yesterday,,R1"], "o.csv, line 2: from is 'yesterday': it should be a time"),
        ([HEAD, "region,South,2026-11-22T18:00:00Z,2026-11-22T17:00:00Z,R1"], "o.csv, line 2: to is 2026-11-22T17:00"),
        ([HEAD, "", "region,,2026-11-22T18:00:00Z,,R1"], "o.csv, line 3: value is empty"),
        ([HEAD, "region,South,2026-11-22T18:00:00Z,"], "o.csv, line 2: 4 fields, it should be 5"),
        ([HEAD, 'region,"South'], "o.csv, line 2: it is not CSV"),
    ],
)
def test_a_wrong_report_is_refused_by_its_line(rows, says):
    with pytest.raises(LedgerError) as caught:
        outages.read_outages(rows, "o.csv")
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) <= 240


# Service checks.

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
    return close(world, services=service_checks.run(world.engine, "spring", 1, world.now + 5 * DAY))


@pytest.mark.parametrize(
    ("stopped", "verdict"), [(0, Verdict.PASS), (20, Verdict.FAIL), (6, Verdict.NOT_ENOUGH_EVIDENCE)]
)
def test_devices_that_stopped_doing_their_job_fail_a_wave_whose_update_succeeded(world, installed, stopped, verdict):
    installed(FILE.format(stopped=stopped))
    settle(world, begin(world, 20, CHECKED, others=40))
    judged = checked(world)
    assert judged.verdict is verdict
    (service,) = explained(world).inputs.services
    (region,) = service.regions
    assert (region.updated, region.others) == (Share(stopped, 20), Share(0, 40))


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


# Explaining.


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["hanwave", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    return caught.value.code or 0, said.out, said.err


def test_explain_shows_each_bound_and_stratum_and_that_the_verdict_is_the_same(world, ledger_dsn, monkeypatch, capsys):
    ids = begin(world, 10)
    settle(world, ids[:9])
    go_quiet(world, ids[9:])
    close(world)
    code, out, _ = run(monkeypatch, capsys, "campaign", "explain", "spring", "--database", ledger_dsn)
    assert code == 0
    for said in (
        "the same from its inputs",
        "harm of 121D/1111 from 00000001 in South",
        "silence, than before the update",
    ):
        assert said in out
    code, out, _ = run(
        monkeypatch, capsys, "campaign", "explain", "spring", "--wave", "1", "--json", "--database", ledger_dsn
    )
    (facts,) = json.loads(out)["waves"]
    assert (code, facts["equal"], facts["stored"]["verdict"]) == (0, True, "pass")
    assert facts["inputs"]["strata"][0]["counts"]["silent"] == 1


def test_a_verdict_that_its_inputs_do_not_give_is_found(world, ledger_dsn, monkeypatch, capsys):
    go_quiet(world, begin(world, 10))
    close(world)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET verdict = 'pass'"))
    code, out, err = run(monkeypatch, capsys, "campaign", "explain", "spring", "--database", ledger_dsn)
    assert code == 1
    assert "but its inputs give not enough evidence" in out
    assert "the kept verdict of wave 1 of spring is not what its inputs give" in err


def test_what_was_not_judged_or_cannot_be_read_is_refused(world):
    begin(world, 2)
    with pytest.raises(LedgerError, match="wave 1 of spring was not judged yet"):
        explained(world)
    with world.engine.begin() as connection, pytest.raises(LedgerError, match="has no wave 7"):
        judging.recompute(connection, "spring", 7)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET verdict = 'pass', judged = '{\"gate\": {\"harm\": 95}}'"))
    with pytest.raises(LedgerError, match="what wave 1 of spring was judged by cannot be read"):
        explained(world)


def test_the_waves_own_gate_is_the_one_that_judges(world):
    strict = Gate(harm=0.01)
    ids = world.campaign(world.fleet(8), Policy(waves=(Wave(share=1, gate=strict),), gate=GATE))
    settle(world, ids)
    assert close(world).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert explained(world).gate == strict
    with world.engine.begin() as connection:
        assert campaigns.gate(connection, "spring", 1) == strict
