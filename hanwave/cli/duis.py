"""`hanwave duis`: read, build and verify DUIS messages, one file at a time."""

import hashlib
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hanwave import settings
from hanwave.cli.duis_facts import kind_of, meanings, plain, row_of
from hanwave.cli.output import AsJson, emit, read_file, write_file
from hanwave.credentials import Certificate, Role, load_private_key
from hanwave.duis import (
    CANCEL,
    MAX_REQUEST_BYTES,
    SCHEMA_VERSION,
    ActivateFirmware,
    DecodedMessage,
    PropertyFilter,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestBody,
    SignedPreCommand,
    TrustStore,
    UpdateFirmware,
    UpdatePPMIDFirmware,
    codes,
    examine,
    read_signed,
    sign,
    write,
)
from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64, IdentifierError, RequestID

app = typer.Typer(no_args_is_help=True, help="Read, build and verify DUIS messages.")
build = typer.Typer(no_args_is_help=True, help="Build a Service Request, sign it, and write it.")
app.add_typer(build, name="build")

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_ROLES = {"xml-sign": Role.XML_SIGN, "dsp-xml-sign": Role.DSP_XML_SIGN}

MessageFile = Annotated[Path, typer.Argument(metavar="FILE", help="A DUIS message (or a decoded one, MMC), XML.")]
Originator = Annotated[str, typer.Option(metavar="EUI", help="The supplier's User ID.")]
Target = Annotated[str, typer.Option(metavar="EUI", help="The device.")]
Acb = Annotated[str, typer.Option(metavar="EUI", help="DCC's Access Control Broker, to which the request goes.")]
Counter = Annotated[int, typer.Option(help="The originator counter, never used before: 0 to 2^64-1.")]
Key = Annotated[Path | None, typer.Option("--key", help="The XML signing private key, PEM or DER.")]
CertificateFile = Annotated[
    Path | None, typer.Option("--certificate", "--cert", help="The XML signing certificate (role 87), PEM or DER.")
]
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Do not sign: no --key and no --certificate.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write the message; standard output if not given.")]
Version = Annotated[str, typer.Option("--schema-version", help="The DUIS version that the message states.")]
At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="When it should be done: ISO 8601, 2030-01-15T09:00:00Z.")
]
Cancel = Annotated[bool, typer.Option("--cancel", help="Withdraw the device's future-dated activation.")]
Image = Annotated[Path, typer.Option("--image", help="The OTA Upgrade Image, header included.")]
FirmwareVersion = Annotated[str, typer.Option("--firmware-version", help="The version, 8 hexadecimal digits.")]
DeviceFile = Annotated[
    Path | None, typer.Option("--devices", help="A file of EUI-64s, by line or comma; # begins a comment.")
]
DeviceList = Annotated[list[str] | None, typer.Option("--device", metavar="EUI", help="A device; may be repeated.")]


