import json
from functools import partial

import pytest
import yaml

from hanwave.firmware.columns import default_map_text, read_column_map
from tests.support import command
from tests.unit.firmware.test_cpl import GOOD, HEADER

pytestmark = pytest.mark.unit


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.yaml").write_text(default_map_text())
    return partial(command.run, "cpl")


def test_a_good_file_is_counted(run, tmp_path):
    (tmp_path / "cpl.csv").write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8-sig")
    code, out, err = run("check", "cpl.csv", "--columns", "map.yaml", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["rows"], facts["entries"], facts["refused"], facts["refusals"]) == (1, 1, 0, [])
    assert (facts["by_device_type"], facts["by_status"]) == ({"ESME": 1}, {"Active": 1})


def test_refused_rows_are_listed_and_end_with_code_1(run, tmp_path):
    (tmp_path / "cpl.csv").write_text(f"{HEADER}\n{GOOD}\n{GOOD.replace('4.1', 'four')}\n")
    code, out, err = run("check", "cpl.csv", "--json")
    assert code == 1
    assert json.loads(out)["refusals"] == [
        {"line": 3, "reason": "gbcs_version holds 'four' should be a GBCS version such as '4.1'"}
    ]
    assert err == "hanwave: cpl.csv: 1 of 2 rows are refused\n"
    assert "should be a GBCS version" in " ".join(run("check", "cpl.csv")[1].split())


def test_a_file_that_cannot_be_read_is_one_sentence(run, tmp_path):
    code, _, err = run("check", "none.csv")
    assert (code, err) == (1, "hanwave: the CPL file none.csv cannot be read: No such file or directory\n")
    (tmp_path / "long.csv").write_text("x" * 70_000)
    assert "line 1 of the CPL file is longer than 65536 octets" in run("check", "long.csv")[2]
    (tmp_path / "cpl.csv").write_text("Model\n")
    code, out, err = run("check", "cpl.csv", "--columns", "map.yaml", "--json")
    assert (code, err.count("\n")) == (1, 1)
    assert "has no column 'Device Type', 'Manufacturer Identifier'" in json.loads(out)["error"]


def test_the_shipped_map_is_printed_to_be_corrected(run):
    code, out, _ = run("columns")
    assert code == 0
    assert read_column_map(out) == read_column_map(default_map_text())
    assert json.loads(run("columns", "--json")[1]) == yaml.safe_load(default_map_text())
