"""What a message of the DCC's says about devices: pure, from a Response to findings.

Guarantees: an alert is understood by its structure, never by its N-code; an outcome is read in the GBCS payload, never
in the envelope's I0; a payload that contradicts its envelope (another device, counter, kind or code) is no evidence and
is refused whole. Times are the DCC's (ResponseDateTime): a device's clock may be wrong, and would spoil the order.

The XML signature proves that the DCC sent the message. That the device signed its payload is not proved here, since
hanwave holds no device certificates: `check` is where that belongs once it does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from hanwave import duis, gbcs
from hanwave.duis import codes
from hanwave.errors import HanwaveError
from hanwave.firmware.terms import version_digits
from hanwave.identifiers import EUI64, RequestID
from hanwave.rollout.events import NO_IMAGE_HELD, Evidence, Kind, Leg

RESTORED_TO: Final = "Commissioned"
"""[I] A restored device is back in the status that it had before; those that firmware rescues were commissioned."""
POWER_ON_FAILURE: Final = "8F1B"
"""Firmware Verification Failed At Power On: no step of an update, but people must know."""

_ALERT = re.compile("[0-9A-F]{4}", re.ASCII)


def is_alert(code: str) -> bool:
    """Whether that is the code of a device's alert, and not of a response or of an alert of the DCC's."""
    return _ALERT.fullmatch(code) is not None


DeviceCheck = Callable[[gbcs.Message], None]
"""Raises Contradiction where a device did not sign, or MAC, the message that bears its name."""


class Contradiction(HanwaveError):  # noqa: N818 - the name says what it is
    """A message that is no evidence: what is inside does not belong to its envelope, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing learnt of one device; eui None: of every device of the request. version is eight hexadecimal digits."""

    eui: EUI64 | None
    kind: Kind
    at: datetime
    evidence: Evidence
    code: str
    """The response code, or the alert's."""
    leg: Leg | None = None
    request_id: RequestID | None = None
    version: str | None = None
    detail: str | None = None
    smi_status: str | None = None
    """The device's new status in the Smart Metering Inventory."""
    alarm: bool = field(default=False)
    """Whether people must be told, update or not."""
    elsewhere: bool = field(default=False)
    """Whether another supplier is updating the device."""

    @property
    def spoken(self) -> bool:
        """Whether the device itself said it, directly or in the DCC's words."""
        return self.evidence in (Evidence.DEVICE, Evidence.READ_BACK) or self.kind in TELLS_VERSION


TELLS_VERSION = frozenset({Kind.VERSION, Kind.ACTIVATED, Kind.ACTIVATION_FAILED})
"""Findings whose version is the one that the device runs now."""


def addressee(message: duis.Response) -> EUI64 | None:
    """The User ID that the message is for; None where its header names nobody."""
    if message.request_id:
        return message.request_id.originator
    return message.response_id.target if message.response_id else None


def _unchecked(_: gbcs.Message) -> None:
    """No device certificates, so nothing to check with."""


def findings(message: duis.Response, check: DeviceCheck = _unchecked) -> tuple[Finding, ...]:
    """What a response or alert says; nothing where it says nothing of a device. Contradiction where it is no evidence."""
    body = message.body
    if isinstance(body, duis.ResponseMessage):
        return _response(message, body, check)
    if isinstance(body, duis.DeviceAlertMessage):
        return _device_alert(message, body, check)
    if isinstance(body, duis.DCCAlertMessage):
        return tuple(_dcc_alert(message, body))
    return ()


_LEGS = {
    "11.1": Leg.DISTRIBUTE,
    "11.4": Leg.DISTRIBUTE,
    "11.3": Leg.ACTIVATE,
    "11.2": Leg.READ,
    "8.2": Leg.INVENTORY,
}
_BATCHES = frozenset({"11.1", "11.4", "8.2"})  # non-device services: the RequestID names the Access Control Broker
_CODES = {
    "11.3": frozenset({gbcs.MessageCode.CS06}),
    "11.2": frozenset({gbcs.MessageCode.ECS52, gbcs.MessageCode.GCS38, gbcs.MessageCode.CS08}),
}


