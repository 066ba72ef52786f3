"""Messages stored and routed as the receive service does, and devices brought to where a test begins."""

from sqlalchemy import text

from hanwave import duis
from hanwave.identifiers import EUI64, RequestID
from hanwave.ledger import inbox, outbox, permit
from hanwave.ledger.routing import Routed, route
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.policy import Policy
from tests.support import messages as m
from tests.support.ledger import ACB, World, eui


def deliver(world: World, message: duis.Response) -> Routed:
    """Store a message and route it; it is stored and routed a second time, which must change nothing."""
    raw = duis.write(message)
    with world.engine.begin() as connection:
        inbox.store(connection, f"key-{hash(raw)}", raw, world.now, verified=True)
    with world.engine.begin() as connection:
        (received,) = inbox.unrouted(connection, 5)
        (routed,) = route(connection, [received], world.now)
    before = state_of(world)
    with world.engine.begin() as connection:
        route(connection, [received], world.later(seconds=1))
    assert state_of(world) == before
    return routed


def state_of(world: World) -> list[object]:
    queries = (
        "SELECT update_id, kind, leg, attempt, at, version, detail FROM device_event ORDER BY id",
        "SELECT campaign, wave, state, sum(delta) FROM tally GROUP BY 1, 2, 3 HAVING sum(delta) <> 0 ORDER BY 1, 2, 3",
        "SELECT eui, firmware_version, smi_status, last_heard FROM device ORDER BY eui",
        "SELECT id, state, step, reason, version FROM campaign_device ORDER BY id",
        "SELECT verb, subject, reason FROM note ORDER BY id",
        "SELECT id, route FROM inbox ORDER BY id",
        "SELECT eui, update_id FROM lease ORDER BY eui",
    )
    with world.engine.connect() as connection:
        return [connection.execute(text(query)).all() for query in queries]


def ask(world: World, ids: list[int], leg: Leg, reference: str, target: EUI64 | None = None) -> permit.Permit:
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask("spring", 1, leg, ids, reference, target), world.now)


def post(world: World, granted: permit.Permit, answer: outbox.Answer | None = None) -> RequestID:
    """Send a granted request and take the DCC's I99."""
    assert granted.outbox_id
    assert granted.request_id
    with world.engine.begin() as connection:
        outbox.make_ready(connection, granted.outbox_id, b"<request/>")
        outbox.begin(connection, granted.outbox_id, world.now)
        outbox.answered(connection, granted.outbox_id, answer or outbox.Answer("I99", b"<ok/>"), world.now)
    return RequestID.parse(granted.request_id)


def distributed(world: World, size: int = 1, policy: Policy | None = None) -> tuple[list[int], RequestID]:
    ids = world.campaign(world.fleet(size), policy)
    request = post(world, ask(world, ids, Leg.DISTRIBUTE, "11.1", ACB))
    world.later(minutes=1)
    return ids, request


def activating(world: World, policy: Policy | None = None, *, sent: bool = True) -> tuple[int, RequestID]:
    (update_id,), _ = distributed(world, 1, policy)
    deliver(world, m.verified(at=world.now))
    granted = ask(world, [update_id], Leg.ACTIVATE, "11.3")
    request = post(world, granted) if sent else RequestID.parse(granted.request_id or "")
    world.later(minutes=1)
    return update_id, request


def close(world: World, update_id: int) -> None:
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, Event(Kind.CLOSED, world.now, detail="unknown"))], world.now)


def events(world: World, kind: Kind) -> list[tuple[object, ...]]:
    with world.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT leg, attempt, evidence, message FROM device_event WHERE kind = :kind ORDER BY id"),
            {"kind": kind},
        )
        return [tuple(row) for row in rows]


def device(world: World, name: str = eui(0)) -> object:
    with world.engine.connect() as connection:
        return connection.execute(text("SELECT * FROM device WHERE eui = :eui"), {"eui": name}).one()


def notes(world: World) -> list[tuple[str, str]]:
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT verb, subject FROM note ORDER BY id"))]
