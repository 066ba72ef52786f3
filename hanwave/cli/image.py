"""`hanwave image`: inspect, build, sign and verify OTA Upgrade Images, one file at a time."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hanwave.cli.output import AsJson, emit, read_file, write_file
from hanwave.credentials import Certificate, load_private_key
from hanwave.errors import HanwaveError
from hanwave.firmware.elements import Tag, ZigbeeImage
from hanwave.firmware.errors import TermError
from hanwave.firmware.header import FILE_IDENTIFIER, HEADER_VERSION, Header, header_string
from hanwave.firmware.image import Form, OtaImage, looks_signed
from hanwave.firmware.terms import FirmwareVersion, HardwareRange, read_octets

app = typer.Typer(no_args_is_help=True, help="Inspect, build, sign and verify OTA Upgrade Images.")


class FileForm(StrEnum):
    """The forms of image that a file may have."""

    SIGNED = "signed"
    PPMID = "ppmid"
    ZIGBEE = "zigbee"


ImageFile = Annotated[Path, typer.Argument(metavar="IMAGE", help="An OTA Upgrade Image, header included (not base64).")]
Out = Annotated[Path, typer.Option("--out", help="Where to write the image.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="Judge certificates at this time (2026-01-31T12:00:00Z), not now."),
]
ExpectedHash = Annotated[
    str | None,
    typer.Option("--hash", metavar="HEX", help="The Manufacturer Image Hash that it must have: 64 hexadecimal digits."),
]
Key = Annotated[Path, typer.Option("--key", help="The supplier's digitalSignature private key, PEM or DER.")]
CertificateFile = Annotated[
    Path, typer.Option("--certificate", "--cert", help="The supplier's certificate (role 2), PEM or DER.")
]


@app.command(epilog="Example: hanwave image inspect esme-2.1.ota --json")
def inspect(
    image: ImageFile,
    form: Annotated[
        FileForm | None,
        typer.Option(
            help="What the image is: signed (ESME, GSME, HCALCS), ppmid (no supplier signature), or zigbee (with"
            " sub-elements). Not given: signed if the last 66 octets start with 00 40 or 01 40, else ppmid; the answer"
            " then says 'by its last octets', which is a hint and no proof."
        ),
    ] = None,
    expected: ExpectedHash = None,
    as_json: AsJson = False,
) -> None:
    """Show every header field, the form, the sizes, the Manufacturer Image Hash and whether there is a signature."""
    data = read_file(image, "the image")
    chosen = form or (FileForm.SIGNED if looks_signed(data) else FileForm.PPMID)
    by = "as you said" if form else "by its last octets"
    facts: dict[str, Any] = {"file": str(image), "form": chosen.value, "form_known": by}
    if chosen is FileForm.ZIGBEE:
        if expected is not None:
            raise HanwaveError("--hash is for GB's images: a ZigBee image has no Manufacturer Image Hash")
        facts |= _zigbee_facts(ZigbeeImage.read(data))
    else:
        read = OtaImage.read(data, Form(chosen.value))
        _check_hash(read, expected)
        facts |= _facts(read)
    emit(facts | {"sha256": _hex(hashlib.sha256(data).digest())}, as_json=as_json)


@app.command(
    epilog="Example: hanwave image build app.bin --out esme.ota --manufacturer 121D --type 0000 --version 0123ABCD"
    " --hardware-min 1111 --hardware-max 1211 --header-string 'Meter 2.1' --key gbcs.key --certificate gbcs.pem"
)
def build(
    manufacturer_image: Annotated[
        Path, typer.Argument(metavar="MANUFACTURER_IMAGE", help="The Manufacturer Image, as the manufacturer gave it.")
    ],
    out: Out,
    manufacturer: Annotated[str, typer.Option(metavar="HEX", help="Manufacturer code: 121D or 0x121D.")],
    image_type: Annotated[str, typer.Option("--type", metavar="HEX", help="Image type: 0084 or 0x84.")],
    version: Annotated[str, typer.Option(metavar="HEX", help="File version: 0123ABCD or 0x0123ABCD.")],
    hardware_min: Annotated[str, typer.Option(metavar="HEX", help="Minimum hardware version: 1111.")],
    hardware_max: Annotated[str, typer.Option(metavar="HEX", help="Maximum hardware version: 1211.")],
    header_text: Annotated[
        str, typer.Option("--header-string", help="At most 32 printable ASCII characters; filled up with NULs.")
    ] = "",
    form: Annotated[
        Form, typer.Option(help="signed (ESME, GSME, HCALCS; needs --key and --certificate) or ppmid (needs neither).")
    ] = Form.SIGNED,
    key: Annotated[Path | None, typer.Option(help="The supplier's digitalSignature private key, PEM or DER.")] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", "--cert", help="The supplier's certificate (role 2), PEM or DER.")
    ] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Build an OTA Upgrade Image. Numbers are hexadecimal, with or without 0x: 100 means 0x100."""
    header = Header(
        _number(manufacturer, 2, "--manufacturer"),
        _number(image_type, 2, "--type"),
        FirmwareVersion(_number(version, 4, "--version")),
        header_string(header_text),
        HardwareRange(_number(hardware_min, 2, "--hardware-min"), _number(hardware_max, 2, "--hardware-max")),
    )
    body = read_file(manufacturer_image, "the Manufacturer Image")
    if body.startswith(FILE_IDENTIFIER.to_bytes(4, "little")):
        raise HanwaveError(
            f"{manufacturer_image} begins with an OTA header, it should be a bare Manufacturer Image"
            " (to sign an image that was built before, use: hanwave image sign)"
        )
    image = OtaImage(header, body)
    if form is Form.SIGNED:
        if key is None or certificate is None:
            raise HanwaveError("a signed image needs --key and --certificate; an image for a PPMID needs --form ppmid")
        image = image.sign(_key(key), _certificate(certificate), _time(at))
    elif key or certificate or at:
        raise HanwaveError("an image for a PPMID is not signed, so it takes no --key, --certificate or --at")
    _write(image, out, manufacturer_image, as_json=as_json)


