"""The ledger's leave to install: asked anew before each word, and by a clock that is right."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine

from activities.clocks import ClockError
from hanwave.ledger.bench import Hand
from hanwave.rollout.bench import Outcome
from infra.zigbee.clock import run_virtually
from infra.zigbee.frames import UpgradeStatus
from tests.bench.lab import gb_image, lab
from workers.bench.control import Control, Step
from workers.bench.ledger import Books

pytestmark = pytest.mark.bench
SMALL = gb_image(4_000)


def out_of_reach_at_the_word(bench, anew=lambda: True):
    """A permit's leave, at whose word to install the device is out of reach; what each later question gets."""
    asked = []

    async def leave(step: Step) -> bool:
        if step is Step.FIRST_BLOCK:
            return True
        asked.append(step)
        if len(asked) > 1:
            return anew()
        bench.device.power_off()
        return True

    return leave


def test_a_pause_after_the_leave_is_heard_before_each_word_to_install():
    async def course():
        async with lab() as bench:
            loop, control = asyncio.get_running_loop(), Control(out_of_reach_at_the_word(bench))
            loop.call_later(60, control.pause)
            loop.call_later(120, bench.device.power_on)
            update = asyncio.ensure_future(bench.update(SMALL, control=control))
            await asyncio.sleep(1200)
            assert (bench.device.memory.status, bench.device.memory.version) == (UpgradeStatus.WAITING, 1)
            control.resume()
            assert (await update).outcome is Outcome.ACTIVATED

    run_virtually(course())


@pytest.mark.parametrize("way", ["cancelled", "refused anew"])
def test_no_word_to_install_goes_by_a_leave_that_is_old(way):
    async def course():
        async with lab() as bench:
            loop, control = (
                asyncio.get_running_loop(),
                Control(out_of_reach_at_the_word(bench, lambda: way == "cancelled")),
            )
            if way == "cancelled":
                loop.call_later(60, control.abort)
            loop.call_later(120, bench.device.power_on)
            # The first word was lost in the air, as far as anybody knows.
            assert (await bench.update(SMALL, control=control)).outcome is Outcome.UNCONFIRMED
            await asyncio.sleep(600)
            assert (bench.device.memory.status, bench.device.memory.version) == (UpgradeStatus.WAITING, 1)

    run_virtually(course())


def test_by_a_clock_that_is_wrong_a_transfer_waits(monkeypatch):
    def off(*_):
        raise ClockError("the clock of this machine is 60 s off")

    monkeypatch.setattr("activities.clocks.check", off)

    async def course():
        books = Books(create_engine("postgresql+psycopg://"), SimpleNamespace(granted=True), "virtual")
        assert await books._hand(installs=True) == (Hand.WAIT, "the clock of this machine is 60 s off")

    asyncio.run(course())
