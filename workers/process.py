"""What every process does alike: settings, signals, logging, and an orderly end."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

from hanwave import settings
from hanwave.errors import HanwaveError
from hanwave.settings import Settings


def run(main: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run a process until SIGTERM or SIGINT sets its event; what is wrong with its settings ends it with a sentence."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_until_told(main))
    except HanwaveError as error:
        sys.exit(f"hanwave: {error}")


async def _until_told(main: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(settings.load(), stop)
