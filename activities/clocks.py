"""Nothing leaves by a clock that is wrong: windows, permits and the bounds of a halt all go by the time.

Guarantee: what a process does by its own clock, it does within LIMIT of the ledger's, which all processes share; a clock that
is set while it runs is found out within EVERY.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from hanwave.errors import HanwaveError

LIMIT = timedelta(seconds=5)
"""A halt on one machine bounds the POSTs of another (stops.POST_BOUND): this is the slack that it has."""
EVERY = 5.0
"""Seconds between two looks at the ledger's clock."""


class ClockError(HanwaveError):
    """The clock of this machine and the ledger's differ."""


def check(ledger: Engine, clock: Callable[[], datetime]) -> None:
    """ClockError where that clock is off the ledger's by more than LIMIT."""
    with ledger.connect() as connection:
        before = clock()
        theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        off = max(theirs - clock(), before - theirs)
    if off > LIMIT:
        raise ClockError(
            f"the clock of this machine is {off.total_seconds():.0f} s off the ledger's: nothing is done by it until one of"
            " them is set"
        )


class Timed:
    """Delivers outbox rows as the given way does, while the clock is right; threads may share one."""

    def __init__(self, ledger: Engine, deliver: Callable[[int], str | None], clock: Callable[[], datetime]) -> None:
        """Keep what it works with."""
        self._ledger = ledger
        self._deliver = deliver
        self._clock = clock
        self._good_until = 0.0

    def __call__(self, outbox_id: int) -> str | None:
        """Deliver; a sentence where the request could not leave now."""
        if time.monotonic() > self._good_until:
            try:
                check(self._ledger, self._clock)
            except ClockError as error:
                return str(error)
            self._good_until = time.monotonic() + EVERY
        return self._deliver(outbox_id)
