"""How long the contact centre waits: looks at homes of a million devices, each with an update and its events behind it.

    python -m benchmarks.lookup [devices] [looks]

By MPAN, by a device's EUI-64 and by the home's key in turn, each in a transaction of its own that notes who looked, on a
real PostgreSQL. Goal: 99 of 100 in under 200 ms. The last line is JSON.
"""

import json
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from hanwave.identifiers import EUI64
from hanwave.ledger import database, lookup
from infra.stack.postgres import LOOKUP, Postgres

_IN_HOME = 2
_FIRST = 0x00DB_0000_0000_0000


def eui(number: int) -> str:
    return str(EUI64((_FIRST + number).to_bytes(8, "big")))


def fill(owner: Engine, devices: int) -> None:
    """Devices in homes of two; each in one campaign, with the six events of an update that went well."""
    hexadecimal = f"upper(regexp_replace(lpad(to_hex({_FIRST} + n), 16, '0'), '(..)(?!$)', '\\1-', 'g'))"
    now = datetime.now(UTC)
    with owner.begin() as connection:
        for statement in (
            (
                f"INSERT INTO device (eui, device_type, manufacturer, model, hardware_version, firmware_version, smi_status, hub,"
                f" region, home, mpxn, payment_mode, import_supplier, updated_at) SELECT {hexadecimal}, 'ESME', '121D', '1111',"
                f" '0001', '00000002', 'Commissioned', 'hub-' || n / {_IN_HOME}, 'South', 'home-' || n / {_IN_HOME},"
                f" (1000000000000 + n / {_IN_HOME})::text, 'credit', 'us', :now FROM generate_series(0, :last) n"
            ),
            "INSERT INTO release VALUES ('r2', 'ESME', '121D', '00000002', '', 'general', '{}', :now)",
            (
                "INSERT INTO campaign (name, release, user_id, policy, seed, digest, status, author, kind, urgent, shadow, request,"
                " created_at) VALUES ('spring', 'r2', 'us', '{}', '', '', 'closed', 'ann', 'forward', false, false, '{}', :now)"
            ),
            (
                "INSERT INTO campaign_device (campaign, wave, eui, device_type, hop, state, step, reason, started, told, changed_at)"
                " SELECT 'spring', 1, eui, 'ESME', 1, 'settled', 'done', '', true, true, :now FROM device"
            ),
            (
                "INSERT INTO device_event (update_id, eui, kind, leg, hop, attempt, at, recorded_at, evidence, version)"
                " SELECT u.id, u.eui, k, 'activate', 1, 1, :now, :now, 'device', '00000002' FROM campaign_device u,"
                " unnest(ARRAY['granted', 'sent', 'accepted', 'activated', 'version', 'settled']) k"
            ),
        ):
            connection.execute(text(statement), {"now": now, "last": devices - 1})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def looks(ledger: Engine, devices: int, many: int) -> list[float]:
    """The milliseconds of each look, in random order over the whole fleet."""
    drawn = random.Random(1)
    took = []
    for n in range(many):
        device = drawn.randrange(devices)
        home = device // _IN_HOME
        key = (str(10**12 + home), eui(device), f"home-{home}")[n % 3]
        began = time.perf_counter()
        with database.connect(ledger) as connection:
            found = lookup.look(connection, key, "benchmark", datetime.now(UTC), "us")
        took.append((time.perf_counter() - began) * 1000)
        assert len(found.devices) == _IN_HOME
        assert found.devices[0].updates[0].changed_at
    return sorted(took)


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    many = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres")
        with server.running():
            owner = database.engine(server.dsn())
            database.migrate(owner, lookup_role=LOOKUP)
            fill(owner, devices)
            owner.dispose()
            ledger = database.engine(server.dsn(LOOKUP))
            took = looks(ledger, devices, many)
            ledger.dispose()
    facts = {"half_ms": took[many // 2], "p99_ms": took[many * 99 // 100], "most_ms": took[-1]}
    for name, value in facts.items():
        print(f"{name}: {value:.2f}")
    print(json.dumps({"devices": devices, "looks": many, **{name: round(value, 2) for name, value in facts.items()}}))


if __name__ == "__main__":
    main()
