"""What refusing the heaviest attacks costs, measured in a process that does nothing else: `python -m tests.attack.limits`.

Prints one JSON object: attack -> [seconds of the processor, megabytes by which the process grew, what was said].
"""

import ctypes
import gc
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hanwave.duis import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, UpdateFirmware, read_signed, write
from hanwave.duis.codes import CodeTable
from hanwave.duis.requests import Request
from hanwave.errors import HanwaveError
from hanwave.firmware.columns import read_column_map
from hanwave.firmware.document import read_release
from hanwave.firmware.elements import ZigbeeImage
from hanwave.firmware.image import Form, OtaImage
from hanwave.gbcs import MAX_LENGTH, read
from hanwave.identifiers import EUI64, RequestID
from tests.attack.duis_support import ACB, AT, SIGNED, SR, SUPPLIER, TRUSTED

RUNS = 3
"""The best of them counts: the machine may be busy."""

_REQUEST = write(
    Request.of(
        RequestID(SUPPLIER, ACB, 1),
        UpdateFirmware(bytes(10_000_000), "1", tuple(EUI64(n.to_bytes(8, "big")) for n in range(50_000))),
    )
)
_ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 30))


def _duis(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> Callable[[], object]:
    return lambda: read_signed(data, TRUSTED, AT, allow_unsigned=True, max_bytes=max_bytes)


def _request(data: bytes) -> Callable[[], object]:
    return _duis(data, MAX_REQUEST_BYTES)


def _payload(change: Callable[[bytes], bytes]) -> bytes:
    return re.sub(rb"(?<=<sr:GBCSPayload>)[^<]*", lambda match: change(match[0]), SIGNED)


ATTACKS: dict[str, Callable[[], Callable[[], object]]] = {
    "external entity": lambda: _duis(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'),
    "entity expansion": lambda: _duis(b'<!DOCTYPE a [<!ENTITY e0 "x">' + _ENTITIES + b"]><a>&e29;</a>"),
    "deep nesting": lambda: _duis(b"<a>" * 9_000 + b"</a>" * 9_000),
    "very deep nesting": lambda: _request(b"<a>" * 2_000_000),
    "oversized": lambda: _duis(SIGNED + b" " * MAX_MESSAGE_BYTES),
    "oversized for a request": lambda: _request(b"<" * (MAX_REQUEST_BYTES + 1)),
    "a great many elements": lambda: _duis(SIGNED.replace(b"<sr:Body>", b"<sr:Body>" + b"<sr:A/>" * 250_000)),
    "as many elements as may be": lambda: _duis(SIGNED.replace(b"<sr:Body>", b"<sr:Body>" + b"<sr:A/>" * 19_000)),
    "a great many attributes": lambda: _duis(
        SIGNED.replace(b"<sr:Body>", b"<sr:Body" + b"".join(b' a%d="1"' % n for n in range(9_000)) + b">")
    ),
    "as many attributes as may be": lambda: _duis(
        SIGNED.replace(b"<sr:Body>", b"<sr:Body" + b"".join(b' a%d="1"' % n for n in range(1_900)) + b">")
    ),
    "a great many namespaces": lambda: _duis(
        SIGNED.replace(b"<sr:Body>", b"<sr:Body" + b"".join(b' xmlns:n%d="u"' % n for n in range(9_000)) + b">")
    ),
    "a great many character references": lambda: _duis(SIGNED.replace(b">I0<", b">" + b"&#65;" * 400_000 + b"<")),
    "a value without end": lambda: _duis(SIGNED.replace(b">I0<", b">" + b"I" * 2_000_000 + b"<")),
    "wrong namespace": lambda: _duis(SIGNED.replace(SR.encode(), b"urn:x")),
    "duplicate elements": lambda: _duis(re.sub(rb"(<sr:ResponseCode>.*?</sr:ResponseCode>)", rb"\1\1", SIGNED)),
    "signature wrapping": lambda: _duis(
        SIGNED.replace(b"<sr:Body>", b"<sr:Body>" + SIGNED.split(b"?>", 1)[1]).replace(b">I0<", b">I1<")
    ),
    "truncated base64": lambda: _duis(_payload(lambda value: value[:-1])),
    "base64 of two million characters, truncated": lambda: _duis(_payload(lambda _: b"A" * 2_000_001)),
    "a counter past 2^64-1": lambda: _duis(SIGNED.replace(b":1000<", b":18446744073709551616<")),
    "a counter of a million digits": lambda: _duis(SIGNED.replace(b":1000<", b":" + b"9" * 1_000_000 + b"<")),
    "a serial number of a million digits": lambda: _duis(
        re.sub(rb"(?<=SerialNumber>)[0-9]+", b"9" * 1_000_000, SIGNED)
    ),
    "an image whose base64 is truncated": lambda: _request(_REQUEST.replace(b"</sr:FirmwareImage>", b"A</sr:FirmwareImage>")),
    "fifty thousand devices and one that is none": lambda: _request(_REQUEST.replace(b"-C3-4F</sr", b"-C3-4G</sr")),
    "GBCS: oversized": lambda: lambda: read(b"\xdf" * (MAX_LENGTH + 1)),
    "GBCS: an image of lengths that lie": lambda: lambda: read(b"\xdd" + bytes(6) + b"\x84\xff\xff\xff\xff" * 200_000),
    "OTA image: ten megabytes of nothing": lambda: lambda: OtaImage.read(bytes(10_240_000), Form.SIGNED),
    "ZigBee image: ten megabytes of empty elements": lambda: lambda: ZigbeeImage.read(_empty_elements()),
    "release: deep nesting": lambda: lambda: read_release(b"[" * 10_000_000),
    "column map: deep nesting": lambda: lambda: read_column_map(b"[" * 100_000),
    "column map: an alias that unfolds": lambda: lambda: read_column_map(_laughs()),
    "code table: an alias that unfolds": lambda: lambda: CodeTable.load(_laughs()),
}  # fmt: skip

WITH_AN_IMAGE = {"an image whose base64 is truncated", "fifty thousand devices and one that is none"}


def _empty_elements() -> bytes:
    image = (
        bytearray.fromhex("1ef1ee0b00013800 0000 1d12 0000 00000000 0200") + bytes(32) + bytes(4) + bytes(10_200_000)
    )
    image[52:56] = len(image).to_bytes(4, "little")
    return bytes(image)


def _laughs() -> str:
    return "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))


def refuse(attack: Callable[[], object]) -> str:
    try:
        attack()
    except HanwaveError as error:
        return str(error)
    raise AssertionError("the attack was not refused")


def peak_mb() -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def cost(make: Callable[[], Callable[[], object]]) -> tuple[float, float, str]:
    """The processor's seconds (the best run), the growth of the process in MB (the first run), and the sentence."""
    attack, seconds = make(), []
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # Linux: the peak begins again from what the process holds now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    refuse(attack)
    grown = peak_mb() - before
    for _ in range(RUNS):
        started = time.process_time()
        said = refuse(attack)
        seconds.append(time.process_time() - started)
    return min(seconds), grown, said


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: cost(make) for name, make in ATTACKS.items()}))
