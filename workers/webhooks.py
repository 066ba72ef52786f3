"""The webhooks: `python -m workers.webhooks`. It tells the supplier's own systems of campaigns, by signed POSTs of JSON.

Guarantees: those of `hanwave.ledger.webhooks`, whoever ends this process and whenever: what a system was told and was not
recorded is told again under the same id. No redirect is followed, and nothing but its status is read of an answer. No other
process waits for this one, or needs it.
"""

import asyncio
import contextlib
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from hanwave import settings, webhook_secrets
from hanwave.errors import HanwaveError
from hanwave.ledger import beats, database, webhook_events, webhooks
from hanwave.ledger.webhook_events import Event
from hanwave.ledger.webhooks import Post, Refused
from workers.process import run

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 15.0
"""For a whole POST, from the connection's first octet to the answer's status: after it the event counts as not taken."""
_WHOLE = 3600
"""Rounds, an hour of them, of which the first numbers what was committed late, behind others' notes, too."""
_LOG = logging.getLogger("hanwave.webhooks")


def _now() -> datetime:
    return datetime.now(UTC)


def poster(told: settings.Webhooks, loop: asyncio.AbstractEventLoop) -> Post:
    """How a thread sends an event: signed by the hook's secrets as they are now, so that a new one needs no restart.

    SettingsError where the file of those who certify the systems cannot be used.
    """
    client = httpx.AsyncClient(
        verify=_trusted(told),
        timeout=PATIENCE_SECONDS,
        limits=httpx.Limits(max_connections=webhooks.MOST),
        follow_redirects=False,
        trust_env=False,
    )

    def post(name: str, url: str, event: Event) -> Refused | None:
        try:
            keys = webhook_secrets.read(told.secrets, name)
            sent = webhook_secrets.headers(keys, event.message, _now(), event.body)
            sending = asyncio.run_coroutine_threadsafe(_send(client, url, event.body, sent), loop)
            # Longer than it may take: where the loop has ended nobody would ever answer.
            return judged(sending.result(2 * PATIENCE_SECONDS))
        except HanwaveError as error:
            return Refused(str(error))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError) as error:
            # An address that was added when less was refused is no reason to be told of nothing in silence. Of what kind alone: its text may repeat the address.
            return Refused(f"it could not be reached: {type(error).__name__}")

    return post


def _trusted(told: settings.Webhooks) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=told.ca)
    except OSError as error:
        raise settings.SettingsError(
            f"the setting webhooks.ca names {told.ca}, which should be a file of certificates in PEM: {error.strerror}"
        ) from error


async def _send(client: httpx.AsyncClient, url: str, body: bytes, sent: dict[str, str]) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS), client.stream("POST", url, content=body, headers=sent) as answer:
        return answer.status_code


def judged(status: int) -> Refused | None:
    """What an answer's status means: 2xx, it was taken; 410, none is wanted any more; else, it should be tried again."""
    return None if 200 <= status < 300 else Refused(f"it answered {status}", gone=status == httpx.codes.GONE)


class Telling:
    """The hooks, each told by a thread of its own, so that one that does not answer holds up no other."""

    def __init__(self, ledger: Engine, post: Post, give_up: timedelta) -> None:
        """Nothing is begun."""
        self._ledger, self._post, self._give_up = ledger, post, give_up
        self._threads = ThreadPoolExecutor(webhooks.MOST, "webhook")
        self._telling: dict[str, asyncio.Future[None]] = {}
        self._rounds = 0
        self._ended = False

    async def make_round(self) -> None:
        """Number what happened since, and begin to tell each hook that is not being told already."""
        names = await asyncio.to_thread(self._number, whole=self._rounds % _WHOLE == 0)
        self._rounds += 1
        loop = asyncio.get_running_loop()
        for name in names:
            if name not in self._telling or self._telling[name].done():
                self._telling[name] = loop.run_in_executor(self._threads, self._tell, name)

    def _number(self, *, whole: bool) -> list[str]:
        with self._ledger.begin() as connection:
            beats.beat(connection, beats.WEBHOOKS, _now())
            names = webhooks.names(connection)
            if names:
                webhook_events.number(connection, whole=whole)
            return names

    def _tell(self, name: str) -> None:
        """Tell a hook whatever is due."""
        how = (self._ledger, name, self._post, _now, self._give_up)
        try:
            while not self._ended and webhooks.tell_one(*how) is not None:
                continue
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round may do better, and the others go on
            _LOG.warning("webhook %s cannot be told: %s", name, error)

    async def end(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._ended = True
        await asyncio.to_thread(partial(self._threads.shutdown, cancel_futures=True))


async def main(told: settings.Settings, stop: asyncio.Event) -> None:
    """Make rounds until told to stop."""
    how = settings.needed(told.webhooks, "webhooks")
    ledger = database.engine(settings.needed(told.postgres, "postgres").dsn.get_secret_value(), pool=webhooks.MOST)
    database.check_revision(ledger)
    telling = Telling(ledger, poster(how, asyncio.get_running_loop()), timedelta(hours=how.give_up))
    try:
        while not stop.is_set():
            try:
                await telling.make_round()
            except SQLAlchemyError as error:
                _LOG.warning("the ledger cannot be used, events wait: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
    finally:
        await telling.end()
        ledger.dispose()


if __name__ == "__main__":
    run(main)
