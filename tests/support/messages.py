"""What the DCC and devices would send, built and signed for real with a test PKI."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import count

from cryptography.hazmat.primitives.asymmetric import ec

from hanwave import duis, gbcs
from hanwave.credentials import Role
from hanwave.identifiers import EUI64, RequestID
from infra.pki import Authority, Identity

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
US = EUI64.parse("90-B3-D5-1F-30-01-00-00")
ACB = EUI64.parse("90-B3-D5-1F-30-00-00-02")
HUB = EUI64.parse("00-DB-00-00-00-00-FF-01")
DEVICE = EUI64.parse("00-DB-00-00-00-00-00-00")
HASH = bytes.fromhex("AB" * 32)
VERSION = "00000002"
NOON = gbcs.encode_date_time(AT)


@cache
def device_key() -> ec.EllipticCurvePrivateKey:
    """One key for every device: nobody checks it."""
    return ec.generate_private_key(ec.SECP256R1())


def asked(device: EUI64 = DEVICE, counter: int = 1000) -> RequestID:
    """The RequestID of a request to a device."""
    return RequestID(US, device, counter)


def batch(counter: int = 1000) -> RequestID:
    """The RequestID of a request to the Access Control Broker."""
    return RequestID(US, ACB, counter)


def payload(
    cra: gbcs.CRA, code: int, body: gbcs.Body, sender: EUI64 = DEVICE, counter: int = 1000, to: EUI64 = US
) -> bytes:
    """A device's GBCS message, signed."""
    header = gbcs.Header(cra, counter, sender, to, code, NOON if cra is gbcs.CRA.RESPONSE else None)
    return gbcs.build(header, body, device_key())


def reply(
    request: RequestID, content: duis.ResponseContent, reference: str, code: str = "I0", at: datetime = AT
) -> duis.Response:
    """A Service Response."""
    response_id = RequestID(request.target, request.originator, request.counter)
    return duis.Response(code, at, duis.ResponseMessage(reference, content), request, response_id)


def outcome(request: RequestID, version: str = VERSION, code: int = 0, at: datetime = AT) -> duis.Response:
    """The answer to an immediate 11.3."""
    body = gbcs.ExecutionOutcome(code, version)
    octets = payload(gbcs.CRA.RESPONSE, gbcs.MessageCode.CS06, body, request.target, request.counter)
    return reply(request, duis.GBCSPayload(octets), "11.3", at=at)


def accepted(request: RequestID, at: datetime = AT) -> duis.Response:
    """The answer to a future-dated or cancelling 11.3."""
    octets = payload(gbcs.CRA.RESPONSE, gbcs.MessageCode.CS06, gbcs.CommandAccepted(), request.target, request.counter)
    return reply(request, duis.GBCSPayload(octets), "11.3", at=at)


def version_read(
    request: RequestID, version: str = VERSION, at: datetime = AT, code: int = gbcs.MessageCode.ECS52
) -> duis.Response:
    """The answer to an 11.2."""
    body = gbcs.FirmwareVersion(version, 0)
    octets = payload(gbcs.CRA.RESPONSE, code, body, request.target, request.counter)
    return reply(request, duis.GBCSPayload(octets), "11.2", at=at)


def error(request: RequestID, code: str, reference: str = "11.3", at: datetime = AT) -> duis.Response:
    """An asynchronous error: RequestID alone."""
    return duis.Response(code, at, duis.ResponseMessage(reference, duis.Acknowledgement()), request)


def future_dated(request: RequestID, alert: str = "8F66", version: str = VERSION, at: datetime = AT) -> duis.Response:
    """The outcome of a future-dated 11.3, as a response."""
    told = gbcs.ExecutionOutcome(0 if alert == "8F66" else 3, version)
    body = gbcs.FutureDatedOutcome(int(alert, 16), AT, request.counter, told)
    octets = payload(gbcs.CRA.ALERT, gbcs.MessageCode.CS06_ALERT, body, request.target, 77)
    answer = duis.FutureDatedDeviceAlert(alert, octets, 1, 1)
    response_id = RequestID(request.target, request.originator, 77)
    return duis.Response("I0", at, duis.ResponseMessage("11.3", answer), request, response_id)


