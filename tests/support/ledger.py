"""A migrated ledger, and a small fleet in it, for the tests that need one."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import Engine, text

from hanwave.firmware.document import release_to_dict
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release
from hanwave.firmware.terms import DeviceType as FirmwareDeviceType
from hanwave.firmware.terms import FirmwareVersion, HardwareRange, Model
from hanwave.identifiers import EUI64
from hanwave.ledger import beats, campaigns, database, queries
from hanwave.rollout.device import State
from hanwave.rollout.policy import Policy, Wave
from infra.stack.postgres import APPLICATION, LOOKUP, OWNER, Postgres
from tests.support.postgres import create_database, drop_database

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ENGINES = frozenset({"temporal", "impatient"})
"""The fixtures that are a real engine."""
US = "90-B3-D5-1F-30-01-00-00"
ACB = EUI64.parse("90-B3-D5-1F-30-00-00-02")
HASH = "AB" * 32
VERSION = "00000002"


@pytest.fixture(scope="session")
def ledger_template(postgres: Postgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    make_ledger(create_database(postgres, "ledger_template"))
    return "ledger_template"


class Emptied:
    """A migrated database that is emptied for each test: to make one anew takes a hundred times as long."""

    def __init__(self, postgres: Postgres, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._shape: object = None

    def take(self) -> str:
        """The owner's DSN of it, as it was migrated, whatever the last test did to it."""
        if self._shape is None or not self._is_as_it_was():
            return self._made_anew()
        return self._postgres.dsn(OWNER, _NAME)

    def _made_anew(self) -> str:
        if self._shape is not None:
            drop_database(self._postgres, _NAME)
        owner = create_database(self._postgres, _NAME, self._template)
        with self._postgres.admin(_NAME) as connection:
            self._shape = connection.execute(_SHAPE).fetchone()
        return owner

    def _is_as_it_was(self) -> bool:
        """Empty it; whether nobody has changed more than its rows."""
        with self._postgres.admin(_NAME) as connection:
            connection.execute(_ALONE)
            if connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            connection.execute(_EMPTY)
        return True


_NAME = "ledger"
_ALONE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Relations with their privileges, columns, triggers, functions, and the revision: what a test may change beside rows.
_SHAPE = """
    SELECT (SELECT md5(string_agg(concat(relname, relkind, relacl), ',' ORDER BY oid)) FROM pg_class
            WHERE oid >= 16384),
        (SELECT md5(string_agg(concat(attname, atttypid, attnotnull), ',' ORDER BY attrelid, attnum)) FROM pg_attribute
            WHERE attrelid >= 16384),
        (SELECT md5(string_agg(concat(tgname, tgenabled), ',' ORDER BY oid)) FROM pg_trigger),
        (SELECT md5(string_agg(prosrc, ',' ORDER BY oid)) FROM pg_proc WHERE oid >= 16384),
        (SELECT version_num FROM alembic_version)
"""
# Without the triggers that let nobody take from the audit.
_EMPTY = """
    SET session_replication_role = replica;
    DO $$ DECLARE name text; held text[] := '{}'; has_rows bool; BEGIN
        FOR name IN SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND oid >= 16384
            AND relname <> 'alembic_version' LOOP
            EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || name || ')' INTO has_rows;
            IF has_rows THEN held := held || name; END IF;
        END LOOP;
        IF held <> '{}' THEN EXECUTE 'TRUNCATE ' || array_to_string(held, ', ') || ' CASCADE'; END IF;
        PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) FROM pg_sequences;
        INSERT INTO beat VALUES ('warden', '2100-01-01Z');
    END $$;
"""


def make_ledger(dsn: str) -> None:
    """Migrate an empty database, as its owner. No test has a warden: one that was well in the far future permits."""
    owner = database.engine(dsn)
    database.migrate(owner, APPLICATION, LOOKUP)
    with owner.begin() as connection:
        beats.beat(connection, beats.WARDEN, datetime(2100, 1, 1, tzinfo=UTC))
    owner.dispose()


@pytest.fixture(scope="session")
def emptied(postgres: Postgres, ledger_template: str) -> Emptied:
    """The ledger that one test after another has."""
    return Emptied(postgres, ledger_template)


@pytest.fixture
def ledger_dsn(emptied: Emptied) -> Iterator[str]:
    """The application's DSN of a fresh, migrated ledger."""
    owner = emptied.take()
    yield owner.replace(f"//{OWNER}@", f"//{APPLICATION}@", 1)
    queries.forget()


