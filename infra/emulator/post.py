"""A kept HTTPS connection that POSTs, and nothing else.

Deliveries were most of the emulator's work, on cores that it shares with everything else: under a profile httpx took more
than half of its time. h11 does the protocol here as well.
"""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

import h11

_TIMEOUT = 30.0
_CHUNK = 65_536


class Line:
    """A connection to one URL, opened when it is needed; one POST at a time."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        """Name the endpoint; nothing is opened yet."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._target = parts.path or "/"
        self._headers = [("Host", parts.netloc), ("Content-Type", "application/xml")]
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._protocol = h11.Connection(h11.CLIENT)

    async def post(self, body: bytes) -> int:
        """POST and return the status; OSError when the endpoint cannot be reached or speaks no HTTP.

        A kept connection may have been closed by the other side meanwhile, so it is tried again on a fresh one: the
        message may then arrive twice, as every message may.
        """
        is_kept = self._streams is not None
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._exchange(body)
        except (OSError, h11.ProtocolError) as error:
            self.close()
            if is_kept:
                return await self.post(body)
            raise OSError(str(error)) from error
        except BaseException:
            self.close()
            raise

    async def _exchange(self, body: bytes) -> int:
        reader, writer = self._streams or await self._open()
        headers = [*self._headers, ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=self._target, headers=headers)
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        writer.write(b"".join(self._protocol.send(event) or b"" for event in events))
        await writer.drain()
        status = await self._read(reader)
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()
        return status

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        self._protocol = h11.Connection(h11.CLIENT)
        return self._streams

    async def _read(self, reader: asyncio.StreamReader) -> int:
        status = 0
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return status

    def close(self) -> None:
        """End the connection, without a farewell: nothing is on its way when this is called."""
        if self._streams is not None:
            with suppress(RuntimeError):
                self._streams[1].transport.abort()
            self._streams = None
