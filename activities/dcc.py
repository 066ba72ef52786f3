"""The way to the DCC: three services that take XML and answer XML at once.

Guarantees: a POST ends, one way or another, before hanwave.ledger.stops.POST_BOUND, so that a halt knows when it is
quiet; no redirect is followed; no more of a reply is read than a message may have; and an error says whether anything
can have left.
"""

import asyncio
import ssl
import sys
import threading
import time
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any, Protocol, Self, TypeVar

import httpx

from hanwave.duis import MAX_MESSAGE_BYTES
from hanwave.errors import HanwaveError
from hanwave.ledger.stops import POST_BOUND
from hanwave.settings import Dcc

POST_SECONDS = POST_BOUND.total_seconds() * 0.75
"""A POST and its reply, all told."""
CONNECT_SECONDS = 3.0
"""Each of what comes before the first byte: a free connection, TCP, TLS."""
BEGIN_SECONDS = 3 * CONNECT_SECONDS
"""All of it, which fits into stops.BEGIN_BOUND. Asked again right before the first byte, since a process that was frozen in
between finds its timeouts past and its connection still up. By the clock that nobody sets."""
_T = TypeVar("_T")
if find_spec("sniffio") is None:
    # httpcore asks for it several times a POST, and each time Python looks along its whole path: a fifth of the POST.
    sys.modules["sniffio"] = None  # type: ignore[assignment]
_IDLE_SECONDS = 4.0  # less than servers keep an idle connection: a POST on one that just closed is an unknown outcome


class RouteError(HanwaveError):
    """The DCC was not reached, or did not answer."""


class NeverSent(RouteError):  # noqa: N818 - the name says what it is
    """Nothing of the request left: no connection came about."""


class NoAnswer(RouteError):  # noqa: N818 - the name says what it is
    """The request may have arrived; no message came back."""


class Route(Protocol):
    """A way to the DCC: straight, or through a supplier's gateway. Each takes a signed message and gives the reply."""

    def transform(self, body: bytes) -> bytes:
        """Command Variant 4; NeverSent or NoAnswer."""
        ...

    def send_command(self, body: bytes) -> bytes:
        """Command Variants 1 and 5; NeverSent or NoAnswer."""
        ...

    def non_device(self, body: bytes) -> bytes:
        """Command Variant 8; NeverSent or NoAnswer."""
        ...


class StraightRoute:
    """HTTPS with mutual TLS to the DCC's own services. Threads may share one; close it when done."""

    def __init__(self, dcc: Dcc, *, post_seconds: float = POST_SECONDS) -> None:
        """Read the TLS files (RouteError names what is wrong with them); nothing is connected yet."""
        self._dcc = dcc
        self._post_seconds = post_seconds
        self._client = httpx.AsyncClient(
            verify=_tls(dcc),
            timeout=httpx.Timeout(post_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=64, keepalive_expiry=_IDLE_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )
        # Only an event loop can end a POST at a given time, wherever it hangs; activities are threads.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dcc", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def transform(self, body: bytes) -> bytes:
        """Command Variant 4; NeverSent or NoAnswer."""
        return self._run(self._post(str(self._dcc.transform_url), body, time.monotonic()))

    def send_command(self, body: bytes) -> bytes:
        """Command Variants 1 and 5; NeverSent or NoAnswer."""
        return self._run(self._post(str(self._dcc.send_command_url), body, time.monotonic()))

    def non_device(self, body: bytes) -> bytes:
        """Command Variant 8; NeverSent or NoAnswer."""
        return self._run(self._post(str(self._dcc.non_device_url), body, time.monotonic()))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _post(self, url: str, body: bytes, began: float) -> bytes:
        async def in_time(event: str, _: Any) -> None:
            if event == "http11.send_request_headers.started" and time.monotonic() - began > BEGIN_SECONDS:
                raise NeverSent(f"the time to begin the POST to {url} went by: it must ask again")

        request = self._client.build_request(
            "POST", url, content=body, headers={"Content-Type": "application/xml"}, extensions={"trace": in_time}
        )
        try:
            async with asyncio.timeout(self._post_seconds):
                response = await self._client.send(request, stream=True)
                try:
                    return await _reply(response, url)
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NeverSent(f"{url} could not be connected to: {_said(error)}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise NoAnswer(f"{url} did not answer: {_said(error)}") from error


async def _reply(response: httpx.Response, url: str) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise NoAnswer(f"{url} answered with HTTP status {response.status_code}, it should be 200 with a message")
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_MESSAGE_BYTES:
            raise NoAnswer(f"{url} answered with more than the {MAX_MESSAGE_BYTES} octets that a message may have")
        parts.append(part)
    return b"".join(parts)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tls(dcc: Dcc) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=dcc.ca)
        context.load_cert_chain(dcc.certificate, dcc.key)
    except (OSError, ssl.SSLError) as error:
        files = f"{dcc.ca}, {dcc.certificate} and {dcc.key}"
        raise RouteError(f"the TLS files of [dcc] ({files}) cannot be used: {_said(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