@pytest.fixture
def ledger(ledger_dsn: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated ledger, as the application."""
    engine = database.engine(ledger_dsn)
    yield engine
    # A thread whose task was cancelled gives its connection back a moment later; nobody would close it after this.
    given_up = time.monotonic() + 20
    while engine.pool.checkedout() and time.monotonic() < given_up:
        time.sleep(0.01)
    engine.dispose()


def eui(number: int) -> str:
    """The EUI-64 of the fleet's device of that number."""
    return str(EUI64((0x00DB_0000_0000_0000 + number).to_bytes(8, "big")))


def release_document(
    name: str, device_type: str, version: str, *, may_downgrade: bool, at: datetime
) -> dict[str, object]:
    """A release as it is imported: received and no further, which is all that a plan asks of it."""
    release = Release(
        name=name,
        device_type=FirmwareDeviceType(device_type),
        manufacturer_code=0x121D,
        image_type=0,
        models=(Model(0x121D, 0x1111),),
        hardware=HardwareRange(0, 0xFFFF),
        firmware_version=FirmwareVersion.parse(version),
        manufacturer_image_hash=bytes.fromhex(HASH),
        manufacturer_image_length=1000,
        life=(Step(Stage.RECEIVED, "ann", at, "made by a test"),),
        may_downgrade=may_downgrade,
    )
    return release_to_dict(release)


@dataclass
class World:
    """A release, a fleet of one type, and campaigns over it; its clock moves by hand."""

    engine: Engine
    now: datetime = START
    device_type: str = "ESME"
    names: Iterator[int] = field(default_factory=lambda: count(1))

    def later(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now

    def release(self, name: str = "r2", version: str = VERSION) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO release VALUES (:name, :type, '121D', :version, :hash, 'general', '{}', :now)"
                    " ON CONFLICT DO NOTHING"
                ),
                {"name": name, "type": self.device_type, "version": version, "hash": HASH, "now": self.now},
            )
        self.cpl(version)

    def cpl(self, version: str = VERSION, status: str = "Active", image_hash: str = "") -> None:
        """What the Central Products List says of a version of the fleet's model."""
        values = {"type": self.device_type, "version": version, "hash": image_hash or HASH, "status": status}
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO cpl_entry (device_type, manufacturer, model, hardware_version, firmware_version,"
                    " image_hash, status, imported_at) VALUES (:type, '121D', '1111', '0001', :version, :hash, :status,"
                    " :now) ON CONFLICT (device_type, manufacturer, model, hardware_version, firmware_version)"
                    " DO UPDATE SET status = EXCLUDED.status, image_hash = EXCLUDED.image_hash"
                ),
                values | {"now": self.now},
            )

    def release_document(self, name: str = "r2", version: str = VERSION, *, may_downgrade: bool = False) -> None:
        """A release with the document that a plan reads."""
        document = release_document(name, self.device_type, version, may_downgrade=may_downgrade, at=self.now)
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO release VALUES (:name, :type, '121D', :version, :hash, 'general',"
                    " CAST(:document AS jsonb), :now)"
                ),
                {
                    "name": name,
                    "type": self.device_type,
                    "version": version,
                    "hash": HASH,
                    "now": self.now,
                    "document": json.dumps(document),
                },
            )
        self.cpl(version)

    def exposed(self) -> list[str]:
        """The devices that were sent an activation."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT eui FROM outbox_device WHERE leg = 'activate'"))
            return list(rows.scalars())

    def runs(self, version: str, euis: list[str]) -> None:
        """The fleet now has it that those devices run that version."""
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE device SET firmware_version = :version WHERE eui = ANY(:euis)"),
                {"version": version, "euis": euis},
            )

    def digest(self) -> str:
        with self.engine.connect() as connection:
            return str(connection.execute(text("SELECT digest FROM campaign")).scalar_one())

    def fleet(self, size: int, *, homes: int | None = None) -> list[str]:
        euis = [eui(n) for n in range(size)]
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO device (eui, device_type, manufacturer, model, hardware_version, firmware_version,"
                    " smi_status, hub, region, home, payment_mode, import_supplier, updated_at)"
                    " VALUES (:eui, :type, '121D', '1111', '0001', '00000001', 'Commissioned', :home, 'South',"
                    " :home, 'credit', :us, :now)"
                ),
                [
                    {
                        "eui": e,
                        "type": self.device_type,
                        "us": US,
                        "now": self.now,
                        "home": f"home-{n % (homes or size)}",
                    }
                    for n, e in enumerate(euis)
                ],
            )
        return euis

    def campaign(self, euis: list[str], policy: Policy | None = None, name: str = "spring") -> list[int]:
        """A campaign of one wave, which is open, over those devices; its update ids in their order."""
        self.release()
        policy = policy or Policy(waves=(Wave(share=1),))
        campaign = campaigns.NewCampaign(name, "r2", US, policy, "seed", f"digest-{name}", "ann")
        with self.engine.begin() as connection:
            campaigns.create(connection, campaign, (tuple(euis),), {}, self.now)
            connection.execute(
                text("UPDATE wave SET opened_at = :now WHERE campaign = :name"), {"name": name, "now": self.now}
            )
            rows = connection.execute(
                text("SELECT id FROM campaign_device WHERE campaign = :name ORDER BY eui"), {"name": name}
            )
            return list(rows.scalars())

    def state(self, update_id: int) -> State:
        with self.engine.connect() as connection:
            return State(
                connection.execute(
                    text("SELECT state FROM campaign_device WHERE id = :id"), {"id": update_id}
                ).scalar_one()
            )

    def count(self, table: str, where: str = "true") -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


@pytest.fixture
def world(ledger: Engine, request: pytest.FixtureRequest) -> World:
    """A small world on a fresh ledger, at the real time where an engine's workers, who know no other, work on it."""
    return World(ledger, now=START if ENGINES.isdisjoint(request.fixturenames) else datetime.now(UTC))
