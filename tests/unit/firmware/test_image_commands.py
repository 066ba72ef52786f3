import json
from datetime import timedelta

import pytest

from hanwave.firmware.elements import SubElement, ZigbeeImage
from hanwave.firmware.header import header_string
from hanwave.firmware.image import Form, OtaImage, manufacturer_image_hash
from hanwave.firmware.terms import HardwareRange
from hanwave.identifiers import EUI64
from tests.support import command
from tests.unit.firmware.making import BODY, NOW, expired_supplier, header, signed, supplier, unsigned

pytestmark = pytest.mark.unit

AT = ("--at", f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
NUMBERS = (
    "--manufacturer",
    "0x121D",
    "--type",
    "84",
    "--version",
    "0123ABCD",
    "--hardware-min",
    "1111",
    "--hardware-max",
    "0x1211",
)
HASH = manufacturer_image_hash(BODY).hex()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run `hanwave image ...` in a folder with keys and images: its exit code, JSON answer (or none) and sentence."""
    monkeypatch.chdir(tmp_path)
    for name, who in (("ours", supplier()), ("theirs", supplier(2)), ("late", expired_supplier())):
        (tmp_path / f"{name}.key").write_bytes(who.key_pem)
        (tmp_path / f"{name}.pem").write_bytes(who.certificate_pem)
    (tmp_path / "app.bin").write_bytes(BODY)
    (tmp_path / "signed.ota").write_bytes(signed().pack())
    (tmp_path / "ppmid.ota").write_bytes(unsigned().pack())

    def run(*arguments: str, as_json: bool = True):
        code, out, err = command.run("image", *arguments, *(["--json"] if as_json else []))
        return code, json.loads(out) if as_json and out else out, err

    return run


def refused(outcome, sentence: str) -> None:
    code, answer, err = outcome
    assert code == 1
    assert sentence in answer["error"]
    assert err == f"hanwave: {answer['error']}\n"


def key_of(name: str) -> tuple[str, ...]:
    return ("--key", f"{name}.key", "--certificate", f"{name}.pem")


def test_inspect_shows_a_signed_image(run):
    code, facts, _ = run("inspect", "signed.ota")
    assert code == 0
    assert facts["form"] == "signed"
    assert facts["form_known"] == "by its last octets"
    assert facts["header_field_control"] == "0x0004"
    assert facts["manufacturer_code"] == "0x121D"
    assert facts["file_version"] == "0x0123ABCD"
    assert facts["header_string"] == "A test image"
    assert facts["total_image_size"] == 60 + len(BODY) + 66
    assert (facts["minimum_hardware_version"], facts["maximum_hardware_version"]) == ("0x1111", "0x1211")
    assert facts["manufacturer_image_size"] == len(BODY)
    assert facts["manufacturer_image_hash"] == HASH.upper()
    assert facts["signature_present"] is True
    assert facts["force_replace"] == "0x00"


def test_inspect_shows_a_ppmid_image_and_the_form_can_be_said(run):
    _, facts, _ = run("inspect", "ppmid.ota", "--form", "ppmid", "--hash", HASH)
    assert (facts["form"], facts["form_known"]) == ("ppmid", "as you said")
    assert (facts["signature_present"], facts["signature"]) == (False, None)
    refused(run("inspect", "ppmid.ota", "--form", "signed"), "forceReplace holds 0x")
    refused(run("inspect", "ppmid.ota", "--hash", "00" * 32), "the Manufacturer Image Hash holds")
    refused(run("inspect", "ppmid.ota", "--hash", "00"), "--hash holds '00' should be 64 hexadecimal digits")


def test_inspect_shows_a_zigbee_image_with_its_elements(run, tmp_path):
    head = header(hardware=None, security_credential=3, destination=EUI64(bytes(range(8))))
    image = ZigbeeImage(head, (SubElement(0, b"code"), SubElement(0xF001, b"own")))
    (tmp_path / "plain.zigbee").write_bytes(image.pack())
    _, facts, _ = run("inspect", "plain.zigbee", "--form", "zigbee")
    assert [(e["tag"], e["name"], e["size"]) for e in facts["elements"]] == [
        ("0x0000", "upgrade_image", 4),
        ("0xF001", None, 3),
    ]
    assert facts["security_credential_version"] == "0x03"
    assert facts["destination"] == "00-01-02-03-04-05-06-07"
    assert facts["minimum_hardware_version"] is None
    refused(run("inspect", "plain.zigbee", "--form", "zigbee", "--hash", HASH), "--hash is for GB's images")


def test_inspect_for_a_person_is_a_table(run):
    code, text, _ = run("inspect", "signed.ota", as_json=False)
    assert code == 0
    assert "manufacturer code" in text


def test_inspect_of_a_damaged_or_absent_file_is_one_sentence(run, tmp_path):
    (tmp_path / "cut.ota").write_bytes(signed().pack()[:-1])
    refused(run("inspect", "cut.ota"), "the total image size holds 586, it should be 585, the octets of the image")
    refused(run("inspect", "none.ota"), "the image none.ota cannot be read")
    code, _, err = run("inspect", "cut.ota", as_json=False)
    assert (code, err.count("\n")) == (1, 1)


def test_build_makes_the_signed_form(run, tmp_path):
    code, facts, _ = run(
        "build", "app.bin", "--out", "new.ota", *NUMBERS, "--header-string", "Meter", *key_of("ours"), *AT
    )
    assert code == 0
    image = OtaImage.read((tmp_path / "new.ota").read_bytes(), Form.SIGNED)
    assert image.header == header(header_string=header_string("Meter"), hardware=HardwareRange(0x1111, 0x1211))
    image.check_signature(supplier().certificate, NOW)
    assert facts["manufacturer_image_hash"] == HASH.upper()
    assert run("verify", "new.ota", "--certificate", "ours.pem", *AT)[0] == 0


def test_build_makes_the_ppmid_form(run, tmp_path):
    assert run("build", "app.bin", "--out", "new.ota", *NUMBERS, "--form", "ppmid")[0] == 0
    assert OtaImage.read((tmp_path / "new.ota").read_bytes(), Form.PPMID).manufacturer_image == BODY
    refused(run("build", "app.bin", "--out", "n.ota", *NUMBERS, "--form", "ppmid", *key_of("ours")), "takes no --key")


def test_build_without_a_key_or_with_a_wrong_number_writes_nothing(run, tmp_path):
    refused(run("build", "app.bin", "--out", "n.ota", *NUMBERS), "a signed image needs --key and --certificate")
    for option, value in (("--version", "10123ABCD"), ("--type", "0x"), ("--manufacturer", "12 D"), ("--type", "-1")):
        wrong = list(NUMBERS)
        wrong[wrong.index(option) + 1] = value
        refused(
            run("build", "app.bin", "--out", "n.ota", *wrong, "--form", "ppmid"),
            f"{option} holds {value!r}, it should be 1 to",
        )
    swapped = [{"1111": "1212"}.get(word, word) for word in NUMBERS]
    refused(
        run("build", "app.bin", "--out", "n.ota", *swapped, "--form", "ppmid"), "it should not be above the maximum"
    )
    assert not (tmp_path / "n.ota").exists()


def test_build_refuses_an_image_that_was_built_before_and_its_own_input_as_output(run):
    refused(
        run("build", "signed.ota", "--out", "n.ota", *NUMBERS, "--form", "ppmid"),
        "signed.ota begins with an OTA header",
    )
    refused(run("build", "app.bin", "--out", "app.bin", *NUMBERS, "--form", "ppmid"), "is the file that is read")


def test_sign_replaces_the_signature_for_another_supplier(run, tmp_path):
    code, facts, _ = run(
        "sign", "signed.ota", "--key", "theirs.key", "--cert", "theirs.pem", "--out", "theirs.ota", *AT
    )
    assert (code, facts["manufacturer_image_hash"]) == (0, HASH.upper())
    _, verified, _ = run("verify", "theirs.ota", "--certificate", "theirs.pem", *AT)
    assert (verified["supplier"], verified["verified"]) == ("A0-00-00-00-00-00-00-02", True)
    refused(
        run("verify", "theirs.ota", "--certificate", "ours.pem", *AT),
        "the signature is not that of A0-00-00-00-00-00-00-01",
    )
    assert (tmp_path / "signed.ota").read_bytes()[:-64] == (tmp_path / "theirs.ota").read_bytes()[:-64]


def test_sign_refuses_a_ppmid_image_unless_asked(run, tmp_path):
    refused(run("sign", "ppmid.ota", *key_of("ours"), "--out", "n.ota", *AT), "holds no supplier signature to replace")
    assert not (tmp_path / "n.ota").exists()
    assert run("sign", "ppmid.ota", *key_of("ours"), "--out", "n.ota", "--unsigned", *AT)[0] == 0
    assert OtaImage.read((tmp_path / "n.ota").read_bytes(), Form.SIGNED).manufacturer_image == BODY


def test_sign_never_signs_an_old_signature_in_unless_the_hash_says_so(run, tmp_path):
    refused(
        run("sign", "signed.ota", *key_of("ours"), "--out", "n.ota", "--unsigned", *AT),
        "would sign the old signature too",
    )
    refused(
        run("sign", "signed.ota", *key_of("ours"), "--out", "n.ota", "--unsigned", "--hash", HASH, *AT),
        "the Manufacturer Image Hash holds",
    )
    unlucky = unsigned(BODY + b"\0\x40" + bytes(64))
    (tmp_path / "unlucky.ota").write_bytes(unlucky.pack())
    accepted = run(
        "sign", "unlucky.ota", *key_of("ours"), "--out", "n.ota", "--unsigned", "--hash", unlucky.hash.hex(), *AT
    )
    assert accepted[0] == 0


def test_sign_refuses_a_damaged_image_and_a_key_of_another(run, tmp_path):
    (tmp_path / "cut.ota").write_bytes(signed().pack()[:-1])
    refused(run("sign", "cut.ota", *key_of("ours"), "--out", "n.ota", *AT), "the total image size holds")
    mixed = ("--key", "theirs.key", "--certificate", "ours.pem")
    refused(run("sign", "signed.ota", *mixed, "--out", "n.ota", *AT), "the key is not the one that the certificate of")


def test_an_expired_certificate_is_refused_by_sign_and_reported_by_verify(run, tmp_path):
    then = ("--at", f"{NOW - timedelta(days=15):%Y-%m-%dT%H:%M:%SZ}")
    refused(run("sign", "signed.ota", *key_of("late"), "--out", "n.ota", *AT), "is valid from")
    refused(run("sign", "signed.ota", *key_of("late"), "--out", "n.ota"), "is valid from")
    assert run("sign", "signed.ota", *key_of("late"), "--out", "late.ota", *then)[0] == 0
    assert run("verify", "late.ota", "--certificate", "late.pem", *then)[0] == 0
    refused(
        run("verify", "late.ota", "--certificate", "late.pem", *AT), "the signature is right, but the certificate of"
    )


def test_verify_holds_the_hash_against_another(run):
    code, facts, _ = run("verify", "signed.ota", "--certificate", "ours.pem", "--hash", HASH, *AT)
    assert (code, facts["hash_compared"]) == (0, True)
    refused(run("verify", "signed.ota", "--certificate", "ours.pem", "--hash", "11" * 32, *AT), "it should be 1111")


def test_verify_of_a_ppmid_image_is_by_its_hash_alone(run):
    assert run("verify", "ppmid.ota", "--form", "ppmid", "--hash", HASH)[0] == 0
    refused(run("verify", "ppmid.ota", "--form", "ppmid", "--hash", "11" * 32), "the Manufacturer Image Hash holds")
    refused(run("verify", "ppmid.ota", "--form", "ppmid"), "is verified by --hash alone")
    refused(run("verify", "ppmid.ota", "--certificate", "ours.pem"), "it should be 0x00 or 0x01 in a signed image")
    refused(run("verify", "signed.ota"), "to verify a signed image give --certificate")


@pytest.mark.parametrize("at", ["yesterday", "2026-06-01", "2026-06-01T12:00:00"])
def test_a_time_without_a_zone_is_refused(run, at):
    refused(
        run("verify", "signed.ota", "--certificate", "ours.pem", "--at", at), f"--at holds {at!r}, it should be a time"
    )


def test_files_that_are_no_key_or_certificate_are_named(run):
    refused(run("verify", "signed.ota", "--certificate", "app.bin"), "app.bin holds no readable X.509 certificate")
    wrong = ("--key", "app.bin", "--certificate", "ours.pem")
    refused(run("sign", "signed.ota", *wrong, "--out", "n.ota"), "app.bin holds no readable unencrypted private key")


@pytest.mark.parametrize("command", ["inspect", "build", "sign", "verify"])
def test_help_shows_an_example(run, command):
    code, text, _ = run(command, "--help", as_json=False)
    assert code == 0
    assert f"Example: hanwave image {command}" in " ".join(text.split())