def _response(message: duis.Response, body: duis.ResponseMessage, check: DeviceCheck) -> tuple[Finding, ...]:
    request_id = _request_of(message)
    if request_id is None:
        return ()
    reference = body.service_reference
    eui = None if reference in _BATCHES else request_id.target
    base = Finding(eui, Kind.HEARD, message.at, Evidence.DEVICE, message.code, _LEGS.get(reference), request_id)
    if message.code.startswith("E"):
        kind = Kind.UNREACHED if codes.classify(message.code).unreached else Kind.REFUSED
        return (replace(base, kind=kind, evidence=Evidence.DCC, detail=message.code),) if base.leg else ()
    if reference not in _CODES:
        has_payload = isinstance(body.content, duis.GBCSPayload | duis.FutureDatedDeviceAlert)
        return (base,) if has_payload else ()
    if isinstance(body.content, duis.GBCSPayload):
        inside = _read(body.content.payload, check)
        _same_answer(inside, request_id, reference)
        return (_answer(base, inside.body),)
    if isinstance(body.content, duis.FutureDatedDeviceAlert):
        inside = _read(body.content.payload, check)
        return (_future_dated(message, replace(base, code=body.content.alert_code), inside),)
    return ()


def _request_of(message: duis.Response) -> RequestID | None:
    """The request that is answered: named, or the ResponseID turned about (its counter is then the request's)."""
    said, answer = message.request_id, message.response_id
    if said and answer and (said.originator, said.target) != (answer.target, answer.originator):
        raise Contradiction(f"ResponseID {answer} does not answer RequestID {said}")
    return said or (RequestID(answer.target, answer.originator, answer.counter) if answer else None)


def _read(payload: bytes, check: DeviceCheck) -> gbcs.Message:
    try:
        inside = gbcs.read(payload)
    except gbcs.GbcsError as error:
        raise Contradiction(f"its GBCS payload cannot be read: {error}") from error
    check(inside)
    return inside


def _party(header: gbcs.Header) -> tuple[EUI64, int]:
    """Whom a device answers or alerts, and by which counter: the supplier, or one behind the Access Control Broker."""
    behind = header.supplementary
    if behind and behind.counter is not None:
        return behind.party, behind.counter
    return (behind.party if behind else header.target), header.counter


def _same_answer(inside: gbcs.Message, request_id: RequestID, reference: str) -> None:
    party, counter = _party(inside.header)
    held = RequestID(party, inside.header.originator, counter)
    if inside.header.cra is not gbcs.CRA.RESPONSE or inside.header.code not in _CODES[reference]:
        raise Contradiction(
            f"the answer to an {reference} holds a GBCS {inside.header.cra.name.lower()} {inside.header.code:04X}"
        )
    if held != request_id:
        raise Contradiction(f"the answer to {request_id} holds a GBCS message that answers {held}")


_OUTCOMES = {1: NO_IMAGE_HELD, 2: "hashMismatch", 3: "activationFailure"}


def _answer(base: Finding, body: gbcs.Body) -> Finding:
    if isinstance(body, gbcs.ExecutionOutcome):
        return _outcome(base, body)
    if isinstance(body, gbcs.CommandAccepted):
        return replace(base, kind=Kind.SCHEDULED)
    if isinstance(body, gbcs.FirmwareVersion) and body.succeeded:
        return replace(base, kind=Kind.VERSION, evidence=Evidence.READ_BACK, version=body.firmware_version)
    if isinstance(body, gbcs.FirmwareVersion):
        return replace(base, kind=Kind.REFUSED, detail=f"the device could not read its version (status {body.status})")
    return base


def _outcome(base: Finding, outcome: gbcs.ExecutionOutcome) -> Finding:
    if outcome.succeeded:
        return replace(base, kind=Kind.ACTIVATED, version=outcome.firmware_version)
    detail = _OUTCOMES.get(int(outcome.code), f"activateImageResponseCode {int(outcome.code)}")
    return replace(base, kind=Kind.ACTIVATION_FAILED, version=outcome.firmware_version, detail=detail)


