"""The whole of hanwave in a folder of its own, with a small fleet: a test breaks parts of it while campaigns run."""

import asyncio
import csv
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from threading import Lock
from typing import Any

import httpx
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from hanwave.client import Client
from hanwave.credentials import Certificate, load_private_key
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import CplEntry, read_cpl
from hanwave.firmware.document import read_release
from hanwave.firmware.terms import CplStatus
from hanwave.identifiers import EUI64
from hanwave.ledger import database, fleet, releases
from hanwave.ledger.cpl import import_cpl
from hanwave.rollout.policy import DeviceType
from infra.demo.books import devices, disagreements
from infra.demo.scenario import SIGNED
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER
from infra.samples import make_samples
from infra.stack.declared import ONLOOKERS, without
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
            # A GSME whose word of the image is late gets no second one: on a slow machine too only a lost word ends it.
            "distribute": "90s" if kind == DeviceType.GSME else "20s",
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


def request(release: str, *waves: dict[str, Any], **policy: Any) -> dict[str, Any]:
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
    wrong: dict[str, Any] = field(default_factory=lambda: {"faults": []})
    """All that goes wrong now, as the emulator was told it."""
    changing: Lock = field(default_factory=Lock)

    @property
    def samples(self) -> Path:
        return self.stack.folder / "samples"

    @property
    def config(self) -> Path:
        return self.stack.folder / "hanwave.toml"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.stack.port('emulator_admin')}"

    def asking(self) -> httpx.Client:
        """A client of the emulator's admin port, which another scenario may just be starting again."""
        return httpx.Client(base_url=self.admin, timeout=30, transport=httpx.HTTPTransport(retries=6))

    def lever(self, path: str, body: Any) -> Any:
        """POST to the emulator's admin port."""
        with self.asking() as client:
            answer = client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def faults(self, *faults: dict[str, Any]) -> None:
        """These faults from now on, and nothing else that goes wrong."""
        with self.changing:
            self.wrong = {"faults": list(faults)}
            self.lever("/faults", self.wrong)

    def more_goes_wrong(self, *faults: dict[str, Any], **other: Any) -> None:
        """These faults beside what goes wrong already: a scenario's own, while others run."""
        with self.changing:
            self.wrong |= other | {"faults": [*self.wrong["faults"], *faults]}
            self.lever("/faults", self.wrong)

    def device(self, eui: str) -> dict[str, Any]:
        """What the emulator's books hold of a device, with its story."""
        with self.asking() as client:
            found: dict[str, Any] = client.get(f"/devices/{eui}").json()
        return found

    def hand_over(self, euis: Iterable[str], supplier: EUI64, **more: str) -> None:
        """Those devices are that supplier's from now on: for the DCC, and in the fleet feed, which may say more of them."""
        for eui in euis:
            self.lever(f"/devices/{eui}", {"supplier": str(supplier)})
        with (self.samples / "fleet.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["eui"] in euis]
        suppliers = dict.fromkeys(("import_supplier", "gas_supplier"), str(supplier))
        feed = StringIO()
        writer = csv.DictWriter(feed, rows[0])
        writer.writeheader()
        writer.writerows(row | suppliers | more for row in rows)
        refused, octets = self.samples / "refused.csv", BytesIO(feed.getvalue().encode())
        with self.ledger.begin() as connection:
            done = fleet.import_fleet(connection, octets, refused, "test", datetime.now(UTC))
        assert (done.changed, done.refused) == (len(rows), 0), done

    def set_cpl(self, version: str, status: CplStatus) -> None:
        """What the Central Products List says of a version from now on, as the ledger imports it."""
        found = [each for each in _cpl(self.samples) if str(each.firmware_version) == version]
        changed = [replace(each, status=status) for each in found]
        with self.ledger.begin() as connection:
            assert import_cpl(connection, changed, "test", datetime.now(UTC)).changed == len(changed) > 0

    def sign(self, release: str, user: str = "supplier") -> None:
        """Sign a release with a supplier's key of now."""
        _sign(self.ledger, self.samples, release, user)

    @asynccontextmanager
    async def client(self, user_id: EUI64 = SUPPLIER) -> AsyncIterator[Client]:
        async with Client.connect(
            address=self.stack.temporal, dsn=self.stack.dsn, user_id=str(user_id), patience=30
        ) as client:
            yield client

    def states(self, campaign: str) -> dict[str, int]:
        """How many of a campaign's devices ended so, or are so."""
        statement = (
            "SELECT coalesce(outcome, state) AS end, count(*) AS n FROM campaign_device WHERE campaign = :c GROUP BY 1"
        )
        return {row.end: row.n for row in self.rows(statement, c=campaign)}

    def posts(self, campaign: str, leg: str | None = None) -> int:
        """How many forward requests (of a leg) of a campaign were posted."""
        statement = (
            "SELECT count(*) FROM outbox WHERE campaign = :c AND permit_class = 'forward' AND sends > 0"
            " AND (CAST(:leg AS text) IS NULL OR leg = :leg)"
        )
        return int(self.value(statement, c=campaign, leg=leg))

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
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}; {await asyncio.to_thread(self.under_way)}")
            await asyncio.sleep(0.2)
        return held

    def under_way(self) -> str:
        """What a machine that nobody can look at must tell: where each stands that is not at its end, and why no further."""
        devices = self.rows(
            "SELECT u.campaign, u.eui, u.state, u.outcome, u.step, u.due_at, u.reason, u.picked_at, m.leg, m.attempt, b.state AS request"
            " FROM campaign_device u LEFT JOIN LATERAL (SELECT * FROM outbox_device o WHERE o.update_id = u.id"
            " ORDER BY o.outbox_id DESC LIMIT 1) m ON true LEFT JOIN outbox b ON b.id = m.outbox_id"
            " WHERE u.state <> 'settled' ORDER BY u.state = 'closed', u.state = 'planned', u.campaign, u.eui LIMIT 60"
        )
        stops = self.rows("SELECT scope, value, leg, kind, reason FROM stop WHERE lifted_at IS NULL LIMIT 20")
        return "\n".join(map(str, ("under way:", *devices, "stopped:", *stops)))

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
def rollout(folder: Path, *, devices: int = 110, speed: float = 3, onlookers: Sequence[str] = ()) -> Iterator[Rollout]:
    """A stack of two User IDs, ready, with its fleet and its releases imported.

    speed divides the emulator's demo delays (seconds); of the onlookers those run that are named. What is signed is
    signed for the first User ID.
    """
    make_samples(folder / "samples", size=devices)
    told = {"HANWAVE_EMULATOR_SPEED": str(speed), "HANWAVE_EMULATOR_RECEIVERS": _RECEIVERS}
    needed, settings = without(*(each for each in ONLOOKERS if each not in onlookers))
    processes = [replace(p, environment={**p.environment, **told}) if p.name == "emulator" else p for p in needed]
    with Stack(folder, processes=processes, settings=settings | _SECOND) as stack:
        ledger = database.engine(stack.dsn)
        try:
            _load(ledger, folder / "samples")
            yield Rollout(stack, ledger)
        finally:
            ledger.dispose()


