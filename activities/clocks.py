"""Nothing leaves, and no wave is swept or judged, by a clock that is wrong: windows, deadlines, soaks and permits go by the time.

Guarantee: what a process does by its own clock, it does within LIMIT of the ledger's, which all processes share; a clock that
is set while it runs is found out within EVERY. What must be done all the same goes by the ledger's own time (LedgerTime), or
needs none, as a halt does.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from hanwave.errors import HanwaveError
from hanwave.ledger import database

LIMIT = timedelta(seconds=5)
"""A halt on one machine bounds the POSTs of another (stops.POST_BOUND): this is the slack that it has."""
EVERY = 5.0
"""Seconds between two looks at the ledger's clock."""
BY_ANY_CLOCK = frozenset({"halt_campaign", "pause_campaign", "view_campaign"})
"""Activities that only stop, or show: no clock keeps them from it."""


class ClockError(HanwaveError):
    """The clock of this machine and the ledger's differ."""


def check(ledger: Engine, clock: Callable[[], datetime]) -> None:
    """ClockError where that clock is off the ledger's by more than LIMIT."""
    with ledger.connect() as connection:
        before = clock()
        theirs = database.time_of(connection)
        off = max(theirs - clock(), before - theirs)
    if off > LIMIT:
        raise ClockError(
            f"the clock of this machine is {off.total_seconds():.0f} s off the ledger's: nothing is done by it until one of"
            " them is set"
        )


class Watch:
    """A process's own clock, held against the ledger's now and then; threads may share one."""

    def __init__(self, ledger: Engine, clock: Callable[[], datetime]) -> None:
        """Keep what it works with."""
        self._ledger = ledger
        self._clock = clock
        self._good_until = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it was not found right within EVERY."""
        return time.monotonic() > self._good_until

    def check(self) -> None:
        """ClockError where the clock is wrong; one that was right less than EVERY ago is taken to be right."""
        if self.is_due:
            check(self._ledger, self._clock)
            self._good_until = time.monotonic() + EVERY


class Timed:
    """Delivers outbox rows as the given way does, while the clock is right; threads may share one."""

    def __init__(self, ledger: Engine, deliver: Callable[[int], str | None], clock: Callable[[], datetime]) -> None:
        """Keep what it works with."""
        self._deliver = deliver
        self._watch = Watch(ledger, clock)

    def __call__(self, outbox_id: int) -> str | None:
        """Deliver; a sentence where the request could not leave now."""
        try:
            self._watch.check()
        except ClockError as error:
            return str(error)
        return self._deliver(outbox_id)


class Timely(Interceptor):
    """A worker's interceptor: no activity but those BY_ANY_CLOCK begins by a clock that is wrong; it is tried again."""

    def __init__(self, ledger: Engine, clock: Callable[[], datetime]) -> None:
        """Watch that clock."""
        self._watch = Watch(ledger, clock)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's
        """Put the look at the clock before the activity."""
        return _Gate(next, self._watch)


class _Gate(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, watch: Watch) -> None:
        super().__init__(inner)
        self._watch = watch

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's
        if self._watch.is_due and activity.info().activity_type not in BY_ANY_CLOCK:
            await asyncio.to_thread(self._watch.check)
        return await super().execute_activity(input)


class LedgerTime:
    """The ledger's time, whatever this machine's clock says; threads may share one.

    It is asked for every EVERY seconds, and counted on from there by the clock that nobody sets.
    """

    def __init__(self, ledger: Engine) -> None:
        """Nothing is asked yet."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """The time now, aware UTC; SQLAlchemyError where the ledger cannot be asked."""
        with self._lock:
            if self._known is None or time.monotonic() > self._known[1] + EVERY:
                with self._ledger.connect() as connection:
                    self._known = database.time_of(connection), time.monotonic()
            theirs, at = self._known
            return theirs + timedelta(seconds=time.monotonic() - at)
