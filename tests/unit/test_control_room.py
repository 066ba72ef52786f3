"""What is written for Prometheus, Grafana and the people on call, held against the code, and against Prometheus' own tools."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from typer.main import get_command

from hanwave.cli.main import app
from hanwave.ledger import gauges, metrics
from infra.emulator import exposition
from infra.grafana.__main__ import FOLDER
from infra.grafana.boards import BOARDS
from infra.grafana.build import SOURCE, document
from infra.prometheus import PRODUCTION, PRODUCTION_TARGETS, RULES, production
from infra.stack.declared import METRICS_PORTS

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on the PATH")
STATS = {
    "devices": {"ESME/Commissioned": 3},
    "requests": {"11.3/I99": 2},
    "deliveries": {"delivered": 1},
    "due": 0,
    "violations": 0,
    "reposts": 0,
    "quarantined": 0,
}


def promtool(*arguments: str, told: bytes | None = None) -> str:
    said = subprocess.run(["promtool", *arguments], input=told, capture_output=True, check=False, cwd=ROOT)
    output = (said.stdout + said.stderr).decode()
    assert said.returncode == 0, output
    return output


def known_names() -> set[str]:
    """Every series that hanwave's own exporters have."""
    counters = {f"hanwave_{each.name}_total" for each in metrics.COUNTED} | {"hanwave_permit_refusals_total"}
    emulator = {line.split()[2] for line in exposition.text(STATS).decode().splitlines() if line.startswith("# TYPE")}
    exporter = {"reading", "failures_total", "read_timestamp_seconds", "read_duration_seconds"}
    receive = {"hanwave_inbox_received_total", "hanwave_inbox_routed_total"}
    bench = {
        *("info", "coordinator_up", "coordinator_losses_total", "devices", "shares", "shares_free", "transfers"),
        *("transfers_ended_total", "blocks_total", "octets_total", "repeats_total"),
    }
    return {
        *(f"hanwave_{name}" for name in gauges.FIGURES),
        *counters,
        *emulator,
        *receive,
        *(f"hanwave_exporter_{name}" for name in exporter),
        *(f"hanwave_bench_{name}" for name in bench),
        "hanwave_leg_duration_seconds_bucket",
    }


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboards_json_is_what_the_code_makes_and_keeps_to_grafanas_own_types(board):
    text = (FOLDER / f"{board.uid}.json").read_text()
    assert text == document(board), "run `python -m infra.grafana`"
    held = json.loads(text)
    # What Grafana's types do not know would be dropped on the way through them.
    assert json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(held))) == held
    shown = [panel for panel in held["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in shown] == [panel.title for panel in board.panels]
    assert all(panel["datasource"]["uid"] == SOURCE.uid for panel in shown)


def test_panels_have_names_of_their_own_and_say_what_they_show():
    for board in BOARDS:
        titles = [panel.title for panel in board.panels]
        assert len(set(titles)) == len(titles)
        assert all(panel.description.endswith(".") for panel in board.panels)
    assert {path.stem for path in FOLDER.glob("*.json")} == {board.uid for board in BOARDS}


def test_every_series_of_ours_that_a_panel_or_a_rule_asks_for_is_one_that_is_exported():
    asked = [query.expr for board in BOARDS for panel in board.panels for query in panel.queries]
    asked += [rule["expr"] for rule in ALERTS]
    names = {name for expr in asked for name in re.findall(r"\bhanwave_[a-z_]+", expr)}
    assert names <= known_names()
    assert len(names) > 30


def test_provisioning_names_the_data_source_that_the_dashboards_ask():
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "hanwave.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == (SOURCE.uid, SOURCE.type_val)
    (provider,) = yaml.safe_load((folder / "dashboards" / "hanwave.yaml").read_text())["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


def test_the_configuration_for_production_is_what_the_code_makes_and_has_a_bench_for_the_emulator():
    assert PRODUCTION.read_text() == production(), "run `python -m infra.prometheus`"
    assert set(PRODUCTION_TARGETS) == set(METRICS_PORTS) - {"emulator"} | {"bench"}


@needs_promtool
def test_prometheus_takes_the_configuration_and_the_rules_and_each_rule_fires_when_it_should():
    assert "14 rules found" in promtool("check", "config", str(PRODUCTION))
    tests = PRODUCTION.parent / "rules_test.yaml"
    promtool("test", "rules", str(tests))
    cases = yaml.safe_load(tests.read_text())["tests"]
    for rule in ALERTS:
        expected = [
            each["exp_alerts"]
            for case in cases
            for each in case["alert_rule_test"]
            if each["alertname"] == rule["alert"]
        ]
        assert [] in expected, f"{rule['alert']} has no test in which it stays quiet"
        assert any(expected), f"{rule['alert']} has no test in which it fires"


def test_the_exporter_loads_no_library_that_it_does_not_need():
    """Each of them is a tenth, or a quarter, of the memory that it may take."""
    told = "import sys, workers.exporter; print(*{'numpy', 'scipy', 'sqlmodel', 'temporalio'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, cwd=ROOT).stdout == b"\n"


@needs_promtool
def test_the_emulators_figures_keep_to_the_conventions():
    assert promtool("check", "metrics", told=exposition.text(STATS)) == ""


def test_every_alert_has_a_page_and_every_page_an_alert():
    pages = {rule["alert"]: ROOT / rule["annotations"]["runbook"] for rule in ALERTS}
    assert set(pages.values()) == set(RUNBOOKS.glob("*.md"))
    for alert, page in pages.items():
        text = page.read_text()
        assert text.startswith(f"# {alert}: ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What it means", "What to look at", "What to do"]


def commands(text: str) -> list[list[str]]:
    """The commands that a page names: in its blocks, and within its sentences."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    spoken = re.findall(r"`((?:hanwave|python -m) [^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [*"\n".join(blocks).splitlines(), *(" ".join(each.split()) for each in spoken)]
    return [shlex.split(line) for line in lines if line]


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_that_a_page_names_exists_with_its_options(page):
    named = commands(page.read_text())
    assert named
    for words in named:
        if words[:2] == ["python", "-m"]:
            module = ROOT.joinpath(*words[2].split("."))
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
            continue
        program, *rest = words
        assert program == "hanwave"
        found: Any = get_command(app)
        while hasattr(found, "get_command"):
            found, rest = found.get_command(None, rest[0]), rest[1:]
            assert found, f"there is no command {' '.join(words)}"
        options = {name for parameter in found.params for name in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= options, " ".join(words)
