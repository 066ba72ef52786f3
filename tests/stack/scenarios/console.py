"""The steps of docs/operators-guide.md, in a real browser on the real Web UI: each function is a section of the guide.

PICTURES=docs/pictures in the environment has it make the guide's pictures; run it alone then.
"""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from hanwave.console import VIEWS
from tests.stack.scenarios import SCENARIOS
from tests.support.at_once import Home
from tests.support.console import Console, browser
from tests.support.rollout_world import POLICY, Rollout, request

NAME = "winter"
_ID = f"campaign/{NAME}"
_JUDGED = "SELECT verdict FROM wave WHERE campaign = :c AND number = 1"


@dataclass
class Tour:
    """An operator, and the campaign that he is about to run: three go well, one fails, two are for a second wave."""

    world: Rollout
    console: Console
    asked: dict[str, Any]
    broken: str


Step = Callable[[Tour], Awaitable[None]]
STEPS: dict[str, Step] = {}
"""Each step, by its heading in the guide."""


def step(heading: str) -> Callable[[Step], Step]:
    def add(done: Step) -> Step:
        STEPS[heading] = done
        return done

    return add


@step("Start a campaign")
async def start(tour: Tour) -> None:
    await tour.console.start(_ID, tour.asked, "start")


@step("Find it")
async def find(tour: Tour) -> None:
    await tour.console.home()
    for each in VIEWS:
        await tour.console.view(each.name)
    await tour.console.view("Campaigns under way")
    await tour.console.page.get_by_role("link", name=_ID).first.wait_for()
    await tour.console.picture("list")
    await tour.console.open(_ID)


@step("Read how it stands")
async def read(tour: Tour) -> None:
    await tour.console.shows("Waits for 1 approval of plan")
    await tour.console.picture("campaign")


@step("What is not there")
async def taken(tour: Tour) -> None:
    console = tour.console
    assert await console.actions() == ["Send a Signal", "Send an Update", "Start Workflow Like This One"]
    await console.picture("actions")
    await console.page.keyboard.press("Escape")
    async with httpx.AsyncClient(base_url=console.ui) as web:
        for pressed in ("terminate", "reset", "pause"):
            path = f"/api/v1/namespaces/default/workflows/{quote(_ID, safe='')}/{pressed}"
            answer = await web.post(path, json={"reason": "a test"})
            assert (answer.status_code, "send the workflow an Update" in answer.text) == (403, True)


@step("Approve it")
async def approve(tour: Tour) -> None:
    console = tour.console
    wrong = await console.refused("approve", {"actor": "bob"}, "refused", choice="updates")
    assert wrong == 'digest: field required; a right one is {"actor": "bob", "digest": "3f0c..."}'
    author = await console.refused("approve", await console.offered("approve", YOU="ann"), "author")
    assert author == "ann is the author of this campaign, and cannot approve it"
    await console.send("approve", await console.offered("approve", YOU="bob"))
    assert tour.world.value("SELECT actor FROM note WHERE verb = 'approve' AND subject = :s", s=_ID) == "bob"


@step("Pause it, and go on")
async def pause(tour: Tour) -> None:
    console = tour.console
    await console.send("pause", await console.offered("pause", YOU="ann", WHY="a storm"))
    await console.shows("pause of campaign winter by ann: a storm")
    await console.picture("paused")
    await console.send("resume", await console.offered("resume", YOU="ann", WHY="it is over"))
    assert tour.world.value("SELECT count(*) FROM stop WHERE value = :c AND lifted_at IS NULL", c=NAME) == 0


@step("See what a gate says")
async def gate(tour: Tour) -> None:
    await tour.world.until(lambda: tour.world.value(_JUDGED, c=NAME), "the gate judges", 150)
    frame = await tour.console.shows("Waits for somebody to decide")
    assert re.search("Wave 1, 4 devices: (NOT ENOUGH EVIDENCE|FAIL), .", await frame.locator("body").inner_text())
    await tour.console.picture("gate")


@step("Find out why a device failed")
async def why(tour: Tour) -> None:
    console = tour.console
    await console.home()
    await console.view("Devices that did not end well")
    device = f"{_ID}/device/{tour.broken}"
    await console.page.get_by_role("link", name=device).first.wait_for()
    await console.picture("failed")
    await console.open(device)
    frame = await console.shows("Ended as failed")
    assert "What to do" in await frame.locator("body").inner_text()
    await console.picture("device")


@step("Halt")
async def halt(tour: Tour) -> None:
    console = tour.console
    await console.home()
    await console.open(_ID)
    await console.send("halt", await console.offered("halt", YOU="ann", WHY="one of four failed"))
    await console.shows("halt of campaign winter by ann: one of four failed")
    await console.picture("halted")


@step("Roll it back")
async def roll_back(tour: Tour) -> None:
    console = tour.console
    await console.send("roll_back", await console.offered("roll_back", YOU="ann", WHY="one of four failed"))
    back = tour.world.value("SELECT restored -> 'campaigns' ->> 0 FROM campaign WHERE name = :c", c=NAME)
    # It waits for that campaign, or is over already, rolled back by it.
    await console.shows(back)
    await console.picture("rolled-back")
    over = "SELECT closed_at FROM campaign WHERE name = :c"
    await tour.world.until(lambda: tour.world.value(over, c=back), "the rollback ends", 150)


@SCENARIOS.over(Home(6, {"ESME": "1002"}))
async def the_operators_guide_can_be_followed_step_by_step(world: Rollout, esmes: list[str]) -> None:
    first = {"count": 4, "gate": {"harm": 0.4, "silence": 0.6, "confidence": 0.8}}
    attempts = {**POLICY["attempts"], "activate": 1}
    # Slow enough for a person to pause its first wave.
    wanted = request("acme-esme-0104", first, {"share": 1}, attempts=attempts, pace={"overall": 0.4})
    asked = {**wanted, "author": "ann", "approvals": 1, "cohort": {"devices": esmes}, "fallbacks": ["acme-esme-0105"]}
    pictures = os.environ.get("PICTURES")
    async with browser(world.stack.ui, Path(pictures) if pictures else None) as console:
        async with world.client() as client:
            broken = (await client.plan(NAME, asked)).members[0][0]
        world.more_goes_wrong({"fault": "activation_failure", "devices": [broken], "versions": ["01040000"]})
        for each in STEPS.values():
            await each(Tour(world, console, asked, broken))
    assert world.device(broken)["version"] != "01040000"
