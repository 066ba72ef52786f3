"""Withdrawals without Temporal: a halt is pressed while the engine is down, and a gateway that was just started cancels."""

import json

import httpx
import pytest

from tests.support.rollout_world import Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("halt"), devices=60) as world:
        yield world


def in_the_books(world: Rollout) -> list[dict]:
    """The devices on which the emulator has a future-dated activation stored."""
    lines = httpx.get(f"{world.admin}/books", timeout=30).text.splitlines()
    return [d for d in map(json.loads, lines) if d["kind"] == "device" and d["scheduled"]]


async def test_a_halt_withdraws_with_temporal_down_and_the_gateway_just_started(world):
    asked = request("acme-esme-0104", activation="future_dated", lead="10m", cancels=10, deadlines=_patient())
    async with world.client() as client:
        campaign = await client.start("dated", asked)
        await world.until(lambda: len(in_the_books(world)) >= 10, "activations are stored on devices", 120)
        world.stack.hold("temporal")
        world.stack.kill("gateway")
        world.stack.wait_ready("gateway")
        halted = await campaign.halt(reason="smoke", actor="ann")
        listed = {device.eui for device in halted.beyond_recall}
        assert {device["eui"] for device in in_the_books(world)} <= listed
        await world.until(
            lambda: not world.value("SELECT count(*) FROM campaign_device WHERE state IN ('scheduled', 'activating')"),
            "everything is withdrawn",
            120,
        )
    assert in_the_books(world) == []
    assert world.value("SELECT count(*) FROM outbox WHERE permit_class = 'withdraw'") >= 10
    at = halted.recorded_at
    assert not world.rows("SELECT 1 FROM outbox WHERE permit_class = 'forward' AND sending_at > :at", at=at)
    assert not world.value("SELECT count(*) FROM campaign_device WHERE state IN ('confirmed', 'settled')")
    world.assert_books()


def _patient() -> dict[str, dict[str, str]]:
    """Deadlines that no answer misses while processes are down."""
    return {kind: {"distribute": "5m", "activate": "5m", "read": "5m"} for kind in ("ESME", "GSME", "HCALCS", "PPMID")}