@app.command("read", epilog="Example: hanwave duis read response.xml --json")
def read_command(
    file: MessageFile,
    full: Annotated[bool, typer.Option("--full", help="Print images and long lists of devices whole.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print every field of a message. Its signature is not judged: reading does not say who sent it."""
    settings.load()
    envelope = examine(read_file(file, "the message"))
    facts: dict[str, Any] = {"kind": kind_of(envelope.message), "schema_version": envelope.schema_version}
    if not isinstance(envelope.message, DecodedMessage):
        facts["signed"] = envelope.claimed_signer is not None
    if envelope.claimed_signer is not None:
        issuer, serial = envelope.claimed_signer
        facts["claimed_signer"] = {"issuer": issuer, "serial": serial, "verified": False}
    facts |= plain(envelope.message, full=full, whole_lists=full or as_json)
    emit(facts | meanings(envelope.message), as_json=as_json)


@app.command("codes", epilog="Example: hanwave duis codes E20")
def codes_command(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="A response code, or an alert's; none: every response code.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what the DCC's codes mean and what is done about them, by the tables that are in force here.

    The tables are hanwave's, with the corrections of the files that the settings response_codes and alert_codes name.
    """
    settings.load()
    if code is None:
        emit({name: row_of(row) for name, row in codes.response_codes().codes.items()}, as_json=as_json)
    elif re.fullmatch(r"[EIW][0-9]+", code, re.ASCII):
        emit({code: row_of(codes.classify(code))}, as_json=as_json)
    else:
        emit({code: row_of(codes.alert(code))}, as_json=as_json)


@app.command("verify", epilog="Example: hanwave duis verify response.xml --trust dcc-acb.pem --trust dcc-transform.pem")
def verify_command(
    file: MessageFile,
    trust: Annotated[list[Path], typer.Option("--trust", metavar="CERT", help="A trusted certificate; repeatable.")],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="CERT", help="More trusted certificates, after the first.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="The signer's role: xml-sign, dsp-xml-sign, or an OU in hexadecimal. Not given: xml-sign (87) for a"
            " request, dsp-xml-sign (89) for a response."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Judge certificates at this time, not now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a trusted certificate of the right role signed a message; exit 0 only then."""
    data = read_file(file, "the message")
    if role is not None:
        wanted = _role(role)
    else:
        wanted = Role.XML_SIGN if isinstance(examine(data).message, Request) else Role.DSP_XML_SIGN
    store = TrustStore(
        [Certificate.load(read_file(c, "the certificate"), str(c)) for c in (*trust, *(more or ()))], wanted
    )
    signed = read_signed(data, store, _time(at) or datetime.now(UTC), max_bytes=MAX_REQUEST_BYTES)
    assert signed.signer is not None
    facts = {
        "verified": True,
        "kind": kind_of(signed.message),
        "signer": str(signed.signer.eui),
        "role": signed.signer.role,
        "ou": f"{signed.signer.role:02X}",
        "issuer": signed.signer.issuer,
        "serial": str(signed.signer.serial),
    }
    emit(facts, as_json=as_json)


@build.command(
    "8.2",
    epilog="Example: hanwave duis build 8.2 --originator 90-B3-D5-1F-30-01-00-00 --acb 90-B3-D5-1F-30-00-00-02 --counter 1001 --device 00-DB-12-34-56-78-90-A0 --key xml.key --cert xml.pem",
    help="Read Inventory: by one of --device, --mpxn, --uprn, or --postcode with --address.",
)
def read_inventory(
    originator: Originator,
    acb: Acb,
    counter: Counter,
    device: Annotated[str | None, typer.Option(metavar="EUI", help="By device.")] = None,
    mpxn: Annotated[str | None, typer.Option(help="By meter point.")] = None,
    uprn: Annotated[int | None, typer.Option(help="By property reference.")] = None,
    postcode: Annotated[str | None, typer.Option(help="By property, with --address.")] = None,
    address: Annotated[str | None, typer.Option(help="The house, with --postcode.")] = None,
    key: Key = None,
    certificate: CertificateFile = None,
    unsigned: Unsigned = False,
    schema_version: Version = SCHEMA_VERSION,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Build an 8.2."""
    if (postcode is None) != (address is None):
        raise HanwaveError("--postcode and --address belong together")
    place = None if postcode is None or address is None else PropertyFilter(postcode, address)
    body = ReadInventory(None if device is None else EUI64.parse(device), uprn, mpxn, place)
    request = Request.of(_request_id(originator, acb, counter), body)
    _finish(request, key, certificate, out, schema_version, unsigned=unsigned, as_json=as_json)


@build.command(
    "11.1",
    epilog="Example: hanwave duis build 11.1 --originator 90-B3-D5-1F-30-01-00-00 --acb 90-B3-D5-1F-30-00-00-02 --counter 1001 --image esme.ota --firmware-version 01020000 --devices esmes.txt --key xml.key --cert xml.pem",
)
def update_firmware(
    originator: Originator,
    acb: Acb,
    counter: Counter,
    image: Image,
    firmware_version: FirmwareVersion,
    devices: DeviceFile = None,
    device: DeviceList = None,
    key: Key = None,
    certificate: CertificateFile = None,
    unsigned: Unsigned = False,
    schema_version: Version = SCHEMA_VERSION,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Update Firmware: distribute an image to 1 to 50,000 ESMEs, GSMEs or HCALCSs."""
    body = UpdateFirmware(read_file(image, "the image"), firmware_version, tuple(_devices(devices, device)))
    request = Request.of(_request_id(originator, acb, counter), body)
    _finish(request, key, certificate, out, schema_version, unsigned=unsigned, as_json=as_json)


@build.command(
    "11.4",
    epilog="Example: hanwave duis build 11.4 --originator 90-B3-D5-1F-30-01-00-00 --acb 90-B3-D5-1F-30-00-00-02 --counter 1001 --image ppmid.ota --firmware-version 01020000 --devices ppmids.txt --key xml.key --cert xml.pem",
)
def update_ppmid_firmware(
    originator: Originator,
    acb: Acb,
    counter: Counter,
    image: Image,
    firmware_version: FirmwareVersion,
    devices: DeviceFile = None,
    device: DeviceList = None,
    key: Key = None,
    certificate: CertificateFile = None,
    unsigned: Unsigned = False,
    schema_version: Version = SCHEMA_VERSION,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Update PPMID Firmware: distribute an image to 1 to 50,000 PPMIDs, which activate it by themselves."""
    body = UpdatePPMIDFirmware(read_file(image, "the image"), firmware_version, tuple(_devices(devices, device)))
    request = Request.of(_request_id(originator, acb, counter), body)
    _finish(request, key, certificate, out, schema_version, unsigned=unsigned, as_json=as_json)


@build.command(
    "11.2",
    epilog="Example: hanwave duis build 11.2 --originator 90-B3-D5-1F-30-01-00-00 --target 00-DB-12-34-56-78-90-A0 --counter 1001 --key xml.key --cert xml.pem",
)
def read_firmware_version(
    originator: Originator,
    target: Target,
    counter: Counter,
    at: At = None,
    key: Key = None,
    certificate: CertificateFile = None,
    unsigned: Unsigned = False,
    schema_version: Version = SCHEMA_VERSION,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Read Firmware Version of a device; with --at DCC holds the request until then."""
    request = Request.of(_request_id(originator, target, counter), ReadFirmwareVersion(_time(at)))
    _finish(request, key, certificate, out, schema_version, unsigned=unsigned, as_json=as_json)


@build.command(
    "11.3",
    epilog="Example: hanwave duis build 11.3 --originator 90-B3-D5-1F-30-01-00-00 --target 00-DB-12-34-56-78-90-A0 --counter 1001 --hash $(cat esme.hash) --key xml.key --cert xml.pem",
)
def activate_firmware(
    originator: Originator,
    target: Target,
    counter: Counter,
    image_hash: Annotated[
        str | None, typer.Option("--hash", metavar="HEX", help="Command Variant 4: the Manufacturer Image Hash.")
    ] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="HEX|FILE", help="Command Variant 5: the signed pre-command.")
    ] = None,
    at: At = None,
    cancel: Cancel = False,
    key: Key = None,
    certificate: CertificateFile = None,
    unsigned: Unsigned = False,
    schema_version: Version = SCHEMA_VERSION,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Activate Firmware: --hash asks for the pre-command (CV 4), --payload sends the signed one (CV 5)."""
    if (image_hash is None) == (payload is None):
        raise HanwaveError("an 11.3 takes one of --hash (Command Variant 4) and --payload (Command Variant 5)")
    if cancel and at is not None:
        raise HanwaveError("--at and --cancel exclude each other: an activation is dated or withdrawn")
    when = CANCEL if cancel else _time(at)
    body: RequestBody
    if payload is not None:
        body = SignedPreCommand(_payload(payload), when)
    else:
        body = ActivateFirmware(_hash(image_hash or ""), when)
    request = Request.of(_request_id(originator, target, counter), body)
    _finish(request, key, certificate, out, schema_version, unsigned=unsigned, as_json=as_json)


def _request_id(originator: str, target: str, counter: int) -> RequestID:
    return RequestID(EUI64.parse(originator), EUI64.parse(target), counter)


def _finish(
    request: Request,
    key: Path | None,
    certificate: Path | None,
    out: Path | None,
    version: str,
    *,
    unsigned: bool,
    as_json: bool,
) -> None:
    data = _signed(request, key, certificate, version, unsigned=unsigned)
    facts: dict[str, Any] = {
        "request_id": str(request.request_id),
        "service": request.service_reference,
        "command_variant": request.command_variant,
        "signed": not unsigned,
        "octets": len(data),
        "sha256": hashlib.sha256(data).hexdigest().upper(),
    }
    if isinstance(request.body, UpdateFirmware):
        facts |= {"devices": len(request.body.device_ids), "duplicates_removed": request.body.duplicates}
    if out is not None:
        write_file(out, data, "the message")
        emit(facts | {"written_to": str(out)}, as_json=as_json)
    elif as_json:
        emit(facts | {"xml": data.decode()}, as_json=True)
    else:
        sys.stdout.write(data.decode() + "\n")


def _signed(request: Request, key: Path | None, certificate: Path | None, version: str, *, unsigned: bool) -> bytes:
    if unsigned:
        if key is not None or certificate is not None:
            raise HanwaveError("--unsigned excludes --key and --certificate")
        return write(request, version)
    if key is None or certificate is None:
        raise HanwaveError("--key and --certificate are needed to sign, or --unsigned to leave the message unsigned")
    private = load_private_key(read_file(key, "the key"), str(key))
    trusted = Certificate.load(read_file(certificate, "the certificate"), str(certificate))
    return sign(request, private, trusted, datetime.now(UTC), version)


def _devices(file: Path | None, listed: list[str] | None) -> Iterator[EUI64]:
    if file is None and not listed:
        raise HanwaveError("the devices are missing: give --devices FILE or --device EUI")
    yield from (EUI64.parse(text) for text in listed or [])
    if file is None:
        return
    lines = read_file(file, "the devices").decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        for text in line.split("#")[0].split(","):
            if not text.strip():
                continue
            try:
                yield EUI64.parse(text.strip())
            except IdentifierError as error:
                raise HanwaveError(f"{file}, line {number}: {error}") from error


def _hash(text: str) -> bytes:
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text, re.ASCII):
        raise HanwaveError(
            f"--hash {text[:80]!r} should be 64 hexadecimal digits, the SHA-256 of the Manufacturer Image"
        )
    return bytes.fromhex(text)


def _payload(text: str) -> bytes:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    data = read_file(Path(text), "--payload is not hexadecimal, and the file")
    digits = "".join(data.decode("latin-1").split())
    return bytes.fromhex(digits) if _HEX.fullmatch(digits) else data


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise HanwaveError(f"--at {text[:40]!r} should be a time such as 2030-01-15T09:00:00Z") from error
    if moment.tzinfo is None:
        raise HanwaveError(f"--at {text[:40]!r} names no zone: end it with Z for UTC")
    return moment


def _role(text: str) -> int:
    if text in _ROLES:
        return _ROLES[text]
    try:
        return int(text, 16)
    except ValueError as error:
        raise HanwaveError(f"--role {text[:40]!r} should be xml-sign, dsp-xml-sign or an OU in hexadecimal") from error
