"""The operators' door to the embedded Web UI of Temporal (`python -m infra.stack.console PORT WEB_UI`).

Temporal's development server takes no settings for its Web UI, so this process stands before it. Guarantees: who comes by
this door finds hanwave's views saved in his browser, beside his own, and is shown no button that goes round hanwave's
verbs; nor is such a call let through, though the settings of a production's Web UI (`hanwave console settings`) only grey the button out.
"""

import asyncio
import json
import logging
import re
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hanwave.console import TAKEN, VIEWS, list_link
from infra.stack.ports import HOST

NAMESPACE = "default"
_SAVED = "saved-workflow-queries"
_WRITES = re.compile(rb"/api/v1/namespaces/[^/]+/workflows/[^/]+(/cancel|/(update|signal|query)/[^/]+)?")
"""What a browser may POST: start, cancel, update, signal and query a workflow."""
_REFUSAL = "this door lets through no call but hanwave's verbs: send the workflow an Update (halt, pause, roll_back)"
_PERMISSION_DENIED = 7
_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
_PAGE = """<!doctype html>
<title>hanwave</title>
<script>
const saved = JSON.parse(localStorage.getItem("{saved}") || "{{}}"), ours = {views};
const theirs = (saved["{namespace}"] || []).filter(view => !ours.some(each => each.name === view.name));
localStorage.setItem("{saved}", JSON.stringify({{...saved, "{namespace}": [...theirs, ...ours]}}));
location.replace("{first}");
</script>
"""


class Door:
    """The Web UI behind the door, which a client of its own speaks to."""

    def __init__(self, web_ui: httpx.AsyncClient) -> None:
        """Keep the client, whose base is the Web UI's address."""
        self._web_ui = web_ui

    async def home(self, _: Request) -> Response:
        """Save hanwave's views in the browser, and go on to the first."""
        views = [{"id": f"hanwave-{v.name}", "name": v.name, "query": v.query, "type": "user"} for v in VIEWS]
        first = list_link("", NAMESPACE, VIEWS[0])
        page = _PAGE.format(saved=_SAVED, namespace=NAMESPACE, views=json.dumps(views), first=first)
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def settings(self, request: Request) -> Response:
        """The Web UI's settings, with ours over them."""
        try:
            found = (await self._web_ui.get(request.url.path)).json()
        except httpx.TransportError as error:
            return _gone(error)
        return JSONResponse({**found, **dict.fromkeys(TAKEN, True)})

    async def forward(self, request: Request) -> Response:
        """Hand a request on as it is, and its answer back as it comes."""
        path: bytes = request.scope["raw_path"]
        may = request.method in {"GET", "HEAD"} or (request.method == "POST" and _WRITES.fullmatch(path))
        if not may:
            return JSONResponse({"code": _PERMISSION_DENIED, "message": _REFUSAL}, 403)
        query = request.scope["query_string"]
        # The path as it was sent: a workflow's id holds slashes, which stand in it as %2F.
        url = self._web_ui.base_url.copy_with(raw_path=path + (b"?" + query if query else b""))
        asked = self._web_ui.build_request(
            request.method, url, headers=_kept(request.headers.raw), content=await request.body()
        )
        try:
            answer = await self._web_ui.send(asked, stream=True)
        except httpx.TransportError as error:
            return _gone(error)
        found = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        found.raw_headers = _kept(answer.headers.raw)
        return found


def _gone(error: httpx.TransportError) -> Response:
    return JSONResponse({"message": f"the Web UI does not answer ({type(error).__name__})"}, 502)


def _kept(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.decode().lower() not in _HOP_BY_HOP]


def application(web_ui: httpx.AsyncClient) -> Starlette:
    """The door's addresses, before the Web UI that the client speaks to."""
    # A client's own headers, such as what it accepts, are not the browser's.
    web_ui.headers.clear()
    door = Door(web_ui)
    return Starlette(
        routes=[
            Route("/", door.home),
            Route("/api/v1/settings", door.settings),
            Route("/{path:path}", door.forward, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )


async def serve(port: int, web_ui: str) -> None:
    """Serve at that port of this machine until a signal ends it."""
    # Long: an Update is answered when it is done, and a rollback plans over the whole fleet.
    async with httpx.AsyncClient(base_url=web_ui, timeout=300, trust_env=False) as client:
        config = uvicorn.Config(
            application(client),
            host=HOST,
            port=port,
            access_log=False,
            log_config=None,
            ws="none",
            timeout_graceful_shutdown=3,
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    """Serve by the two words of the command line."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    port, web_ui = sys.argv[1:]
    asyncio.run(serve(int(port), web_ui))


if __name__ == "__main__":
    main()
