"""Settings: where each comes from, and the one sentence when one is missing or wrong."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.settings import PREFIX, Environment, Settings, SettingsError, dump, load, needed, variables

pytestmark = pytest.mark.unit

EVERYTHING = """
environment = "boxed"
user_id = "90-b3-d5-1f-30-01-00-00"
acb_id = "90B3D51F30020000"

[temporal]
address = "temporal.example:7233"
namespace = "rollouts"
ca = "ca.pem"
certificate = "client.pem"
key = "client.key"

[postgres]
dsn = "postgresql://app:hunter2@db.example/hanwave"
owner_dsn = "postgresql://owner:hunter3@db.example/hanwave"

[dcc]
transform_url = "https://dcc.example/transform"
send_command_url = "https://dcc.example/send"
non_device_url = "https://dcc.example/nondevice"
certificate = "dcc.pem"
key = "dcc.key"
ca = "dcc-ca.pem"

[receive]
host = "0.0.0.0"
port = 9443
path = "/dcc"
certificate = "receive.pem"
key = "receive.key"
client_ca = "dcc-ca.pem"

[signing]
xml_key = "xml.key"
xml_certificate = "xml.pem"
gbcs_key = "gbcs.key"
gbcs_certificate = "gbcs.pem"

[trust]
certificates = ["trust", "extra.pem"]

[metrics]
host = "0.0.0.0"
campaign = 9101
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sentence(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refusal:
        load()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_one_file_holds_everything(folder: Path) -> None:
    (folder / "hanwave.toml").write_text(EVERYTHING)
    settings = load()
    assert settings.environment is Environment.BOXED
    assert str(settings.user_id) == "90-B3-D5-1F-30-01-00-00"
    assert str(settings.acb_id) == "90-B3-D5-1F-30-02-00-00"
    assert str(needed(settings.dcc, "dcc").send_command_url) == "https://dcc.example/send"
    assert needed(settings.receive, "receive").port == 9443
    assert needed(settings.trust, "trust").certificates == (Path("trust"), Path("extra.pem"))
    assert settings.metrics.campaign == 9101
    assert settings.metrics.gateway is None


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hanwave.toml").write_text(EVERYTHING)
    monkeypatch.setenv("HANWAVE_RECEIVE__PORT", "9999")
    settings = load()
    assert needed(settings.receive, "receive").port == 9999
    assert needed(settings.receive, "receive").path == "/dcc"


def test_the_file_that_is_named_wins_over_the_one_here_and_that_over_the_embedded_stacks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".hanwave").mkdir()
    (folder / ".hanwave" / "hanwave.toml").write_text('[temporal]\naddress = "stack:1"\n')
    assert load().temporal.address == "stack:1"
    (folder / "hanwave.toml").write_text('[temporal]\naddress = "here:1"\n')
    assert load().temporal.address == "here:1"
    (folder / "named.toml").write_text('[temporal]\naddress = "named:1"\n')
    monkeypatch.setenv("HANWAVE_CONFIG", "named.toml")
    assert load().temporal.address == "named:1"


def test_nothing_at_all_is_the_emulator_on_this_machine() -> None:
    settings = load()
    assert settings.environment is Environment.EMULATOR
    assert settings.temporal.address == "127.0.0.1:7233"
    assert settings.state == Path(".hanwave")


