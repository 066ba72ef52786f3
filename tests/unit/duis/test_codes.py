import pytest

from hanwave import settings
from hanwave.duis import DuisError, codes
from hanwave.duis.codes import AlertTable, CodeTable, Retry, Who
from hanwave.rollout.events import Kind
from hanwave.rollout.evidence import findings
from tests.support.messages import asked, error

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def as_shipped():
    yield
    codes.correct()


def test_the_firmware_codes_are_there():
    for code in ["E110101", "E110102", "E110103", "E110105", "E110106", "E110401", "E110402", "E110403", "E110405"]:
        assert codes.classify(code).retry is Retry.INSPECT
    assert codes.classify("W110101").retry is codes.classify("W110401").retry is Retry.AFTER_FIX


@pytest.mark.parametrize(
    ("retry", "listed"),
    [
        (Retry.NEVER, "E1 E2 E3 E4 E5 E11 E12 E13 E17 E19"),
        (Retry.BACKOFF, "E20 E21 E30 E31"),
        (Retry.INSPECT, "E40 E65 E71 E100 E1011"),
    ],
)
def test_codes_are_classified(retry, listed):
    assert {codes.classify(code).retry for code in listed.split()} == {retry}


def test_a_code_that_no_table_knows_is_inspected():
    assert codes.classify("E999999") == codes.UNKNOWN_CODE
    assert codes.UNKNOWN_CODE.retry is Retry.INSPECT
    assert codes.alert("N4711") == codes.UNKNOWN_ALERT


def test_alerts_are_told():
    assert codes.alert("N60").structure == "CSPFirmwareDeliveryStatus"
    assert codes.alert("8f72").confidence == "V"


def test_a_person_corrects_a_code_and_adds_one():
    table = CodeTable.load(
        "E110102: {meaning: Hash is not the list's, confidence: V, retry: never}\n"
        "E4711: {meaning: New, confidence: V, retry: backoff, who: hanwave, action: Wait.}"
    )
    corrected = table.classify("E110102")
    assert (corrected.meaning, corrected.retry, corrected.who) == ("Hash is not the list's", Retry.NEVER, Who.OPERATOR)
    assert table.classify("E4711").retry is Retry.BACKOFF
    assert table.classify("E4") == codes.classify("E4")


def test_a_person_corrects_an_alert():
    tables = AlertTable.load(
        "dcc: {N64: {meaning: Another, confidence: V}}\ndevice: {8F99: {meaning: A, confidence: S}}"
    )
    assert (tables.dcc["N64"].meaning, tables.dcc["N64"].structure) == ("Another", "CommsHubFirmwareActivation")
    assert tables.device["8F99"].meaning == "A"


def test_an_empty_override_changes_nothing():
    assert CodeTable.load("# nothing yet\n") == CodeTable.load()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("E4: {retry: sometimes}", "'E4.retry' is wrong.*'sometimes'"),
        ("E4: {rety: never}", "'E4.rety' is wrong"),
        ("E4: {meaning: 3}", "'E4.meaning' is wrong.*holds 3"),
        ("E4711: {meaning: A}", "'E4711.confidence' is wrong: Field required$"),
        ("E4: never", "'E4' holds 'never'"),
        ("E4: {retry: never}\nE4: {retry: never}", "'E4' stands twice"),
        ("- E4", "should map codes"),
        ("4: {}", "should map codes"),
        ("E4: [", "is not plain YAML"),
        ("[E4]: {}", "is not plain YAML"),
    ],
)
def test_a_wrong_override_is_refused_by_its_key(override, sentence):
    with pytest.raises(DuisError, match=sentence):
        CodeTable.load(override)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("N60: {meaning: A}", "'N60' should be 'dcc' or 'device'"),
        ("dcc: [N60]", "'dcc' should be"),
        ("dcc: {N60: 3}", "'dcc.N60' holds 3"),
        ("dcc: {N60: {confidence: maybe}}", "'dcc.N60.confidence' is wrong"),
    ],
)
def test_a_wrong_alert_override_is_refused_by_its_key(override, sentence):
    with pytest.raises(DuisError, match=sentence):
        AlertTable.load(override)


NEW = "E4711: {meaning: The hub is away, confidence: V, retry: backoff, who: hanwave, action: Wait., unreached: true}"


def test_a_correction_is_what_this_process_goes_by():
    assert codes.response_codes().unreached == ["E20", "E21", "E30", "E31"]
    codes.correct(f"E31: {{unreached: false}}\n{NEW}", "dcc: {N64: {meaning: Another}}")
    assert codes.response_codes().unreached == ["E20", "E21", "E30", "E4711"]
    assert (codes.classify("E4711").retry, codes.alert("N64").meaning) == (Retry.BACKOFF, "Another")
    codes.correct()
    assert codes.classify("E4711") == codes.UNKNOWN_CODE


@pytest.mark.parametrize("wrong", [("E1: {retry: often}", ""), ("", "dcc: {N60: {meanings: x}}")])
def test_a_wrong_correction_changes_nothing(wrong):
    codes.correct(NEW)
    with pytest.raises(DuisError, match="wrong"):
        codes.correct(*wrong)
    assert codes.classify("E4711").unreached


def test_settings_name_the_corrections(tmp_path, monkeypatch):
    table = tmp_path / "codes.yaml"
    table.write_text(NEW)
    monkeypatch.setenv("HANWAVE_RESPONSE_CODES", str(table))
    settings.load()
    assert codes.classify("E4711").unreached
    (found,) = findings(error(asked(), "E4711"))
    assert found.kind is Kind.UNREACHED
    table.write_text("E4711: 5")
    with pytest.raises(settings.SettingsError, match="names a file that is no such table: the table's key 'E4711'"):
        settings.load()
    table.unlink()
    with pytest.raises(settings.SettingsError, match=r"the table .*codes\.yaml cannot be read"):
        settings.load()
