"""How the types of this package are written in JSON and YAML, and how such a document is read strictly.

Strictly: no unknown or missing name, no other type in a value's place ("1" is not 1), hexadecimal of the full width.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, ConfigDict, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from hanwave.errors import HanwaveError
from hanwave.firmware.errors import FirmwareError
from hanwave.firmware.terms import FirmwareVersion, GbcsVersion, HardwareRange, Model, read_octets, read_uint16
from hanwave.identifiers import EUI64

STRICT = ConfigDict(strict=True, extra="forbid")
"""The __pydantic_config__ of each dataclass that a document holds."""

T = TypeVar("T")


def _reader(parse: Callable[[str], Any]) -> PlainValidator:
    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("it should be a string")  # noqa: TRY004 - the form that pydantic reports with its place
        try:
            return parse(value)
        except HanwaveError as error:
            raise ValueError(str(error)) from error

    return PlainValidator(read)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FirmwareError("it should be base64") from error


def _decimal(text: str) -> int:
    if not _SERIAL.fullmatch(text):
        raise FirmwareError("it should be a decimal number, as X509SerialNumber writes it")
    return int(text)


_SERIAL = re.compile(r"[1-9][0-9]{0,49}", re.ASCII)
_HEX = PlainSerializer(lambda octets: octets.hex().upper(), return_type=str)
_TEXT = PlainSerializer(str, return_type=str)

Digest = Annotated[bytes, _reader(lambda text: read_octets(text, 32)), _HEX]
Octets = Annotated[bytes, _reader(_base64), PlainSerializer(lambda octets: base64.b64encode(octets).decode())]
Uint16 = Annotated[int, _reader(read_uint16), PlainSerializer(lambda value: f"{value:04X}", return_type=str)]
Serial = Annotated[int, _reader(_decimal), _TEXT]
Time = AwareDatetime
Eui = Annotated[EUI64, _reader(EUI64.parse), _TEXT]
Version = Annotated[FirmwareVersion, _reader(FirmwareVersion.parse), _TEXT]
Gbcs = Annotated[GbcsVersion, _reader(GbcsVersion.parse), _TEXT]
Hardware = Annotated[HardwareRange, _reader(HardwareRange.parse), _TEXT]
DeviceModel = Annotated[Model, _reader(Model.parse), _TEXT]


def read_document(adapter: TypeAdapter[T], document: object, what: str, error_type: type[FirmwareError]) -> T:
    """Read a document (of dicts, lists and plain values); error_type says what, where in it, and what is wrong."""
    try:
        # JSON has no tuples, enums or dates, so only pydantic's JSON reading is strict in the way meant here.
        return adapter.validate_json(json.dumps(document, allow_nan=False))
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = first["msg"].removeprefix("Value error, ")
        raise error_type(f"{what}: {place}: {message}{_held(first['input'])}") from errors
    except (TypeError, ValueError, RecursionError) as error:
        raise error_type(f"{what} holds what JSON cannot: {str(error)[:100]}") from error


def _held(value: object) -> str:
    return "" if isinstance(value, (dict, list)) else f" (it held {str(value)[:60]!r})"