def _future_dated(message: duis.Response, base: Finding, inside: gbcs.Message) -> Finding:
    """8F66 or 8F67, in a response or an alert: it names its command by the counter inside, so that must be the request."""
    body = inside.body
    if not isinstance(body, gbcs.FutureDatedOutcome) or f"{int(body.alert_code):04X}" != base.code:
        raise Contradiction(f"the alert {base.code} of an 11.3 holds no outcome of a future-dated activation")
    party, _ = _party(inside.header)
    request_id = RequestID(party, inside.header.originator, body.counter)
    if message.request_id and message.request_id != request_id:
        raise Contradiction(f"the outcome of {message.request_id} holds one of {request_id}")
    if message.response_id and message.response_id.originator != request_id.target:
        raise Contradiction(f"the alert of {message.response_id.originator} holds one of {request_id.target}")
    if body.outcome.succeeded is not (base.code == "8F66"):
        raise Contradiction(f"the alert {base.code} holds the outcome {int(body.outcome.code)}")
    return _outcome(replace(base, eui=request_id.target, request_id=request_id), body.outcome)


_VERIFIED = {"8F72": Kind.VERIFIED, "8F1C": Kind.VERIFICATION_FAILED}


def _device_alert(message: duis.Response, body: duis.DeviceAlertMessage, check: DeviceCheck) -> tuple[Finding, ...]:
    said = message.response_id
    if said is None:
        return ()
    base = Finding(said.originator, Kind.HEARD, message.at, Evidence.DEVICE, body.alert_code, detail=body.alert_code)
    if body.alert_code in _VERIFIED:
        inside = _read(body.payload, check)
        _same_alert(inside, said)
        return (_verification(base, inside),)
    if body.alert_code in ("8F66", "8F67"):
        inside = _read(body.payload, check)
        # The same codes tell of any future-dated command: only CS06's is about firmware.
        if inside.header.code == gbcs.MessageCode.CS06_ALERT:
            _same_alert(inside, said)
            return (_future_dated(message, replace(base, leg=Leg.ACTIVATE, detail=None), inside),)
    return (replace(base, alarm=body.alert_code == POWER_ON_FAILURE),)


def _same_alert(inside: gbcs.Message, said: RequestID) -> None:
    """The payload is this device's alert of this counter; the counter of an alert is the device's own."""
    header = inside.header
    party, _ = _party(header)
    held = RequestID(header.originator, party, header.counter)
    if header.cra is not gbcs.CRA.ALERT or held != said:
        raise Contradiction(f"the alert {said} holds the GBCS {header.cra.name.lower()} {held}")


def _verification(base: Finding, inside: gbcs.Message) -> Finding:
    body = inside.body
    if not isinstance(body, gbcs.ImageVerification) or f"{int(body.alert_code):04X}" != base.code:
        raise Contradiction(f"the alert {base.code} holds another GBCS message ({inside.header.code:04X})")
    if body.image_hash is None:
        # A verification of nobody knows which image is no evidence for any.
        return replace(base, detail=f"{base.code} without a hash") if base.code == "8F72" else _refused(base, None)
    return _refused(base, body.image_hash.hex().upper())


def _refused(base: Finding, image_hash: str | None) -> Finding:
    return replace(base, kind=_VERIFIED[base.code], leg=Leg.DISTRIBUTE, detail=image_hash)