@app.command(epilog="Example: hanwave image sign esme.ota --key gbcs.key --certificate gbcs.pem --out esme-ours.ota")
def sign(
    image: ImageFile,
    key: Key,
    certificate: CertificateFile,
    out: Out,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned",
            help="The image has no supplier signature yet (it is of the PPMID form): add one instead of replacing one.",
        ),
    ] = False,
    expected: ExpectedHash = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Sign an image for a supplier, in place of the signature that it has; the rest stays as it was."""
    data = read_file(image, "the image")
    if unsigned and looks_signed(data) and expected is None:
        raise HanwaveError(
            f"{image} ends as a signed image does, so --unsigned would sign the old signature too;"
            " if it really has none, give its Manufacturer Image Hash with --hash"
        )
    if not unsigned and not looks_signed(data):
        OtaImage.read(data, Form.PPMID)
        raise HanwaveError(
            f"{image} holds no supplier signature to replace, so it is of the PPMID form or damaged at its end;"
            " to add a signature, give --unsigned"
        )
    read = OtaImage.read(data, Form.PPMID if unsigned else Form.SIGNED)
    _check_hash(read, expected)
    _write(read.sign(_key(key), _certificate(certificate), _time(at)), out, image, as_json=as_json)


@app.command(epilog="Example: hanwave image verify esme.ota --certificate gbcs.pem --hash $(cat esme.hash)")
def verify(
    image: ImageFile,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", "--cert", help="The certificate of the supplier, PEM or DER.")
    ] = None,
    form: Annotated[
        Form, typer.Option(help="ppmid: the image has no supplier signature, so only --hash can be held against it.")
    ] = Form.SIGNED,
    expected: ExpectedHash = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Verify that a supplier signed an image (it signs the Manufacturer Image, not the header), and its hash."""
    read = OtaImage.read(read_file(image, "the image"), form)
    facts: dict[str, Any] = {"file": str(image), "verified": True}
    if form is Form.SIGNED:
        if certificate is None:
            raise HanwaveError("to verify a signed image give --certificate; an image for a PPMID needs --form ppmid")
        signer = _certificate(certificate)
        read.check_signature(signer, _time(at))
        facts |= {"supplier": str(signer.eui), "certificate_serial": f"{signer.serial:X}"}
    elif expected is None or certificate or at:
        raise HanwaveError("an image for a PPMID is verified by --hash alone: it has no signature for a certificate")
    _check_hash(read, expected)
    facts |= {"hash_compared": expected is not None}
    emit(facts | _facts(read), as_json=as_json)


