"""A bench at work for the tests: a real Temporal, a real PostgreSQL, the bench's own worker, simulated devices."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from sqlalchemy import text
from temporalio.client import Client as Temporal

import hanwave
from hanwave.firmware.image import manufacturer_image_hash
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release
from hanwave.firmware.terms import DeviceType, FirmwareVersion, HardwareRange, Model
from hanwave.identifiers import EUI64
from hanwave.ledger import releases
from hanwave.settings import Bench, Settings, Training
from infra.zigbee.device import Device
from tests.support.ledger import US, World
from workers.bench.link import Link
from workers.bench.training import Lab
from workers.bench.worker import bench_worker
from workers.wiring import campaign_worker

AT = datetime(2026, 1, 5, tzinfo=UTC)
SIZE = 3_000
GOOD, BAD = "00000002", "00000003"
QUICK: dict[str, Any] = {
    "confirm_every": "0.2s",
    "notify_every": "1s",
    "stall_after": "60s",
    "confirm_within": "5s",
    "wait_step": "2s",
}
FAST: dict[str, Any] = {
    "waves": [{"share": 1}],
    "sweep": "0.3s",
    "soak": "0.5s",
    "attempts": {"distribute": 1, "activate": 1, "read": 2, "back_off": "1s"},
    "gate": {"harm": 0.5, "silence": 0.5, "confidence": 0.5},
}


def release(kind: str = "PPMID", version: str = GOOD, size: int = SIZE) -> Release:
    """A release whose hash was verified, and no more: what a lab is given."""
    image = Random(version).randbytes(size)
    digest = manufacturer_image_hash(image)
    return Release(
        name=f"{kind.lower()}-{version[-1]}",
        device_type=DeviceType(kind),
        manufacturer_code=0x121D,
        image_type=0,
        models=(Model(0x121D, 0x1111),),
        hardware=HardwareRange(0, 0xFFFF),
        firmware_version=FirmwareVersion.parse(version),
        manufacturer_image_hash=digest,
        manufacturer_image_length=len(image),
        life=(
            Step(Stage.RECEIVED, "ann", AT, "made by a test"),
            Step(Stage.VERIFIED, "ann", AT, "by a second channel", digest),
        ),
        manufacturer_image=image,
    )


@dataclass
class AtWork:
    """What a test holds."""

    world: World
    temporal: Temporal
    link: Link
    lab: Lab
    settings: Bench

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[hanwave.Client]:
        address = self.temporal.service_client.config.target_host
        dsn = self.world.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
        async with hanwave.Client.connect(Settings(), address=address, dsn=dsn, user_id=US) as client:
            yield client

    def passes(self, campaign: str) -> str:
        """Take a campaign as the evidence that its release passed the lab: this is a training installation."""
        with self.world.engine.begin() as connection:
            return releases.pass_lab(connection, campaign, "ann", datetime.now(UTC), training=True)

    def device(self, eui: str) -> Device:
        return next(each for each in self.lab.devices if str(each.eui) == eui)

    def value(self, statement: str, **values: Any) -> Any:
        with self.world.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar_one()


def give(world: World, *found: Release) -> None:
    """Import releases, none of which the CPL knows."""
    with world.engine.begin() as connection:
        for each in found:
            releases.import_release(connection, each, [], "ann", AT)


def euis(number: int) -> list[str]:
    """The devices of a bench in training, in their order."""
    first = int.from_bytes(Training().first.octets, "big")
    return [str(EUI64((first + each).to_bytes(8, "big"))) for each in range(number)]


def fleet(world: World, number: int, kind: str = "PPMID") -> list[str]:
    """Them in the ledger's fleet: not commissioned, all behind one hub, as they lie on a table."""
    rows = [{"eui": each, "kind": kind, "us": US, "now": AT} for each in euis(number)]
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO device (eui, device_type, manufacturer, model, hardware_version, firmware_version,"
                " smi_status, hub, region, payment_mode, import_supplier, updated_at) VALUES (:eui, :kind, '121D', '1111',"
                " '1111', '00000001', 'Decommissioned', 'bench', 'South', 'credit', :us, :now)"
            ),
            rows,
        )
    return euis(number)


@contextlib.asynccontextmanager
async def at_work(world: World, temporal: Temporal, name: str, **training: Any) -> AsyncIterator[AtWork]:
    """Campaigns' worker and a bench's, over that ledger; the bench is of that name."""
    settings = Bench(name=name, radio="virtual", requests=32, policy=QUICK, training=Training(**training))
    lab = Lab(settings)
    link = Link(lab.open)
    bench = bench_worker(temporal, world.engine, link, settings)
    async with link.kept(), campaign_worker(temporal, world.engine, US), bench:
        yield AtWork(world, temporal, link, lab, settings)
