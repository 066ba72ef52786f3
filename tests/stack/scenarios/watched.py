"""A campaign as the control room sees it, through a real Prometheus: every panel has an answer, and every total is true."""

import asyncio
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest

from hanwave.client.rehearsing import How
from hanwave.ledger import budgets, permit
from hanwave.rollout.budget import Threshold
from hanwave.rollout.events import Leg
from infra.emulator.pki import SUPPLIER
from infra.grafana.bench import BENCH
from infra.grafana.boards import BOARDS
from infra.grafana.installation import FLEET
from infra.grafana.pictures import Prometheus, draw
from tests.stack.scenarios import SCENARIOS
from tests.support.at_once import Home
from tests.support.control_room import empty, prometheus
from tests.support.rollout_world import Rollout, request

_OVER = "SELECT count(*) = 0 FROM campaign_device WHERE campaign = 'watched' AND state NOT IN ('settled', 'closed')"
_JUDGED = "SELECT verdict FROM wave WHERE campaign = 'watched' AND number = 1"
_OF = "FROM device_event e JOIN campaign_device u ON u.id = e.update_id WHERE u.campaign = 'watched'"


def thresholds(world: Rollout) -> None:
    """A day's thresholds that nothing here reaches."""
    with world.ledger.begin() as connection:
        table = [
            Threshold.model_validate(
                {"user_id": str(SUPPLIER), "variant": variant, "period": "1d", "limit": 10**6, "reserve": 10}
            )
            for variant in ("11.1", "11.3")
        ]
        budgets.import_thresholds(connection, table, "test", datetime.now(UTC))


def refused(world: Rollout) -> int:
    """Ask for what is not due any more; how many devices the permit refused."""
    ids = [row.id for row in world.rows("SELECT id FROM campaign_device WHERE campaign = 'watched'")]
    with world.ledger.begin() as connection:
        ask = permit.Ask("watched", 1, Leg.ACTIVATE, ids, "11.3")
        return len(permit.ask(connection, ask, datetime.now(UTC)).refused)


def one(asked: Prometheus, expr: str) -> float:
    return sum(float(each["value"][1]) for each in asked.now(expr))


@SCENARIOS.over(Home(6, {"GSME": "1101"}))
async def every_panel_of_the_dashboards_has_an_answer_and_the_totals_are_the_ledgers(
    world: Rollout, gsmes: list[str]
) -> None:
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not on the PATH")
    folder = world.stack.folder / "watched"
    world.more_goes_wrong(
        {"fault": "unreachable", "answer": "E21", "devices": gsmes[:2], "legs": ["activate"], "attempts": [1]},
        {"fault": "lost_response", "devices": gsmes[2:4], "legs": ["activate"], "attempts": [1]},
    )
    thresholds(world)
    wanted: dict[str, Any] = {**request("acme-gsme-0102"), "cohort": {"devices": gsmes}}
    with prometheus(world.stack.folder / "prometheus.yaml", folder) as asked:
        async with world.client() as client:
            await client.rehearse("watched", wanted, How(harms=(), runs=3))
            await client.start("watched", wanted)
            await world.until(lambda: world.value(_JUDGED), "the gate judges", 200)
            world.stack.kill("exporter")
            world.stack.wait_ready("exporter")
        assert world.value(_OVER)
        assert refused(world) == len(gsmes)
        events = world.value(f"SELECT count(*) {_OF}")
        refusals = 'hanwave_permit_refusals_total{campaign="watched",check="step_is_due"}'
        await world.until(
            lambda: (
                one(asked, 'sum(hanwave_device_events_total{campaign="watched"})') == events
                and one(asked, refusals) >= len(gsmes)
            ),
            f"the counters say {events} events, and {len(gsmes)} refusals",
            90,
        )
        await answered(asked)
        assert one(asked, 'hanwave_campaign_devices{campaign="watched"}') == len(gsmes)
        draw(FLEET, asked, folder / "fleet.png", 60)
    assert (folder / "fleet.png").read_bytes().startswith(b"\x89PNG")


async def answered(asked: Prometheus) -> None:
    """Wait until every panel has an answer: some ask for what two scrapes show."""
    for _ in range(60):
        if not (left := unanswered(asked)):
            return
        await asyncio.sleep(0.5)
    assert not left


def unanswered(asked: Prometheus) -> list[str]:
    """The queries of any panel that give nothing; a bench there is none here (tests/bench/test_watched.py)."""
    return [expr for board in BOARDS if board is not BENCH for panel in board.panels for expr in empty(asked, panel)]
