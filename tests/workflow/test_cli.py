"""The commands for campaigns, on a real Temporal and a real PostgreSQL: what they print, for a person and for a program."""

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import version
from itertools import count

import pytest
from sqlalchemy import text

from hanwave.cli.campaign.view import duration
from hanwave.cli.main import COMMANDS, _load, app
from hanwave.rollout.events import Leg
from infra.commands import COMMANDS as OF_INFRA
from tests.support.command import Ran, run, run_beside
from tests.support.dcc import good, quiet
from tests.support.ledger import US, World, eui
from tests.workflow.test_campaign import FAST, good_at, running
from workers.commands import COMMANDS as OF_WORKERS

pytestmark = pytest.mark.workflow
session = pytest.mark.asyncio(loop_scope="session")
_numbers = count(1)
EVERY = COMMANDS | OF_INFRA | OF_WORKERS


@pytest.fixture
def five(world: World, ledger_dsn: str, tmp_path, monkeypatch) -> World:
    """Five devices, two releases, files of a request and a policy, and the settings of a ledger without a Temporal."""
    world.release_document()
    world.release_document("r1", "00000001", may_downgrade=True)
    world.fleet(5)
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    (tmp_path / "request.json").write_text(json.dumps({"release": "r2", "author": "ann", "policy": FAST}))
    (tmp_path / "policy.json").write_text(json.dumps(FAST))
    return world


@pytest.fixture
def engine_too(temporal, monkeypatch, five):
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", temporal.service_client.config.target_host)
    return temporal


@pytest.fixture
def name() -> str:
    return f"cli-{next(_numbers)}"


def done(ran: Ran) -> dict:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def waits(name: str, for_: str) -> dict:
    for _ in range(150):
        facts = done(await run_beside("campaign", "status", name, "--json"))
        if for_ in facts["waits_for"]:
            return facts
        await asyncio.sleep(0.2)
    raise AssertionError(facts["waits_for"])


@pytest.mark.parametrize("command", EVERY)
def test_every_command_loads_when_it_is_asked_for_and_its_line_in_the_help_is_its_own(command):
    where, line = EVERY[command]
    loaded = _load(where)
    assert run(command, "--help").code == 0
    assert (loaded.help or "").startswith(line.removesuffix("."))


