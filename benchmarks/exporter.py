"""What watching costs: the exporter over a million devices in an update, and what a campaign's page asks.

    python -m benchmarks.exporter [devices]

A real PostgreSQL, the exporter as a process of its own, and scrapes over HTTP. Goals: a reading of the ledger and a scrape
each under 500 ms, 100 MB, and a campaign's page under 100 ms. own_mb counts the libraries that other processes of hanwave have
loaded too by the share of each (Pss). The last line is JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import Engine, text

from benchmarks.usage import megabytes
from hanwave.ledger import database, metrics, overview
from hanwave.ledger.audit_verify import GENESIS
from hanwave.rollout.policy import Policy, Wave
from hanwave.settings import variables
from infra.stack.ports import HOST, Ports
from infra.stack.postgres import APPLICATION, Postgres

_FIRST = 0x00DB_0000_0000_0000
_WAVES = 10
_MODELS = 30
_UNCOUNTED = metrics.BATCH
_SCRAPES = 20


def fill(owner: Engine, devices: int) -> None:
    """Devices of thirty models in ten waves of one campaign, two events each; the last ones are chained and not counted.

    Half have settled, and one in a thousand is silent.
    """
    hexadecimal = f"upper(regexp_replace(lpad(to_hex({_FIRST} + n), 16, '0'), '(..)(?!$)', '\\1-', 'g'))"
    now = datetime.now(UTC)
    policy = Policy(waves=(*[Wave(count=1)] * (_WAVES - 1), Wave(share=1))).model_dump_json()
    values = {"now": now, "last": devices - 1, "policy": policy, "genesis": GENESIS}
    statements = (
        (
            f"INSERT INTO device (eui, device_type, manufacturer, model, hardware_version, firmware_version, smi_status, hub,"
            f" region, home, payment_mode, import_supplier, updated_at) SELECT {hexadecimal}, 'ESME', '121D', n % {_MODELS},"
            " '0001', '0000000' || n % 3, 'Commissioned', 'hub-' || n, 'South', 'home-' || n, 'credit', 'us', :now"
            " FROM generate_series(0, :last) n"
        ),
        "INSERT INTO release VALUES ('r2', 'ESME', '121D', '00000002', '', 'general', '{}', :now)",
        (
            "INSERT INTO campaign (name, release, user_id, policy, seed, digest, status, author, kind, request, created_at)"
            " VALUES ('spring', 'r2', 'us', CAST(:policy AS jsonb), '', 'd', 'running', 'ann', 'forward', '{}', :now)"
        ),
        (
            "INSERT INTO campaign_device (campaign, wave, eui, device_type, model, hop, state, step, due_at, reason, started,"
            " told, changed_at, outcome) SELECT 'spring', 1 + n % 10, eui, 'ESME', manufacturer || '/' || model, 1,"
            " CASE WHEN n % 997 = 0 THEN 'closed' WHEN n / 10 % 2 = 0 THEN 'settled' ELSE 'activated' END, 'wait',"
            " :now + interval '1 day', '', true, false, :now, CASE WHEN n % 997 = 0 THEN 'quiet' END"
            " FROM (SELECT *, row_number() OVER () AS n FROM device) d"
        ),
        "INSERT INTO wave (campaign, number, size, opened_at) SELECT campaign, wave, count(*), :now FROM campaign_device GROUP BY 1, 2",
        (
            "INSERT INTO tally (campaign, wave, model, state, delta) SELECT campaign, wave, model,"
            " concat_ws(':', state, outcome), count(*) FROM campaign_device GROUP BY 1, 2, 3, 4"
        ),
        (
            "INSERT INTO device_event (update_id, eui, kind, leg, hop, attempt, at, recorded_at, evidence) SELECT u.id, u.eui, k,"
            " 'activate', 1, 1, :now, :now, CASE k WHEN 'sent' THEN 'ours' ELSE 'device' END FROM campaign_device u,"
            " unnest(ARRAY['sent', 'activated']) k"
        ),
        (
            "INSERT INTO audit (seq, source, \"row\", previous, hash) SELECT row_number() OVER (ORDER BY id), 'device_event', id,"
            f" :genesis, :genesis FROM (SELECT id FROM device_event ORDER BY id DESC LIMIT {_UNCOUNTED}) e"
        ),
    )
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def timed(work: Callable[[], object], times: int) -> float:
    """Milliseconds, the median of so many."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def watched(dsn: str, folder: Path) -> dict[str, float]:
    """What the exporter says of itself after a few readings, and how long a scrape takes."""
    ports = Ports()
    port = ports.claim(["exporter"], before={})["exporter"]
    told = variables({"postgres.dsn": dsn, "metrics.exporter": str(port), "metrics.refresh": "1"})
    process = subprocess.Popen([sys.executable, "-m", "workers.exporter"], env={**os.environ, **told}, cwd=folder)
    url = f"http://{HOST}:{port}/metrics"
    try:
        _wait(url)
        reads = []
        for _ in range(8):
            time.sleep(1.2)
            reads.append(_value(httpx.get(url).text, "hanwave_exporter_read_duration_seconds"))
        scrape = timed(lambda: httpx.get(url).raise_for_status(), _SCRAPES)
        said = httpx.get(url).text
        own = megabytes({"exporter": process.pid})["exporter"]
    finally:
        process.terminate()
        process.wait(20)
        ports.close()
    return {
        "read_ms": round(statistics.median(reads) * 1000, 1),
        "slowest_read_ms": round(max(reads) * 1000, 1),
        "scrape_ms": round(scrape, 1),
        "scrape_octets": len(said),
        "series": sum(not line.startswith("#") for line in said.splitlines()),
        "resident_mb": round(_value(said, "process_resident_memory_bytes") / 1e6, 1),
        "own_mb": round(own, 1),
    }


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError("the exporter does not answer")


def _value(said: str, name: str) -> float:
    return next(float(line.split()[1]) for line in said.splitlines() if line.startswith(f"{name} "))


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres")
        with server.running():
            owner = database.engine(server.dsn())
            database.migrate(owner, APPLICATION)
            fill(owner, devices)
            began = time.perf_counter()
            counted = metrics.catch_up(owner)
            count_ms = (time.perf_counter() - began) * 1000
            with owner.connect() as connection:
                page = timed(lambda: overview.view(connection, "spring", datetime.now(UTC)), 10)
            found = watched(server.dsn(APPLICATION), Path(folder))
            owner.dispose()
    found |= {"devices": devices, "page_ms": round(page, 1), "count_us_per_row": round(count_ms * 1000 / counted, 1)}
    for name, value in found.items():
        print(f"{name:20}{value:>12,}")
    print(json.dumps({"benchmark": "exporter", **found}))


if __name__ == "__main__":
    main()
