"""A fuzzing target for each reader: what it is fed, what it starts from, and what must hold of whatever it accepts.

A reader may refuse with the package's own error; any other exception is a finding, and so is something that it reads
but cannot write back, or a signature that verifies over what nobody signed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

from hanwave import duis, gbcs
from hanwave.duis.codes import AlertTable, CodeTable
from hanwave.duis.decoded import (
    ActivateFirmwareRsp,
    ActivationStatus,
    DecodedAlert,
    DecodedResponse,
    DeviceAlertContent,
    DeviceTime,
    FirmwareVerificationDeviceAlert,
)
from hanwave.errors import HanwaveError
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release, release_from_dict, release_to_dict
from hanwave.firmware.elements import SubElement, ZigbeeImage
from hanwave.firmware.errors import ImageError
from hanwave.firmware.image import Form, OtaImage
from hanwave.firmware.life import Stage
from tests.peer.messages import AT, COUNTER, DEVICE, HASH, KEY, REQUESTS, RESPONSES, SUPPLIER, VERSION
from tests.support.messages import Pki
from tests.unit.firmware import making
from tests.unit.firmware.test_cpl import GOOD, HEADER

_MESSAGES = [message for name, message in (REQUESTS | RESPONSES).items() if name != "11.1"]


@dataclass(frozen=True)
class Target:
    """read feeds the reader and checks what it accepts; every seed is accepted."""

    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]

    def accepts(self, data: bytes) -> bool:
        """Whether the reader takes the data; raises what is a finding."""
        try:
            self.read(data)
        except HanwaveError:
            return False
        return True


def _ota_image(data: bytes, form: Form) -> None:
    image = OtaImage.read(data, form)
    assert image.pack() == data
    if form is Form.SIGNED:
        try:
            image.check_signature(making.supplier().certificate, making.NOW)
        except ImageError:
            return
        assert image.manufacturer_image == making.BODY


def _zigbee_image(data: bytes) -> None:
    assert ZigbeeImage.read(data).pack() == data


def _cpl(data: bytes) -> None:
    found = read_cpl(data.splitlines(keepends=True), _columns())
    taken, refused = ({row.line for row in rows} for rows in (found.entries, found.refusals))
    assert not taken & refused


def _cpl_file() -> bytes:
    another = GOOD.replace("C1", '"C""2"').replace("0123ABCD", "0123ABCE")
    return f"{HEADER}\n{GOOD}\n{another}\n".encode()


@cache
def _columns():
    return read_column_map(default_map_text())


def _release(data: bytes) -> None:
    release = read_release(data)
    assert release_from_dict(release_to_dict(release)) == release


def _gbcs(data: bytes) -> None:
    message = gbcs.read(data)
    # Octets that say nothing (an invocation's number, the day of the week) may differ.
    again = gbcs.read(gbcs.build(message.header, message.body, mac_key=bytes(16)))
    assert (again.header, again.body) == (message.header, message.body)
    assert not gbcs.verify_signature(message, KEY.public_key()) or message.signed_octets in _signed_octets()


@cache
def _gbcs_messages() -> tuple[bytes, ...]:
    now = gbcs.encode_date_time(AT.replace(microsecond=0))
    dated = AT.replace(microsecond=0)
    outcome = gbcs.ExecutionOutcome(0, VERSION)
    codes, cra = gbcs.MessageCode, gbcs.CRA
    bodies = [
        (cra.RESPONSE, codes.CS06, now, outcome),
        (cra.RESPONSE, codes.CS06, now, gbcs.CommandAccepted()),
        (cra.ALERT, codes.CS06_ALERT, None, gbcs.FutureDatedOutcome(0x8F66, dated, COUNTER, outcome)),
        (cra.ALERT, codes.FDRA_DLMS, None, gbcs.ImageVerification(0x8F72, dated, HASH)),
        (cra.ALERT, codes.FDRA_GBZ, None, gbcs.ImageVerification(0x8F72, dated, HASH)),
        (cra.ALERT, codes.CCS08, None, gbcs.FirmwareTransfer(0x8F8A, dated, DEVICE, VERSION, 0)),
        (cra.ALERT, codes.CS09, None, gbcs.PpmidActivation(0x8F8B, dated, VERSION, 0)),
        *((cra.RESPONSE, code, now, gbcs.FirmwareVersion(VERSION, 0)) for code in (codes.CS08, codes.ECS52, codes.GCS38)),
    ]  # fmt: skip
    built = [
        gbcs.build(gbcs.Header(kind, COUNTER, DEVICE, SUPPLIER, code, when), body, signing_key=KEY)
        for kind, code, when, body in bodies
    ]
    commands = [gbcs.precommand(SUPPLIER, DEVICE, COUNTER, HASH, at) for at in (None, dated, gbcs.CANCEL)]
    signed = [gbcs.sign_precommand(command, KEY) for command in commands]
    return (*built, *commands, *signed, gbcs.add_mac(signed[0], bytes(16)))


@cache
def _signed_octets() -> frozenset[bytes]:
    return frozenset(gbcs.read(octets).signed_octets for octets in _gbcs_messages())


def _duis(data: bytes) -> None:
    message = duis.read(data)
    assert duis.read(duis.write(message)) == message


def _mmc(data: bytes) -> None:
    message = duis.read_decoded(data)
    assert duis.read_decoded(duis.write(message)) == message


def _mmc_messages() -> list[bytes]:
    time = DeviceTime(AT)
    activated = DecodedResponse(ActivateFirmwareRsp(ActivationStatus("success", 0), VERSION, message_success=True))
    verified = DecodedAlert(DeviceAlertContent("Verified", time, "8F72", FirmwareVerificationDeviceAlert(HASH)))
    return [
        duis.write(duis.DecodedMessage(DEVICE, SUPPLIER, COUNTER, body, service_reference="11.3", at=time))
        for body in (activated, verified)
    ]


@cache
def _pki() -> Pki:
    return Pki()


@cache
def _trusts() -> tuple[duis.TrustStore, duis.TrustStore]:
    return _pki().trust, duis.TrustStore([_pki().ours.certificate], _pki().ours.certificate.role)


def _signed_messages() -> list[bytes]:
    signers = {duis.Request: _pki().ours, duis.Response: _pki().dcc}
    return [_pki().signed(message, signers[type(message)], AT) for message in _MESSAGES]


def _read_signed(data: bytes) -> None:
    dccs, suppliers = _trusts()
    try:
        message = duis.read_signed(data, dccs, AT).message
    except HanwaveError:
        message = duis.read_signed(data, suppliers, AT).message
    assert message in _MESSAGES


def _text(data: bytes) -> str:
    # A table comes in as text: how a file's octets become text is the caller's.
    return data.decode("utf-8", "replace")


def _code_table(data: bytes) -> None:
    assert CodeTable.load(_text(data)).classify("I0")


def _alert_table(data: bytes) -> None:
    assert AlertTable.load(_text(data)).dcc


_ROW = "meaning: x, confidence: S, retry: backoff, who: hanwave, action: wait"

TARGETS: Mapping[str, Target] = {
    "ota_image": Target(partial(_ota_image, form=Form.SIGNED), lambda: [making.signed().pack()]),
    "ota_image_ppmid": Target(partial(_ota_image, form=Form.PPMID), lambda: [making.unsigned().pack()]),
    "zigbee_image": Target(
        _zigbee_image,
        lambda: [
            ZigbeeImage(making.header(), (SubElement(0, b"app"), SubElement(0xF000, b""))).pack(),
            ZigbeeImage(making.header(destination=DEVICE, security_credential=1), (SubElement(0, b"app"),)).pack(),
        ],
    ),
    "cpl": Target(_cpl, lambda: [_cpl_file()]),
    "column_map": Target(lambda data: read_column_map(data) and None, lambda: [default_map_text().encode()]),
    "release": Target(
        _release,
        lambda: [
            json.dumps(release_to_dict(making.release(stage))).encode()
            for stage in (Stage.RECEIVED, Stage.CPL_ACTIVE, Stage.GENERAL)
        ],
    ),
    "gbcs": Target(_gbcs, lambda: [*_gbcs_messages()]),
    "duis": Target(_duis, lambda: [*map(duis.write, _MESSAGES), *_signed_messages()]),
    "duis_signed": Target(_read_signed, _signed_messages),
    "mmc": Target(_mmc, _mmc_messages),
    "code_table": Target(_code_table, lambda: [b"", f"I0: {{{_ROW}}}\nE9: {{{_ROW}}}\n".encode()]),
    "alert_table": Target(
        _alert_table, lambda: [b"dcc: {N60: {meaning: x}}\ndevice: {8F99: {meaning: y, confidence: I}}"]
    ),
}
