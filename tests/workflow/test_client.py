"""hanwave.Client on a real Temporal and a real PostgreSQL: what it does, what it refuses, and what still works without Temporal."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

import hanwave
from hanwave import client as client_module
from hanwave import names
from hanwave.client import (
    Campaign,
    EngineError,
    LedgerLostError,
    NameTakenError,
    NoCampaignError,
    NotRunningError,
    RefusedError,
)
from hanwave.errors import HanwaveError
from hanwave.ledger.database import LedgerError
from hanwave.ledger.progress import DeviceOutcome
from hanwave.settings import Settings
from tests.support.dcc import quiet
from tests.support.ledger import US, World, eui
from tests.workflow.test_campaign import FAST, good_at, running

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
_numbers = count(1)
REQUEST = {"release": "r2", "author": "ann", "policy": FAST}
NOBODY = "127.0.0.1:1"
"""Where no Temporal listens."""


def everything(world: World) -> dict[str, int]:
    tables = ("campaign", "wave", "campaign_device", "left_out", "tally", "note", "stop", "outbox", "device_event")
    return {table: world.count(table) for table in tables}


async def until(campaign: Campaign, text: str, seconds: float = 30) -> None:
    deadline, said = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        said = (await campaign.status()).waits_for
        if text in said:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the campaign waits for {said!r}, not {text!r}")


async def test_importing_hanwave_does_not_load_the_engines_client():
    code = "import sys, hanwave; assert 'temporalio' not in sys.modules; hanwave.Client; assert 'temporalio' in sys.modules"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        hanwave.nothing  # noqa: B018


async def test_a_plan_says_who_and_why_not_and_changes_nothing(five, connect):
    five.runs("00000002", [eui(4)])
    before = everything(five)
    async with connect(NOBODY) as client:
        draft = await client.plan("spring", REQUEST)
        again = await client.plan("spring", REQUEST)
        other = await client.plan("autumn", REQUEST)
    assert everything(five) == before
    assert [wave.devices for wave in draft.waves] == [2, 2]
    assert [(p.model, p.region, p.devices) for p in draft.waves[0].parts] == [("121D/1111", "South", 2)]
    assert draft.waves[0].homes == 2
    assert draft.left_out == {"already runs the version": 1}
    assert draft.requests == {"8.2": 4, "11.1": 2, "11.3": 4, "11.2": 4}
    assert draft.digest == again.digest != other.digest


async def test_what_was_planned_is_what_is_started_and_starting_again_is_the_same_campaign(
    five, temporal, connect, name
):
    async with connect() as client:
        draft = await client.plan(name, REQUEST)
        campaign = await client.start(name, REQUEST)
        assert (await campaign.status()).digest == draft.digest
        before = everything(five)
        assert (await client.start(name, REQUEST)).name == name
        assert everything(five) == before
        for other in ({"approvals": 1}, {"cohort": {"regions": ["South"]}}, {"policy": {}}, {"author": "bob"}):
            with pytest.raises(NameTakenError):
                await client.start(name, REQUEST | other)
        assert everything(five) == before
        assert [(c.name, c.devices, c.status) for c in await client.campaigns()] == [(name, 5, "planned")]
    # The Web UI's Start Workflow copies it to the next campaign.
    started = await temporal.get_workflow_handle(f"campaign/{name}").describe()
    assert await started.static_summary() == names.CAMPAIGN_SUMMARY


async def test_of_starts_at_the_same_moment_one_plan_is_kept(five, connect, name):
    async with connect() as client:
        started = await asyncio.gather(*(client.start(name, REQUEST) for _ in range(3)))
        others = (client.start(f"{name}-x", REQUEST | {"author": who}) for who in ("ann", "bob"))
        ended = await asyncio.gather(*others, return_exceptions=True)
    assert {each.name for each in started} == {name}
    assert sorted(isinstance(each, HanwaveError) for each in ended) == [False, True]
    assert five.count("campaign") == 2
    assert five.count("campaign_device", f"campaign = '{name}'") == 5


async def test_every_export_is_documented():
    guide = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
    assert [name for name in client_module.__all__ if f"`{name}" not in guide and f".{name}" not in guide] == []
    verbs = [verb for verb in dir(Campaign) if not verb.startswith("_")]
    assert [verb for verb in verbs if f"campaign.{verb}" not in guide] == []


async def test_a_campaign_is_watched_to_its_end_and_each_devices_story_is_whole(five, temporal, connect, name):
    async with running(five, temporal), connect() as client:
        campaign = await client.start(name, REQUEST)
        seen = [view async for view in campaign.watch(0.2)]
        assert (await campaign.wait()).over
        outcomes = [each async for each in campaign.outcomes()]
        table = await campaign.outcomes_table()
        story = await campaign.story(eui(0))
        with pytest.raises(NotRunningError):
            await campaign.resume(reason="why not", actor="ann", digest=seen[-1].digest)
        with pytest.raises(RefusedError, match="is over"):
            await campaign.pause(reason="late", actor="ann")
    assert [view.over for view in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].waits_for == ""
    assert seen[-1].funnel == {"settled": 5}
    assert {w.verdict for w in seen[-1].waves} == {"pass"}
    assert Counter(each.outcome for each in outcomes) == {"settled": 5}
    assert len({each.eui for each in outcomes}) == 5
    assert [DeviceOutcome(*row) for row in zip(*table.values(), strict=True)] == outcomes
    [update] = story.updates
    assert (update.state, update.next, update.release) == ("settled", "nothing", "r2")
    kinds = [event.kind for event in update.events]
    assert kinds[0] == "granted"
    assert {"sent", "verified", "activated", "settled"} <= set(kinds)
    assert {e.evidence for e in update.events} == {"ours", "dcc", "device"}
    asked = {r.leg: r.request_id for r in update.requests}
    assert {e.request_id for e in update.events if e.leg == "activate"} == {asked["activate"]}
    assert not {"mpxn", "home"} & set(story.device or {})


async def test_a_start_without_temporal_keeps_nothing(five, connect, name):
    before = everything(five)
    async with connect(NOBODY) as client:
        with pytest.raises(EngineError, match="cannot be reached"):
            await client.start(name, REQUEST)
        with pytest.raises(NoCampaignError, match="the ledger has none"):
            await client.campaign(name).status()
    assert everything(five) == before


async def test_halt_and_pause_hold_at_once_with_temporal_down_and_say_so(five, connect):
    five.campaign([eui(0), eui(1)])
    async with connect(NOBODY, patience=3) as client:
        campaign = client.campaign("spring")
        began = time.monotonic()
        paused = await campaign.pause(reason="storm", actor="ann", leg="activate")
        halted = await campaign.halt(reason="smoke", actor="ann")
        everybody = await client.halt("all", reason="smoke", actor="ann")
        assert time.monotonic() - began < 10
    assert not (paused.engine_told)
    assert not (halted.engine_told)
    assert not (everybody.engine_told)
    assert halted.quiet_at
    assert halted.recorded_at <= halted.quiet_at
    assert five.count("stop", "lifted_at IS NULL AND reason IN ('storm', 'smoke')") == 3
    assert five.count("stop", "leg = 'activate' AND kind = 'pause'") == 1


async def test_a_halt_holds_with_no_worker_and_the_verbs_that_widen_say_that_nobody_answers(five, connect, name):
    async with connect(patience=1.5) as client:
        campaign = await client.start(name, REQUEST)
        halted = await campaign.halt(reason="smoke", actor="ann")
        assert halted.engine_told
        began = time.monotonic()
        with pytest.raises(EngineError, match="not known whether resume was taken"):
            await campaign.resume(reason="no smoke", actor="ann", digest=five.digest())
        assert time.monotonic() - began < 10
    assert five.count("stop", "lifted_at IS NULL") == 1


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("wave", "spring/2", "its waves are 1 to 1"),
        ("wave", "spring/0", "its waves are 1 to 1"),
        ("wave", "spring", "campaign/number"),
        ("wave", "autumn/1", "no campaign 'autumn'"),
        ("campaign", "autumn", "the ledger has spring"),
        ("model", "9999/9999", "no device of the fleet"),
        ("model", "E470", "should be a model"),
        ("user", "us", "is not an EUI-64"),
        ("planet", "earth", "no scope 'planet'"),
    ],
)
async def test_a_halt_of_what_is_not_there_is_refused_and_nothing_is_stopped(five, connect, kind, value, sentence):
    five.campaign([eui(0)])
    async with connect(NOBODY) as client:
        with pytest.raises(HanwaveError, match=sentence):
            await client.halt(kind, value, reason="smoke", actor="ann")
    assert five.count("stop") == 0


@pytest.mark.parametrize(("kind", "value"), [("all", ""), ("user", US), ("model", "121D/1111"), ("wave", "spring/1")])
async def test_every_scope_can_be_halted(five, connect, kind, value):
    five.campaign([eui(0)])
    async with connect(NOBODY, patience=1) as client:
        await client.halt(kind, value, reason="smoke", actor="ann")
    assert five.count("stop", f"scope = '{kind}' AND value = '{value}'") == 1


async def test_approvals_pauses_and_resumes_say_what_came_of_them(five, temporal, connect, name):
    async with running(five, temporal, quiet), connect() as client:
        campaign = await client.start(name, REQUEST | {"approvals": 1})
        await until(campaign, "1 approval")
        digest = (await campaign.status()).digest
        for actor, said, sentence in (("ann", digest, "is the author"), ("bob", "0" * 64, "digest is")):
            with pytest.raises(RefusedError, match=sentence):
                await campaign.approve(digest=said, actor=actor)
        with pytest.raises(RefusedError, match="nothing stops"):
            await campaign.resume(reason="bored", actor="ann", digest=digest)
        with pytest.raises(RefusedError, match="no gate"):
            await campaign.go_on(reason="bored", actor="ann", digest=digest)
        await campaign.pause(reason="storm", actor="ann", leg="distribute")
        assert await campaign.approve(digest=digest, actor="bob") == 1
        assert "storm" in (await campaign.status()).stops[0]
        lifted = await campaign.resume(reason="calm", actor="ann", digest=digest)
        assert ["storm" in each for each in lifted] == [True]
        await until(campaign, "gate of wave 1")
        assert "wave 1" in await campaign.go_on(reason="looked at them", actor="ann", digest=digest)
        assert (await campaign.status()).waves[0].passed_by == "ann"
        await campaign.halt(reason="enough", actor="ann")


async def test_a_rollback_to_what_cannot_be_changes_nothing_and_a_right_one_takes_the_devices_back(
    five, temporal, connect, name
):
    five.release_document("r1", "00000001", may_downgrade=True)
    async with running(five, temporal, quiet) as dcc, connect() as client:
        campaign = await client.start(name, REQUEST)
        await until(campaign, "gate of wave 1")
        before, digest = everything(five), five.digest()
        with pytest.raises(RefusedError, match="no release 'r0'"):
            await campaign.roll_back(reason="quiet", actor="ann", digest=digest, releases=["r1", "r0"])
        with pytest.raises(RefusedError, match="name the releases"):
            await campaign.roll_back(reason="quiet", actor="ann", digest=digest)
        assert everything(five) == before
        five.runs("00000002", five.exposed())
        dcc.behaviour = good_at("00000001")
        restored = await campaign.roll_back(reason="quiet", actor="ann", digest=digest, releases=["r1"])
        assert restored.campaigns == [f"{name}-back-1"]
        again = await campaign.roll_back(reason="quiet", actor="ann", digest=digest, releases=["r1"])
        assert again.campaigns == restored.campaigns
        await until(campaign, f"the rollback: {name}-back-1")
        assert (await asyncio.wait_for(client.campaign(f"{name}-back-1").wait(), 40)).over
        assert (await asyncio.wait_for(campaign.wait(), 40)).status == "withdrawn"


@pytest.mark.parametrize("actor", ["ann", " "])
@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("pause", {}),
        ("cancel_device", {"eui": eui(0)}),
        ("approve", {"digest": "0"}),
        ("resume", {"digest": "0"}),
        ("go_on", {"digest": "0"}),
        ("change_pace", {"digest": "0", "per_second": 1}),
        ("roll_back", {"digest": "0"}),
    ],
)
async def test_no_verb_goes_without_a_reason_and_an_actor(five, connect, verb, more, actor):
    five.campaign([eui(0)])
    async with connect(NOBODY) as client:
        reason = " " if actor.strip() else "because"
        with pytest.raises(RefusedError, match="needs a"):
            await getattr(client.campaign("spring"), verb)(reason=reason, actor=actor, **more)
    assert five.count("stop") == five.count("note") == 0


async def test_a_ledger_that_is_gone_or_of_another_schema_is_one_sentence(connect, database_app):
    for dsn, kind, sentence in (
        ("postgresql://nobody@127.0.0.1:1/x", LedgerLostError, "the ledger refused or was lost"),
        (database_app, LedgerError, "schema is not there yet"),
        ("sqlite://", LedgerError, "should begin with postgresql://"),
    ):
        with pytest.raises(kind, match=sentence):
            async with hanwave.Client.connect(Settings(), dsn=dsn, user_id=US):
                pass
