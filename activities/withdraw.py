"""Withdrawing what a halt can still recall: future-dated activations are cancelled as soon as a stop row says so.

It runs in the gateway beside the activities and asks the ledger alone, so it works with Temporal down; killed at any
point, it goes on from the ledger. Cancels go out earliest date first, at a bounded pace.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from prometheus_client import Counter
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from activities.gateway import Deliver
from hanwave.errors import HanwaveError
from hanwave.ledger import permit, withdrawal
from hanwave.rollout.events import Leg

LOOK_SECONDS = 1.0
"""How often the stop rows are looked at."""
PACE = 50.0
"""The most cancels a second: a burst of 11.3s is what the DCC's anomaly detection is there to find."""
_AT_ONCE = 8
_PAGE = 200

_What = TypeVar("_What")
_log = logging.getLogger(__name__)
CANCELS = Counter("hanwave_cancels", "Cancels of future-dated activations, by whether they left", ["left"])


class Withdrawals:
    """The withdrawals of one gateway; several gateways do one another no harm."""

    def __init__(self, ledger: Engine, deliver: Deliver, clock: Callable[[], datetime]) -> None:
        """Keep what they work with."""
        self._ledger = ledger
        self._deliver = deliver
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Look and withdraw until told to stop; what fails is logged, and tried again."""
        while not stop.is_set():
            try:
                busy = self.round() > 0
            except OperationalError as error:
                _log.warning("the ledger cannot be used, nothing is withdrawn: %s", type(error.orig).__name__)
                busy = False
            except Exception:  # noqa: BLE001 - whatever it was, the next round may do better
                _log.exception("a round of withdrawals failed")
                busy = False
            if not busy:
                stop.wait(LOOK_SECONDS)

    def round(self) -> int:
        """Send the cancels that are due, at most a page of them; how many left."""
        with self._ledger.connect() as connection:
            unsent = withdrawal.unsent(connection)
            due = withdrawal.due(connection, self._clock(), _PAGE)
        if not (unsent or due):
            return 0
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="withdraw") as pool:
            sent = [pool.submit(self._guarded, self._deliver, each) for each in unsent]
            for each in due:
                sent.append(pool.submit(self._guarded, self._withdraw, each))
                time.sleep(1 / PACE)
        return sum(each.result() for each in sent)

    def _guarded(self, act: Callable[[_What], str | None], what: _What) -> bool:
        """Whether it left; one that fails must not hold up the others."""
        try:
            reason = act(what)
        except HanwaveError as error:
            reason = str(error)
        if reason:
            _log.warning("a cancel has not left: %s", reason)
        CANCELS.labels(str(reason is None).lower()).inc()
        return reason is None

    def _withdraw(self, due: withdrawal.Due) -> str | None:
        """Permit and send one cancel; a sentence where it may not be or did not leave."""
        with self._ledger.begin() as connection:
            ask = permit.Ask(due.campaign, due.wave, Leg.WITHDRAW, [due.update_id], "11.3")
            granted = permit.ask(connection, ask, self._clock())
        if granted.outbox_id is None:
            return granted.refused[due.update_id].reason
        return self._deliver(granted.outbox_id)
