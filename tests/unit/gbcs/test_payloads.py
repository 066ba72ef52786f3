"""Payloads that are almost right: refused in a sentence, or typed as a number that is not known."""

from datetime import UTC, datetime

import pytest

from hanwave.gbcs import (
    CRA,
    AlertCode,
    DataAccessResult,
    ExecutionOutcome,
    FirmwareVersion,
    FutureDatedOutcome,
    GbcsError,
    Header,
    ImageVerification,
    MessageCode,
    PpmidActivation,
    ZclStatus,
    build,
    read,
)

pytestmark = pytest.mark.unit

KEY = bytes(16)
TIME = "180F" + b"20300115090000Z".hex()
NINE = datetime(2030, 1, 15, 9, tzinfo=UTC)
INVOKE = "200003E8"


@pytest.fixture
def body_of(device, supplier):
    """Reads a payload (hexadecimal) under a header of that flag and message code."""

    def read_payload(cra, code, payload):
        content = bytes.fromhex(payload)
        head = Header(cra, 1000, device, supplier, code).write()
        return read(b"\xdf" + head + bytes([len(content)]) + content + b"\x40" + bytes(64)).body

    return read_payload


def test_a_response_code_that_is_not_known_stays_a_number(body_of):
    assert body_of(CRA.RESPONSE, 0x12, "3009 020109 0404 0123ABCD") == ExecutionOutcome(9, "0123ABCD")
    assert body_of(CRA.RESPONSE, 0x59, f"DA {INVOKE} 000001 00 0101 63") == FirmwareVersion(None, 99)
    assert body_of(CRA.RESPONSE, 0x84, "0109 01 01 0702 0006 080001 0602 63") == FirmwareVersion(None, 99)
    assert body_of(CRA.ALERT, 0x12B, f"301F 02022B67 {TIME} 0404 1234ABCD 020105".replace("301F", "301E")) == (
        PpmidActivation(0x2B67, NINE, "1234ABCD", 5)
    )


@pytest.mark.parametrize("number", ["0201FF", "02050080000000", "0209 00FFFFFFFFFFFFFFFF"])
def test_a_response_code_outside_32_bits_is_refused(body_of, number):
    content = bytes.fromhex(number + "04040123ABCD")
    with pytest.raises(GbcsError, match=r"a response code is from 0 to 2147483647, this is (negative|larger)"):
        body_of(CRA.RESPONSE, 0x12, f"30{len(content):02X}" + content.hex())


def test_an_alert_code_of_more_than_sixteen_bits_is_refused(body_of):
    with pytest.raises(GbcsError, match="an alert code is from 0 to 65535, this is larger"):
        body_of(CRA.ALERT, 0x12B, f"301F 0203018F8B {TIME} 0404 1234ABCD 020100")


def test_a_version_of_another_width_is_refused(body_of):
    with pytest.raises(GbcsError, match="a CS06 response is not the DER that it should be: OCTET STRING has size 3"):
        body_of(CRA.RESPONSE, 0x12, "3008 020100 0403 0123AB")
    with pytest.raises(GbcsError, match="the length of the firmware version of an ECS52 response should be 04"):
        body_of(CRA.RESPONSE, 0x59, f"DA {INVOKE} 000001 0903 0123AB 0101 00")


def test_a_version_command_with_a_payload_of_its_own_is_refused(body_of):
    with pytest.raises(GbcsError, match=r"a CS08 command should be a NULL \(0500\), it is 0501FF"):
        body_of(CRA.COMMAND, 0x129, "0501FF")


def test_success_without_a_version_is_no_evidence(body_of):
    for code, payload in ((0x59, f"DA {INVOKE} 000001 00 0101 00"), (0x84, "0109 01 01 0702 0005 08000B00 00")):
        with pytest.raises(GbcsError, match="read with success, but the answer holds none"):
            body_of(CRA.RESPONSE, code, payload)


def test_dlms_data_of_another_type_is_refused(body_of):
    with pytest.raises(GbcsError, match="should be an octet string or null, its tag is 0A"):
        body_of(CRA.RESPONSE, 0x59, f"DA {INVOKE} 000001 0A04 30313233 0101 00")


def test_a_refusal_of_the_whole_zigbee_command_is_a_failed_read(body_of):
    assert body_of(CRA.RESPONSE, 0x84, "0109 01 01 0702 0005 08000B00 82") == FirmwareVersion(
        None, ZclStatus.UNSUP_GENERAL_COMMAND
    )


