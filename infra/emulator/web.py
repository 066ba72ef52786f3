"""The services' HTTP: a POST of XML, answered with XML; 400 where no originator can be established (domain 2.1)."""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hanwave.duis import MAX_REQUEST_BYTES
from hanwave.errors import HanwaveError
from infra.emulator.services import Gateway, Service

PATHS = {
    "/api/v1/serviceT": Service.TRANSFORM,
    "/api/v1/serviceS": Service.SEND_COMMAND,
    "/api/v1/serviceD": Service.NON_DEVICE,
}
_LOG = logging.getLogger("hanwave.emulator")


class _Broken(Response):
    """A connection that ends before the answer does: the caller knows no more than if nothing had come."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        # The server closes the connection of an application that stops half-way.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


def services_app(gateway: Gateway) -> Starlette:
    """The application of the three services."""
    return Starlette(
        routes=[Route(path, _endpoint(gateway, service), methods=["POST"]) for path, service in PATHS.items()]
    )


def _endpoint(gateway: Gateway, service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return PlainTextResponse("the request did not come whole", 400)
        if body is None:
            return PlainTextResponse(f"at most {MAX_REQUEST_BYTES} octets are read", 413)
        try:
            reply = gateway.handle(service, body)
        except HanwaveError as error:
            _LOG.info("400: %s", error)
            return PlainTextResponse(str(error), 400)
        if reply.is_lost:
            return _Broken()
        return Response(reply.body, media_type="application/xml")

    return endpoint


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is too long: read no further than that."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_REQUEST_BYTES:
            return None
        pieces.append(piece)
    return b"".join(pieces)
