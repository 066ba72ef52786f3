"""The bench worker as a program of its own: killed in mid-file, and without what its extra installs."""

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

import hanwave
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from hanwave.settings import Settings
from infra.zigbee.client import Habits
from infra.zigbee.device import Device
from infra.zigbee.memory import Make
from tests.bench.sticks import plugged
from tests.bench.test_worker import request, until, until_over
from tests.bench.worker import QUICK, fleet, give, release
from tests.support.ledger import US
from workers.wiring import campaign_worker

pytestmark = [pytest.mark.bench, pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
SIZE, BLOCK, HELD = 6_000, 50, 30
# It asks again when its update goes on already.
PATIENT = Habits(timeout=2.5, retries=30)


@asynccontextmanager
async def worker(folder, **environment):
    """The program, as a person starts it."""
    with (folder / "bench.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.bench"),
            env={**os.environ, **environment},
            cwd=folder,
            stderr=log,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), 20)


async def there(bench, ready=0):
    """Wait until the bench has its coordinator, and so many devices have said what they are."""
    async with asyncio.timeout(60):
        while True:
            with suppress(HanwaveError):
                if sum(each.ready for each in await bench.devices()) == ready:
                    return
            await asyncio.sleep(0.3)


@pytest.mark.timeout(180)
async def test_a_killed_workers_devices_go_on_where_they_were(world, temporal, ledger_dsn, tmp_path):
    give(world, release(size=SIZE))
    euis = fleet(world, 5)
    address = temporal.service_client.config.target_host
    async with plugged() as stick, campaign_worker(temporal, world.engine, US):
        environment = {
            "HANWAVE_POSTGRES__DSN": ledger_dsn,
            "HANWAVE_TEMPORAL__ADDRESS": address,
            "HANWAVE_BENCH__NAME": "stick",
            "HANWAVE_BENCH__PATH": stick.path,
            "HANWAVE_BENCH__REQUESTS": "32",
            "HANWAVE_BENCH__POLICY": str(QUICK).replace("'", '"'),
        }
        async with hanwave.Client.connect(Settings(), address=address, dsn=ledger_dsn, user_id=US) as client:
            bench = client.bench("stick")
            async with worker(tmp_path, **environment) as first:
                await there(bench)
                await bench.permit_join(60, actor="ann")
                devices = [
                    Device(stick.ncp.air, 0x1001 + n, EUI64.parse(each), make=Make(image_type=0), habits=PATIENT)
                    for n, each in enumerate(euis)
                ]
                assert all(device.join() for device in devices)
                for device in devices:
                    # Whoever has so much waits for the others, so that the kill finds all of them in mid-file.
                    device.client.at_offset[HELD * BLOCK] = partial(setattr, device.client, "rest", 2)
                await there(bench, 5)
                campaign = await client.start("stick", request("stick"))
                await until(lambda: min(device.books.blocks for device in devices) >= HELD, 60)
                first.kill()
                await first.wait()
            assert max(device.books.blocks for device in devices) < SIZE // BLOCK
            for device in devices:
                device.client.rest = 0
            async with worker(tmp_path, **environment):
                assert (await until_over(campaign)).funnel == {"settled": 5}
    assert {device.memory.version for device in devices} == {2}
    # What the second worker says it sent, on top of where the first one's went to: each block once, and none left out.
    log = (tmp_path / "bench.log").read_text()
    sent = re.findall(r"first_offset=(\d+), blocks=(\d+), repeats=(\d+)", log)
    assert len(sent) == 5
    assert f"{euis[0]} joined the network" in log
    assert f"{euis[0]} is ready: " in log
    assert " INFO zigpy" not in log
    blocks = devices[0].books.blocks
    assert {(int(offset) // BLOCK + int(more), int(repeats)) for offset, more, repeats in sent} == {(blocks, 0)}
    for device in devices:
        held = device.books
        assert held.octets > SIZE
        assert (held.blocks, held.discards, held.aborts) == (len(set(held.offsets)), 0, 0)


async def test_without_the_extra_it_says_in_one_sentence_how_to_get_it(tmp_path):
    blocked = (
        "import sys; sys.modules['zigpy'] = None; import runpy; runpy.run_module('workers.bench', run_name='__main__')"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", blocked), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().splitlines() == [
        'hanwave: the bench needs zigpy, which is GPL-3.0 and comes with an extra: `pip install "hanwave[zigbee]"`'
    ]