def test_a_component_whose_length_lies_is_refused(body_of):
    for length in ("0005", "0007"):
        with pytest.raises(GbcsError):
            body_of(CRA.RESPONSE, 0x84, f"0109 01 01 0702 {length} 080001 0602 C0")


def test_a_receipt_without_its_hash_is_read(body_of):
    time = "090C 07EE010FFF090000008000FF"
    assert body_of(CRA.ALERT, 0xCE, f"0F {INVOKE} 0002 02 128F1C {time}") == ImageVerification(
        AlertCode.IMAGE_NOT_VERIFIED, NINE, None
    )
    assert body_of(CRA.ALERT, 0xCF, "0109 00 8F1C FFFFFFFF") == ImageVerification(
        AlertCode.IMAGE_NOT_VERIFIED, None, None
    )


def test_a_receipt_with_another_number_of_fields_is_refused(body_of):
    with pytest.raises(GbcsError, match="should have 2 or 3 fields, it has 4"):
        body_of(CRA.ALERT, 0xCE, f"0F {INVOKE} 0002 04 128F1C")
    with pytest.raises(GbcsError, match="should have one component or none, it has 2"):
        body_of(CRA.ALERT, 0xCF, "0109 02 8F1C FFFFFFFF")


def test_a_failed_read_may_not_claim_a_version(device, supplier):
    head = Header(CRA.RESPONSE, 1, device, supplier, MessageCode.GCS38)
    with pytest.raises(GbcsError, match=r"failed \(status 192\) holds no firmware version, this has 0123ABCD"):
        build(head, FirmwareVersion("0123ABCD", ZclStatus.HARDWARE_FAILURE))


def test_a_failed_dlms_read_may_carry_data(body_of):
    assert body_of(CRA.RESPONSE, 0x59, f"DA {INVOKE} 000001 0904 00000000 0101 01") == FirmwareVersion(
        "00000000", DataAccessResult.HARDWARE_FAULT
    )


def test_a_cs08_answer_always_has_a_version(device, supplier):
    with pytest.raises(GbcsError, match="a CS08 response always holds a firmware version"):
        build(Header(CRA.RESPONSE, 1, device, supplier, MessageCode.CS08), FirmwareVersion(None, 1))


@pytest.mark.parametrize("version", ["", "123", "0123abcd", "0123ABCD0", "0123ABC\u0664", "zzzzzzzz"])
def test_a_version_that_is_not_eight_digits_is_not_written(device, supplier, version):
    with pytest.raises(GbcsError, match="should be 8 upper-case hexadecimal digits"):
        build(Header(CRA.RESPONSE, 1, device, supplier, MessageCode.CS06), ExecutionOutcome(0, version))


@pytest.mark.parametrize(
    ("cra", "code", "body", "sentence"),
    [
        (CRA.RESPONSE, MessageCode.ECS52, FirmwareVersion(None, 256), "a result is from 0 to 255, this is larger"),
        (CRA.RESPONSE, MessageCode.GCS38, FirmwareVersion(None, 256), "a status is from 0 to 255, this is larger"),
        (CRA.ALERT, MessageCode.FDRA_DLMS, ImageVerification(1 << 16, None, None), "an alert code is from 0 to 65535"),
        (CRA.ALERT, MessageCode.FDRA_GBZ, ImageVerification(-1, None, None), "an alert code is from 0 to 65535"),
        (CRA.RESPONSE, MessageCode.CS06, ExecutionOutcome(2**31, "0123ABCD"), "a response code is from 0"),
        (
            CRA.ALERT,
            MessageCode.CS06_ALERT,
            FutureDatedOutcome(0x8F66, NINE, 2**63, ExecutionOutcome(0, "0123ABCD")),
            "the counter of a CS06 message is from 0 to 9223372036854775807",
        ),
        (
            CRA.ALERT,
            MessageCode.CS06_ALERT,
            FutureDatedOutcome(0x8F66, NINE.replace(tzinfo=None), 1, ExecutionOutcome(0, "0123ABCD")),
            "names no time zone",
        ),
        (CRA.ALERT, MessageCode.CS09, PpmidActivation(0x8F8B, NINE, "0123ABCD", -1), "a response code is from 0"),
    ],
)
def test_a_number_that_has_no_form_is_not_written(device, supplier, cra, code, body, sentence):
    with pytest.raises(GbcsError, match=sentence):
        build(Header(cra, 1, device, supplier, code), body, mac_key=KEY)
