"""`hanwave gbcs`: read any GBCS message, and make the pre-command of an activation."""

import base64
import dataclasses
import os
import re
import sys
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hanwave.cli.output import AsJson, emit, read_file
from hanwave.credentials import load_private_key
from hanwave.errors import HanwaveError
from hanwave.gbcs import (
    CANCEL,
    MAX_LENGTH,
    ActivateFirmware,
    Cancel,
    GbcsError,
    Header,
    Message,
    MessageCode,
    precommand,
    read,
    sign_precommand,
)
from hanwave.identifiers import EUI64

app = typer.Typer(help="Read GBCS messages; make the pre-command of an activation.", no_args_is_help=True)

_USE_CASES = {
    MessageCode.CS06: "CS06 Activate Firmware",
    MessageCode.ECS52: "ECS52 Read ESME/Communications Hub Firmware Version",
    MessageCode.GCS38: "GCS38 Read GSME Firmware Version",
    MessageCode.CS06_ALERT: "CS06 Future Dated Firmware Activation Alert",
    MessageCode.FDRA_DLMS: "Firmware Distribution Receipt Alert (ESME)",
    MessageCode.FDRA_GBZ: "Firmware Distribution Receipt Alert (GSME)",
    MessageCode.CCS08: "CCS08 Firmware Transfer Alert",
    MessageCode.CS08: "CS08 Read PPMID/HCALCS Firmware Version",
    MessageCode.CS09: "CS09 PPMID Firmware Activation Alert",
}
_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2})+)", re.ASCII)


@app.command("read", epilog="Example: hanwave gbcs read @response.hex")
def read_command(
    message: Annotated[
        str, typer.Argument(metavar="HEX", help="Hexadecimal or base64 digits; @FILE for a file, - for standard input.")
    ],
    as_json: AsJson = False,
) -> None:
    """Print every field of one GBCS message. Nothing is verified: reading does not say who sent it."""
    emit(_describe(read(_octets(message))), as_json=as_json)


@app.command(
    "cs06",
    epilog="Example: hanwave gbcs cs06 --originator 90-B3-D5-1F-30-01-00-00 --target 00-DB-12-34-56-78-90-A0 --counter 1001 --hash $(cat esme.hash)",
)
def cs06_command(
    originator: Annotated[str, typer.Option(metavar="EUI", help="The supplier's User ID.")],
    target: Annotated[str, typer.Option(metavar="EUI", help="The device.")],
    counter: Annotated[int, typer.Option(help="The originator counter of the request, from 0 to 2^63-1.")],
    image_hash: Annotated[str, typer.Option("--hash", metavar="HEX", help="SHA-256 of the Manufacturer Image.")],
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Future-dated: ISO 8601 with zone, 2030-01-15T09:00:00Z.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Withdraw a future-dated activation.")] = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sign with this GBCS key; prints the signed pre-command.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the CS06 pre-command as hex: activate now, unless --at or --cancel says otherwise."""
    when = _execution(at, cancel=cancel)
    octets = precommand(EUI64.parse(originator), EUI64.parse(target), counter, _hash(image_hash), when)
    facts = {"precommand": octets.hex().upper()}
    if key is not None:
        signed = sign_precommand(octets, load_private_key(read_file(key, "the key"), str(key)))
        facts["signed_precommand"] = signed.hex().upper()
    if as_json:
        emit(facts, as_json=True)
    else:
        sys.stdout.write([*facts.values()][-1] + "\n")


def _octets(argument: str) -> bytes:
    """The octets that a person gave: digits, or a file of digits or of the octets themselves."""
    if argument == "-":
        data = sys.stdin.buffer.read(4 * MAX_LENGTH + 1)
    elif argument.startswith("@"):
        data = read_file(Path(argument[1:]), "the message")
    else:
        data = os.fsencode(argument)
    if len(data) > 4 * MAX_LENGTH:
        raise GbcsError(f"the input is too long: a GBCS message has at most {MAX_LENGTH} octets")
    return data if data[:1] in (b"\xdd", b"\xdf") else _digits(data)


def _digits(data: bytes) -> bytes:
    # No message reads as both: in base64 the first octet, DD or DF, makes "3Q" to "3f" and then never only hex digits.
    text = "".join(data.decode("latin-1").split())
    if match := _HEX.fullmatch(text):
        return bytes.fromhex(match[1])
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise GbcsError("the input is neither whole octets in hexadecimal nor base64") from error


def _hash(text: str) -> bytes:
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text, re.ASCII):
        raise GbcsError(f"--hash {text[:80]!r} should be 64 hexadecimal digits, the SHA-256 of the Manufacturer Image")
    return bytes.fromhex(text)


def _execution(at: str | None, *, cancel: bool) -> datetime | Cancel | None:
    if cancel and at is not None:
        raise HanwaveError("--at and --cancel exclude each other: an activation is dated or withdrawn")
    if at is None:
        return CANCEL if cancel else None
    try:
        return datetime.fromisoformat(at)
    except ValueError as error:
        raise HanwaveError(f"--at {at[:40]!r} should be a time in ISO 8601, such as 2030-01-15T09:00:00Z") from error


def _describe(message: Message) -> dict[str, Any]:
    return {
        "form": message.form.value,
        "octets": len(message.raw),
        "mac_header": None if message.mac is None else {"security_header": "1100000000"},
        "grouping_header": _describe_header(message.header),
        "payload": {**_describe_body(message.body), "octets": message.content.hex().upper()},
        "signature": _plain(message.signature),
        "mac": _plain(message.mac),
    }


def _describe_header(header: Header) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "cra": header.cra.name.lower(),
        "counter": header.counter,
        "originator": str(header.originator),
        "target": str(header.target),
        "date_time": _plain(header.date_time),
        "at": _plain(header.at),
        "message_code": f"{header.code:04X}",
        "use_case": _USE_CASES.get(MessageCode(header.code)) if header.code in _USE_CASES else None,
    }
    if header.supplementary is not None:
        facts["supplementary"] = {
            field.name: _plain(getattr(header.supplementary, field.name))
            for field in dataclasses.fields(header.supplementary)
        }
    return facts


def _describe_body(body: Any) -> dict[str, Any]:
    """The payload's kind and fields; a code stands as its number and, beside it, what the number means."""
    facts: dict[str, Any] = {"type": type(body).__name__}
    for field in dataclasses.fields(body):
        value = getattr(body, field.name)
        if field.name == "content":
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, EUI64):
            facts[field.name] = _describe_body(value)
        elif isinstance(value, int) and field.name != "counter":
            facts[field.name] = f"{value:04X}" if field.name == "alert_code" else int(value)
            facts[f"{field.name}_meaning"] = _meaning(value)
        else:
            facts[field.name] = _plain(value)
    if isinstance(body, ActivateFirmware) and body.at is None:
        facts["at"] = "immediate"
    return facts


def _meaning(number: int) -> str:
    return number.name.lower().replace("_", " ") if isinstance(number, IntEnum) else "not known"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Cancel):
        return "cancel"
    return str(value) if isinstance(value, EUI64) else value