def _dcc_alert(message: duis.Response, body: duis.DCCAlertMessage) -> list[Finding]:  # noqa: C901, PLR0911 - a return a structure
    base = Finding(None, Kind.HEARD, message.at, Evidence.DCC, body.code, detail=body.code)
    match body.alert:
        case duis.CSPFirmwareDeliveryStatus() as alert:
            return [_delivery(base, alert)]
        case duis.CommsHubAlert(transfer=duis.FirmwareTransferAlert()) as alert:
            return [_transfer(base, alert)]
        case duis.PPMIDAlert() as alert:
            return [_ppmid(base, alert)]
        case duis.FirmwareDistributionFailure(request_id=request_id, device_ids=euis):
            failed = replace(base, kind=Kind.DELIVERY_FAILED, leg=Leg.DISTRIBUTE, request_id=request_id)
            return [replace(failed, eui=eui) for eui in euis]
        case duis.QuarantinedRequest(breach=breach) if not isinstance(breach, duis.Unrecognised):
            detail = f"{type(breach).__name__} {breach.event_ref}"
            return [replace(base, kind=Kind.QUARANTINED, request_id=breach.request_id, detail=detail)]
        case duis.CommandFailure(request_id=request_id, device_id=eui):
            return [replace(base, eui=eui, kind=Kind.UNREACHED, request_id=request_id)]
        case duis.DeviceStatusChangeEvent() as alert:
            return [_status(base, alert)]
        case duis.FirmwareVersionMismatch(device_id=eui, device_version=version):
            return [replace(base, eui=eui, kind=Kind.VERSION, version=version_digits(version))]
        case duis.FirmwareUpgradeRequested(device_ids=euis, firmware_version=version):
            detail = f"another supplier asked for version {version_digits(version)} ({body.code})"
            return [replace(base, eui=eui, detail=detail, elsewhere=True) for eui in euis]
        case duis.DUISVersionMismatch(mismatch=duis.DCCAlertVersionMismatch(device_id=eui)) if eui:
            return [
                replace(base, eui=eui, alarm=True, detail="the DUIS version in use cannot carry what DCC has to say")
            ]
    return []


def _delivery(base: Finding, alert: duis.CSPFirmwareDeliveryStatus) -> Finding:
    about = replace(
        base,
        eui=alert.device_id,
        leg=Leg.DISTRIBUTE,
        request_id=alert.request_id,
        version=version_digits(alert.firmware_version),
    )
    if alert.status == duis.TransferStatus.SUCCESS:
        return replace(about, kind=Kind.DELIVERED)
    if alert.status == duis.TransferStatus.FAILURE:
        return replace(about, kind=Kind.DELIVERY_FAILED)
    return replace(about, leg=None, detail=f"{base.code}: transfer status {alert.status}")


_TRANSFERRED, _NOT_TRANSFERRED = "8F8A", "8F89"


def _transfer(base: Finding, alert: duis.CommsHubAlert) -> Finding:
    told = alert.transfer
    assert told is not None
    about = replace(
        base,
        eui=told.device_id,
        leg=Leg.DISTRIBUTE,
        request_id=told.request_id,
        version=version_digits(told.firmware_version),
        code=alert.alert_code,
        detail=str(told.result),
    )
    success = told.result == duis.TransferResponse.SUCCESS
    if alert.alert_code not in (_TRANSFERRED, _NOT_TRANSFERRED) or success is not (alert.alert_code == _TRANSFERRED):
        raise Contradiction(f"the hub's alert {alert.alert_code} holds the transfer result {told.result}")
    return replace(about, kind=Kind.TRANSFERRED if success else Kind.DELIVERY_FAILED)


def _ppmid(base: Finding, alert: duis.PPMIDAlert) -> Finding:
    """A PPMID's own word, in the DCC's words; its activation is a part of its distribution."""
    about = replace(base, eui=alert.device_id, code=alert.alert_code, detail=alert.alert_code)
    told = alert.upgrade
    if alert.alert_code != "8F8B" or told is None:
        return about
    about = replace(about, leg=Leg.DISTRIBUTE, version=version_digits(told.firmware_version), detail=None)
    if told.result == duis.ActivationResult.SUCCESS:
        return replace(about, kind=Kind.ACTIVATED)
    if told.result == duis.ActivationResult.FAILURE:
        return replace(about, kind=Kind.ACTIVATION_FAILED, detail="activationFailure")
    return replace(about, kind=Kind.VERSION, leg=None, detail=f"activation result {told.result}")


def _status(base: Finding, alert: duis.DeviceStatusChangeEvent) -> Finding:
    about = replace(base, eui=alert.device_id, detail=type(alert.change).__name__)
    if isinstance(alert.change, duis.DeviceSuspended):
        return replace(about, smi_status="Suspended")
    if isinstance(alert.change, duis.DeviceRestored):
        return replace(about, smi_status=RESTORED_TO)
    return about
