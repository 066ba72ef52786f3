"""A stand-in for the DCC and its devices, for the tests of the workflows' decisions: it answers in the ledger itself.

The stack's tests have the emulator, real messages and real signatures; here only who does what when is at stake.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError

from activities.wave import now
from hanwave import names
from hanwave.identifiers import EUI64
from hanwave.ledger import outbox
from hanwave.ledger.standing import Fact, Folded, record
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from tests.support.ledger import HASH, VERSION, World

Behaviour = Callable[[str, Leg], list[tuple[Kind, dict[str, str]]]]
"""What a device says after a request of that leg was accepted; an empty list is silence."""


def good(_: str, leg: Leg) -> list[tuple[Kind, dict[str, str]]]:
    if leg is Leg.DISTRIBUTE:
        return [(Kind.VERIFIED, {"detail": HASH})]
    return [(Kind.ACTIVATED if leg is Leg.ACTIVATE else Kind.VERSION, {"version": VERSION})]


def quiet(eui: str, leg: Leg) -> list[tuple[Kind, dict[str, str]]]:
    """Reports success, and then nothing."""
    return [] if leg is Leg.READ else good(eui, leg)


def broken(eui: str, leg: Leg) -> list[tuple[Kind, dict[str, str]]]:
    if leg is Leg.ACTIVATE:
        return [(Kind.ACTIVATION_FAILED, {"detail": "activationFailure"})]
    return good(eui, leg)


@dataclass
class Dcc:
    """Takes what the outbox gives, and lets the devices answer at once."""

    world: World
    client: Client
    loop: asyncio.AbstractEventLoop
    behaviour: Behaviour = good
    posts: list[tuple[int, str, str]] = field(default_factory=list)
    """Every POST: outbox row, leg, EUI-64."""

    def deliver(self, outbox_id: int) -> str | None:
        with self.world.engine.begin() as connection:
            outbox.make_ready(connection, outbox_id, b"<request/>")
        with self.world.engine.begin() as connection:
            leave = outbox.begin(connection, outbox_id, now())
            if isinstance(leave, str):
                return leave
        with self.world.engine.begin() as connection:
            outbox.answered(connection, outbox_id, outbox.Answer("I99", b"<ok/>"), now())
            rows = connection.execute(
                text("SELECT update_id, eui, leg, hop, attempt FROM outbox_device WHERE outbox_id = :id"),
                {"id": outbox_id},
            ).all()
        for row in rows:
            self.posts.append((outbox_id, row.leg, row.eui))
            if row.leg == Leg.INVENTORY:
                continue  # the DCC answers it at once, and knows nothing new
            self._hear(row.update_id, row.eui, Leg(row.leg), row.hop, row.attempt)
        return None

    def _hear(self, update_id: int, eui: str, leg: Leg, hop: int, attempt: int) -> None:
        facts = [
            Fact(update_id, Event(kind, now(), leg, hop, attempt, Evidence.DEVICE, **more))
            for kind, more in self.behaviour(eui, leg)
        ]
        with self.world.engine.begin() as connection:
            for folded in record(connection, facts, now()):
                self._wake(folded)

    def _wake(self, folded: Folded) -> None:
        if folded.standing.state in (State.CONFIRMED, State.FAILED):
            handle = self.client.get_workflow_handle(names.device_id(folded.campaign, folded.eui))
            signal = handle.signal(names.WAKE, names.Wake(str(folded.standing.state)))
            asyncio.run_coroutine_threadsafe(_quietly(signal), self.loop)


async def _quietly(signal) -> None:
    # Where its workflow was not started yet, the wave's sweep tells it in the end.
    with contextlib.suppress(RPCError):
        await signal


ACB = EUI64.parse("90-B3-D5-1F-30-00-00-02")
