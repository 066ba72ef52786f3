"""What a home is told: in a customer's words, never another supplier's, with a note of who looked, and one button."""

import json
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from hanwave.ledger import campaigns, database, holds, lookup
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.decide import Outcome
from hanwave.rollout.device import State
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.settings import Lookup
from infra.stack.postgres import APPLICATION, LOOKUP
from tests.support.command import run
from tests.support.ledger import US, VERSION, World
from workers.lookup import Desk, application

pytestmark = pytest.mark.ledger
MPAN = "1900000000017"
THEM = "90-B3-D5-1F-30-09-00-00"


@pytest.fixture
def home(world: World) -> World:
    """Two homes of ours: in the first an update that settled and one that was never begun; the second has nothing."""
    euis = world.fleet(3, homes=2)
    updates = world.campaign(euis[:1] + euis[2:])
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET mpxn = :mpan WHERE eui = :eui"), {"mpan": MPAN, "eui": euis[0]})
        at = world.now
        said = [
            Event(Kind.SENT, at, Leg.DISTRIBUTE, attempt=1),
            Event(Kind.SENT, at + timedelta(hours=1), Leg.ACTIVATE, attempt=1),
            Event(
                *(Kind.ACTIVATED, at + timedelta(hours=2), Leg.ACTIVATE),
                attempt=1,
                evidence=Evidence.DEVICE,
                version=VERSION,
            ),
            Event(Kind.SETTLED, at + timedelta(days=1)),
        ]
        record(connection, [Fact(updates[0], each) for each in said], at + timedelta(days=1))
    return world


@pytest.fixture
async def desk(home: World, ledger_dsn: str):
    dsn = ledger_dsn.replace(f"//{APPLICATION}@", f"//{LOOKUP}@", 1)
    ledger = database.engine(dsn)
    told = Lookup(port=1, dsn=dsn)
    page = httpx.ASGITransport(application(Desk(ledger, told, US)))
    async with httpx.AsyncClient(transport=page, base_url="http://desk", headers={"X-Forwarded-User": "cat"}) as client:
        yield client
    ledger.dispose()


def look(world: World, key: str, user_id: str | None = US) -> lookup.Home:
    with world.engine.begin() as connection:
        return lookup.look(connection, key, "cat", world.now, user_id)


@pytest.mark.parametrize("key", [MPAN, "1900 0000 00017", "00-DB-00-00-00-00-00-00", "00db000000000002", "home-0"])
def test_a_home_is_found_by_its_number_a_device_or_its_key(home, key):
    found = look(home, key)
    assert [device.called for device in found.devices] == ["electricity meter"] * 2
    (done,) = found.devices[0].updates
    assert done.said == "The device was updated, and works as it should."
    assert done.changed_at == home.now + timedelta(hours=2)
    assert done.done_at
    (planned,) = found.devices[1].updates
    assert planned.said == "Nothing was done yet: an update is planned."
    assert not found.held


@pytest.mark.parametrize(
    ("scope", "column", "held"), [("region", "region", [True, True]), ("device", "eui", [True, False])]
)
def test_a_hold_on_more_or_less_than_the_home_is_told_of_its_devices(home, ledger_dsn, scope, column, held):
    with home.engine.begin() as connection:
        value = connection.execute(text(f"SELECT {column} FROM device ORDER BY eui LIMIT 1")).scalar_one()
        holds.place(connection, holds.NewHold(scope, value, "storm", "ann", user_id=US), home.now)
    found = look(home, MPAN)
    assert [device.held for device in found.devices] == held
    assert found.held is all(held)
    told = run("lookup", MPAN, "--database", ledger_dsn).out
    assert ("kept away from this home by a hold" in told) is all(held)
    assert ("kept away from its electricity meter by a hold" in told) is not all(held)


def test_nobody_is_told_of_an_update_that_a_shadow_campaign_will_never_send(home):
    shade = campaigns.NewCampaign("shade", "r2", US, Policy(waves=(Wave(share=1),)), "s", "d", "ann", shadow=True)
    told = look(home, MPAN)
    with home.engine.begin() as connection:
        campaigns.create(connection, shade, (tuple(device.eui for device in told.devices),), {}, home.now)
    assert look(home, MPAN) == told