def test_a_section_that_a_process_needs_is_named_with_where_to_set_it(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"the setting dcc is missing: set HANWAVE_DCC__.*\[dcc\] in hanwave\.toml"):
        needed(load().dcc, "dcc")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HANWAVE_ENVIRONMENT", "prod", "environment, from the environment variable HANWAVE_ENVIRONMENT, holds 'prod'"),
        ("HANWAVE_USER_ID", "90-B3", "'90-B3' is not an EUI-64"),
        ("HANWAVE_METRICS__CAMPAIGN", "70000", "metrics.campaign, from the environment variable HANWAVE_METRICS__"),
        ("HANWAVE_METRICS__CAMPAIN", "7000", "metrics.campain, from the environment variable HANWAVE_METRICS__CAMPAIN"),
        ("HANWAVE_METRIC__CAMPAIGN", "7000", "variable HANWAVE_METRIC__CAMPAIGN is no setting"),
        ("HANWAVE_DCC__KEY", "k.pem", "dcc.transform_url is missing: set HANWAVE_DCC__TRANSFORM_URL"),
        ("HANWAVE_TRUST__CERTIFICATES", "a.pem", "it should be JSON"),
        ("HANWAVE_POSTGRES", "x", "the setting postgres, from the environment variable HANWAVE_POSTGRES, is wrong"),
        ("HANWAVE_CONFIG", "absent.toml", "HANWAVE_CONFIG names absent.toml, and there is no such file"),
    ],
)
def test_a_wrong_variable_gives_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    assert expected in sentence(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("environment = 7", "the setting environment, from hanwave.toml, holds '7'"),
        ("[dcc]\ntranform_url = 'x'", "dcc.tranform_url, from hanwave.toml, is no setting of hanwave"),
        ("[receive]\nport = 1", "the setting receive.certificate is missing: set HANWAVE_RECEIVE__CERTIFICATE, or"),
        ("dcc = 3", "the setting dcc, from hanwave.toml"),
        ("[dcc", "hanwave.toml is not TOML"),
    ],
)
def test_a_wrong_file_gives_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    (folder / "hanwave.toml").write_text(text)
    assert expected in sentence(monkeypatch)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HANWAVE_POSTGRES", "postgresql://app:hunter2@db/x"),
        ("HANWAVE_POSTGRES__DNS", "postgresql://app:hunter2@db/x"),
        ("HANWAVE_DCC", '{"transform_url": "x://me:hunter2@dcc.example:port"}'),
        ("HANWAVE_TEMPORAL", "hunter2@x"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert "hunter2" not in sentence(monkeypatch, **{name: value})


def test_settings_print_without_their_secrets(folder: Path) -> None:
    (folder / "hanwave.toml").write_text(EVERYTHING)
    settings = load()
    assert "hunter" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert needed(settings.postgres, "postgres").dsn.get_secret_value().startswith("postgresql://app:hunter2@")


def test_names_are_the_same_in_the_file_and_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hanwave.toml").write_text(EVERYTHING)
    from_file = load()
    (folder / "hanwave.toml").unlink()
    flat: dict[str, object] = {}
    for name, value in tomllib.loads(EVERYTHING).items():
        fields = (
            {f"{name}.{field}": held for field, held in value.items()} if isinstance(value, dict) else {name: value}
        )
        flat |= fields
    flat["trust.certificates"] = '["trust", "extra.pem"]'
    for variable, value in variables({name: str(value) for name, value in flat.items()}).items():
        monkeypatch.setenv(variable, value)
    assert load() == from_file


def test_settings_over_a_file_keep_what_they_do_not_name(folder: Path) -> None:
    over = {"postgres.dsn": "postgresql://a@/b?host=%2Fx", "state": 'a "quoted" \\ path'}
    merged = tomllib.loads(dump(over, tomllib.loads(EVERYTHING)))
    assert merged["postgres"] == {
        "dsn": over["postgres.dsn"],
        "owner_dsn": "postgresql://owner:hunter3@db.example/hanwave",
    }
    assert merged["state"] == over["state"]
    assert merged["receive"]["port"] == 9443
    assert merged["trust"]["certificates"] == ["trust", "extra.pem"]


def test_settings_over_a_file_keep_its_tables_within_tables() -> None:
    base = {"suppliers": {"gas": {"xml_key": "gas.key"}, "heat": {"xml_key": "heat.key"}}}
    merged = tomllib.loads(dump({"suppliers.gas.xml_key": "new.key"}, base))
    assert merged == {"suppliers": {"gas": {"xml_key": "new.key"}, "heat": {"xml_key": "heat.key"}}}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_file(text: str) -> None:
    assert tomllib.loads(dump({"temporal.address": text}, {})) == {"temporal": {"address": text}}


def test_every_section_can_be_asked_for_by_its_name() -> None:
    assert {"temporal", "metrics", "postgres", "dcc", "receive", "signing", "trust"} <= set(Settings.model_fields)
