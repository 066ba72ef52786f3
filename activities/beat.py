"""Activities that beat their own hearts, so that one whose worker was killed is begun again soon, whatever it may take.

Without it the engine learns of a lost worker when the activity's whole time is over: ten minutes for a batch.
"""

import asyncio
import inspect
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

BEAT = timedelta(seconds=20)
"""A worker that has been silent for so long is gone: an activity of it is then begun again elsewhere."""
_EVERY = BEAT.total_seconds() / 4


class Beating(Interceptor):
    """A worker's interceptor: beats for each activity while it runs. One that is over sooner costs no call."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's
        """Put the heart before the activity."""
        return _Heart(next)


class _Heart(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's
        heart = asyncio.create_task(_beat(in_thread=not inspect.iscoroutinefunction(input.fn)))
        try:
            return await super().execute_activity(input)
        finally:
            heart.cancel()
            with suppress(asyncio.CancelledError):
                await heart


async def _beat(*, in_thread: bool) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        if in_thread:
            # The SDK makes a threaded activity's heartbeat wait for the event loop: called there, it would wait for itself.
            await asyncio.to_thread(activity.heartbeat)
        else:
            activity.heartbeat()
