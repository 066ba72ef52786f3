"""A bench as the control room sees it, through a real Prometheus: every panel has an answer, and counts what was sent."""

import json
import re
import shutil
from contextlib import closing, contextmanager

import pytest
import yaml
from prometheus_client import start_http_server
from prometheus_client.registry import CollectorRegistry

import hanwave
from hanwave.ledger import audit, releases
from hanwave.ledger.gauges import Bounds
from hanwave.settings import Settings
from infra.grafana.bench import BENCH
from infra.prometheus import configuration
from infra.stack.ports import HOST, Ports
from tests.bench.test_worker import request, until, until_over
from tests.bench.test_worker_killed import there, worker
from tests.bench.worker import QUICK, fleet, give, release
from tests.support.control_room import empty, prometheus
from tests.support.ledger import US
from workers.bench.ledger import now
from workers.exporter import LedgerCollector
from workers.wiring import campaign_worker

pytestmark = [
    pytest.mark.bench,
    pytest.mark.workflow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not on the PATH"),
]
DEVICES = 2
BLOCKS = 62
"""Of a device, as long as the image of tests.bench.worker is of SIZE octets, in blocks of 50."""


@contextmanager
def exporter(ledger, port):
    """The exporter's own collector, read when the test says so."""
    registry, collector = CollectorRegistry(), LedgerCollector(ledger, Bounds())
    registry.register(collector)
    server, thread = start_http_server(port, HOST, registry)
    yield collector
    server.shutdown()
    server.server_close()
    thread.join()


def one(asked, expr):
    return sum(float(each["value"][1]) for each in asked.now(expr))


async def test_every_panel_of_the_benchs_dashboard_has_an_answer_and_counts_what_was_sent(
    world, temporal, ledger_dsn, tmp_path
):
    give(world, release())
    fleet(world, DEVICES)
    address = temporal.service_client.config.target_host
    with closing(Ports()) as ports:
        port = ports.claim(["bench", "exporter"], before={})
        environment = {
            "HANWAVE_POSTGRES__DSN": ledger_dsn,
            "HANWAVE_TEMPORAL__ADDRESS": address,
            "HANWAVE_METRICS__BENCH": str(port["bench"]),
            "HANWAVE_BENCH__NAME": "watched",
            "HANWAVE_BENCH__RADIO": "virtual",
            "HANWAVE_BENCH__POLICY": json.dumps(QUICK),
            "HANWAVE_BENCH__TRAINING": json.dumps({"devices": DEVICES}),
        }
        said = tmp_path / "prometheus.yaml"
        said.write_text(yaml.safe_dump(configuration({name: [f"{HOST}:{port[name]}"] for name in port})))
        async with (
            campaign_worker(temporal, world.engine, US),
            worker(tmp_path, **environment),
            hanwave.Client.connect(Settings(), address=address, dsn=ledger_dsn, user_id=US) as client,
        ):
            with exporter(world.engine, port["exporter"]) as ledger, prometheus(said, tmp_path / "p") as asked:
                # By now it works: who asks a bench at which nobody does waits for long.
                await there(client.bench("watched"), DEVICES)
                good = await client.start("watched-good", request("watched"))
                assert (await until_over(good)).funnel == {"settled": DEVICES}
                with world.engine.begin() as connection:
                    releases.pass_lab(connection, "watched-good", "ann", now(), training=True)
                audit.catch_up(world.engine, whole=True)
                ledger.refresh(now())
                await until(lambda: not unanswered(asked), 60)
                await until(lambda: one(asked, 'hanwave_bench_transfers_ended_total{outcome="activated"}') == DEVICES)
                # On a slow machine a device may ask for a block again before it is answered.
                assert one(asked, "hanwave_bench_blocks_total - hanwave_bench_repeats_total") == DEVICES * BLOCKS
                told = {value for each in asked.now('{job=~".+"}') for value in each["metric"].values()}
                assert "bench/watched" in told
                assert not any(re.search("([0-9a-fA-F]{2}[-:]){7}", value) for value in told if value != US)


def unanswered(asked):
    return [expr for panel in BENCH.panels for expr in empty(asked, panel)]