def test_the_help_lists_every_command_and_loads_neither_ledger_nor_engine():
    code = (
        "import sys; sys.argv = ['hanwave', '--help']\n"
        "from hanwave.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'temporalio', 'pydantic', 'lxml', 'cryptography'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert all(f" {command} " in told.stdout for command in EVERY)


def test_it_tells_its_version():
    assert run("--version").out == f"hanwave {version('hanwave')}\n"


def test_an_unknown_command_is_the_command_lines_own_mistake():
    assert run("nonsense").code == 2
    assert app.info.cls is not None


def test_a_plan_is_shown_by_wave_model_and_region_with_who_is_left_out(five):
    five.runs("00000002", [eui(4)])
    ran = run("campaign", "plan", "--release", "r2", "--region", "South", "--policy", "policy.json", "--name", "spring")
    assert ran.code == 0, ran.err
    for said in (
        "r2 (ESME, 00000002) for 4 devices in 4 homes",
        "121D/1111  00000001      South   -      4",
        "already runs the version",
        "11.3",
        "digest",
        "70.00%",
    ):
        assert said in ran.out
    facts = done(run("campaign", "plan", "request.json", "--name", "spring", "--json"))
    assert [wave["devices"] for wave in facts["statement"]["waves"]] == [2, 2]
    assert facts["left_out"] == {"already runs the version": 1}
    assert facts["policy"]["gate"]["harm"] == 0.7
    assert len(facts["digest"]) == 64
    assert five.count("campaign") == 0


@session
async def test_a_campaign_is_started_listed_watched_and_told_of(five, engine_too, name):
    async with running(five, engine_too):
        started = done(await run_beside("campaign", "start", name, "request.json", "--json"))
        assert (
            done(await run_beside("campaign", "start", name, "request.json", "--json"))["digest"] == started["digest"]
        )
        plain = await run_beside("campaign", "watch", name, "--every", "0.2")
        assert (await run_beside("campaign", "watch", name)).out.count("\n") == 1
    lines = plain.out.splitlines()
    assert lines[-1].endswith("5 settled; over")
    assert any("waits for wave" in line for line in lines)
    page = (await run_beside("campaign", "status", name)).out
    for said in (f"{name}: r2, closed, by ann", "pass: 2 of 2", "settled", "nothing: it is over", started["digest"]):
        assert said in page
    assert [each["name"] for each in done(await run_beside("campaign", "list", "--json"))["campaigns"]] == [name]
    assert done(await run_beside("campaign", "watch", name, "--json"))["over"] is True
    told = await run_beside("device", eui(0).replace("-", ""))
    for said in (
        eui(0),
        f"{name}, wave",
        "activated",
        "the device says so",
        "hanwave did it",
        "11.3",
        f"{US}:{eui(0)}:",
    ):
        assert said in told.out
    story = done(await run_beside("device", eui(0), "--campaign", name, "--json"))
    asked = {r["request_id"] for r in story["updates"][0]["requests"]}
    assert {e["request_id"] for e in story["updates"][0]["events"] if e["leg"]} == asked
    assert done(await run_beside("recover", name, "--json"))["recovered"] == [
        {"campaign": name, "over": True, "waves": [], "devices": 0}
    ]


@session
async def test_a_live_view_is_drawn_where_there_is_a_terminal(five, monkeypatch):
    five.campaign([eui(0)])
    with five.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET status = 'closed', closed_at = now()"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    drawn = (await run_beside("campaign", "watch", "spring")).out
    assert "\x1b[" in drawn
    assert "it is over" in drawn


@session
async def test_people_approve_pause_resume_pass_a_gate_and_roll_back(five, engine_too, name):
    async with running(five, engine_too, quiet) as dcc:
        options = (
            "--release",
            "r2",
            "--policy",
            "policy.json",
            "--approvals",
            "1",
            "--fallback",
            "r1",
            "--actor",
            "ann",
        )
        ran = await run_beside("campaign", "start", name, *options)
        assert "nobody (1 needed)" in ran.out
        digest = (await waits(name, "1 approval"))["digest"]
        paused = done(await run_beside("campaign", "pause", name, "--leg", "distribute", "--reason", "storm", "--json"))
        assert paused["engine_told"]
        approved = await run_beside("campaign", "approve", name, "--digest", digest, "--actor", "bob", "--json")
        assert done(approved)["approvals"] == 1
        assert "storm" in (await waits(name, "what stops wave 1"))["stops"][0]
        read = ("--digest", digest[:16], "--json")
        slower = done(await run_beside("campaign", "change-pace", name, "5", "--reason", "a busy hub", *read))
        assert slower["done"].startswith("5 activations a second at most, after")
        calm = ("campaign", "resume", name, "--reason", "calm", "--leg", "distribute", "--key", "calm-1", *read)
        lifted = done(await run_beside(*calm))["lifted"]
        assert len(lifted) == 1
        assert done(await run_beside(*calm))["lifted"] == lifted
        refused = await run_beside("campaign", "go-on", name, "--reason", "looked", "--digest", "0" * 64)
        assert f"the plan of {name} is {digest}, not '0000" in refused.err
        await waits(name, "gate of wave 1")
        said = done(await run_beside("campaign", "go-on", name, "--reason", "looked", "--actor", "bob", *read))
        assert said["done"] == "the gate of wave 1 is passed by bob"
        await waits(name, "gate of wave 2")
        five.runs("00000002", five.exposed())
        dcc.behaviour = good_at("00000001")
        back = done(await run_beside("campaign", "roll-back", name, "--reason", "quiet", *read))
        assert back["campaigns"] == [f"{name}-back-1"]
        assert back["left_out"] == {}
        page = (await run_beside("campaign", "status", name)).out
        assert f"{name}-back-1" in page
        await waits(name, "the rollback")
        assert done(await run_beside("campaign", "status", f"{name}-back-1", "--json"))["release"] == "r1"


def test_a_halt_without_temporal_says_what_was_recorded_and_what_is_beyond_recall(five):
    [update] = five.campaign([eui(0)])
    halted = done(run("campaign", "halt", "spring", "--reason", "smoke", "--json"))
    assert halted["halted"] == "campaign spring"
    assert halted["recorded_at"]
    assert halted["quiet_at"]
    assert halted["beyond_recall"] == []
    assert halted["engine_told"] is False
    with five.engine.begin() as connection:
        row = connection.execute(
            text(
                "INSERT INTO outbox (request_id, service_reference, permit_class, leg, user_id, campaign, wave, parameters,"
                " state, granted_at, sends) VALUES ('a:b:1', '11.3', 'forward', 'activate', 'u', 'spring', 1, '{}',"
                " 'acknowledged', now(), 1) RETURNING id"
            )
        ).scalar_one()
        connection.execute(
            text("INSERT INTO outbox_device VALUES (:row, :update, :eui, 1, 'activate', 1)"),
            {"row": row, "update": update, "eui": eui(0)},
        )
        connection.execute(text("UPDATE campaign_device SET state = 'activating'"))
    ran = run("campaign", "halt", "--wave", "spring/1")
    assert f"{eui(0)} of spring: its activation was sent" in ran.out
    assert "no: it did not answer" in ran.out
    assert run("campaign", "halt", "--all").code == 0
    assert five.count("stop", "lifted_at IS NULL") == 3


@session
async def test_recover_all_starts_every_open_campaign_again(five, engine_too, name):
    def never(_: str, leg: Leg):
        return [] if leg is Leg.DISTRIBUTE else good(_, leg)

    async with running(five, engine_too, never):
        await run_beside("campaign", "start", name, "request.json")
        await waits(name, "wave 1 to close")
        await engine_too.get_workflow_handle(f"campaign/{name}").terminate()
        found = done(await run_beside("recover", "--all", "--json"))["recovered"]
        assert [each["campaign"] for each in found] == [name]
        described = await engine_too.get_workflow_handle(f"campaign/{name}").describe()
        assert described.status is not None
        assert described.status.name == "RUNNING"
        await run_beside("campaign", "halt", name)


@session
async def test_what_a_campaign_did_not_deliver_is_retried_with_a_policy_for_so_few(five, engine_too, name, tmp_path):
    for file, share in (("one.json", 1), ("wrong.json", 2)):
        (tmp_path / file).write_text(json.dumps(FAST | {"waves": [{"share": share}]}))

    def never(_: str, leg: Leg):
        return [] if leg is Leg.DISTRIBUTE else good(_, leg)

    async with running(five, engine_too, never):
        await run_beside("campaign", "start", name, "request.json")
        await waits(name, "wave 1 to close")
        await run_beside("campaign", "halt", name)
        with five.engine.begin() as connection:
            connection.execute(
                text("UPDATE campaign_device SET state = 'closed', outcome = 'not_delivered' WHERE eui = :eui"),
                {"eui": eui(0)},
            )
        refused = await run_beside("campaign", "retry", name, "--policy", "nobody.json")
        assert (refused.code, "nobody.json" in refused.err) == (1, True)
        refused = await run_beside("campaign", "retry", name, "--policy", "wrong.json")
        assert (refused.code, "wrong.json: waves.0.share" in refused.err) == (1, True)
        refused = await run_beside("campaign", "retry", name, "--outcome", "not_delivered")
        assert "no device is left for it: have fewer waves" in refused.err
        again = done(await run_beside("campaign", "retry", name, "--policy", "one.json", "--json"))
        assert again["campaign"] == f"{name}-retry-1"
    with five.engine.connect() as connection:
        kept = connection.execute(text("SELECT of, policy FROM campaign WHERE kind = 'retry'")).one()
    assert (kept.of, [wave["share"] for wave in kept.policy["waves"]]) == (name, [1])
    assert five.count("campaign_device", f"campaign = '{name}-retry-1'") == 1


def test_a_span_is_said_in_two_units_at_most():
    said = [
        duration(timedelta(**span)) for span in ({"days": 3, "hours": 4, "minutes": 5}, {"minutes": 12}, {"seconds": 0})
    ]
    assert said == ["3 days 4 h", "12 min", "0 s"]
