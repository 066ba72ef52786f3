"""Halts in mid-flight, without an engine: permits, POSTs and evidence by hand, on a real PostgreSQL and the real clock."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from activities.withdraw import Withdrawals
from hanwave.ledger import control, outbox, permit, stops, withdrawal
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from tests.support.ledger import ACB, HASH, World

OK = outbox.Answer("I99", b"<ok/>")
DATED = Policy(
    waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED, lead=timedelta(hours=6), exposure_cap=10_000
)
SPRING = stops.Scope("campaign", "spring")


def at_the_real_time(ledger: Engine) -> World:
    """A world whose clock is the real one, since a halt looks at that."""
    return World(ledger, now=datetime.now(UTC))


def ask(world: World, leg: Leg, ids: list[int], campaign: str = "spring") -> permit.Permit:
    batch = leg is Leg.DISTRIBUTE
    service = ("11.4" if world.device_type == "PPMID" else "11.1") if batch else "11.3"
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask(campaign, 1, leg, ids, service, ACB if batch else None), world.now)


def begin(world: World, outbox_id: int | None) -> outbox.Sending | str:
    assert outbox_id is not None
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
        return outbox.begin(connection, outbox_id, world.now)


def answer(world: World, outbox_id: int | None, answer: outbox.Answer | None = OK) -> None:
    with world.engine.begin() as connection:
        if answer:
            outbox.answered(connection, outbox_id or 0, answer, world.now)
        else:
            outbox.no_answer(connection, outbox_id or 0, world.now)


def send(world: World, outbox_id: int | None, reply: outbox.Answer | None = OK) -> None:
    assert isinstance(begin(world, outbox_id), outbox.Sending)
    answer(world, outbox_id, reply)


def say(world: World, ids: list[int], kind: Kind, leg: Leg | None = None, attempt: int = 1, **more: str) -> None:
    facts = [Fact(i, Event(kind, world.now, leg, attempt=attempt, evidence=Evidence.DEVICE, **more)) for i in ids]
    with world.engine.begin() as connection:
        record(connection, facts, world.now)


def held(world: World, size: int, policy: Policy | None = None) -> list[int]:
    ids = world.campaign(world.fleet(size), policy)
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    say(world, ids, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    return ids


def activating(world: World) -> list[int]:
    ids = held(world, 1)
    send(world, ask(world, Leg.ACTIVATE, ids).outbox_id)
    return ids


def quarantined(world: World) -> list[int]:
    ids = activating(world)
    say(world, ids, Kind.QUARANTINED, Leg.ACTIVATE)
    return ids


def scheduled(world: World, size: int, policy: Policy = DATED) -> list[int]:
    ids = held(world, size, policy)
    for update_id in ids:
        send(world, ask(world, Leg.ACTIVATE, [update_id]).outbox_id)
    say(world, ids, Kind.SCHEDULED, Leg.ACTIVATE)
    assert world.count("campaign_device", "state = 'scheduled'") == size
    return ids


def halt(world: World, scope: stops.Scope = SPRING) -> control.Halted:
    return control.halt(world.engine, scope, "smoke", "ann", patience=1)


def listed(halted: control.Halted) -> dict[str, str]:
    return {device.eui: device.why for device in halted.beyond_recall}


def due(world: World) -> list[int]:
    with world.engine.connect() as connection:
        return [each.update_id for each in withdrawal.due(connection, world.now, 1000)]


class Cancels:
    """Delivers what the withdrawals give it, as the DCC would take it."""

    def __init__(self, world: World, reply: outbox.Answer | None = OK) -> None:
        self.world, self.reply, self.sent = world, reply, []
        self.withdrawals = Withdrawals(world.engine, self.deliver, lambda: world.now)

    def deliver(self, outbox_id: int) -> str | None:
        leave = begin(self.world, outbox_id)
        if isinstance(leave, str):
            return leave  # another gateway was first
        answer(self.world, outbox_id, self.reply)
        self.sent.append(outbox_id)
        return None
