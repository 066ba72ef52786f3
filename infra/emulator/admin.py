"""The emulator's own port, JSON over plain HTTP on the loopback interface: its books, its faults, its levers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64
from infra.emulator import activation, books, exposition, intake, neighbours
from infra.emulator.errors import EmulatorError
from infra.emulator.faults import Faults, Outage
from infra.emulator.pki import SUPPLIER
from infra.emulator.services import settle_quarantine
from infra.emulator.tables import NEVER, Device
from infra.emulator.world import World

_Handler = Callable[[World, Request], Awaitable[Response]]
_YIELD_EVERY = 200


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Neighbour(_Body):
    count: int = 1
    user: str = str(SUPPLIER)


class _Model(_Body):
    device_type: str
    manufacturer: str
    model: str
    version: str | None = None


class _Change(_Body):
    plugged: bool | None = None
    supplier: str | None = None
    status: str | None = None


def admin_app(world: World) -> Starlette:
    """The application of the admin port."""
    routes: tuple[tuple[str, str, _Handler], ...] = (
        ("GET", "/health", _health),
        ("GET", "/books", _books),
        ("GET", "/stats", _stats),
        ("GET", "/metrics", _metrics),
        ("GET", "/violations", _violations),
        ("GET", "/devices/{eui}", _device),
        ("POST", "/devices/{eui}", _change),
        ("GET", "/faults", _faults),
        ("POST", "/faults", _set_faults),
        ("POST", "/outage", _outage),
        ("POST", "/quarantine/{ref:int}/{verb}", _quarantine),
        ("POST", "/neighbour", _neighbour),
        ("POST", "/fleet", _fleet),
        ("POST", "/cpl", _cpl),
        ("POST", "/cpl/remove", _remove_model),
    )
    return Starlette(routes=[Route(path, _bound(world, handler), methods=[verb]) for verb, path, handler in routes])


def _bound(world: World, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(world, request)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return _refuse(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}")
        except HanwaveError as error:
            return _refuse(str(error))

    return endpoint


def _refuse(sentence: str, status: int = 400) -> Response:
    return JSONResponse({"error": sentence}, status)


async def _health(world: World, _: Request) -> Response:
    return JSONResponse({"seed": world.seed, "devices": world.store.value("SELECT count(*) FROM device")})


async def _books(world: World, request: Request) -> Response:
    """JSON lines; ?deliveries=1 adds a line a message."""

    async def stream() -> AsyncIterator[str]:
        for number, line in enumerate(books.lines(world, deliveries="deliveries" in request.query_params)):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            yield line

    return StreamingResponse(stream(), media_type="application/jsonl")


async def _stats(world: World, _: Request) -> Response:
    return JSONResponse(books.stats(world))


async def _metrics(world: World, _: Request) -> Response:
    """The same counts for Prometheus."""
    return Response(exposition.text(books.stats(world)), media_type=exposition.CONTENT_TYPE)


async def _violations(world: World, _: Request) -> Response:
    rows = world.store.query("SELECT at, request_id, what FROM violation ORDER BY id").fetchall()
    return JSONResponse([dict(zip(("at", "request_id", "what"), row, strict=True)) for row in rows])


def _named(world: World, request: Request) -> Device:
    eui = str(EUI64.parse(request.path_params["eui"]))
    device = world.store.device(eui)
    if device is None:
        raise EmulatorError(f"the fleet has no device {eui}")
    return device


async def _device(world: World, request: Request) -> Response:
    device = _named(world, request)
    line = books.device_line(world, device)
    return JSONResponse({**line, "row": asdict(device), "story": books.story(world, device.eui)})


async def _change(world: World, request: Request) -> Response:
    """Plug in or out, hand to another supplier, give another status in the inventory."""
    change = _Change.model_validate_json(await request.body())
    with world.store.transaction():
        device = _named(world, request)
        if change.supplier is not None:
            activation.change_supplier(world, device, str(EUI64.parse(change.supplier)))
        if change.status is not None:
            device.smi_status, device.status_before = change.status, ""
        if change.plugged is not None:
            _plug(world, device, plugged=change.plugged)
        world.store.save(device)
    world.stir()
    return JSONResponse(books.device_line(world, device))


def _plug(world: World, device: Device, *, plugged: bool) -> None:
    device.unplugged_until = 0.0 if plugged else NEVER
    world.note(device, "plugged in" if plugged else "unplugged")
    if plugged:
        # What waited for it waits no longer.
        world.store.query(
            "UPDATE timer SET due = ? WHERE eui = ? AND json_extract(data, '$.waits')", world.clock(), device.eui
        )


async def _faults(world: World, _: Request) -> Response:
    return JSONResponse(world.faults.model_dump(mode="json"))


async def _set_faults(world: World, request: Request) -> Response:
    """These faults from now on and no others, in the form of the faults file."""
    world.set_faults(Faults.read((await request.body()).decode(errors="replace"), "the faults"))
    return await _faults(world, request)


async def _outage(world: World, request: Request) -> Response:
    """Another outage: a region, and seconds from now."""
    told, now = Outage.model_validate_json(await request.body()), world.clock()
    world.set_outages([*world.outages, (told.region, now + told.start, now + told.end)])
    return JSONResponse(world.outages)


async def _quarantine(world: World, request: Request) -> Response:
    verb, ref = request.path_params["verb"], request.path_params["ref"]
    if verb not in {"release", "delete"}:
        return _refuse(f"{verb!r} is neither release nor delete", 404)
    if not settle_quarantine(world, ref, release=verb == "release"):
        return _refuse(f"no request is held in quarantine under {ref}", 404)
    return JSONResponse({"ref": ref, "state": f"{verb}d"})


async def _neighbour(world: World, request: Request) -> Response:
    """Send foreign messages to the receive endpoint; the answer names their ResponseIDs."""
    told = _Neighbour.model_validate_json(await request.body() or b"{}")
    return JSONResponse(neighbours.send(world, str(EUI64.parse(told.user)), told.count))


async def _fleet(world: World, request: Request) -> Response:
    text = (await request.body()).decode("utf-8", errors="replace")
    return JSONResponse({"added": intake.add_fleet(world, text.splitlines(), "the fleet")})


async def _cpl(world: World, request: Request) -> Response:
    return JSONResponse({"entries": intake.set_cpl(world, (await request.body()).splitlines(), "the CPL")})


async def _remove_model(world: World, request: Request) -> Response:
    """A model (or one version of it) leaves the Central Products List, and its devices are Suspended."""
    told = _Model.model_validate_json(await request.body())
    suspended = intake.withdraw_model(world, told.device_type, told.manufacturer, told.model, told.version)
    world.stir()
    return JSONResponse({"suspended": suspended})
