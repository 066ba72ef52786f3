"""What the control room is shown, against the ledger's own rows, to the unit; and that it names nobody."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry
from sqlalchemy import text

from hanwave.ledger import audit, campaigns, database, gauges, metrics, outbox, stops
from hanwave.ledger.gauges import Bounds
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from tests.support import messages as m
from tests.support.ledger import ACB, World
from tests.support.routing import ask, deliver, distributed, post
from workers.exporter import LedgerCollector

pytestmark = pytest.mark.ledger
TRUTHS = {
    "hanwave_device_events_total": "SELECT count(*) FROM device_event",
    "hanwave_device_codes_total": "SELECT count(*) FROM device_event WHERE kind IN ('refused', 'unreached')",
    "hanwave_requests_granted_total": "SELECT count(*) FROM outbox",
    "hanwave_requests_ended_total": "SELECT count(*) FROM outbox WHERE state IN ('acknowledged', 'refused', 'abandoned')",
    "hanwave_request_posts_total": "SELECT coalesce(sum(sends), 0) FROM outbox WHERE state IN ('acknowledged', 'refused', 'abandoned')",
    "hanwave_stops_placed_total": "SELECT count(*) FROM stop",
    "hanwave_notes_total": "SELECT count(*) FROM note",
    "hanwave_permit_refusals_total": "SELECT coalesce(sum(delta), 0) FROM refusal_count",
    "hanwave_campaign_devices": "SELECT count(*) FROM campaign_device",
    "hanwave_leg_duration_seconds_count": (
        "SELECT count(*) FROM device_event e WHERE evidence <> 'ours' AND EXISTS (SELECT 1 FROM device_event s"
        " WHERE s.kind = 'sent' AND (s.update_id, s.leg, s.hop, s.attempt) = (e.update_id, e.leg, e.hop, e.attempt))"
    ),
}
"""The sum of each figure over all its labels, as a count over the ledger's own rows."""


def shown(collector: LedgerCollector) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(exposed(collector)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def exposed(collector: LedgerCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def total(found: dict[str, list[tuple[dict[str, str], float]]], name: str) -> float:
    return sum(value for _, value in found.get(name, []))


def assert_true(world: World, collector: LedgerCollector) -> None:
    """Every total is the ledger's, to the unit."""
    audit.catch_up(world.engine)
    collector.refresh(world.now)
    found = shown(collector)
    with world.engine.connect() as connection:
        facts = {name: connection.execute(text(statement)).scalar_one() for name, statement in TRUTHS.items()}
    assert {name: total(found, name) for name in TRUTHS} == facts


@pytest.fixture
def busy(world) -> World:
    """A campaign in which something of everything happened."""
    ids, _ = distributed(world, 4)
    deliver(world, m.verified(at=world.now))
    granted = ask(world, ids[:1], Leg.ACTIVATE, "11.3")
    post(world, granted, outbox.Answer("E5", b"<refused/>"))
    assert ask(world, ids[:2], Leg.ACTIVATE, "11.3").refused
    with world.engine.begin() as connection:
        # It was asked for by nobody: it has no leg, and took no time.
        heard = Event(Kind.HEARD, world.now, evidence=Evidence.DEVICE)
        record(connection, [Fact(ids[1], heard)], world.now)
        stops.open_breaker(connection, "spring/1", "harmed", world.now)
    assert ask(world, ids[2:], Leg.DISTRIBUTE, "11.1", ACB).refused
    return world


def test_totals_are_the_ledgers_to_the_unit_also_after_a_restart_and_a_failure(busy):
    first = LedgerCollector(busy.engine, Bounds())
    assert_true(busy, first)
    found = shown(first)
    assert total(found, "hanwave_permit_refusals_total") == 4
    assert {labels["check"] for labels, _ in found["hanwave_permit_refusals_total"]} == {"step_is_due", "stopped"}
    assert total(found, "hanwave_leg_duration_seconds_count") > 0
    assert [
        value for labels, value in found["hanwave_stops"] if labels["kind"] == "breaker" and labels["campaign"]
    ] == [1]

    with busy.engine.begin() as connection:
        stops.stop(connection, stops.Scope("all"), "halt", "a test", "ann", busy.now)
    again = database.engine(busy.engine.url.render_as_string(hide_password=False).replace("+psycopg", ""))
    second = LedgerCollector(again, Bounds())
    assert_true(busy, second)
    # A round that dies half-way has counted nothing.
    with busy.engine.begin() as connection:
        stops.stop(connection, stops.Scope("model", "121D/1111"), "halt", "a test", "ann", busy.now)
    audit.catch_up(busy.engine)
    with busy.engine.connect() as connection:
        assert metrics.count(connection) > 0
        connection.rollback()
    assert_true(busy, second)
    again.dispose()


def test_a_ledger_that_cannot_be_read_shows_nothing_old(busy):
    collector = LedgerCollector(busy.engine, Bounds())
    collector.refresh(busy.now)
    assert "hanwave_campaign_devices" in shown(collector)
    collector._ledger = database.engine("postgresql://nobody@127.0.0.1:1/none")
    collector.refresh(busy.now)
    found = shown(collector)
    assert "hanwave_campaign_devices" not in found
    assert (total(found, "hanwave_exporter_reading"), total(found, "hanwave_exporter_failures_total")) == (0, 1)


def test_a_campaign_that_cannot_be_understood_ends_no_exporter(busy):
    collector = LedgerCollector(busy.engine, Bounds())
    with busy.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET policy = jsonb_build_object('waves', 3)"))
    busy.engine.dispose()
    collector.refresh(busy.now)
    assert total(shown(collector), "hanwave_exporter_failures_total") == 1


def test_two_count_one_after_the_other_and_each_row_once(busy):
    audit.catch_up(busy.engine)
    with busy.engine.begin() as connection:
        chained = metrics.count(connection, 5)
        with busy.engine.begin() as other:
            assert metrics.count(other) == 0
    assert chained == 5
    assert_true(busy, LedgerCollector(busy.engine, Bounds()))


def test_no_label_names_a_device_a_home_or_a_person_and_the_labels_are_bounded(busy):
    with busy.engine.begin() as connection:
        connection.execute(text("UPDATE device SET mpxn = '1200023305967', home = 'ann-street-7'"))
    for number in range(30):
        with busy.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO tally (campaign, wave, model, state, delta) VALUES ('spring', 1, :model, 'planned', 1)"
                ),
                {"model": f"121D/{number:04X}"},
            )
    audit.catch_up(busy.engine)
    collector = LedgerCollector(busy.engine, Bounds(models=5))
    collector.refresh(busy.now)
    said = exposed(collector)
    # The supplier's own User ID names no device.
    assert not re.search(r"([0-9A-F]{2}-){7}", re.sub(r'user="[^"]*"', "", said))
    assert "1200023305967" not in said
    assert "ann" not in re.sub(r"channel|planned", "", said)
    models = {labels["model"] for labels, _ in shown(collector)["hanwave_campaign_devices"]}
    assert len(models) == 6
    assert gauges.OTHER in models
    assert total(shown(collector), "hanwave_campaign_devices") == 34


