"""Waves that go well, or do not, and are judged: what the tests of the gate begin with."""

from datetime import timedelta

from hanwave.ledger import judging, waves
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.gate import Counts, Judgement
from hanwave.rollout.policy import Gate, Policy, Wave
from tests.support.ledger import HASH, VERSION, World

GATE = Gate(harm=0.3, silence=0.3, confidence=0.8)
DAY = timedelta(days=1)


def begin(world: World, size: int, gate: Gate = GATE, *, others: int = 0) -> list[int]:
    """A campaign of one wave, opened; some devices of the fleet are in none."""
    ids = world.campaign(world.fleet(size + others)[:size], Policy(waves=(Wave(share=1),), gate=gate))
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
    return ids


def say(world: World, ids: list[int], *events: Event) -> None:
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, event) for update_id in ids for event in events], world.now)


def event(kind: Kind, at, leg: Leg | None = None, evidence=Evidence.DEVICE, **more) -> Event:
    return Event(kind, at, leg, attempt=1 if leg else 0, evidence=evidence, **more)


def activated(world: World) -> list[Event]:
    at = world.now
    return [
        event(Kind.SENT, at, Leg.DISTRIBUTE, Evidence.OURS),
        event(Kind.VERIFIED, at + timedelta(minutes=1), Leg.DISTRIBUTE, detail=HASH),
        event(Kind.SENT, at + timedelta(minutes=2), Leg.ACTIVATE, Evidence.OURS),
        event(Kind.ACTIVATED, at + timedelta(minutes=3), Leg.ACTIVATE, version=VERSION),
    ]


def settle(world: World, ids: list[int], without: Kind | None = None) -> None:
    end = world.now + 2 * DAY
    told = [
        *activated(world),
        event(Kind.SENT, end, Leg.READ, Evidence.OURS),
        event(Kind.VERSION, end, Leg.READ, Evidence.READ_BACK, version=VERSION),
        event(Kind.SETTLED, end, evidence=Evidence.OURS),
    ]
    say(world, ids, *(each for each in told if each.kind is not without))


def go_quiet(world: World, ids: list[int]) -> None:
    asked = [event(Kind.SENT, world.now + days * DAY, Leg.READ, Evidence.OURS) for days in (2, 3)]
    closed = event(Kind.CLOSED, world.now + 4 * DAY, evidence=Evidence.OURS, detail="quiet")
    say(world, ids, *activated(world), *asked, closed)


def close(world: World, **more) -> Judgement:
    with world.engine.begin() as connection:
        return judging.close_wave(connection, "spring", 1, world.now + 5 * DAY, **more)


def explained(world: World) -> judging.Explained:
    with world.engine.begin() as connection:
        return judging.recompute(connection, "spring", 1)


def counts(world: World) -> Counts:
    return explained(world).inputs.counts