_KEYS = "{state}/samples/pki/second"
_SECOND = {
    f"suppliers.second.{kind}_{part}": f"{_KEYS}-{kind}.{suffix}"
    for kind in ("xml", "gbcs")
    for part, suffix in (("key", "key"), ("certificate", "pem"))
}
_RECEIVERS = f'{{{{"{SECOND_SUPPLIER}": "https://127.0.0.1:{{receive}}/dcc"}}}}'


def _load(ledger: Engine, samples: Path) -> None:
    now = datetime.now(UTC)
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        fleet.import_fleet(connection, file, samples / "refused.csv", "test", now)
    with ledger.begin() as connection:
        import_cpl(connection, _cpl(samples), "test", now)
        for path in sorted((samples / "releases").glob("*.json")):
            releases.import_release(connection, read_release(path.read_bytes()), (), "test", now)
    for name in SIGNED:
        _sign(ledger, samples, name, "supplier")


def _cpl(samples: Path) -> Sequence[CplEntry]:
    return read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries


def _sign(ledger: Engine, samples: Path, release: str, user: str) -> None:
    key = load_private_key((samples / "pki" / f"{user}-gbcs.key").read_bytes(), f"{user}'s GBCS key")
    certificate = Certificate.load((samples / "pki" / f"{user}-gbcs.pem").read_bytes(), f"{user}'s GBCS certificate")
    with ledger.begin() as connection:
        releases.sign_release(connection, release, key, certificate, "test", datetime.now(UTC))
