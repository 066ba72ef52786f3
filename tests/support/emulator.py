"""A supplier's side of the emulator: a client that signs, an endpoint that receives, and a small world for both.

Nothing here is hanwave's own gateway: the tests of the emulator drive it by its three services alone.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hanwave import duis, gbcs
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage
from hanwave.firmware.terms import FirmwareVersion, HardwareRange
from hanwave.identifiers import EUI64, RequestID
from infra.emulator.emulator import Emulator
from infra.emulator.intake import COLUMNS, OWN_COLUMNS
from infra.emulator.pki import ACCESS_CONTROL_BROKER, SECOND_SUPPLIER, SUPPLIER, Pki, make_pki
from infra.emulator.settings import EmulatorSettings

MANUFACTURER, HARDWARE = "0A01", "0100"
MODELS = {"ESME": "1001", "GSME": "1002", "HCALCS": "1003", "PPMID": "1004"}
OLD, NEW = "01000000", "02000000"
TYPES = ("ESME", "GSME", "HCALCS", "PPMID")
_CPL_HEADER = (
    "CPL Entry ID,Device Type,Manufacturer Identifier,Model Identifier,Hardware Version,Hardware Revision,"
    "Firmware Version,GBCS Version,Manufacturer Image Hash,Status"
)


def eui(device_type: str, number: int = 1) -> str:
    """A device of the test's fleet."""
    return str(EUI64(bytes([2, 0x48, 0x57, TYPES.index(device_type) + 1]) + number.to_bytes(4, "big")))


def row(device_type: str, number: int = 1, **changes: str) -> dict[str, str]:
    """A device's line in the fleet file."""
    return {
        **dict.fromkeys((*COLUMNS, *OWN_COLUMNS), ""),
        "eui": eui(device_type, number),
        "device_type": device_type,
        "manufacturer": MANUFACTURER,
        "model": MODELS[device_type],
        "hardware_version": HARDWARE,
        "firmware_version": OLD,
        "smi_status": "Commissioned",
        "hub": f"02-48-57-0F-00-00-00-{number % 256:02X}",
        "region": "North",
        "home": f"H{number}",
        "mpxn": f"99{number:011d}",
        "import_supplier": str(SUPPLIER),
        "gas_supplier": str(SUPPLIER),
        **changes,
    }


def fleet_csv(rows: Iterable[Mapping[str, str]]) -> str:
    """The fleet file."""
    names = (*COLUMNS, *OWN_COLUMNS)
    return "\n".join([",".join(names), *(",".join(each[name] for name in names) for each in rows)])


def manufacturer_image(version: str) -> bytes:
    """The bytes that a version is, here."""
    return bytes.fromhex(version) * 500


def image_hash(version: str) -> str:
    """The hash of a version's Manufacturer Image, as the books write it."""
    return _image(version).hash.hex().upper()


def _image(version: str, hardware: HardwareRange | None = None) -> OtaImage:
    header = Header(
        0x0A01,
        1,
        FirmwareVersion.parse(version),
        header_string("test"),
        hardware or HardwareRange(0x0100, 0x01FF),
    )
    return OtaImage(header, manufacturer_image(version))


def cpl_csv(*versions: str) -> str:
    """A list with those versions, for all four types."""
    lines = [
        f"{device_type}-{version},{device_type},{MANUFACTURER},{MODELS[device_type]},{HARDWARE[:2]},{HARDWARE[2:]},{version},"
        f",{image_hash(version)},Active"
        for device_type in TYPES
        for version in versions
    ]
    return "\n".join([_CPL_HEADER, *lines])


_counters = count(int(datetime.now(UTC).timestamp() * 1000))


