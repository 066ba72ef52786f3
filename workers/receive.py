"""The Receive Response Service: where the DCC delivers responses and alerts (`python -m workers.receive`).

Guarantees: 204 is answered only for a message that the DCC signed and that the ledger has committed; 400 only after the
bytes of what is no such message were committed too; 503, so that the DCC tries again, when the ledger cannot, or when more
is refused than there is room to keep. What
happens to a message afterwards waits for nobody here. DCC tries again within 300 s and keeps a message for two days.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import uvicorn
from prometheus_client import Counter, start_http_server
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.clocks import LedgerTime
from activities.wave import DeviceStart
from hanwave import names, settings
from hanwave.client import search
from hanwave.duis import MAX_MESSAGE_BYTES, TrustStore
from hanwave.errors import HanwaveError
from hanwave.keys import load_trust
from hanwave.ledger import database
from hanwave.ledger.receipt import Kept, judge, keep
from hanwave.ledger.routing import Waking
from hanwave.rollout.route import DCC
from workers.bounds import NoRoomError, Prompt, Room
from workers.loops import Clock, HandOn, Loops, Wake
from workers.process import run
from workers.wiring import connect

BODY_SECONDS = 30.0
"""A body that takes longer is given up: DCC's own messages come in one piece."""
STORE_SECONDS = 20.0
FORWARD_SECONDS = 10.0
_STORERS = 8
_CONNECTIONS = 200
_CUT_OFF = (408, 413)

_log = logging.getLogger(__name__)
RECEIVED = Counter(
    "hanwave_inbox_received", "Messages at the door, by the HTTP status that they were answered with", ["status"]
)


class TooLargeError(HanwaveError):
    """A body is longer than any message may be."""


class Door:
    """The endpoint: reads a body, has it judged and kept, and answers."""

    def __init__(self, ledger: Engine, trust: TrustStore, clock: Clock, loops: Loops) -> None:
        """Keep what it works with."""
        self._ledger = ledger
        self._trust = trust
        self._clock = clock
        self._loops = loops
        self._storers = ThreadPoolExecutor(_STORERS, "store")
        self._room = Room()

    async def receive(self, request: Request) -> Response:
        """Answer one POST."""
        status = await self._status(request)
        RECEIVED.labels(str(status)).inc()
        # Whoever is still sending is hung up on: else what goes on would be read, and thrown away, without end.
        return Response(status_code=status, headers={"Connection": "close"} if status in _CUT_OFF else None)

    def close(self) -> None:
        """Let the threads that keep messages end."""
        self._storers.shutdown()

    async def _status(self, request: Request) -> int:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                raw = await _body(request)
        except TimeoutError:
            return 408
        except TooLargeError:
            return 413
        except ClientDisconnect:
            return 400
        try:
            async with asyncio.timeout(STORE_SECONDS):
                kept = await asyncio.get_running_loop().run_in_executor(self._storers, self._keep, raw)
        except (SQLAlchemyError, TimeoutError, NoRoomError) as error:
            _log.warning("a message could not be kept, the DCC is asked to try again: %s", error)
            return 503
        if not kept.verified:
            _log.warning("a message of %d octets is refused and kept apart: %s", len(raw), kept.judged.refusal)
            return 400
        self._loops.stirred.set()
        return 204

    def _keep(self, raw: bytes) -> Kept:
        now = self._clock()
        judged = judge(raw, self._trust, now)
        if judged.refusal is not None:
            self._room.take(len(raw))
        with self._ledger.begin() as connection:
            return keep(connection, judged, raw, now)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"the body has more than {MAX_MESSAGE_BYTES} octets")
        parts.append(part)
    return b"".join(parts)


def application(
    ledger: Engine,
    trust: TrustStore,
    path: str,
    clock: Clock,
    *,
    wake: Wake | None = None,
    hand_on: HandOn | None = None,
) -> Starlette:
    """The service as an ASGI application; wake and hand_on say how workflows are woken and messages handed on, if at all."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        loops = Loops(ledger, clock, wake, hand_on)
        app.state.door = door = Door(ledger, trust, clock, loops)
        async with loops.running():
            yield
        door.close()

    async def receive(request: Request) -> Response:
        door: Door = request.app.state.door
        return await door.receive(request)

    return Starlette(routes=[Route(path, receive, methods=["POST"])], lifespan=lifespan)


def server(app: Starlette, receive: settings.Receive) -> uvicorn.Server:
    """A server with mutual TLS: nobody speaks to the application who has no certificate of client_ca's."""
    config = uvicorn.Config(
        app,
        host=receive.host,
        port=receive.port,
        ssl_certfile=str(receive.certificate),
        ssl_keyfile=str(receive.key),
        ssl_ca_certs=str(receive.client_ca),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=10,
        http=Prompt,
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
    )
    return uvicorn.Server(config)


def engine_wake(client: Client) -> Wake:
    """Wake a device's workflow: signal with start, since only that ends a start delay; a closed one stays closed."""

    async def wake(waking: Waking) -> None:
        await client.start_workflow(
            names.DEVICE_WORKFLOW,
            DeviceStart(waking.campaign, waking.update_id, waking.eui),
            id=names.device_id(waking.campaign, waking.eui),
            task_queue=names.CAMPAIGN_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            # Mostly it runs already; the few that a message starts before their wave does are found by their campaign.
            # A message wakes nobody on a bench.
            search_attributes=search.of_workflow(names.device_id(waking.campaign, waking.eui), DCC),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=names.WAKE,
            start_signal_args=[waking.wake],
        )

    return wake


def poster(receive: settings.Receive) -> HandOn | None:
    """How messages of other systems are handed on: by POST, with our own certificate; None where no URL is set."""
    if receive.forward_url is None:
        return None
    context = ssl.create_default_context(cafile=receive.forward_ca)
    context.load_cert_chain(receive.certificate, receive.key)
    client = httpx.Client(verify=context, timeout=FORWARD_SECONDS, follow_redirects=False, trust_env=False)
    url = str(receive.forward_url)

    def hand_on(raw: bytes) -> bool:
        try:
            return client.post(url, content=raw, headers={"Content-Type": "application/xml"}).is_success
        except httpx.HTTPError as error:
            _log.warning("a message could not be handed on: %s", error)
            return False

    return hand_on


async def main(told: settings.Settings, _: asyncio.Event) -> None:
    """Serve until told to stop, which the server hears by itself."""
    receive = settings.needed(told.receive, "receive")
    ledger = database.engine(settings.needed(told.postgres, "postgres").dsn.get_secret_value())
    trust = load_trust(settings.needed(told.trust, "trust"))
    if told.metrics.receive:
        start_http_server(told.metrics.receive, told.metrics.host)
    wake = engine_wake(await connect(told.temporal, lazy=True))
    # A message that is dated by a clock that is behind would be taken for older than the request that it answers.
    app = application(ledger, trust, receive.path, LedgerTime(ledger), wake=wake, hand_on=poster(receive))
    await server(app, receive).serve()


if __name__ == "__main__":
    run(main)
