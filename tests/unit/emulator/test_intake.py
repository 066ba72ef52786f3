"""Fleets, lists, settings and the PKI: what the emulator is given before it serves."""

import csv
import io
import stat
from collections import Counter

import pytest
from typer.testing import CliRunner

from hanwave.credentials import Role
from hanwave.ledger.fleet_file import FleetFile, Refusal
from infra.emulator import settings
from infra.emulator.__main__ import app
from infra.emulator.errors import EmulatorError
from infra.emulator.fleet import ALL_COLUMNS, write_fleet
from infra.emulator.intake import COLUMNS, OWN_COLUMNS, read_fleet
from infra.emulator.pki import SECOND_SUPPLIER, SUPPLIER, make_pki

pytestmark = pytest.mark.unit


def _fleet(size: int, seed: str = "seed") -> list[dict[str, str]]:
    file = io.StringIO()
    write_fleet(file, size, seed, columns=ALL_COLUMNS)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def test_a_fleet_of_400_has_every_kind_of_device():
    rows = _fleet(400)
    assert len(rows) == len({row["eui"] for row in rows}) == 400
    assert list(rows[0]) == [*COLUMNS, *OWN_COLUMNS]
    assert {row["device_type"] for row in rows} == {"ESME", "GSME", "PPMID", "HCALCS"}
    assert len({row["model"] for row in rows}) == 8
    assert {row["region"] for row in rows} == {"North", "Central", "South"}
    assert {row["payment_mode"] for row in rows} == {"credit", "prepayment"}
    unplugged = Counter(row["unplugged"] or "plugged" for row in rows if row["device_type"] == "PPMID")
    assert unplugged["never"] > 3
    assert 5 < unplugged.total() - unplugged["plugged"] < 40
    assert all(not row["unplugged"] for row in rows if row["device_type"] != "PPMID")


def test_a_fleet_is_the_same_for_its_seed_and_grows_at_its_end():
    assert _fleet(50) == _fleet(50)
    assert _fleet(50) == _fleet(80)[:50]
    assert _fleet(50) != _fleet(50, "other")


def test_the_first_home_has_all_four_types_so_that_the_smallest_fleet_has_them():
    assert {row["device_type"] for row in _fleet(4)} == {"ESME", "GSME", "PPMID", "HCALCS"}


def test_the_emulator_reads_what_it_invents():
    file = io.StringIO()
    write_fleet(file, 200, "seed", columns=ALL_COLUMNS)
    devices = list(read_fleet(file.getvalue().splitlines(), "fleet.csv", 1000.0))
    assert len(devices) == 200
    assert {device.responsible for device in devices} == {str(SUPPLIER), str(SECOND_SUPPLIER)}
    assert all(device.smi_version == device.firmware_version for device in devices)
    assert all(device.unplugged_until == 0 or device.unplugged_until > 1000 for device in devices)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"eui": "nonsense"}, "line 2: 'nonsense' is not an EUI-64"),
        ({"firmware_version": "GG"}, "line 2: invalid literal"),
        ({"unplugged": "soon"}, "line 2: could not convert"),
    ],
)
def test_a_wrong_line_of_a_fleet_is_named(change, said):
    lines = [",".join((*COLUMNS, *OWN_COLUMNS)), ",".join((_fleet(1)[0] | change).values())]
    with pytest.raises(EmulatorError, match=r"^fleet\.csv, ") as caught:
        list(read_fleet(lines, "fleet.csv", 0.0))
    assert said in str(caught.value)


def test_a_fleet_without_its_columns_is_refused():
    with pytest.raises(EmulatorError, match="no column eui, device_type"):
        list(read_fleet(["a,b", "1,2"], "fleet.csv", 0.0))


def test_the_product_imports_every_row_of_a_fleet():
    file = io.StringIO()
    write_fleet(file, 300, "seed")
    read = list(FleetFile(io.BytesIO(file.getvalue().encode())))
    assert len(read) == 300
    assert [row for row in read if isinstance(row, Refusal)] == []


def test_the_command_line_makes_a_fleet_and_a_pki(tmp_path):
    out = tmp_path / "fleet.csv"
    runner = CliRunner()
    assert runner.invoke(app, ["fleet", "--size", "5", "--seed", "seed", "--out", str(out)]).exit_code == 0
    printed = runner.invoke(app, ["fleet", "--size", "5", "--seed", "seed"])
    assert printed.output == out.read_text()
    own = tmp_path / "own.csv"
    assert runner.invoke(app, ["fleet", "--size", "5", "--seed", "seed", "--emulator", str(own)]).exit_code == 0
    assert own.read_text().startswith(out.read_text().splitlines()[0] + ",gbcs_version,unplugged\n")
    assert runner.invoke(app, ["pki", str(tmp_path / "pki")]).exit_code == 0
    assert (tmp_path / "pki" / "supplier-xml.key").exists()


def test_the_pki_is_made_once_and_its_keys_are_their_owners_alone(tmp_path):
    pki = make_pki(tmp_path / "pki")
    before = pki.certificate_path("acb").read_bytes()
    assert make_pki(tmp_path / "pki").certificate_path("acb").read_bytes() == before
    assert stat.S_IMODE(pki.key_path("acb").stat().st_mode) == 0o600
    assert pki.certificate("supplier-xml").role == Role.XML_SIGN
    assert pki.certificate("supplier-gbcs").role == Role.SUPPLIER
    assert not pki.certificate("supplier-agree").may_sign
    assert {pki.certificate(name).role for name in ("transform", "acb")} == {Role.DSP_XML_SIGN}
    assert pki.certificate("second-xml").eui == SECOND_SUPPLIER
    assert [path.name for path in tmp_path.iterdir()] == ["pki"]


def test_a_folder_that_is_in_the_way_of_the_pki_is_left_alone(tmp_path):
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "mine").touch()
    with pytest.raises(EmulatorError, match="is in the way"):
        make_pki(tmp_path / "pki")
    assert [path.name for path in (tmp_path / "pki").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HANWAVE_EMULATOR_PORTS", "1", "HANWAVE_EMULATOR_PORTS is no setting"),
        ("HANWAVE_EMULATOR_PORT", "x", "HANWAVE_EMULATOR_PORT holds 'x'"),
        ("HANWAVE_EMULATOR_SPEED", "0", "HANWAVE_EMULATOR_SPEED holds '0'"),
        ("HANWAVE_EMULATOR_RECEIVERS", "x", "it should be JSON"),
    ],
)
def test_a_wrong_setting_is_one_sentence(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(EmulatorError, match=said):
        settings.load()


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HANWAVE_EMULATOR_STATE", str(tmp_path))
    monkeypatch.setenv("HANWAVE_EMULATOR_PORT", "0")
    loaded = settings.load()
    assert (loaded.state, loaded.port, loaded.profile) == (tmp_path, 0, "demo")
