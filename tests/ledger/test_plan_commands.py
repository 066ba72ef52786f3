"""The commands that draw plans, compare them, and list what the fleet runs."""

import json

import pytest

from hanwave.ledger import planning
from hanwave.ledger.exposure import exposure
from tests.ledger.test_planning import change, enter, request
from tests.support import command
from tests.support.ledger import US, World, eui

pytestmark = pytest.mark.ledger


@pytest.fixture
def world(world: World) -> World:
    world.release_document()
    world.fleet(6)
    return world


@pytest.fixture
def run(monkeypatch, tmp_path, ledger_dsn, world):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    return command.run


@pytest.fixture
def plan_file(run, tmp_path):
    (tmp_path / "request.json").write_text(request().model_dump_json(exclude_defaults=True))

    def plan_file(name: str) -> str:
        code, out, err = run("campaign", "plan", "request.json", "--name", "spring", "--json")
        assert code == 0, err
        (tmp_path / name).write_text(out)
        return name

    return plan_file


def test_a_plans_json_is_whole(world, plan_file, tmp_path):
    whole = json.loads((tmp_path / plan_file("a.json")).read_text())
    assert {e for wave in whole["members"] for e in wave} == {eui(n) for n in range(6)}
    assert whole["statement"]["waves"][0]["smallest_harm"] == pytest.approx(1 - 0.4**0.5, abs=1e-6)
    assert whole["requests"]["11.3"] == 6
    assert whole["policy"]["late_joiners"] == "leave"


def test_two_plans_are_compared_by_file_and_by_campaign(world, run, plan_file):
    first = plan_file("a.json")
    with world.engine.begin() as connection:
        planning.freeze(connection, "spring", request(), US, world.now)
    code, out, _ = run("campaign", "plan-diff", first, "spring")
    assert (code, "the same: " in out) == (0, True)
    change(world, 3, smi_status="Pending")
    enter(world, 10)
    second = plan_file("b.json")
    code, out, _ = run("campaign", "plan-diff", first, second, "--json")
    found = json.loads(out)
    assert code == 1
    assert (list(found["added"]), found["gone"]) == ([eui(10)], {eui(3): "not commissioned"})
    code, out, _ = run("campaign", "plan-diff", "spring", second)
    assert code == 1
    assert eui(10) in out


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [("nothing", "there is no campaign 'nothing'"), ("bad.json", "bad.json is no plan: it should be what `hanwave")],
)
def test_what_is_no_plan_is_refused_in_one_sentence(run, plan_file, tmp_path, plan, sentence):
    (tmp_path / "bad.json").write_text('{"name": "x"}')
    code, _, err = run("campaign", "plan-diff", plan, plan_file("a.json"))
    assert code == 1
    assert sentence in err
    assert err.count("\n") == 1


def test_a_plan_is_held_against_a_demand_forecast(world, run, plan_file, tmp_path):
    plan_file("a.json")
    (tmp_path / "forecast.json").write_text('{"11.3": [5], "11.1": [2], "11.2": [9], "8.2": [9]}')
    code, out, _ = run("campaign", "plan", "request.json", "--name", "spring", "--forecast", "forecast.json")
    assert (code, "More than the demand forecast" in out) == (0, True)
    (tmp_path / "forecast.json").write_text('{"11.3": [-1]}')
    code, _, err = run("campaign", "plan", "request.json", "--forecast", "forecast.json")
    assert code == 1
    assert "forecast.json: 11.3.0 should hold whole numbers of requests by month" in err


def test_the_fleet_is_listed_by_version_and_cpl_status_what_is_not_active_first(world, run):
    world.cpl("00000001", "Active")
    change(world, 0, firmware_version="00000009")
    world.cpl("00000008", "Expired")
    change(world, 1, firmware_version="00000008", smi_status="Suspended")
    change(world, 2, firmware_version="00000008")
    with world.engine.connect() as connection:
        found = [(e.firmware_version, e.cpl_status, e.devices, e.suspended) for e in exposure(connection)]
    assert found == [
        ("00000008", "Expired", 2, 1),
        ("00000009", "not listed", 1, 0),
        ("00000001", "Active", 3, 0),
    ]
    code, out, _ = run("fleet", "exposure", "--json")
    assert (code, [e["devices"] for e in json.loads(out)["exposure"]]) == (0, [2, 1, 3])
    assert "not listed" in run("fleet", "exposure")[1]
