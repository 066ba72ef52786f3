"""Delivery only over a ledger that remembers what was sent: the gateway's guard against a database that was put back."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from hanwave.ledger import reconcile
from hanwave.ledger.witness import Witness

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Guarded:
    """Delivers outbox rows as the given way does, and remembers each before it leaves; threads may share one."""

    ledger: Engine
    deliver: Callable[[int], str | None]
    witness: Witness
    clock: Callable[[], datetime]

    def look(self) -> str | None:
        """Stop everything if the ledger was put back, though nothing asks to leave; the sentence that says so."""
        return stop_if_restored(self.ledger, self.witness, "gateway", self.clock())

    def __call__(self, outbox_id: int) -> str | None:
        """Deliver; a sentence where the request could not leave now."""
        with self.ledger.connect() as connection:
            is_whole = self.witness.missing(connection) is None
            found = connection.execute(text("SELECT request_id FROM outbox WHERE id = :id"), {"id": outbox_id})
            request_id = found.scalar_one_or_none()
        if not is_whole and (why := stop_if_restored(self.ledger, self.witness, "gateway", self.clock())):
            return why
        if request_id is not None:
            self.witness.sends(request_id, self.clock())
        return self.deliver(outbox_id)


def stop_if_restored(ledger: Engine, witness: Witness, actor: str, now: datetime) -> str | None:
    """Stop everything where the ledger lacks what this process saw; the sentence that says so."""
    with ledger.begin() as connection:
        lost = witness.missing(connection)
        if lost is None:
            return None
        reconcile.stop_all(connection, lost.what, actor, now, lost.seen)
    # The stop is in the ledger now, and outlasts this process; what is missing stays missing.
    witness.forget()
    # What was read by these connections may be of the ledger that was, where it was put back below them.
    ledger.dispose()
    _LOG.error(
        "the ledger was restored to an earlier copy: %s. Everything forward is stopped: %s", lost.what, reconcile.ASK
    )
    return f"the ledger was restored to an earlier copy: {lost.what}"