def device_alert(
    code: str, octets: bytes, sender: EUI64 = DEVICE, counter: int = 500, at: datetime = AT, to: EUI64 = US
) -> duis.Response:
    """A Device Alert."""
    return duis.Response("I0", at, duis.DeviceAlertMessage(code, octets), None, RequestID(sender, to, counter))


def verified(
    sender: EUI64 = DEVICE,
    image_hash: bytes | None = HASH,
    code: str = "8F72",
    counter: int = 500,
    at: datetime = AT,
    to: EUI64 = US,
) -> duis.Response:
    """8F72, or 8F1C."""
    body = gbcs.ImageVerification(int(code, 16), AT, image_hash)
    octets = payload(gbcs.CRA.ALERT, gbcs.MessageCode.FDRA_DLMS, body, sender, counter, to)
    return device_alert(code, octets, sender, counter, at, to)


_alerts = count(5000)


def dcc_alert(code: str, alert: duis.DCCAlert, at: datetime = AT, to: EUI64 = US) -> duis.Response:
    """A DCC Alert."""
    return duis.Response("I0", at, duis.DCCAlertMessage(code, alert), None, RequestID(ACB, to, next(_alerts)))


def delivered(
    request: RequestID, device: EUI64 = DEVICE, status: str = "Success", version: str = VERSION, at: datetime = AT
) -> duis.Response:
    """N60 or N61."""
    alert = duis.CSPFirmwareDeliveryStatus(request, HUB, device, version, AT, duis.TransferStatus(status))
    return dcc_alert("N60" if status == "Success" else "N61", alert, at)


def transferred(
    device: EUI64 = DEVICE,
    request: RequestID | None = None,
    result: str = "FileTransferSuccess",
    version: str = VERSION,
    at: datetime = AT,
) -> duis.Response:
    """N62 with the hub's 8F8A or 8F89."""
    told = duis.FirmwareTransferAlert(device, version, duis.TransferResponse(result), request)
    return dcc_alert(
        "N62", duis.CommsHubAlert(HUB, "8F8A" if result == "FileTransferSuccess" else "8F89", AT, told), at
    )


def ppmid(
    device: EUI64 = DEVICE, version: str = VERSION, result: str = "ActivationSuccess", at: datetime = AT
) -> duis.Response:
    """N39 with a PPMID's 8F8B."""
    told = duis.PPMIDFirmwareUpgradeAlert(version, duis.ActivationResult(result))
    return dcc_alert("N39", duis.PPMIDAlert(device, "8F8B", AT, told), at)


@dataclass
class Pki:
    """The DCC's signers, ours, and strangers."""

    authority: Authority = field(default_factory=lambda: Authority(at=AT.replace(year=2026, month=1)))

    def __post_init__(self) -> None:
        self.dcc: Identity = self.authority.organisation(ACB, Role.DSP_XML_SIGN)
        self.transform: Identity = self.authority.organisation(
            EUI64.parse("90-B3-D5-1F-30-00-00-03"), Role.DSP_XML_SIGN
        )
        self.stranger: Identity = self.authority.organisation(ACB, Role.DSP_XML_SIGN)
        self.ours: Identity = self.authority.organisation(US, Role.XML_SIGN)
        self.gbcs: Identity = self.authority.organisation(US, Role.SUPPLIER)

    @property
    def trust(self) -> duis.TrustStore:
        return duis.TrustStore([self.dcc.certificate, self.transform.certificate])

    def signed(self, message: duis.Response | duis.Request, by: Identity | None = None, at: datetime = AT) -> bytes:
        by = by or self.dcc
        return duis.sign(message, by.key, by.certificate, at)
