"""The contact centre's page (`python -m workers.lookup`): a home's updates in a customer's words, and one button, *hold*.

Guarantees: it may read the fleet and its updates, and write holds and notes, and nothing else: its database role sees to
that; each look and each hold is noted under the name of the person, whom the supplier's own sign-on vouches for in a
header; a customer's number comes in a request's body, never in an address that a log keeps; and no page that a browser
was lured from may press the button. It listens where only that sign-on's proxy can reach it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvicorn
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic_core import to_jsonable_python
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from hanwave import settings
from hanwave.errors import HanwaveError
from hanwave.ledger import database, lookup
from hanwave.plain_json import read_json
from workers.process import run

MAX_BODY = 4096
_CONNECTIONS = 100
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGES = Environment(loader=PackageLoader("workers", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


class AskError(HanwaveError):
    """A request of the page is refused; status is the HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        """A refusal and its status."""
        super().__init__(sentence)
        self.status = status


class Desk:
    """The page's three answers: the empty form, a home, and a home that is now held."""

    def __init__(self, ledger: Engine, told: settings.Lookup, user_id: str | None) -> None:
        """Keep what it works with; user_id: whose customers alone are shown (None: everybody's)."""
        self._ledger, self._told, self._user_id = ledger, told, user_id

    async def form(self, request: Request) -> Response:
        """The empty form."""
        return await self._answer(request, self._empty)

    async def look(self, request: Request) -> Response:
        """A home, by the key in the body."""
        return await self._answer(request, self._look)

    async def hold(self, request: Request) -> Response:
        """Hold a home, and show it."""
        return await self._answer(request, self._hold)

    async def _empty(self, _: str, __: Request) -> dict[str, Any]:
        return {"key": ""}

    async def _look(self, actor: str, request: Request) -> dict[str, Any]:
        asked = await _body(request)
        return {"key": asked["key"], "home": await self._ask(lookup.look, asked["key"], actor)}

    async def _hold(self, actor: str, request: Request) -> dict[str, Any]:
        _check_origin(request)
        asked = await _body(request)
        if not asked.get("reason", "").strip():
            raise AskError(400, "a hold needs a reason: write why in the field beside the button")
        await self._ask(lookup.hold_home, asked["key"], asked["reason"], actor)
        return {"key": asked["key"], "home": await self._ask(lookup.look, asked["key"], actor)}

    async def _ask(self, act: Callable[..., Any], *values: str) -> Any:
        def inside() -> Any:
            with database.connect(self._ledger) as connection:
                return act(connection, *values, datetime.now(UTC), self._user_id)

        return await asyncio.to_thread(inside)

    def _who(self, request: Request) -> str:
        name = request.headers.get(self._told.user_header, "").strip() or (self._told.everybody or "")
        if not name:
            raise AskError(403, "you are not signed in: open this page by way of the supplier's sign-on")
        return name[:100]

    async def _answer(self, request: Request, act: Callable[[str, Request], Awaitable[dict[str, Any]]]) -> Response:
        status, facts = 200, {"key": "", "home": None, "refusal": "", "called": lookup.CALLED}
        try:
            facts |= await act(self._who(request), request)
        except AskError as error:
            status, facts["refusal"] = error.status, str(error)
        except HanwaveError as error:
            status, facts["refusal"] = 404, str(error)
        except SQLAlchemyError:
            status, facts["refusal"] = 503, "the ledger cannot be reached now: try again in a minute"
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(_json(facts), status, _HEADERS)
        return HTMLResponse(_PAGES.get_template("lookup.html.j2").render(facts), status, _HEADERS)


def _json(facts: dict[str, Any]) -> dict[str, Any]:
    home: lookup.Home | None = facts["home"]
    if facts["refusal"]:
        return {"error": facts["refusal"]}
    plain: dict[str, Any] = to_jsonable_python(home) if home else {}
    return plain


async def _body(request: Request) -> dict[str, str]:
    """The fields of a form or of a JSON object; AskError where it is neither, or names no home."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise AskError(413, f"the request is longer than {MAX_BODY} octets: it should name one home")
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            fields = {str(name): str(value) for name, value in dict(read_json(raw)).items()}
        else:
            fields = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
    except (ValueError, TypeError) as error:
        raise AskError(400, "the request is neither a form nor a JSON object with the field key") from error
    if not fields.get("key", "").strip() or "\0" in fields["key"]:
        raise AskError(400, "the field key is empty: give an MPAN or MPRN, a device's EUI-64, or your own key")
    return fields


def _check_origin(request: Request) -> None:
    """A browser says which page a POST comes from; another site's may not press the button in somebody's name."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise AskError(403, "the button was pressed from another site: open the page itself")


def application(desk: Desk) -> Starlette:
    """The page's addresses."""
    return Starlette(
        routes=[
            Route("/", desk.form, methods=["GET"]),
            Route("/", desk.look, methods=["POST"]),
            Route("/hold", desk.hold, methods=["POST"]),
        ]
    )


def server(app: Starlette, told: settings.Lookup) -> uvicorn.Server:
    """A server behind the supplier's sign-on."""
    config = uvicorn.Config(
        app,
        host=told.host,
        port=told.port,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
        http="h11",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )
    return uvicorn.Server(config)


async def main(given: settings.Settings, _: asyncio.Event) -> None:
    """Serve the page until told to stop, which the server hears by itself; SettingsError where it is not set up."""
    told = settings.needed(given.lookup, "lookup")
    ledger = database.engine(told.dsn.get_secret_value(), pool=8)
    database.check_revision(ledger)
    desk = Desk(ledger, told, str(given.user_id) if given.user_id else None)
    await server(application(desk), told).serve()


if __name__ == "__main__":
    run(main)