def _facts(image: OtaImage) -> dict[str, Any]:
    signature = image.signature
    return {
        **_header_facts(image.header, image.size),
        "manufacturer_image_size": len(image.manufacturer_image),
        "manufacturer_image_hash": _hex(image.hash),
        "signature_present": signature is not None,
        "force_replace": None if signature is None else f"0x{signature.force_replace:02X}",
        "signature": None if signature is None else _hex(signature.value),
    }


def _zigbee_facts(image: ZigbeeImage) -> dict[str, Any]:
    size = len(image.pack())
    names = {tag.value: tag.name.lower() for tag in Tag}
    elements = [
        {
            "tag": f"0x{element.tag:04X}",
            "name": names.get(element.tag),
            "size": len(element.data),
            "sha256": _hex(hashlib.sha256(element.data).digest()),
        }
        for element in image.elements
    ]
    return {**_header_facts(image.header, size), "elements": elements}


def _header_facts(header: Header, size: int) -> dict[str, Any]:
    hardware, credential = header.hardware, header.security_credential
    return {
        "file_identifier": f"0x{FILE_IDENTIFIER:08X}",
        "header_version": f"0x{HEADER_VERSION:04X}",
        "header_length": header.length,
        "header_field_control": f"0x{header.field_control:04X}",
        "manufacturer_code": f"0x{header.manufacturer_code:04X}",
        "image_type": f"0x{header.image_type:04X}",
        "file_version": f"0x{header.file_version}",
        "zigbee_stack_version": f"0x{header.stack_version:04X}",
        "header_string": header.title,
        "total_image_size": size,
        "security_credential_version": None if credential is None else f"0x{credential:02X}",
        "destination": header.destination,
        "minimum_hardware_version": None if hardware is None else f"0x{hardware.minimum:04X}",
        "maximum_hardware_version": None if hardware is None else f"0x{hardware.maximum:04X}",
    }


def _write(image: OtaImage, out: Path, source: Path, *, as_json: bool) -> None:
    if out.exists() and out.samefile(source):
        raise HanwaveError(f"--out {out} is the file that is read, it should be another")
    data = image.pack()
    write_file(out, data, "the image")
    facts = {"file": str(out), "form": image.form.value, **_facts(image)}
    emit(facts | {"sha256": _hex(hashlib.sha256(data).digest())}, as_json=as_json)


def _check_hash(image: OtaImage, expected: str | None) -> None:
    if expected is None:
        return
    try:
        image.check_hash(read_octets(expected, 32))
    except TermError as error:
        raise HanwaveError(f"--hash holds {error}") from error


def _number(text: str, octets: int, option: str) -> int:
    digits = text.removeprefix("0x").removeprefix("0X")
    try:
        # A person may leave leading zeros out; an empty or too long number stays wrong.
        return int.from_bytes(read_octets(digits.zfill(2 * octets) if digits else "", octets), "big")
    except TermError as error:
        raise HanwaveError(
            f"{option} holds {text[:40]!r}, it should be 1 to {2 * octets} hexadecimal digits"
        ) from error


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        time: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise HanwaveError(f"--at holds {text[:40]!r}, it should be a time with its zone such as 2026-01-31T12:00:00Z")
    return time


def _key(path: Path) -> EllipticCurvePrivateKey:
    return load_private_key(read_file(path, "the key"), str(path))


def _certificate(path: Path) -> Certificate:
    return Certificate.load(read_file(path, "the certificate"), str(path))


def _hex(octets: bytes) -> str:
    return octets.hex().upper()