@dataclass
class Supplier:
    """A supplier's client: it makes, signs and sends requests, and keeps what it sent."""

    pki: Pki
    url: str
    client: httpx.AsyncClient
    name: str = "supplier"
    eui: EUI64 = SUPPLIER
    counter: Callable[[], int] = lambda: next(_counters)
    sent: list[bytes] = field(default_factory=list)

    def sign(self, request: duis.Request) -> bytes:
        """The signed bytes of a request."""
        identity = self.pki.identity(f"{self.name}-xml")
        return duis.sign(request, identity.key, identity.certificate, datetime.now(UTC))

    async def post(self, service: str, body: bytes) -> duis.Response:
        """Send bytes to a service (T, S or D), and read the signed answer."""
        self.sent.append(body)
        answer = await self.client.post(f"{self.url}/service{service}", content=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/xml"
        return self.read(answer.content)

    def read(self, data: bytes) -> duis.Response:
        """A message of the DCC, if it is signed as it should be."""
        trust = duis.TrustStore([self.pki.certificate("transform"), self.pki.certificate("acb")])
        message = duis.read_signed(data, trust, datetime.now(UTC)).message
        assert isinstance(message, duis.Response)
        return message

    def request(self, target: str | EUI64, body: duis.RequestBody, counter: int | None = None) -> duis.Request:
        """A request with the next counter."""
        target = EUI64.parse(target) if isinstance(target, str) else target
        return duis.Request.of(RequestID(self.eui, target, counter or self.counter()), body)

    def image(self, version: str, hardware: HardwareRange | None = None) -> bytes:
        """The OTA Upgrade Image of a version, signed by this supplier."""
        identity = self.pki.identity(f"{self.name}-gbcs")
        return _image(version, hardware).sign(identity.key, identity.certificate, datetime.now(UTC)).pack()

    def update(self, version: str, *devices: str, image: bytes | None = None) -> duis.Request:
        """The 11.1 or 11.4 for devices of one kind."""
        is_ppmid = devices[0].startswith("02-48-57-04")
        body = duis.UpdatePPMIDFirmware if is_ppmid else duis.UpdateFirmware
        image = image or (_image(version).pack() if is_ppmid else self.image(version))
        return self.request(ACCESS_CONTROL_BROKER, body(image, version, tuple(map(EUI64.parse, devices))))

    async def distribute(self, version: str, *devices: str, image: bytes | None = None) -> duis.Response:
        """Send the 11.1 or 11.4."""
        return await self.post("D", self.sign(self.update(version, *devices, image=image)))

    async def command(
        self, device: str, version: str, at: datetime | None = None, counter: int | None = None
    ) -> duis.Request:
        """The CV 5 of an 11.3: transformed by the DCC, compared, signed."""
        activate = self.request(device, duis.ActivateFirmware(bytes.fromhex(image_hash(version)), at), counter)
        answer = await self.post("T", self.sign(activate))
        assert answer.code == "I0", answer
        ids, when = activate.request_id, gbcs.CANCEL if at == duis.CANCEL else at
        mine = gbcs.precommand(ids.originator, ids.target, ids.counter, bytes.fromhex(image_hash(version)), when)
        assert answer.body.content.payload == mine
        signed = gbcs.sign_precommand(mine, self.pki.identity(f"{self.name}-gbcs").key)
        return duis.Request.of(ids, duis.SignedPreCommand(signed, at))

    async def activate(self, device: str, version: str, at: datetime | None = None) -> duis.Response:
        """Both halves of an 11.3."""
        return await self.post("S", self.sign(await self.command(device, version, at)))

    async def read_version(self, device: str) -> duis.Response:
        """Send the 11.2."""
        return await self.post("S", self.sign(self.request(device, duis.ReadFirmwareVersion())))

    async def inventory(self, device: str) -> duis.Response:
        """Send the 8.2."""
        return await self.post(
            "D", self.sign(self.request(ACCESS_CONTROL_BROKER, duis.ReadInventory(EUI64.parse(device))))
        )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self):
        yield


@dataclass
class Receiver:
    """A user's receive endpoint: it keeps what it gets, and answers what it is told."""

    supplier: Supplier
    status: int = 204
    raw: list[bytes] = field(default_factory=list)
    refused: int = 0
    active: int = 0
    most_active: int = 0
    port: int = 0

    async def endpoint(self, request: Request) -> Response:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        body = await request.body()
        await asyncio.sleep(0)
        self.active -= 1
        if self.status != 204:
            self.refused += 1
            return Response(status_code=self.status)
        self.supplier.read(body)
        self.raw.append(body)
        return Response(status_code=204)

    @property
    def messages(self) -> list[duis.Response]:
        """All that came, read and verified."""
        return [self.supplier.read(each) for each in self.raw]

    def kinds(self) -> list[str]:
        """What came, by its name: 8F72, N60, 8F8A, I0, E21."""
        return [kind_of(message) for message in self.messages]

    async def wait(self, *kinds: str, seconds: float = 8) -> duis.Response:
        """The first message of the last of those kinds, when one of each has come."""
        async with asyncio.timeout(seconds):
            while missing := [kind for kind in kinds if kind not in self.kinds()]:
                await asyncio.sleep(0.02)
                assert missing
        return next(message for message in self.messages if kind_of(message) == kinds[-1])


def kind_of(message: duis.Response) -> str:
    """The name of a message's kind."""
    match message.body:
        case duis.DeviceAlertMessage(alert_code=code):
            return code
        case duis.DCCAlertMessage(alert=duis.CommsHubAlert(alert_code=code) | duis.PPMIDAlert(alert_code=code)):
            return code
        case duis.DCCAlertMessage(code=code):
            return code
        case duis.ResponseMessage(content=duis.FutureDatedDeviceAlert(alert_code=code)):
            return code
        case _:
            return message.code


