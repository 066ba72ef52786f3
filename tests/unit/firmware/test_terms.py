import pytest
from hypothesis import given

from hanwave.firmware.errors import TermError
from hanwave.firmware.terms import FirmwareVersion, GbcsVersion, HardwareRange, Model, read_octets
from tests.unit.firmware.making import hardware, versions

pytestmark = pytest.mark.unit


@given(versions, hardware)
def test_what_is_written_is_read_back(version, board):
    assert FirmwareVersion.parse(str(version)) == version
    assert FirmwareVersion.parse(str(version).lower()) == version
    assert HardwareRange.parse(str(board)) == board


def test_models_and_gbcs_versions_are_read_and_ordered_as_numbers():
    assert str(Model.parse("121d/11aB")) == "121D/11AB"
    assert GbcsVersion.parse("4.2") < GbcsVersion.parse("4.10")
    assert str(GbcsVersion.parse("4.10")) == "4.10"


@pytest.mark.parametrize(
    "text", ["123ABCD", "00123ABCD", "0x123ABC", "0123ABCG", "", "+123ABCD", " 123ABCD", "\u0660123ABCD"]
)
def test_a_version_of_another_width_or_alphabet_is_refused(text):
    with pytest.raises(TermError, match="should be 8 hexadecimal digits"):
        FirmwareVersion.parse(text)


@pytest.mark.parametrize(
    ("parse", "text", "should"),
    [
        (Model.parse, "121D1111", "should be a model such as"),
        (Model.parse, "121D/", "should be 4 hexadecimal digits"),
        (HardwareRange.parse, "1111", "should be a range of hardware versions"),
        (HardwareRange.parse, "1211-1111", "holds 0x1211, it should not be above the maximum, 0x1111"),
        (GbcsVersion.parse, "4", "should be a GBCS version"),
        (GbcsVersion.parse, "04.1", "should be a GBCS version"),
        (lambda text: read_octets(text, 2), "12_4", "should be 4 hexadecimal digits"),
    ],
)
def test_a_malformed_term_says_what_it_should_be(parse, text, should):
    with pytest.raises(TermError, match=should):
        parse(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FirmwareVersion(1 << 32),
        lambda: FirmwareVersion(-1),
        lambda: Model(0x10000, 0),
        lambda: Model(0, -1),
        lambda: HardwareRange(0, 0x10000),
        lambda: HardwareRange(-1, 0),
    ],
)
def test_a_number_that_its_octets_cannot_hold_is_refused(make):
    with pytest.raises(TermError, match="it should be from 0 to 0xFF"):
        make()


def test_both_ends_of_a_hardware_range_are_in_it():
    board = HardwareRange(0x1111, 0x1211)
    assert 0x1111 in board
    assert 0x1211 in board
    assert 0x1110 not in board
    assert 0x1212 not in board
