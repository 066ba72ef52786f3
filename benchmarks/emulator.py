"""What the emulator costs: memory of a large fleet, a request of 50,000 devices, and whole 11.3 flows a second.

Run as `python -m benchmarks.emulator`. Prints figures as it goes; the last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hanwave import duis, gbcs
from hanwave.credentials import Role
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64, RequestID
from infra.emulator.fleet import ALL_COLUMNS, MODELS, write_fleet
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIER, Pki, make_pki

VERSION = "02000000"
IMAGE_OCTETS = 500_000
BATCH = 50_000
_CPL = (
    "CPL Entry ID,Device Type,Manufacturer Identifier,Model Identifier,Hardware Version,Hardware Revision,"
    "Firmware Version,GBCS Version,Manufacturer Image Hash,Status"
)


def say(text: str) -> None:
    print(text, flush=True)


def _cpl(image: OtaImage) -> str:
    rows = [
        f"{kind}-{model.model},{kind},{model.manufacturer},{model.model},{model.hardware[:2]},{model.hardware[2:]},"
        f"{VERSION},,{image.hash.hex().upper()},Active"
        for kind, models in MODELS.items()
        for model in models
    ]
    return "\n".join([_CPL, *rows])


def _image(pki: Pki) -> OtaImage:
    header = Header(0x0A01, 1, FirmwareVersion.parse(VERSION), header_string("bench"), HardwareRange(0, 0xFFFF))
    identity = pki.identity("supplier-gbcs")
    return OtaImage(header, os.urandom(IMAGE_OCTETS)).sign(identity.key, identity.certificate, datetime.now(UTC))


class Bench:
    """One emulator process, one endpoint that takes everything, one client."""

    def __init__(self, folder: Path, size: int, profile: str) -> None:
        self.folder, self.size, self.profile = folder, size, profile
        self.pki = make_pki(folder / "pki")
        self.image = _image(self.pki)
        with (folder / "fleet.csv").open("w") as file:
            write_fleet(file, size, "bench", 0, columns=ALL_COLUMNS)
        (folder / "cpl.csv").write_text(_cpl(self.image))
        lines = (folder / "fleet.csv").read_text().splitlines()[1:]
        fields = [line.split(",") for line in lines]
        self.meters = [row[0] for row in fields if row[1] == "ESME" and row[6] == "Commissioned"]
        self.counters = count(int(time.time() * 1000))
        self.received = 0

    async def receive(self, request: Request) -> Response:
        """Take a message."""
        await request.body()
        self.received += 1
        return Response(status_code=204)

    def tls(self) -> ssl.SSLContext:
        """A client's side of mutual TLS."""
        context = ssl.create_default_context(cafile=self.pki.tls_root)
        context.load_cert_chain(self.pki.certificate_path("supplier-tls"), self.pki.key_path("supplier-tls"))
        return context

    def endpoint(self) -> uvicorn.Server:
        """The receive endpoint."""
        app = Starlette(routes=[Route("/", self.receive, methods=["POST"])])
        return uvicorn.Server(
            uvicorn.Config(
                app,
                port=28_443,
                log_level="warning",
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
                ssl_certfile=self.pki.certificate_path("supplier-tls"),
                ssl_keyfile=self.pki.key_path("supplier-tls"),
                ssl_ca_certs=str(self.pki.tls_root),
                ssl_cert_reqs=ssl.CERT_REQUIRED,
            )
        )

    def sign(self, request: duis.Request) -> bytes:
        """The signed bytes of a request."""
        identity = self.pki.identity("supplier-xml")
        return duis.sign(request, identity.key, identity.certificate, datetime.now(UTC))

    def request(self, target: EUI64, body: duis.RequestBody) -> duis.Request:
        """A request with the next counter."""
        return duis.Request.of(RequestID(SUPPLIER, target, next(self.counters)), body)

    async def start(self) -> None:
        """Start the emulator and wait until it answers."""
        names = {"STATE": "", "FLEET": "fleet.csv", "CPL": "cpl.csv"}
        environment = os.environ | {f"HANWAVE_EMULATOR_{name}": str(self.folder / path) for name, path in names.items()}
        environment |= {
            "HANWAVE_EMULATOR_PORT": "28079",
            "HANWAVE_EMULATOR_ADMIN_PORT": "28078",
            "HANWAVE_EMULATOR_PROFILE": self.profile,
            "HANWAVE_EMULATOR_RECEIVE_URL": "https://localhost:28443/",
        }
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-m", "infra.emulator", env=environment)
        self.proc = Path(f"/proc/{self.process.pid}")
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    self.health = (await client.get("http://127.0.0.1:28078/health")).json()
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def stats(self, client: httpx.AsyncClient) -> dict[str, Any]:
        """What the emulator counts."""
        stats: dict[str, Any] = (await client.get("http://127.0.0.1:28078/stats", timeout=60)).json()
        return stats

    def megabytes(self) -> float:
        """The emulator's resident memory."""
        lines = (self.proc / "status").read_text().splitlines()
        return round(int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024, 1)

    def file_megabytes(self) -> float:
        """What the emulator's state takes on disk."""
        return round(sum(path.stat().st_size for path in self.folder.glob("emulator.db*")) / 2**20, 1)

    def cpu(self) -> float:
        """The emulator's CPU seconds so far."""
        fields = (self.proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _batch(bench: Bench, client: httpx.AsyncClient) -> dict[str, float]:
    """One 11.1 of as many ESMEs as there are, to 50,000: the answer's time, and that of its verification alone."""
    devices = tuple(EUI64.parse(eui) for eui in bench.meters[:BATCH])
    body = bench.sign(bench.request(ACCESS_CONTROL_BROKER, duis.UpdateFirmware(bench.image.pack(), VERSION, devices)))
    # A request for devices that exist nowhere else fills up the list.
    padding = tuple(EUI64(number.to_bytes(8, "big")) for number in range(BATCH - len(devices)))
    full = bench.sign(
        bench.request(ACCESS_CONTROL_BROKER, duis.UpdateFirmware(bench.image.pack(), VERSION, devices + padding))
    )
    trust = duis.TrustStore([bench.pki.certificate("supplier-xml")], Role.XML_SIGN)
    began = time.perf_counter()
    duis.read_signed(full, trust, datetime.now(UTC), max_bytes=duis.MAX_REQUEST_BYTES)
    verified = time.perf_counter() - began
    began = time.perf_counter()
    answer = await client.post("https://localhost:28079/api/v1/serviceD", content=body, timeout=60)
    answered = time.perf_counter() - began
    response = duis.read(answer.content)
    assert isinstance(response, duis.Response)
    say(f"an 11.1 of {len(devices)} devices: answered {response.code} in {answered:.2f} s")
    say(f"XML verification of an 11.1 of {BATCH} devices: {verified:.2f} s")
    return {"batch_devices": len(devices), "batch_answer_s": round(answered, 3), "verify_50000_s": round(verified, 3)}


async def _settled(bench: Bench, client: httpx.AsyncClient) -> None:
    while True:
        stats = await bench.stats(client)
        waiting = sum(stats["deliveries"].get(state, 0) for state in ("waiting", "sending"))
        if not stats["due"] and not waiting:
            return
        await asyncio.sleep(0.2)


async def _flows(bench: Bench, client: httpx.AsyncClient, flows: int) -> dict[str, float]:
    """Whole 11.3s: transform, sign, send, device, delivery."""
    pending = list(bench.meters[:flows])
    received, cpu, began = bench.received, bench.cpu(), time.perf_counter()

    async def one(eui: str) -> None:
        request = bench.request(EUI64.parse(eui), duis.ActivateFirmware(bench.image.hash))
        answer = await client.post("https://localhost:28079/api/v1/serviceT", content=bench.sign(request), timeout=60)
        response = duis.read(answer.content)
        assert isinstance(response.body, duis.ResponseMessage)
        assert isinstance(response.body.content, duis.PreCommand), response
        signed = gbcs.sign_precommand(response.body.content.payload, bench.pki.identity("supplier-gbcs").key)
        command = duis.Request.of(request.request_id, duis.SignedPreCommand(signed))
        await client.post("https://localhost:28079/api/v1/serviceS", content=bench.sign(command), timeout=60)

    async def worker() -> None:
        while pending:
            await one(pending.pop())

    await asyncio.gather(*(worker() for _ in range(16)))
    while bench.received - received < flows:  # noqa: ASYNC110 - the endpoint counts, it does not call
        await asyncio.sleep(0.01)
    seconds, cpu = time.perf_counter() - began, bench.cpu() - cpu
    say(
        f"{flows} flows of 11.3: {flows / seconds:.0f}/s by the clock, {1000 * cpu / flows:.2f} ms of the emulator's CPU each"
    )
    return {"flows": flows, "flows_per_s": round(flows / seconds, 1), "flows_per_core_s": round(flows / cpu, 1)}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--flows", type=int, default=2_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked.devices, "instant")
        endpoint = bench.endpoint()
        serving = asyncio.create_task(endpoint.serve())
        began = time.perf_counter()
        await bench.start()
        figures: dict[str, Any] = {"devices": bench.health["devices"], "start_s": round(time.perf_counter() - began, 2)}
        figures["rss_mb_idle"] = bench.megabytes()
        say(f"{figures['devices']} devices: up in {figures['start_s']} s, {figures['rss_mb_idle']} MB")
        async with httpx.AsyncClient(verify=bench.tls(), limits=httpx.Limits(max_keepalive_connections=16)) as client:
            cpu, began = bench.cpu(), time.perf_counter()
            figures |= await _batch(bench, client)
            await _settled(bench, client)
            seconds, cpu = time.perf_counter() - began, bench.cpu() - cpu
            devices = figures["batch_devices"]
            say(
                f"their images held and told (N60, 8F72): {devices / seconds:.0f} devices/s, {1000 * cpu / devices:.2f} ms CPU each"
            )
            figures |= {
                "distribute_per_s": round(devices / seconds, 1),
                "distribute_per_core_s": round(devices / cpu, 1),
            }
            figures |= await _flows(bench, client, min(asked.flows, devices))
        figures["rss_mb_after"] = bench.megabytes()
        figures["file_mb"] = bench.file_megabytes()
        bench.process.terminate()
        await bench.process.wait()
        endpoint.should_exit = True
        await serving
    print(json.dumps({"benchmark": "emulator", **figures}))


if __name__ == "__main__":
    asyncio.run(main())