@asynccontextmanager
async def receiving(supplier: Supplier) -> AsyncIterator[Receiver]:
    """A receive endpoint over HTTPS with mutual TLS, on a free port."""
    receiver, pki = Receiver(supplier), supplier.pki
    app = Starlette(routes=[Route("/receive", receiver.endpoint, methods=["POST"])])
    server = _Server(
        uvicorn.Config(
            app,
            port=0,
            log_level="warning",
            lifespan="off",
            ws="none",
            ssl_certfile=pki.certificate_path(f"{supplier.name}-tls"),
            ssl_keyfile=pki.key_path(f"{supplier.name}-tls"),
            ssl_ca_certs=str(pki.tls_root),
            ssl_cert_reqs=ssl.CERT_REQUIRED,
        )
    )
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
        await asyncio.sleep(0.01)
    receiver.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task


def tls(pki: Pki, name: str = "supplier") -> ssl.SSLContext:
    """A client's side of mutual TLS."""
    context = ssl.create_default_context(cafile=pki.tls_root)
    context.load_cert_chain(pki.certificate_path(f"{name}-tls"), pki.key_path(f"{name}-tls"))
    return context


@dataclass
class Lab:
    """An emulator, two suppliers with their endpoints, and the admin port."""

    emulator: Emulator
    supplier: Supplier
    receiver: Receiver
    second: Supplier
    second_receiver: Receiver
    admin: httpx.AsyncClient

    async def tell(self, path: str, document: Any = None) -> Any:
        """POST to the admin port."""
        content = document if isinstance(document, str) else None
        answer = await self.admin.post(path, content=content, json=None if content else document or {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def faults(self, *rules: dict[str, Any], **more: Any) -> None:
        """These faults from now on."""
        await self.tell("/faults", {"faults": list(rules), **more})

    async def device(self, device: str) -> SimpleNamespace:
        """What the books say of a device."""
        return SimpleNamespace(**(await self.admin.get(f"/devices/{device}")).json())

    async def books(self, *, deliveries: bool = False) -> list[dict[str, Any]]:
        """The books."""
        text = (await self.admin.get("/books", params={"deliveries": 1} if deliveries else {})).text
        return [json.loads(line) for line in text.splitlines()]

    async def until(self, condition: Callable[[], Any], seconds: float = 8) -> Any:
        """Wait until an awaitable condition holds."""
        async with asyncio.timeout(seconds):
            while not (held := await condition()):  # noqa: ASYNC110 - the books are asked, they do not call
                await asyncio.sleep(0.02)
        return held

    async def happened(self, device: str, what: str, seconds: float = 8) -> None:
        """Wait until the books say that of a device."""

        async def is_so() -> bool:
            return what in [each["what"] for each in (await self.device(device)).story]

        await self.until(is_so, seconds)

    async def hold(self, device: str, version: str = NEW) -> None:
        """Distribute a version to a device and wait until it holds it."""
        answer = await self.supplier.distribute(version, device)
        assert answer.code == "I99", answer
        await self.happened(device, "held")


@asynccontextmanager
async def lab(
    folder: Path,
    rows: Iterable[Mapping[str, str]] = (),
    *,
    seed: str = "test",
    profile: str = "instant",
    **settings: Any,
) -> AsyncIterator[Lab]:
    """A small world; rows: its fleet, else one device of each type."""
    pki = make_pki(folder / "pki")
    fleet, cpl = folder / "fleet.csv", folder / "cpl.csv"
    if not fleet.exists():
        fleet.write_text(fleet_csv(rows or [row(device_type) for device_type in TYPES]))
        cpl.write_text(cpl_csv(OLD, NEW))
    first = Supplier(pki, "", httpx.AsyncClient(verify=tls(pki)))
    second = Supplier(pki, "", httpx.AsyncClient(verify=tls(pki, "second")), "second", SECOND_SUPPLIER)
    async with receiving(first) as receiver, receiving(second) as second_receiver:
        receivers = {
            str(each.supplier.eui): f"https://localhost:{each.port}/receive" for each in (receiver, second_receiver)
        }
        chosen = {"port": 0, "admin_port": 0, "receivers": receivers, **settings}
        files = {"state": folder, "pki": folder / "pki", "fleet": fleet, "cpl": cpl}
        # The clients are closed before the server is: it would wait for their connections.
        async with (
            Emulator(EmulatorSettings(seed=seed, profile=profile, **files, **chosen)) as emulator,
            httpx.AsyncClient(base_url=emulator.admin_url) as admin,
            first.client,
            second.client,
        ):
            first.url = second.url = emulator.url
            yield Lab(emulator, first, receiver, second, second_receiver, admin)
