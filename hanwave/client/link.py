"""What a client and its campaigns share: the ledger, the engine, and how long either is waited for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from temporalio.client import Client as Temporal

from hanwave import names
from hanwave.client import engine
from hanwave.client.errors import LedgerLostError
from hanwave.ledger.stops import Scope
from hanwave.words import printable

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Link:
    """A ledger and an engine; patience is in seconds."""

    ledger: Engine
    temporal: Temporal
    patience: float
    user_id: str | None = None
    """Whose campaigns are seen and acted upon, and no others; None: every User ID's."""

    async def ask(self, act: Callable[[Connection], _T]) -> _T:
        """Do something in one transaction of the ledger, off the event loop."""

        def inside(ledger: Engine) -> _T:
            with ledger.begin() as connection:
                return act(connection)

        return await self.run(inside)

    async def run(self, act: Callable[[Engine], _T]) -> _T:
        """Do something with the ledger, off the event loop; LedgerLostError where it cannot be used."""
        try:
            return await asyncio.to_thread(act, self.ledger)
        except DBAPIError as error:
            # The driver's own first line names the host and the refusal; the statement, with its values, stays out.
            reason = (str(error.orig).strip().splitlines() or ["it gave no reason"])[0]
            raise LedgerLostError(f"the ledger refused or was lost: {reason}") from error

    async def tell(self, scope: Scope, why: str) -> bool:
        """Have the open campaigns and waves of a scope look at the ledger now; whether Temporal answered."""
        found = await self.ask(lambda connection: _open(connection, scope, printable(why)))
        return await engine.tell(self.temporal, found, min(self.patience, 3.0)) if found else True


_OPEN = text(
    "SELECT c.name, w.number FROM campaign c LEFT JOIN wave w ON w.campaign = c.name AND w.opened_at IS NOT NULL"
    " AND w.closed_at IS NULL WHERE c.closed_at IS NULL AND (:kind IN ('all', 'model')"
    " OR (:kind = 'user' AND c.user_id = :value) OR c.name = :campaign) ORDER BY c.created_at DESC LIMIT 100"
)


def _open(connection: Connection, scope: Scope, why: str) -> dict[str, tuple[str, list[str]]]:
    told: dict[str, tuple[str, list[str]]] = {}
    campaign = {"campaign": scope.value, "wave": scope.value.rpartition("/")[0]}.get(scope.kind)
    for row in connection.execute(_OPEN, {"kind": scope.kind, "value": scope.value, "campaign": campaign}):
        told[names.campaign_id(row.name)] = (names.WAVE_STOPPED, [why])
        if row.number is not None:
            told[names.wave_id(row.name, row.number)] = (names.NUDGE, [])
    return told


def now() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)
