"""The ASN.1 payloads (CS06, CCS08, CS08, CS09), in strict DER by the cryptography library (GBCS 11.5 to 11.9).

Each reader takes the payload and its grouping header, and raises nothing but GbcsError.
"""

from datetime import datetime
from typing import Annotated, TypeVar

from cryptography.hazmat import asn1

from hanwave.gbcs.bodies import (
    CANCEL,
    ActivateFirmware,
    ActivateImage,
    ActivateImageResponseCode,
    AlertCode,
    Cancel,
    CommandAccepted,
    ExecutionOutcome,
    FirmwareTransfer,
    FirmwareVersion,
    FutureDatedOutcome,
    PpmidActivation,
    ReadFirmwareVersion,
    ReadResponseCode,
    TransferResponseCode,
    known,
)
from hanwave.gbcs.clock import as_utc
from hanwave.gbcs.header import Header
from hanwave.gbcs.octets import GbcsError
from hanwave.gbcs.values import (
    HASH_LENGTH,
    check_activation_counter,
    check_hash,
    octets_of_version,
    version_of_octets,
    within,
)
from hanwave.identifiers import EUI64

_T = TypeVar("_T")
_NULL = b"\x05\x00"
_MAX_CODE = 2**31 - 1
_CANCEL_TIME = datetime.strptime(CANCEL.value, "%Y%m%d%H%M%S%z")
_Version = Annotated[bytes, asn1.Size(min=4, max=4)]


@asn1.sequence
class _Command:
    hash: Annotated[bytes, asn1.Size(min=HASH_LENGTH, max=HASH_LENGTH)]
    counter: int
    at: asn1.GeneralizedTime | None


@asn1.sequence
class _Outcome:
    code: int
    version: _Version


@asn1.sequence
class _FutureDated:
    alert: int
    at: asn1.GeneralizedTime
    counter: int
    outcome: _Outcome


@asn1.sequence
class _Transfer:
    alert: int
    at: asn1.GeneralizedTime
    device: Annotated[bytes, asn1.Size(min=8, max=8)]
    version: _Version
    code: int


@asn1.sequence
class _Ppmid:
    alert: int
    at: asn1.GeneralizedTime
    version: _Version
    code: int


@asn1.sequence
class _ReadVersion:
    version: _Version
    code: int


def read_activate(content: bytes, header: Header) -> ActivateFirmware:
    """The CS06 command; its own counter must be the header's."""
    wire = _decode(_Command, content, "a CS06 command")
    _check_counter(wire.counter, header)
    return ActivateFirmware(wire.hash, wire.counter, _read_time(wire.at))


def write_activate(body: ActivateFirmware, header: Header) -> bytes:
    """The CS06 command, immediate, future-dated or cancelling; GbcsError where the grammar does not allow it."""
    _check_counter(body.counter, header)
    return asn1.encode_der(_Command(hash=check_hash(body.image_hash), counter=body.counter, at=_write_time(body.at)))


def read_activated(content: bytes, _: Header) -> CommandAccepted | ExecutionOutcome:
    """The CS06 response."""
    return CommandAccepted() if content == _NULL else _outcome(_decode(_Outcome, content, "a CS06 response"))


def write_activated(body: CommandAccepted | ExecutionOutcome, _: Header) -> bytes:
    """The CS06 response."""
    return _NULL if isinstance(body, CommandAccepted) else asn1.encode_der(_wire_outcome(body))


def read_future_dated(content: bytes, _: Header) -> FutureDatedOutcome:
    """The CS06 alert, 8F66 or 8F67."""
    wire = _decode(_FutureDated, content, "a CS06 alert")
    alert, counter = known(AlertCode, _in_alert(wire.alert)), check_activation_counter(wire.counter)
    return FutureDatedOutcome(alert, wire.at.as_datetime(), counter, _outcome(wire.outcome))


def write_future_dated(body: FutureDatedOutcome, _: Header) -> bytes:
    """The CS06 alert, 8F66 or 8F67."""
    at, outcome = asn1.GeneralizedTime(as_utc(body.at)), _wire_outcome(body.outcome)
    return asn1.encode_der(
        _FutureDated(
            alert=_in_alert(body.alert_code), at=at, counter=check_activation_counter(body.counter), outcome=outcome
        )
    )


