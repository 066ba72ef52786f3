"""Books that survive a kill, deliveries that survive an endpoint, runs that repeat, suppliers that do not mix."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest

from infra.emulator import books
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER, make_pki
from infra.stack.ports import Ports
from tests.support.emulator import (
    NEW,
    OLD,
    TYPES,
    Lab,
    Supplier,
    cpl_csv,
    eui,
    fleet_csv,
    image_hash,
    lab,
    receiving,
    row,
    tls,
)

pytestmark = [pytest.mark.part, pytest.mark.fault]
ESME, PPMID = eui("ESME"), eui("PPMID")


async def test_messages_wait_for_an_endpoint_that_is_down_and_come_in_their_order(tmp_path):
    async with lab(tmp_path) as world:
        world.receiver.status = 503
        await world.hold(ESME)
        await world.until(lambda: _refused(world, 3))
        assert world.receiver.raw == []
        world.receiver.status = 204
        await world.receiver.wait("N60", "8F72")
        assert world.receiver.kinds() == ["N60", "8F72"]


async def _refused(world: Lab, number: int) -> bool:
    return world.receiver.refused >= number


async def test_an_endpoint_that_is_down_gets_one_message_at_a_time(tmp_path):
    rows = [row("ESME", number) for number in range(1, 31)]
    async with lab(tmp_path, rows, concurrency=8) as world:
        world.receiver.status = 503
        await world.supplier.distribute(NEW, *(each["eui"] for each in rows))
        await world.until(lambda: _refused(world, 8))
        before = world.receiver.refused
        await asyncio.sleep(0.5)
        # One message each 0.1 to 0.3 s, not thirty.
        assert world.receiver.refused - before <= 6
        world.receiver.status = 204
        await world.until(lambda: _received(world, 60))
        assert world.receiver.most_active <= 8


async def _received(world: Lab, number: int) -> bool:
    return len(world.receiver.raw) >= number


async def test_a_message_that_nobody_takes_is_dropped_when_it_is_too_old(tmp_path):
    async with lab(tmp_path) as world:
        world.emulator.world.delays.ranges["hold"] = (0.5, 0.5)
        world.receiver.status = 503
        await world.hold(ESME)
        await world.until(lambda: _expired(world))
        assert world.receiver.raw == []


async def _expired(world: Lab) -> bool:
    states = [line["state"] for line in await world.books(deliveries=True) if line["kind"] == "delivery"]
    return "expired" in states


async def test_two_suppliers_see_nothing_of_each_other(tmp_path):
    rows = [
        row("ESME"),
        row("GSME", gas_supplier=str(SECOND_SUPPLIER)),
        row("PPMID", gas_supplier=str(SECOND_SUPPLIER)),
    ]
    async with lab(tmp_path, rows) as world:
        gsme = eui("GSME")
        assert (await world.supplier.distribute(NEW, gsme)).code == "E110103"
        assert (await world.supplier.read_version(gsme)).code == "E4"
        assert (await world.second.distribute(NEW, gsme)).code == "I99"
        assert (await world.supplier.distribute(NEW, ESME)).code == "I99"
        await world.receiver.wait("8F72")
        await world.second_receiver.wait("8F72")
        assert {str(each.response_id.target) for each in world.receiver.messages} == {str(SUPPLIER)}
        assert {str(each.response_id.target) for each in world.second_receiver.messages} == {str(SECOND_SUPPLIER)}
        # What is shared is a PPMID: either may update it, and the other is told that it was asked (N59).
        await world.supplier.distribute(NEW, PPMID)
        await world.receiver.wait("8F8B")
        asked = (await world.second_receiver.wait("N59")).body.alert
        assert (asked.firmware_version, [str(each) for each in asked.device_ids]) == (NEW, [PPMID])
        assert world.second_receiver.kinds().count("8F8B") == 0


async def test_a_neighbours_messages_come_on_the_same_user_id(tmp_path):
    async with lab(tmp_path) as world:
        told = await world.tell("/neighbour", {"count": 9})
        await world.until(lambda: _received(world, 9))
        assert sorted(str(each.response_id) for each in world.receiver.messages) == sorted(told)
        lines = [line for line in await world.books(deliveries=True) if line["kind"] == "delivery"]
        assert [line["message"] for line in lines] == ["neighbour"] * 9
        assert set(told).isdisjoint(await world.tell("/neighbour", {"count": 3}))


async def _campaign(folder: Path, seed: str) -> list[str]:
    """A little campaign with every other device struck by something; its books without what belongs to the bytes."""
    rows = [row(device_type, number) for number in range(1, 9) for device_type in TYPES]
    faults = ("verification_failure", "delivery_failure", "keeps_old_image", "lost_response", "duplicate", "wrong_hash")
    async with lab(folder, rows, seed=seed) as world:
        numbers = count(1_000)
        world.supplier.counter = lambda: next(numbers)
        await world.faults(*({"fault": fault, "share": 0.2} for fault in faults))
        for device_type in TYPES:
            await world.supplier.distribute(NEW, *(each["eui"] for each in rows if each["device_type"] == device_type))
        await world.until(lambda: _all_done(world))
        for each in rows:
            if each["device_type"] != "PPMID":
                await world.supplier.activate(each["eui"], NEW)
        await world.until(lambda: _all_done(world))
        lines = await world.books()
    for line in lines:
        line.pop("digest", None)
    return sorted(json.dumps(line) for line in lines)


async def _all_done(world: Lab) -> bool:
    waiting = world.emulator.world.store.value("SELECT count(*) FROM timer")
    return not waiting


async def test_the_same_seed_gives_the_same_books_and_another_gives_others(tmp_path):
    first, again, other = [
        await _campaign(tmp_path / name, seed) for name, seed in (("a", "x"), ("b", "x"), ("c", "y"))
    ]
    assert first == again
    assert first != other


@asynccontextmanager
async def _process(folder: Path, receive_url: str, ports: dict[str, int]):
    """The emulator as a process of its own; killed at the end, if it is still there."""
    environment = {
        **os.environ,
        "HANWAVE_EMULATOR_STATE": str(folder),
        "HANWAVE_EMULATOR_FLEET": str(folder / "fleet.csv"),
        "HANWAVE_EMULATOR_CPL": str(folder / "cpl.csv"),
        "HANWAVE_EMULATOR_PORT": str(ports["services"]),
        "HANWAVE_EMULATOR_ADMIN_PORT": str(ports["admin"]),
        "HANWAVE_EMULATOR_RECEIVE_URL": receive_url,
        "HANWAVE_EMULATOR_PROFILE": "demo",
        "HANWAVE_EMULATOR_SPEED": "0.5",
    }
    command = (sys.executable, "-m", "infra.emulator")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['admin']}", timeout=5) as admin:
            await _is_up(admin)
            yield process, admin
    finally:
        process.kill()
        process.wait()


async def _is_up(admin: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                (await admin.get("/health")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


async def _lines(admin: httpx.AsyncClient) -> dict[str, dict]:
    text = (await admin.get("/books")).text
    return {each["eui"]: each for each in map(json.loads, text.splitlines()) if each["kind"] == "device"}


def _transferred(lines: dict[str, dict]) -> int:
    return sum(line["transferred"] for line in lines.values())


@pytest.mark.timeout(120)
async def test_a_kill_in_mid_campaign_loses_nothing_that_was_accepted(tmp_path):
    pki = make_pki(tmp_path / "pki")
    rows = [row("ESME", number) for number in range(1, 61)]
    (tmp_path / "fleet.csv").write_text(fleet_csv(rows))
    (tmp_path / "cpl.csv").write_text(cpl_csv(OLD, NEW))
    claimed = Ports()
    ports = claimed.claim(["services", "admin"], before={})
    supplier = Supplier(pki, f"https://localhost:{ports['services']}/api/v1", httpx.AsyncClient(verify=tls(pki)))
    async with supplier.client, receiving(supplier) as receiver:
        url = f"https://localhost:{receiver.port}/receive"
        async with _process(tmp_path, url, ports) as (process, admin):
            assert (await supplier.distribute(NEW, *(each["eui"] for each in rows))).code == "I99"
            for each in rows[:3]:
                await supplier.activate(each["eui"], NEW)
            async with asyncio.timeout(20):
                while not _transferred(before := await _lines(admin)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert 0 < _transferred(before) < 60
        async with _process(tmp_path, url, ports) as (process, admin):
            async with asyncio.timeout(30):
                while (await admin.get("/stats")).json()["due"] or receiver.kinds().count("8F72") < 60:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            after = await _lines(admin)
            for line in rows[3:]:
                assert after[line["eui"]]["held"] == image_hash(NEW)
            assert all(line["transferred"] == 1 and sum(line["executed"].values()) <= 1 for line in after.values())
            # The RequestIDs are remembered too.
            assert (await supplier.post("D", supplier.sent[0])).code == "E42"
            assert (await supplier.post("S", supplier.sent[2])).code == "E42"
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(15) == 0
            assert time.monotonic() - began < 10
    claimed.close()


async def test_the_ledger_is_held_against_the_books(tmp_path):
    async with lab(tmp_path) as world:
        await world.hold(ESME)
        await world.supplier.distribute(NEW, PPMID)
        await world.happened(PPMID, "activated")
        lines = await world.books()
        (request,) = [line for line in lines if line["kind"] == "request" and line["service"] == "11.4"]
    right = [
        {"eui": ESME, "version": OLD, "held": image_hash(NEW), "is_unknown": False},
        {"eui": PPMID, "version": NEW, "held": None, "is_unknown": False},
        {"eui": eui("GSME"), "version": "FFFFFFFF", "held": None, "is_unknown": True},
        {name: request[name] for name in ("request_id", "command_variant", "digest")},
    ]
    assert books.compare(lines, right) == []
    wrong = [
        {"eui": ESME, "version": NEW, "held": None, "is_unknown": False},
        {"eui": PPMID, "version": NEW, "held": image_hash(NEW), "is_unknown": False},
        {"eui": eui("ESME", 99), "version": None, "held": None, "is_unknown": False},
        {**right[3], "digest": "00"},
    ]
    assert len(books.compare(lines, wrong)) == 4
