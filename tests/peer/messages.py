"""One of each message that goes to and from the DCC, for peers to sign, to verify and to read."""

import re
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from hanwave import gbcs
from hanwave.duis import (
    CANCEL,
    Acknowledgement,
    ActivateFirmware,
    CommsHubAlert,
    CSPFirmwareDeliveryStatus,
    DCCAlertMessage,
    DeviceAlertMessage,
    FirmwareTransferAlert,
    FutureDatedDeviceAlert,
    GBCSPayload,
    PPMIDAlert,
    PPMIDFirmwareUpgradeAlert,
    PreCommand,
    PropertyFilter,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    Response,
    ResponseMessage,
    SignedPreCommand,
    TransferResponse,
    TransferStatus,
    UpdateFirmware,
    UpdateFirmwareWarning,
    UpdatePPMIDFirmware,
    UpdatePPMIDFirmwareWarning,
)
from hanwave.duis.firmware_alerts import ActivationResult
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64, RequestID

SUPPLIER, DEVICE, ACB, HUB = (
    EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002", "00DB1234567890A2")
)
AT = datetime(2026, 11, 22, 10, 0, 0, 250_000, tzinfo=UTC)
THEN = datetime(2030, 1, 15, 9, tzinfo=UTC)
HASH = bytes(range(32))
VERSION = "0123ABCD"
DEVICES = tuple(EUI64((0x00DB << 48 | n).to_bytes(8, "big")) for n in range(300))
KEY = ec.generate_private_key(ec.SECP256R1())
COUNTER = 2**53 + 1
"""Beyond what a double holds: a peer in JavaScript that reads it as a number would show it."""

_HEADER = Header(
    0x121D, 0x0084, FirmwareVersion.parse(VERSION), header_string("An image & more"), HardwareRange(0x1111, 0x1211)
)
IMAGE = OtaImage(_HEADER, bytes(range(256)) * 10).pack()


def to_device(body, counter=COUNTER):
    return Request.of(RequestID(SUPPLIER, DEVICE, counter), body)


def to_acb(body, counter=COUNTER):
    return Request.of(RequestID(SUPPLIER, ACB, counter), body)


def signed_precommand(at=None):
    return gbcs.sign_precommand(gbcs.precommand(SUPPLIER, DEVICE, COUNTER, HASH, at), KEY)


REQUESTS = {
    "8.2 by device": to_acb(ReadInventory(DEVICE)),
    "8.2 by meter point": to_acb(ReadInventory(mpxn="1200012345678")),
    "8.2 by property": to_acb(ReadInventory(property_filter=PropertyFilter("AB1 2CD", "The Mill <East> & Co"))),
    "11.1": to_acb(UpdateFirmware(IMAGE, VERSION, DEVICES)),
    "11.2": to_device(ReadFirmwareVersion()),
    "11.2 dated": to_device(ReadFirmwareVersion(THEN)),
    "11.3 CV4": to_device(ActivateFirmware(HASH)),
    "11.3 CV4 dated": to_device(ActivateFirmware(HASH, THEN)),
    "11.3 CV4 cancelled": to_device(ActivateFirmware(HASH, CANCEL)),
    "11.3 CV5": to_device(SignedPreCommand(signed_precommand())),
    "11.3 CV5 dated": to_device(SignedPreCommand(signed_precommand(THEN), THEN)),
    "11.4": to_acb(UpdatePPMIDFirmware(IMAGE, VERSION, DEVICES[:1])),
}

OF_DEVICE, OF_BATCH = RequestID(SUPPLIER, DEVICE, COUNTER), RequestID(SUPPLIER, ACB, COUNTER)
ANSWER, ALERT = RequestID(DEVICE, SUPPLIER, COUNTER), RequestID(ACB, SUPPLIER, 7)


def answered(reference, content, code="I0", of=OF_DEVICE, response_id=ANSWER):
    return Response(code, AT, ResponseMessage(reference, content), of, response_id)


def alerted(code, alert):
    return Response("I0", AT, DCCAlertMessage(code, alert), None, ALERT)


_OUTCOME = gbcs.build(
    gbcs.Header(
        gbcs.CRA.RESPONSE,
        COUNTER,
        DEVICE,
        SUPPLIER,
        gbcs.MessageCode.CS06,
        gbcs.encode_date_time(AT.replace(microsecond=0)),
    ),
    gbcs.ExecutionOutcome(0, VERSION),
    signing_key=KEY,
)
_TRANSFER = FirmwareTransferAlert(DEVICE, VERSION, TransferResponse("FileTransferSuccess"), OF_BATCH)

RESPONSES = {
    "11.1 accepted": answered("11.1", Acknowledgement(), "I99", OF_BATCH, None),
    "11.1 warning": answered("11.1", UpdateFirmwareWarning(DEVICES[:2], None, DEVICES[2:3]), "W110101", OF_BATCH, None),
    "11.4 warning": answered("11.4", UpdatePPMIDFirmwareWarning(DEVICES[:2]), "W110401", OF_BATCH, None),
    "11.3 pre-command": answered(
        "11.3", PreCommand("4.3", gbcs.precommand(SUPPLIER, DEVICE, COUNTER, HASH)), response_id=None
    ),
    "11.3 answer": answered("11.3", GBCSPayload(_OUTCOME)),
    "11.3 outcome": answered("11.3", FutureDatedDeviceAlert("8F66", _OUTCOME, 1, 1)),
    "device alert": Response("I0", AT, DeviceAlertMessage("8F72", _OUTCOME), None, ANSWER),
    "N60": alerted("N60", CSPFirmwareDeliveryStatus(OF_BATCH, HUB, DEVICE, VERSION, AT, TransferStatus("Success"))),
    "N62": alerted("N62", CommsHubAlert(HUB, "8F8A", AT, _TRANSFER)),
    "N39": alerted(
        "N39", PPMIDAlert(DEVICE, "8F8B", AT, PPMIDFirmwareUpgradeAlert(VERSION, ActivationResult("ActivationSuccess")))
    ),
}


def pretty(data: bytes) -> bytes:
    """The message as a person's editor lays it out."""
    return etree.tostring(etree.fromstring(data), pretty_print=True, xml_declaration=True, encoding="UTF-8")


def tampered(data: bytes) -> dict[str, bytes]:
    """A signed message changed in what it says, in its digest, and in its signature value."""
    counter = next(c for c in (COUNTER, ALERT.counter) if b":%d<" % c in data)
    changes = {
        "a counter": data.replace(b":%d<" % counter, b":%d<" % (counter + 1)),
        "the digest": _first_letter(data, b"DigestValue"),
        "the signature value": _first_letter(data, b"SignatureValue"),
    }
    assert all(changed != data for changed in changes.values())
    return changes


def _first_letter(data: bytes, element: bytes) -> bytes:
    def other(match: re.Match[bytes]) -> bytes:
        return match[1] + (b"B" if match[2] == b"A" else b"A")

    return re.sub(rb"(<ds:" + element + rb">\s*)(.)", other, data, count=1)