def test_a_campaign_that_is_over_drops_out_after_a_while_and_the_rest_stays(busy):
    with busy.engine.begin() as connection:
        campaigns.close(connection, "spring", busy.now)
    audit.catch_up(busy.engine)
    collector = LedgerCollector(busy.engine, Bounds(keep_closed=timedelta(days=7)))
    collector.refresh(busy.now + timedelta(days=6))
    assert "hanwave_campaign_devices" in shown(collector)
    collector.refresh(busy.now + timedelta(days=8))
    found = shown(collector)
    assert not any(labels.get("campaign") for series in found.values() for labels, _ in series)
    assert total(found, "hanwave_stops_placed_total") == 1


def test_a_row_that_was_changed_after_it_was_chained_is_found_and_forgotten_once_it_is_put_right(busy):
    audit.catch_up(busy.engine)
    with busy.engine.begin() as connection:
        assert metrics.look(connection, 3) == 0
        assert metrics.look(connection) == 0
        connection.execute(text("UPDATE stop SET reason = 'nothing at all'"))
        broken = metrics.look(connection)
        place = connection.execute(text("SELECT seq FROM audit WHERE source = 'stop.placed'")).scalar_one()
        assert broken == place
        connection.execute(text("UPDATE stop SET reason = 'harmed'"))
        assert metrics.look(connection) == 0


def test_silence_and_harm_stand_beside_what_the_gate_tolerates(world):
    ids = world.campaign(world.fleet(10), Policy(waves=(Wave(share=1),), gate={"silence": 0.1, "ordinary": 0.1}))
    tally = text(
        "INSERT INTO tally (campaign, wave, model, state, delta) VALUES ('spring', 1, '121D/1111', :state, :n)"
    )
    with world.engine.begin() as connection:
        moved = [{"state": "planned", "n": -len(ids)}, {"state": "settled", "n": 8}, {"state": "closed:quiet", "n": 2}]
        connection.execute(tally, moved)
        found = {reading.name: reading.value for reading in gauges.read(connection, world.now, Bounds())}
        assert found["wave_silent_ratio"] == 0.2
        assert found["wave_silent_limit_ratio"] == pytest.approx(0.2)
        assert "wave_silent_least_ratio" not in found
        connection.execute(tally, [{"state": "settled", "n": -6}, {"state": "closed:quiet", "n": 6}])
        found = {reading.name: reading.value for reading in gauges.read(connection, world.now, Bounds())}
    assert found["wave_silent_ratio"] == 0.8
    assert 0.4 < found["wave_silent_least_ratio"] < 0.8


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on the PATH")
def test_prometheus_own_tool_finds_nothing_against_the_conventions(busy):
    audit.catch_up(busy.engine)
    collector = LedgerCollector(busy.engine, Bounds())
    collector.refresh(datetime.now(UTC))
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed(collector), capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
