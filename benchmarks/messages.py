"""What messages cost: an 11.1 to 50,000 devices, signed 11.3s, and signed answers that come in.

    python benchmarks/messages.py [seconds for each rate]

Goals: 50,000 devices x 750 kB built, signed and serialised within 1.0 s and 150 MB (the peak of a process of its own,
interpreter and libraries included); 11.3s signed at half the rate or more of what no signer can do without: one ECDSA
signature and one canonicalisation of a message that is parsed already; 800 answers a second on one core, each verified
and its GBCS payload read. Everything runs on one core. The last line is JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from lxml import etree

from hanwave import duis, gbcs
from hanwave.credentials import Role, sign_raw
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64, RequestID
from infra.pki import Authority, Identity

SUPPLIER, ACB, DEVICE = (EUI64.parse(e) for e in ("90B3D51F30010000", "90B3D51F30000002", "00DB1234567890A0"))
NOW = datetime.now(UTC).replace(microsecond=0)
VERSION = "0123ABCD"
DEVICES, IMAGE_OCTETS = 50_000, 750_000
TURN = 500
GOAL_S, GOAL_MB, GOAL_SHARE, GOAL_INBOUND = 1.0, 150, 0.5, 800


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def distribution() -> dict[str, float]:
    """Time and peak memory of one 11.1, in this process, which should be a fresh one."""
    header = Header(0x121D, 0, FirmwareVersion.parse(VERSION), header_string("bench"), HardwareRange(1, 2))
    supplier = Authority().organisation(SUPPLIER, Role.XML_SIGN)
    texts = [str(EUI64((0xDB << 48 | n).to_bytes(8, "big"))) for n in range(DEVICES)]
    body = os.urandom(IMAGE_OCTETS - header.length)
    at_rest = peak_mb()

    started = time.perf_counter()
    image = OtaImage(header, body).pack()
    devices = tuple(map(EUI64.parse, texts))
    parsed = time.perf_counter()
    request = duis.Request.of(RequestID(SUPPLIER, ACB, 1), duis.UpdateFirmware(image, VERSION, devices))
    built = time.perf_counter()
    data = duis.sign(request, supplier.key, supplier.certificate, NOW)
    done = time.perf_counter()
    return {
        "parse_devices_s": round(parsed - started, 3),
        "build_s": round(built - parsed, 3),
        "sign_and_serialise_s": round(done - built, 3),
        "whole_s": round(done - started, 3),
        "peak_mb": round(peak_mb(), 1),
        "peak_mb_before": round(at_rest, 1),
        "octets": len(data),
    }


def in_its_own_process() -> dict[str, float]:
    """The same from a fresh process, so that its peak is its own."""
    done = subprocess.run([sys.executable, __file__, "distribution"], check=True, capture_output=True)
    facts: dict[str, float] = json.loads(done.stdout)
    return facts


def rates_of(kinds: Mapping[str, Callable[[int], object]], seconds: float) -> dict[str, int]:
    """How often a second of one core's time, for each kind; they take turns, so that a busy machine slows all alike."""
    spent, done = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
    while min(spent.values()) < seconds:
        for name, once in kinds.items():
            started = time.process_time()
            for number in range(done[name], done[name] + TURN):
                once(number)
            spent[name] += time.process_time() - started
            done[name] += TURN
    return {f"{name}_per_s": round(done[name] / spent[name]) for name in kinds}


def activation(counter: int) -> duis.Request:
    return duis.Request.of(RequestID(SUPPLIER, DEVICE, counter), duis.ActivateFirmware(bytes(32)))


def answer(counter: int, key: Identity) -> duis.Response:
    header = gbcs.Header(
        gbcs.CRA.RESPONSE, counter, DEVICE, SUPPLIER, gbcs.MessageCode.CS06, gbcs.encode_date_time(NOW)
    )
    octets = gbcs.build(header, gbcs.ExecutionOutcome(0, VERSION), signing_key=key.key)
    ids = RequestID(SUPPLIER, DEVICE, counter), RequestID(DEVICE, SUPPLIER, counter)
    return duis.Response("I0", NOW, duis.ResponseMessage("11.3", duis.GBCSPayload(octets)), *ids)


def rates(seconds: float) -> dict[str, int]:
    """Signed out and verified in, with the bare cost of the signature and the canonical form beside it."""
    authority = Authority()
    supplier = authority.organisation(SUPPLIER, Role.XML_SIGN)
    dcc = authority.organisation(ACB, Role.DSP_XML_SIGN)
    trust = duis.TrustStore([dcc.certificate])
    root = etree.fromstring(duis.write(activation(1)))

    def bare(_: int) -> None:
        sign_raw(supplier.key, etree.tostring(root, method="c14n"))

    def signed(counter: int) -> None:
        duis.sign(activation(counter), supplier.key, supplier.certificate, NOW)

    incoming = [duis.sign(answer(n, dcc), dcc.key, dcc.certificate, NOW) for n in range(TURN)]

    def verified(number: int) -> None:
        message = duis.read_signed(incoming[number % len(incoming)], trust, NOW).message
        gbcs.read(message.body.content.payload)  # type: ignore[union-attr]

    def of_a_device(number: int) -> None:
        message = duis.read_signed(incoming[number % len(incoming)], trust, NOW).message
        read = gbcs.read(message.body.content.payload)  # type: ignore[union-attr]
        assert gbcs.verify_signature(read, dcc.certificate.public_key)

    kinds = {"bare": bare, "signed_11_3": signed, "inbound": verified, "inbound_with_device_signature": of_a_device}
    return rates_of(kinds, seconds)


def verdict(goal: float | None, *, met: bool) -> str:
    return "" if goal is None else f"(goal {goal}: {'met' if met else 'MISSED'})"


def main() -> None:
    if sys.argv[1:] == ["distribution"]:
        print(json.dumps(distribution()))
        return
    one, many = in_its_own_process(), rates(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
    share = many["signed_11_3_per_s"] / many["bare_per_s"]
    told = [
        (f"11.1, {DEVICES} devices x {IMAGE_OCTETS} octets, s", one["whole_s"], GOAL_S, one["whole_s"] <= GOAL_S),
        ("its process's peak memory, MB", one["peak_mb"], GOAL_MB, one["peak_mb"] <= GOAL_MB),
        ("bare ECDSA + canonical form, a second", many["bare_per_s"], None, True),
        ("signed 11.3, a second", many["signed_11_3_per_s"], None, True),
        ("signed 11.3 / bare", round(share, 2), GOAL_SHARE, share >= GOAL_SHARE),
        ("answers verified and read, a second", many["inbound_per_s"], GOAL_INBOUND, many["inbound_per_s"] >= GOAL_INBOUND),
        ("... and the device's signature", many["inbound_with_device_signature_per_s"], None, True),
    ]  # fmt: skip
    for what, value, goal, met in told:
        print(f"{what:55} {value:>10} {verdict(goal, met=met)}")
    print(json.dumps({**one, **many, "signed_share": round(share, 3), "goals_met": all(met for *_, met in told)}))


if __name__ == "__main__":
    main()
