"""Every situation of the study, on the virtual radio and a virtual clock: how it ends, and what the device itself saw."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from hanwave.firmware.terms import HardwareRange
from hanwave.rollout.bench import BenchPolicy, Outcome
from infra.zigbee.air import Conditions
from infra.zigbee.client import Habits
from infra.zigbee.clock import run_virtually
from infra.zigbee.device import Device
from infra.zigbee.frames import Profile, Status
from infra.zigbee.memory import Failure, Make
from tests.bench.lab import BLOCKS, eui, gb_image, lab, now, zigbee_image
from workers.bench.image import BenchImage

pytestmark = pytest.mark.bench
USUAL = Conditions(latency=0.03)
SMALL = 1500
"""Octets of an image for a client that takes minutes for each block: 30 blocks."""


def lossy(share: float) -> Conditions:
    return Conditions(latency=0.03, loss_up=share, loss_down=share)


@dataclass
class Scenario:
    """One situation, and how it must end."""

    outcome: Outcome
    seconds: tuple[float, float]
    """At least and at most so much virtual time."""
    image: BenchImage = field(default_factory=gb_image)
    policy: BenchPolicy = field(default_factory=BenchPolicy)
    conditions: Conditions = USUAL
    make: Make = field(default_factory=Make)
    habits: Habits = field(default_factory=Habits)
    version: int = 1
    poll: float = 0.0
    boot_time: float = 0.05
    off_at: int | None = None
    """Cut the power when the device holds so many octets ..."""
    off_for: float | None = None
    """... for so long; None: for ever."""
    blocks: int = BLOCKS
    """What the device takes."""
    ends: tuple[Status, ...] = (Status.SUCCESS,)

    def prepare(self, device: Device) -> None:
        device.boot_time = self.boot_time
        if self.off_at is not None:
            seconds = self.off_for
            cut = device.power_off if seconds is None else lambda: device.cut_power(seconds)
            device.client.at_offset[self.off_at] = cut

    @property
    def installs(self) -> bool:
        """Whether the device ends with the image installed; one that falls silent has it too."""
        return self.outcome.is_success or Failure.SILENT in self.habits.failures.values()

    @property
    def reports(self) -> int | None:
        """The version that the device is last heard with; for an image that is not its own it is not even asked."""
        if self.outcome is Outcome.WRONG_DESTINATION:
            return None
        return self.image.version if self.outcome.is_success else self.version


def unsent(outcome: Outcome, **more: Any) -> Scenario:
    """Refused before the first octet."""
    return Scenario(outcome, (0, 1), blocks=0, ends=(), **more)


PAGES = Habits(page=512)
WORKS = {
    "clean, 30 ms each way": Scenario(Outcome.ACTIVATED, (12, 20)),
    "the form with sub-elements": Scenario(Outcome.ACTIVATED, (12, 20), zigbee_image()),
    "5 % lost each way, a new number on each retry": Scenario(Outcome.ACTIVATED, (12, 120), conditions=lossy(0.05)),
    "5 % lost each way, the same number on each retry": Scenario(
        Outcome.ACTIVATED, (12, 120), conditions=lossy(0.05), habits=Habits(keeps_tsn=True)
    ),
    "5 % lost each way, three retries of a second": Scenario(
        Outcome.ACTIVATED, (12, 300), conditions=lossy(0.05), habits=Habits(keeps_tsn=True, retries=3)
    ),
    "30 % lost each way": Scenario(Outcome.ACTIVATED, (12, 600), conditions=lossy(0.3), habits=Habits(retries=30)),
    "30 % lost each way, a client that gives up after three": Scenario(
        Outcome.ACTIVATED, (12, 3600), conditions=lossy(0.3), habits=Habits(retries=3)
    ),
    "20 % of the acknowledgements lost": Scenario(
        Outcome.ACTIVATED, (12, 120), conditions=Conditions(latency=0.03, ack_loss=0.2)
    ),
    "one channel that all share": Scenario(
        Outcome.ACTIVATED, (12, 60), conditions=Conditions(latency=0.03, jitter=0.005, airtime=0.0078)
    ),
    # A page ends in a short block.
    "pages of 512 octets": Scenario(Outcome.ACTIVATED, (5, 25), habits=PAGES, blocks=215),
    "pages, 5 % lost": Scenario(Outcome.ACTIVATED, (5, 120), conditions=lossy(0.05), habits=PAGES, blocks=215),
    "a client that takes 40 octets": Scenario(Outcome.ACTIVATED, (12, 60), habits=Habits(block=40), blocks=250),
    "a policy of 32 octets": Scenario(Outcome.ACTIVATED, (12, 60), policy=BenchPolicy(block=32), blocks=313),
    "a sleeper that polls every 7 s": Scenario(
        Outcome.ACTIVATED,
        (1400, 1600),
        make=Make(is_mains=False),
        habits=Habits(timeout=30),
        poll=7.0,
        policy=BenchPolicy(confirm_within=timedelta(hours=1)),
    ),
    "25 s between two blocks": Scenario(
        Outcome.ACTIVATED, (740, 780), gb_image(SMALL), habits=Habits(rest=25), blocks=30
    ),
    "31 s between two blocks": Scenario(
        Outcome.ACTIVATED, (920, 960), gb_image(SMALL), habits=Habits(rest=31), blocks=30
    ),
    "ten minutes between two blocks": Scenario(
        Outcome.ACTIVATED, (17_900, 18_100), gb_image(SMALL), habits=Habits(rest=600), blocks=30
    ),
    "no power for 5 s": Scenario(Outcome.ACTIVATED, (17, 30), off_at=4000, off_for=5),
    "no power for 40 s": Scenario(Outcome.ACTIVATED, (52, 70), off_at=4000, off_for=40),
    "no power for ten minutes": Scenario(Outcome.ACTIVATED, (612, 640), off_at=4000, off_for=600),
    # 80 blocks are fetched twice: the device forgot them.
    "no power for 5 s, and a device that forgets": Scenario(
        Outcome.ACTIVATED, (70, 100), off_at=4000, off_for=5, habits=Habits(resumes=False), blocks=BLOCKS + 80
    ),
    "a restart of 130 s": Scenario(Outcome.ACTIVATED, (142, 180), boot_time=130, habits=Habits(timeout=5)),
    "an image for this one device": Scenario(
        Outcome.ACTIVATED, (12, 20), zigbee_image(destination=eui(1), security_credential=2)
    ),
    "an image for this one device, asked for as such": Scenario(
        Outcome.ACTIVATED, (12, 20), zigbee_image(destination=eui(1)), habits=Habits(asks_specific=True)
    ),
    "an image for any hardware, a device that does not tell its own": Scenario(
        Outcome.ACTIVATED, (12, 20), zigbee_image(hardware=None), make=Make(hardware=None)
    ),
    "older, and both sides allow it": Scenario(
        Outcome.ACTIVATED,
        (12, 20),
        version=5,
        habits=Habits(may_downgrade=True),
        policy=BenchPolicy(may_downgrade=True),
    ),
    "Smart Energy, with APS encryption": Scenario(
        Outcome.ACTIVATED,
        (12, 20),
        make=Make(profile=Profile.SMART_ENERGY),
        habits=Habits(discovers=True),
        policy=BenchPolicy(aps_encryption=True),
    ),
    "Smart Energy, the same octets on each retry": Scenario(
        Outcome.ACTIVATED,
        (12, 120),
        make=Make(profile=Profile.SMART_ENERGY),
        conditions=lossy(0.05),
        habits=Habits(keeps_tsn=True),
    ),
    "100 ms between blocks, told to the client": Scenario(
        Outcome.ACTIVATED, (30, 45), policy=BenchPolicy(block_period_ms=100), habits=Habits(block_period_ms=0)
    ),
    "100 ms between blocks, of a client that cannot be told": Scenario(
        Outcome.ACTIVATED, (20, 30), policy=BenchPolicy(block_period_ms=100)
    ),
    "100 ms between blocks, of a client that is told and does not heed it": Scenario(
        *(Outcome.ACTIVATED, (20, 30)),
        policy=BenchPolicy(block_period_ms=100),
        habits=Habits(block_period_ms=0, heeds_period=False),
    ),
    "a client that names its image type while it fetches alone": Scenario(
        Outcome.ACTIVATED, (12, 20), habits=Habits(names_type=False)
    ),
    # A page of 16 minutes, in which nothing is asked for.
    "pages whose blocks are far apart": Scenario(
        *(Outcome.ACTIVATED, (1190, 1260)),
        habits=Habits(page=8000, page_spacing_ms=6_000, timeout=10),
        blocks=BLOCKS,
    ),
}
FAILS = {
    "no power any more": Scenario(Outcome.STALLED, (900, 915), off_at=4000, blocks=80, ends=()),
    "the device's own verification fails": Scenario(
        Outcome.REFUSED, (12, 20), habits=Habits(failures={2: Failure.REJECTED}), ends=(Status.INVALID_IMAGE,)
    ),
    "it restarts with what it had": Scenario(
        Outcome.KEPT_OLD, (610, 640), habits=Habits(failures={2: Failure.KEPT_OLD})
    ),
    "it restarts and is silent": Scenario(Outcome.UNCONFIRMED, (610, 680), habits=Habits(failures={2: Failure.SILENT})),
    "other hardware": unsent(Outcome.WRONG_HARDWARE, image=gb_image(hardware=HardwareRange(0x2000, 0x2100))),
    "hardware that is not told": unsent(Outcome.WRONG_HARDWARE, make=Make(hardware=None)),
    "for one other device": unsent(Outcome.WRONG_DESTINATION, image=zigbee_image(destination=eui(99))),
    "another manufacturer's": unsent(Outcome.WRONG_MANUFACTURER, image=gb_image(manufacturer_code=0x0A01)),
    "another type's": unsent(Outcome.WRONG_TYPE, image=gb_image(image_type=0x0085)),
    "older": unsent(Outcome.NEWER, version=5),
    "the same": unsent(Outcome.ALREADY, version=2),
    "a device that would not stay with a held image": unsent(
        Outcome.CANNOT_HOLD, policy=BenchPolicy(hold=True), habits=Habits(asks_again=3600)
    ),
    "older, and the device declines": Scenario(
        Outcome.DECLINED, (180, 200), version=5, policy=BenchPolicy(may_downgrade=True), blocks=0, ends=()
    ),
}


@pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in (WORKS | FAILS).items()])
def test_how_it_ends(scenario):
    run_virtually(course(scenario))


async def course(scenario: Scenario) -> None:
    one = scenario
    async with lab(one.make, habits=one.habits, version=one.version, conditions=one.conditions, poll=one.poll) as bench:
        device = bench.device
        one.prepare(device)
        began = now()
        report = await bench.update(one.image, one.policy)
        assert report.outcome is one.outcome
        assert one.seconds[0] <= now() - began <= one.seconds[1]
        books = device.books
        assert books.blocks == one.blocks
        assert tuple(books.ends) == one.ends
        assert books.aborts == 0
        assert report.version_after == one.reports
        assert device.memory.version == (one.image.version if one.installs else one.version)
        if one.policy.aps_encryption:
            assert bench.air.encrypted > BLOCKS