def test_another_suppliers_home_is_not_found(home):
    with pytest.raises(LedgerError, match="no device of ours is known by that"):
        look(home, MPAN, THEM)


def test_each_look_is_noted_without_the_customers_number(home):
    look(home, MPAN)
    with home.engine.connect() as connection:
        (note,) = connection.execute(text("SELECT actor, subject, document FROM note WHERE verb = 'lookup'")).all()
    assert (note.actor, note.subject) == ("cat", "home")
    assert len(note.document["devices"]) == 2
    assert MPAN not in json.dumps(note.document)


def test_every_state_and_every_end_has_words_for_a_customer():
    assert set(lookup._SAYS) == set(State) - {State.CLOSED}
    assert set(lookup._ENDED) == set(Outcome)


async def test_the_page_tells_and_the_button_holds(home, desk):
    page = await desk.post("/", data={"key": MPAN})
    assert page.status_code == 200
    assert "The device was updated, and works as it should." in page.text
    assert "Updates are kept away" not in page.text
    held = await desk.post("/hold", data={"key": MPAN, "reason": "<b>newborn</b>"})
    assert "Updates are kept away from this home." in held.text
    with home.engine.connect() as connection:
        (hold,) = connection.execute(text("SELECT scope, value, owner, user_id, expires_at FROM hold")).all()
    assert (hold.scope, hold.value, hold.owner, hold.user_id) == ("home", "home-0", "cat", US)
    assert hold.expires_at


async def test_the_page_answers_a_program_in_json(desk):
    answer = await desk.post("/", json={"key": "home-0"}, headers={"Accept": "application/json"})
    assert [device["called"] for device in answer.json()["devices"]] == ["electricity meter"] * 2
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "request_", "status", "says"),
    [
        ("/", {"data": {"key": "nobody"}}, 404, "no device of ours"),
        ("/", {"data": {"key": " "}}, 400, "the field key is empty"),
        ("/", {"data": {"key": "a\0b"}}, 400, "the field key is empty"),
        ("/", {"content": b"\xff=\xfe"}, 400, "neither a form nor a JSON object"),
        ("/", {"content": b"[1]", "headers": {"Content-Type": "application/json"}}, 400, "neither a form"),
        ("/", {"content": b"[" * 4096, "headers": {"Content-Type": "application/json"}}, 400, "neither a form"),
        ("/", {"content": b"key=" + b"x" * 5000}, 413, "longer than 4096 octets"),
        ("/", {"data": {"key": MPAN}, "headers": {"X-Forwarded-User": ""}}, 403, "not signed in"),
        ("/hold", {"data": {"key": MPAN}}, 400, "needs a reason"),
        (
            "/hold",
            {"data": {"key": MPAN, "reason": "x"}, "headers": {"Origin": "https://evil.example"}},
            403,
            "another site",
        ),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence_and_changes_nothing(home, desk, path, request_, status, says):
    headers = {"Accept": "application/json", **request_.pop("headers", {})}
    answer = await desk.post(path, headers=headers, **request_)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert home.count("hold") == 0


def test_the_pages_role_may_not_touch_an_update(home, ledger_dsn):
    ledger: Engine = database.engine(ledger_dsn.replace(f"//{APPLICATION}@", f"//{LOOKUP}@", 1))
    for statement in ("UPDATE campaign_device SET state = 'held'", "DELETE FROM hold", "SELECT raw FROM inbox"):
        with ledger.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(statement))
    ledger.dispose()


def test_the_command_looks_and_holds(home, ledger_dsn):
    ran = run("lookup", MPAN, "--database", ledger_dsn, "--actor", "cat")
    assert ran.code == 0, ran.err
    assert "The device was updated, and works as it should." in ran.out
    ran = run("lookup", MPAN, "--hold", "newborn", "--database", ledger_dsn, "--actor", "cat", "--json")
    assert json.loads(ran.out)["held"] is True
    ran = run("lookup", "nobody", "--database", ledger_dsn)
    assert (ran.code, ran.err.startswith("hanwave: no device of ours is known by that")) == (1, True)
