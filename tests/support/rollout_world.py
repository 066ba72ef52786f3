"""The whole of hanwave in a folder of its own, with a small fleet: a test breaks parts of it while campaigns run."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from hanwave.client import Client
from hanwave.credentials import Certificate, load_private_key
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release
from hanwave.ledger import database, fleet, releases
from hanwave.ledger.cpl import import_cpl
from hanwave.rollout.policy import DeviceType
from infra.demo.books import devices, disagreements
from infra.demo.scenario import SIGNED
from infra.emulator.pki import SUPPLIER
from infra.samples import make_samples
from infra.stack.declared import PROCESSES, SETTINGS
from infra.stack.stack import Stack

SPRINKLED: list[dict[str, Any]] = [
    {"fault": "lost_response", "share": 0.08, "legs": ["activate"], "attempts": [1]},
    {"fault": "ack_lost", "share": 0.05, "attempts": [1]},
    {"fault": "duplicate", "share": 0.1},
    {"fault": "reordered", "share": 0.1},
    {"fault": "late", "share": 0.02},
    {"fault": "delivery_failure", "share": 0.05, "attempts": [1]},
    {"fault": "transfer_failure", "share": 0.05, "attempts": [1]},
]
"""What goes wrong anyway, while processes are killed. Nothing of it lasts: each device can end well."""

# A device that is silent because a process is down must not run out of attempts: that is what the allowances are for.
POLICY: dict[str, Any] = {
    "deadlines": {
        kind: {
            "distribute": "20s",
            "activate": "8s",
            "read": "6s",
            "activate_unverified_after": "4s" if kind == DeviceType.HCALCS else None,
        }
        for kind in DeviceType
    },
    "attempts": {"distribute": 5, "activate": 6, "read": 12, "gsme_images": 5, "back_off": "1s"},
    "gate": {"harm": 0.7, "silence": 0.95, "confidence": 0.6},
    "sweep": "1s",
    "soak": "3s",
    "pace": {"overall": 50},
}


def request(release: str, *waves: dict[str, float], **policy: Any) -> dict[str, Any]:
    """A campaign's request; in one wave where none is given."""
    return {
        "release": release,
        "author": "test",
        "policy": {**POLICY, "waves": list(waves) or [{"share": 1}], **policy},
    }


@dataclass
class Rollout:
    """A running stack, its ledger, and the emulator's levers."""

    stack: Stack
    ledger: Engine

    @property
    def samples(self) -> Path:
        return self.stack.folder / "samples"

    @property
    def config(self) -> Path:
        return self.stack.folder / "hanwave.toml"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.stack.port('emulator_admin')}"

    def lever(self, path: str, body: Any) -> Any:
        """POST to the emulator's admin port."""
        answer = httpx.post(f"{self.admin}{path}", json=body, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()

    def faults(self, *faults: dict[str, Any]) -> None:
        self.lever("/faults", {"faults": list(faults)})

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client.connect(
            address=self.stack.temporal, dsn=self.stack.dsn, user_id=str(SUPPLIER), patience=30
        ) as client:
            yield client

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        """Ask the ledger; again, where the connection was lost with a server that was killed."""
        for _ in range(3):
            try:
                with self.ledger.connect() as connection:
                    return connection.execute(text(statement), values).all()
            except OperationalError:
                time.sleep(0.2)
        raise AssertionError("the ledger cannot be reached")

    def value(self, statement: str, **values: Any) -> Any:
        return self.rows(statement, **values)[0][0]

    def events(self) -> int:
        return int(self.value("SELECT count(*) FROM device_event"))

    async def until(self, true: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait until the ledger (or anything else) says so."""
        deadline = time.monotonic() + seconds
        while not (held := await asyncio.to_thread(true)):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            await asyncio.sleep(0.2)
        return held

    def assert_books(self) -> None:
        """What the ledger claims, the books do not deny; no command was executed twice; a RequestID has one body."""
        with self.ledger.connect() as connection:
            denied = disagreements(connection, self.admin)
        assert not denied, "\n".join(denied)
        assert httpx.get(f"{self.admin}/violations", timeout=30).json() == []

    def unknown(self) -> list[str]:
        """The devices of which the ledger says that it does not know what they run."""
        with self.ledger.connect() as connection:
            return [claim["eui"] for claim in devices(connection) if claim["is_unknown"]]


@contextmanager
def rollout(folder: Path, *, devices: int = 110, speed: float = 3) -> Iterator[Rollout]:
    """A stack, ready, with its fleet and its releases imported. speed divides the emulator's demo delays (seconds)."""
    make_samples(folder / "samples", size=devices)
    processes = [
        replace(p, environment={**p.environment, "HANWAVE_EMULATOR_SPEED": str(speed)}) if p.name == "emulator" else p
        for p in PROCESSES
    ]
    with Stack(folder, processes=processes, settings=SETTINGS) as stack:
        ledger = database.engine(stack.dsn)
        try:
            _load(ledger, folder / "samples")
            yield Rollout(stack, ledger)
        finally:
            ledger.dispose()


def _load(ledger: Engine, samples: Path) -> None:
    now, pki = datetime.now(UTC), samples / "pki"
    key = load_private_key((pki / "supplier-gbcs.key").read_bytes(), "the supplier's GBCS key")
    certificate = Certificate.load((pki / "supplier-gbcs.pem").read_bytes(), "the supplier's GBCS certificate")
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        fleet.import_fleet(connection, file, samples / "refused.csv", "test", now)
    entries = read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries
    with ledger.begin() as connection:
        import_cpl(connection, entries, "test", now)
        for path in sorted((samples / "releases").glob("*.json")):
            releases.import_release(connection, read_release(path.read_bytes()), (), "test", now)
        for name in SIGNED:
            releases.sign_release(connection, name, key, certificate, "test", now)
