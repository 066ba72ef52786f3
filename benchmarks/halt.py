"""A halt in mid-flight: an immediate 11.3, a future-dated 11.3, and an accepted 11.4 batch, over the emulator.

Run as `python -m benchmarks.halt [--devices 5000] [--commands 500] [--state FOLDER]`. Real processes: PostgreSQL, emulator, receive
service, warden, and a gateway that withdraws by itself. The forward steps are driven from here through the gateway's own
activities, without Temporal, which would only be slower: the 11.4 goes to --devices PPMIDs in one request; of each 11.3,
--commands have been sent when the halt comes, and a quarter more are being sent. (5,000 of each take some half an hour.)

Prints for each case: forward POSTs begun after the halt was recorded (by the emulator's receive times, by its counts of
POSTs, and by the outbox), the time to recorded, to quiet and to the last cancel, and the devices that activated afterwards by
the emulator's books and are not on the list that the halt gave. The last line is one JSON object; ends 0 if both are 0.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from activities.dcc import StraightRoute
from activities.gateway import GatewayActivities
from activities.requests import Sender
from activities.wave import DeviceStart, WaveRef
from benchmarks.happy import load, write_fleet
from hanwave import settings
from hanwave.keys import load_keys
from hanwave.ledger import control, database, planning
from hanwave.ledger.stops import Scope
from hanwave.rollout.request import parse_request
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIER
from infra.stack.declared import ONLOOKERS, without
from infra.stack.processes import Process
from infra.stack.stack import Stack

_THREADS = 12
_MORE = 1.25
"""Devices for each command: the rest wait for their turn when the halt comes."""
_PATIENCE = 1800.0


def say(sentence: str) -> None:
    print(sentence, flush=True)


@dataclass
class Case:
    """One campaign, halted, and what was found of it."""

    name: str
    euis: list[str]
    halted: control.Halted | None = None
    pressed: datetime | None = None
    sends_when_quiet: int = 0
    found: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """A running stack, its ledger, and the gateway's own activities in our hands."""

    stack: Stack
    ledger: Engine
    gateway: GatewayActivities

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """What the ledger says."""
        with self.ledger.connect() as connection:
            return list(connection.execute(text(statement), values).all())

    def value(self, statement: str, **values: Any) -> Any:
        """The first of it."""
        return self.rows(statement, **values)[0][0]

    def books(self, statement: str, *values: Any) -> list[Any]:
        """Straight from the emulator's file, once it has ended: the books that it serves hold no times."""
        with closing(sqlite3.connect(self.stack.folder / "emulator" / "emulator.db")) as db:
            return db.execute(statement, values).fetchall()

    def due(self) -> int:
        """How much is still to happen in the emulator."""
        stats = httpx.get(f"http://127.0.0.1:{self.stack.port('emulator_admin')}/stats", timeout=60)
        return int(stats.raise_for_status().json()["due"])

    def until(self, what: str, statement: str, least: int, **values: Any) -> None:
        """Wait until the ledger counts so many."""
        deadline = time.monotonic() + _PATIENCE
        while (n := self.value(statement, **values)) < least:
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: {n} of {least} after {_PATIENCE:.0f} s")
            time.sleep(0.2)

    def plan(self, case: Case, release: str, **policy: Any) -> None:
        """Freeze the campaign; its wave is never opened in the engine, so the warden misses nobody."""
        request = parse_request(
            {
                "release": release,
                "author": "bench",
                "cohort": {"devices": case.euis},
                "policy": {"waves": [{"share": 1}], "exposure_cap": 100_000, "batch": 50_000, **policy},
            }
        )
        with self.ledger.begin() as connection:
            planning.freeze(connection, case.name, request, str(SUPPLIER), datetime.now(UTC))

    def distribute(self, case: Case) -> None:
        """Send the campaign's image to all its devices, in one request."""
        batch = self.gateway.distribute(WaveRef(case.name, 1))
        if batch.reason or batch.granted != len(case.euis):
            raise SystemExit(f"{case.name}: granted {batch.granted} of {len(case.euis)}: {batch.reason}")

    def press(self, case: Case) -> None:
        """Halt, and count at once which POSTs were begun."""
        case.pressed = datetime.now(UTC)
        case.halted = control.halt(self.ledger, Scope("campaign", case.name), "the benchmark", "bench")
        case.sends_when_quiet = sum(self.forward(case).values())
        say(f"{case.name}: halted; {len(case.halted.beyond_recall)} devices beyond recall")

    def forward(self, case: Case) -> dict[str, int]:
        """The campaign's forward requests, and how often a POST of each was begun."""
        rows = self.rows(
            "SELECT request_id, sends FROM outbox WHERE campaign = :name AND permit_class = 'forward'", name=case.name
        )
        return {row.request_id: row.sends for row in rows}


