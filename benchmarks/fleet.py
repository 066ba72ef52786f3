"""How fast a fleet comes in: a million devices from CSV into a real PostgreSQL, twice, and then a delta of one per cent.

    python benchmarks/fleet.py [devices]

Goal: a million new devices in under a minute, with memory that does not grow with the file. The peak is this process's
own; the server's is bounded by its settings. The last line is JSON.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hanwave.identifiers import EUI64
from hanwave.ledger import database
from hanwave.ledger.fleet import FleetImport, import_fleet
from hanwave.ledger.fleet_file import COLUMNS
from infra.stack.postgres import APPLICATION, Postgres

VERSIONS = ("00000001", "00000002")


def rows(size: int, step: int = 1, version: int = 0) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\n"
    for n in range(0, size, step):
        eui, hub = (EUI64((kind << 48 | number).to_bytes(8, "big")) for kind, number in ((0xDB, n), (0xDC, n // 3)))
        yield (
            f"{eui},ESME,121D,{n % 7:04X},0001,{VERSIONS[version]},Commissioned,{hub},South,home-{n // 3},"
            f"{10**12 + n // 3},credit,,90-B3-D5-1F-30-01-00-00,,{10**18 + n % 50}\n"
        )


def run(dsn: str, path: Path, lines: Iterator[str]) -> FleetImport:
    with path.open("w") as out:
        out.writelines(lines)
    engine = database.engine(dsn)
    with path.open("rb") as file, database.connect(engine) as connection:
        done = import_fleet(connection, file, path.with_suffix(".refused"), "benchmark", datetime.now(UTC))
    engine.dispose()
    return done


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres")
        with server.running():
            owner = database.engine(server.dsn())
            database.migrate(owner, APPLICATION)
            owner.dispose()
            files = {
                "new": rows(size),
                "again": rows(size),
                "delta": rows(size, 100, version=1),
                "every_row_changed": rows(size, version=1),
            }
            for name, lines in files.items():
                done = run(server.dsn(APPLICATION), Path(folder) / "fleet.csv", lines)
                print(f"{name}: {done}")
                facts |= {f"{name}_s": done.seconds, f"{name}_rows_per_s": round(done.rows / done.seconds)}
    facts["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"devices": size, **facts}))


if __name__ == "__main__":
    main()