def read_transfer(content: bytes, _: Header) -> FirmwareTransfer:
    """The CCS08 alert."""
    wire = _decode(_Transfer, content, "a CCS08 alert")
    version, code = version_of_octets(wire.version), known(TransferResponseCode, _code(wire.code))
    return FirmwareTransfer(
        known(AlertCode, _in_alert(wire.alert)), wire.at.as_datetime(), EUI64(wire.device), version, code
    )


def write_transfer(body: FirmwareTransfer, _: Header) -> bytes:
    """The CCS08 alert."""
    at, version = asn1.GeneralizedTime(as_utc(body.at)), octets_of_version(body.firmware_version)
    alert, code = _in_alert(body.alert_code), _code(body.code)
    return asn1.encode_der(_Transfer(alert=alert, at=at, device=body.device.octets, version=version, code=code))


def read_ppmid(content: bytes, _: Header) -> PpmidActivation:
    """The CS09 alert."""
    wire = _decode(_Ppmid, content, "a CS09 alert")
    version, code = version_of_octets(wire.version), known(ActivateImage, _code(wire.code))
    return PpmidActivation(known(AlertCode, _in_alert(wire.alert)), wire.at.as_datetime(), version, code)


def write_ppmid(body: PpmidActivation, _: Header) -> bytes:
    """The CS09 alert."""
    at, version = asn1.GeneralizedTime(as_utc(body.at)), octets_of_version(body.firmware_version)
    return asn1.encode_der(_Ppmid(alert=_in_alert(body.alert_code), at=at, version=version, code=_code(body.code)))


def read_version_command(content: bytes, _: Header) -> ReadFirmwareVersion:
    """The CS08 command, a NULL."""
    if content != _NULL:
        raise GbcsError(f"a CS08 command should be a NULL (0500), it is {content[:20].hex().upper()}")
    return ReadFirmwareVersion()


def write_version_command(_: ReadFirmwareVersion, __: Header) -> bytes:
    """The CS08 command, a NULL."""
    return _NULL


def read_version(content: bytes, _: Header) -> FirmwareVersion:
    """The CS08 response; when the read failed the version is of zeros."""
    wire = _decode(_ReadVersion, content, "a CS08 response")
    return FirmwareVersion(version_of_octets(wire.version), known(ReadResponseCode, _code(wire.code)))


def write_version(body: FirmwareVersion, _: Header) -> bytes:
    """The CS08 response."""
    if body.firmware_version is None:
        raise GbcsError("a CS08 response always holds a firmware version: 00000000 when the read failed")
    return asn1.encode_der(_ReadVersion(version=octets_of_version(body.firmware_version), code=_code(body.status)))


def _decode(kind: type[_T], content: bytes, what: str) -> _T:
    try:
        return asn1.decode_der(kind, content)
    except ValueError as error:
        raise GbcsError(f"the payload of {what} is not the DER that it should be: {error}") from error


def _check_counter(counter: int, header: Header) -> None:
    if check_activation_counter(counter) != header.counter:
        raise GbcsError(
            f"the payload's counter is {counter}, the grouping header's {header.counter}: they should agree"
        )


def _read_time(time: asn1.GeneralizedTime | None) -> datetime | Cancel | None:
    if time is None:
        return None
    at = time.as_datetime()
    if at.microsecond:
        raise GbcsError(f"the execution time should be in whole seconds, it is {at.isoformat()}")
    return CANCEL if at == _CANCEL_TIME else at


def _write_time(at: datetime | Cancel | None) -> asn1.GeneralizedTime | None:
    if at is None:
        return None
    if isinstance(at, Cancel):
        return asn1.GeneralizedTime(_CANCEL_TIME)
    at = as_utc(at)
    if at.microsecond:
        raise GbcsError(f"the execution time should be in whole seconds, it is {at.isoformat()}")
    if at == _CANCEL_TIME:
        raise GbcsError(f"the execution time {at.isoformat()} means cancel: ask for that by name")
    return asn1.GeneralizedTime(at)


def _code(number: int) -> int:
    """A response code, known or not."""
    return within(number, _MAX_CODE, "a response code")


def _in_alert(number: int) -> int:
    return within(number, 0xFFFF, "an alert code")


def _outcome(wire: _Outcome) -> ExecutionOutcome:
    code = known(ActivateImageResponseCode, _code(wire.code))
    return ExecutionOutcome(code, version_of_octets(wire.version))


def _wire_outcome(body: ExecutionOutcome) -> _Outcome:
    return _Outcome(code=_code(body.code), version=octets_of_version(body.firmware_version))