# The three cases.


def activate_until(bench: Bench, case: Case, commands: int) -> None:
    """Activate as a wave does, press the halt when so many have been sent, and keep trying for some seconds."""
    todo = iter(bench.rows("SELECT id, eui FROM campaign_device WHERE campaign = :name ORDER BY id", name=case.name))
    lock, end = threading.Lock(), threading.Event()

    def work() -> None:
        while not end.is_set():
            with lock:
                row = next(todo, None)
            if row is None:
                return
            bench.gateway.advance(DeviceStart(case.name, row.id, row.eui))

    began = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in range(_THREADS):
            pool.submit(work)
        sent = "SELECT count(*) FROM outbox WHERE campaign = :name AND leg = 'activate' AND sends > 0"
        bench.until(f"{case.name}: activations sent", sent, commands, name=case.name)
        case.found["sent_per_s"] = round(commands / (time.monotonic() - began), 1)
        bench.press(case)
        time.sleep(3)
        end.set()


def hold_images(bench: Bench, case: Case, **policy: Any) -> None:
    bench.plan(case, "acme-esme-0104", **policy)
    bench.distribute(case)
    held = "SELECT count(*) FROM campaign_device WHERE campaign = :name AND state = 'held'"
    bench.until(f"{case.name}: images held", held, len(case.euis), name=case.name)
    say(f"{case.name}: {len(case.euis)} devices hold the image")


def wait_for_cancels(bench: Bench, case: Case) -> None:
    """Until nothing is left that could be withdrawn: each device has said so, or its date has passed."""
    left = (
        "SELECT -count(*) FROM campaign_device u JOIN outbox b ON b.update_id = u.id AND b.leg = 'activate'"
        " WHERE u.campaign = :name AND b.sends > 0 AND u.state IN ('activating', 'scheduled', 'unknown')"
        " AND CAST(b.parameters ->> 'at' AS timestamptz) > now()"
    )
    bench.until(f"{case.name}: withdrawn", left, 0, name=case.name)


# What the books and the outbox say.


def judge(bench: Bench, case: Case) -> None:
    """Fill in what was found; to be asked when nothing more can happen."""
    assert case.halted
    assert case.pressed
    recorded, ours, euis = case.halted.recorded_at, bench.forward(case), set(case.euis)
    at = recorded.timestamp()
    seen = [row for row in bench.books("SELECT request_id, command_variant, at, posts FROM request") if row[0] in ours]
    # First seen after the halt; begun again after it; and POSTs of which the outbox knows nothing (transforms aside).
    late = sum(row[2] > at for row in seen) + sum(ours.values()) - case.sends_when_quiet
    late += sum(max(0, row[3] - ours[row[0]]) for row in seen if row[1] != 4)
    begun = "SELECT count(*) FROM outbox WHERE campaign = :name AND permit_class = 'forward' AND sending_at > :at"
    after = {row[0] for row in bench.books("SELECT eui FROM history WHERE what = 'activated' AND at > ?", at)} & euis
    listed = {device.eui for device in case.halted.beyond_recall}
    unnamed = sorted(after - listed)
    case.found |= {
        "devices": len(case.euis),
        "sent": bench.value(
            "SELECT count(*) FROM outbox_device m JOIN outbox o ON o.id = m.outbox_id WHERE o.campaign = :name"
            " AND o.permit_class = 'forward' AND o.sends > 0 AND (m.leg = 'activate' OR o.service_reference = '11.4')",
            name=case.name,
        ),
        "posts_after_recorded": late + bench.value(begun, name=case.name, at=recorded),
        "recorded_s": round((recorded - case.pressed).total_seconds(), 3),
        "quiet_s": round((case.halted.quiet_at - case.pressed).total_seconds(), 3) if case.halted.quiet_at else None,
        "beyond_recall": len(listed),
        "activated_afterwards": len(after),
        "not_on_the_list": len(unnamed),
    }
    if unnamed:
        say(f"{case.name}: activated and not listed: {', '.join(unnamed[:10])}")


def judge_cancels(bench: Bench, case: Case) -> None:
    assert case.halted
    last = bench.rows(
        "SELECT count(*) AS n, max(answered_at) AS at, min(sending_at) AS first FROM outbox"
        " WHERE campaign = :name AND permit_class = 'withdraw' AND state = 'acknowledged'",
        name=case.name,
    )[0]
    said = bench.rows(
        "SELECT count(*) AS n, max(e.at) AS at FROM device_event e JOIN campaign_device u ON u.id = e.update_id"
        " WHERE u.campaign = :name AND e.kind = 'withdrawn'",
        name=case.name,
    )[0]
    recorded = case.halted.recorded_at
    case.found |= {
        "cancels": last.n,
        "first_cancel_s": round((last.first - recorded).total_seconds(), 2) if last.n else None,
        "last_cancel_s": round((last.at - recorded).total_seconds(), 2) if last.n else None,
        "cancels_per_s": round(last.n / (last.at - last.first).total_seconds(), 1) if last.n > 1 else None,
        "withdrawn": said.n,
        "last_withdrawn_s": round((said.at - recorded).total_seconds(), 2) if said.n else None,
    }


