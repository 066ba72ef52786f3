"""DCC's own vectors: each is read to what it says, and the same object builds the same octets."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hanwave.gbcs import (
    CRA,
    ActivateFirmware,
    AlertCode,
    CommandAccepted,
    ExecutionOutcome,
    FirmwareTransfer,
    FirmwareVersion,
    Form,
    FutureDatedOutcome,
    Header,
    ImageVerification,
    MessageCode,
    ReadFirmwareVersion,
    build,
    precommand,
    read,
)
from hanwave.identifiers import EUI64

VECTORS = Path(__file__).parents[4] / "shared" / "domain" / "vectors"
pytestmark = [
    pytest.mark.dcc,
    pytest.mark.skipif(not VECTORS.is_dir(), reason=f"DCC's vectors are not beside the checkout ({VECTORS})"),
]

SUPPLIER, ACB = EUI64.parse("90B3D51F30010000"), EUI64.parse("90B3D51F30000002")
ESME, HUB, PPMID = (EUI64.parse(f"00DB1234567890{last}") for last in ("A0", "A2", "A4"))
HASH = bytes.fromhex("AA758690730934FF0685AA758690730934FF0685657788990011223344556677")
ANSWERED = bytes.fromhex("07DF0101FF000000008000FF")
NEW_YEAR, NINE = datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 15, 9, tzinfo=UTC)
NOW_COMMAND = Header(CRA.COMMAND, 1000, SUPPLIER, ESME, MessageCode.CS06)
DATED_COMMAND = Header(CRA.COMMAND, 1001, SUPPLIER, ESME, MessageCode.CS06)
READ_COMMAND = Header(CRA.COMMAND, 1000, SUPPLIER, ESME, MessageCode.ECS52)

EXPECTED = {
    "CCS08_NA_NA_ALERT": (
        Form.ALERT,
        Header(CRA.ALERT, 4000, HUB, ACB, MessageCode.CCS08),
        FirmwareTransfer(AlertCode.TRANSFER_SUCCESS, NEW_YEAR, PPMID, "0123ABCD", 0),
    ),
    "CS06_11.3_8F66_FUTURE_DATED_SUCCESS_ALERT": (
        Form.ALERT,
        Header(CRA.ALERT, 2000, ESME, SUPPLIER, MessageCode.CS06_ALERT),
        FutureDatedOutcome(AlertCode.FUTURE_DATED_SUCCESS, NINE, 1001, ExecutionOutcome(0, "0123ABCF")),
    ),
    "CS06_11.3_FUTURE_DATED_SUCCESS_COMMAND": (Form.COMMAND, DATED_COMMAND, ActivateFirmware(HASH, 1001, NINE)),
    "CS06_11.3_FUTURE_DATED_SUCCESS_PRECOMMAND": (Form.PRE_COMMAND, DATED_COMMAND, ActivateFirmware(HASH, 1001, NINE)),
    "CS06_11.3_FUTURE_DATED_SUCCESS_RESPONSE": (Form.RESPONSE, DATED_COMMAND.answer(ANSWERED), CommandAccepted()),
    "CS06_11.3_IMMEDIATE_SUCCESS_COMMAND": (Form.COMMAND, NOW_COMMAND, ActivateFirmware(HASH, 1000)),
    "CS06_11.3_IMMEDIATE_SUCCESS_PRECOMMAND": (Form.PRE_COMMAND, NOW_COMMAND, ActivateFirmware(HASH, 1000)),
    "CS06_11.3_IMMEDIATE_SUCCESS_RESPONSE": (
        Form.RESPONSE,
        NOW_COMMAND.answer(ANSWERED),
        ExecutionOutcome(0, "0123ABCE"),
    ),
    "ECS52_11.2_SUCCESS_COMMAND": (Form.COMMAND, READ_COMMAND, ReadFirmwareVersion()),
    "ECS52_11.2_SUCCESS_RESPONSE": (Form.RESPONSE, READ_COMMAND.answer(), FirmwareVersion("0123ABCD", 0)),
    "FDRA-DLMS_NA_8F72_ALERT": (
        Form.ALERT,
        Header(CRA.ALERT, 2000, ESME, SUPPLIER, MessageCode.FDRA_DLMS),
        ImageVerification(AlertCode.IMAGE_VERIFIED, NEW_YEAR, b"\1" * 32),
    ),
}


def octets_of(name):
    return bytes.fromhex((VECTORS / f"{name}_GBCS.hex").read_text())


def test_every_vector_has_its_expectation():
    assert {path.name.removesuffix("_GBCS.hex") for path in VECTORS.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_vector_is_read_to_what_it_says(name):
    message = read(octets_of(name))
    assert (message.form, message.header, message.body) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_same_octets_are_built_but_for_signature_and_mac(name):
    message = read(octets_of(name))
    built = build(message.header, message.body)
    assert message.grouped.startswith(built)
    assert message.grouped[len(built) :] in (b"", b"\0", b"\x40" + (message.signature or b""))


@pytest.mark.parametrize(("kind", "counter", "at"), [("IMMEDIATE", 1000, None), ("FUTURE_DATED", 1001, NINE)])
def test_the_precommand_is_dccs_octet_for_octet(kind, counter, at):
    expected = octets_of(f"CS06_11.3_{kind}_SUCCESS_PRECOMMAND")
    assert precommand(SUPPLIER, ESME, counter, HASH, at) == expected


def test_a_hubs_answer_to_a_request_that_came_through_the_access_control_broker():
    octets = bytes.fromhex(
        "DD000000000000551100000000DF0902000001830D0587310888738457002F961E0890B3D51F3000000200"
        "12005990B3D51F30010000000001830D05B7A511DA2005873100000109040C230000010100"
        "0082E7658D04525887834E05F8"
    )
    message = read(octets)
    assert message.header.supplementary is not None
    assert (message.header.target, message.header.supplementary.party) == (ACB, SUPPLIER)
    assert (message.header.counter, message.header.supplementary.counter) == (1662370809649, 1662370822053)
    assert message.body == FirmwareVersion("0C230000", 0)