def show(case: Case) -> None:
    say(f"{case.name}: " + ", ".join(f"{name} {value}" for name, value in case.found.items()))


# The stack.


def _delays(commands: int) -> str:
    """Images come at once; a command takes longer than the sending of them all, so each is in flight at the halt."""
    answer = 8 + commands / 20
    return (
        f"halt: {{deliver: [0, 0], transfer: [0, 0], install: [10, 40], answer: [{answer}, {answer + 20}], reboot: [0, 0],"
        " timeout: [5, 5], retry: [1, 2], hold: [3600, 3600], late: [1, 2], reorder: [1, 2]}"
    )


def _process(folder: Path, process: Process) -> Process:
    more = (
        {"HANWAVE_EMULATOR_PROFILE": "halt", "HANWAVE_EMULATOR_DELAYS": str(folder / "delays.yaml")}
        if process.name == "emulator"
        else {}
    )
    return replace(process, environment={**process.environment, **more})


@contextmanager
def started(folder: Path, sizes: dict[str, int], delays: str) -> Iterator[Bench]:
    """Everything but the campaign worker, loaded."""
    write_fleet(folder / "samples", sizes)
    (folder / "delays.yaml").write_text(delays)
    needed, told_of = without("campaign", *ONLOOKERS)
    table = tuple(_process(folder, each) for each in needed)
    with Stack(folder, processes=table, settings=told_of) as stack:
        os.environ["HANWAVE_CONFIG"] = str(folder / "hanwave.toml")
        told = settings.load()
        ledger = database.engine(settings.needed(told.postgres, "postgres").dsn.get_secret_value(), pool=_THREADS)
        load(ledger, folder / "samples")
        with StraightRoute(settings.needed(told.dcc, "dcc")) as route:
            sender = Sender(ledger, route, load_keys(told), lambda: datetime.now(UTC))
            yield Bench(stack, ledger, GatewayActivities(ledger, sender, ACCESS_CONTROL_BROKER))
        ledger.dispose()


def run(folder: Path, devices: int, commands: int) -> list[Case]:
    """The three cases; the future-dated one comes first, since its dates must have passed before it is judged."""
    cohort = int(commands * _MORE)
    began = time.monotonic()
    with started(folder, {"ESME": 2 * cohort, "PPMID": devices}, _delays(commands)) as bench:
        rows = bench.rows("SELECT eui, device_type FROM device ORDER BY eui")
        meters = [row.eui for row in rows if row.device_type == "ESME"]
        dated = Case("future-dated", meters[:cohort])
        immediate = Case("immediate", meters[cohort:])
        batch = Case("batch", [row.eui for row in rows if row.device_type == "PPMID"])
        say(f"the stack is up after {time.monotonic() - began:.0f} s")
        hold_images(bench, immediate)
        # Long enough to send them all, to cancel them all, and for the cancels to arrive.
        lead = 80 + commands * 0.27
        hold_images(bench, dated, activation="future_dated", lead=f"{lead:.0f}s", cancels=1000)
        activate_until(bench, dated, commands)
        activate_until(bench, immediate, commands)
        # The batch's thousands of alerts would queue before the answers to the cancels.
        wait_for_cancels(bench, dated)
        bench.plan(batch, "delta-ppmid-0401")
        bench.distribute(batch)
        bench.press(batch)
        deadline = time.monotonic() + _PATIENCE
        while left := bench.due():
            if time.monotonic() > deadline:
                raise SystemExit(f"{left} things are still due in the emulator after {_PATIENCE:.0f} s")
            time.sleep(1)
        bench.stack.hold("emulator")
        for case in (immediate, dated, batch):
            judge(bench, case)
        judge_cancels(bench, dated)
    return [immediate, dated, batch]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=5000, help="PPMIDs in the 11.4 batch")
    parser.add_argument("--commands", type=int, default=500, help="11.3s that have been sent when the halt comes")
    parser.add_argument("--state", type=Path, help="keep the state folder here, with its logs")
    told = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hanwave-halt-") as temporary:
        cases = run(told.state or Path(temporary), told.devices, told.commands)
    for case in cases:
        show(case)
    wrong = sum(case.found["posts_after_recorded"] + case.found["not_on_the_list"] for case in cases)
    say(json.dumps({"seconds": round(time.monotonic() - began), **{case.name: case.found for case in cases}}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
