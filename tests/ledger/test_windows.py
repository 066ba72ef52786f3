"""Windows and incidents in the permit, the outbox and the sweep, on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from hanwave.ledger import incidents, outbox, overview, permit, progress, waves, windows
from hanwave.ledger.database import LedgerError
from hanwave.ledger.incidents import NewIncident
from hanwave.ledger.standing import Fact, record, standings
from hanwave.rollout.decide import Step
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import ActivationMode, Policy, Wave
from hanwave.rollout.windows import Switching, Window, Windows
from tests.support.ledger import ACB, HASH, World

pytestmark = pytest.mark.ledger
OK = outbox.Answer("I99", b"<ok/>")
WORKDAYS = Window(days="mon-fri", hours="08:00-16:00", on_bank_holidays=False)
MONDAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
"""The first opening of WORKDAYS after the world's start, a Sunday."""
SHUT = "the activation window is closed until Mon 23 Nov 08:00 GMT (open mon tue wed thu fri 08:00-16:00 Europe/London)"
INSTANT = timedelta(microseconds=1)


def policy(**more) -> Policy:
    more = {"activate": WORKDAYS} | more
    return Policy(waves=(Wave(share=1),), windows=Windows(**more))


def ask(world: World, leg: Leg, ids: list[int]) -> permit.Permit:
    batch = leg is Leg.DISTRIBUTE
    reference = {Leg.DISTRIBUTE: "11.1", Leg.ACTIVATE: "11.3", Leg.READ: "11.2"}[leg]
    with world.engine.begin() as connection:
        return permit.ask(connection, permit.Ask("spring", 1, leg, ids, reference, ACB if batch else None), world.now)


def send(world: World, outbox_id: int) -> outbox.Sending | str:
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
    with world.engine.begin() as connection:
        leave = outbox.begin(connection, outbox_id, world.now)
        if not isinstance(leave, str):
            outbox.answered(connection, outbox_id, OK, world.now)
        return leave


def hold_image(world: World, size: int, rules: Policy) -> list[int]:
    """A campaign whose devices hold the image."""
    ids = world.campaign(world.fleet(size), rules)
    found = ask(world, Leg.DISTRIBUTE, ids)
    assert found.outbox_id, found.refused
    send(world, found.outbox_id)
    say(world, ids, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    return ids


def say(world: World, ids: list[int], kind: Kind, leg: Leg, **more) -> None:
    event = Event(kind, world.now, leg, attempt=1, evidence=Evidence.DEVICE, **more)
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, event) for update_id in ids], world.now)


def fleet_has(world: World, update_id: int, **columns: str) -> None:
    for column, value in columns.items():
        with world.engine.begin() as connection:
            connection.execute(
                text(f"UPDATE device SET {column} = :v WHERE eui = (SELECT eui FROM campaign_device WHERE id = :id)"),
                {"v": value, "id": update_id},
            )


def add(world: World, **more) -> int:
    given = {"service": "all", "reference": "INC1", "reason": "down", "actor": "ann", "starts_at": world.now} | more
    with world.engine.begin() as connection:
        return incidents.add(connection, NewIncident(**given), world.now)


def end(world: World, number: int) -> None:
    with world.engine.begin() as connection:
        incidents.end(connection, number, world.now, ("ann", "the DCC closed it"), world.now)


def sweep(world: World) -> waves.Sweep:
    with world.engine.begin() as connection:
        return waves.sweep(connection, "spring", 1, world.now, timedelta(seconds=30))


def row(world: World, update_id: int):
    with world.engine.connect() as connection:
        return connection.execute(text("SELECT * FROM campaign_device WHERE id = :id"), {"id": update_id}).one()


def test_a_closed_leg_sends_nothing_until_the_instant_at_which_it_opens(world):
    (one,) = hold_image(world, 1, policy())
    for now in (world.now, MONDAY - INSTANT):
        world.now = now
        found = ask(world, Leg.ACTIVATE, [one])
        assert found.outbox_id is None
        assert (found.refused[one].reason, found.refused[one].until) == (SHUT, MONDAY)
        assert world.count("outbox", "leg = 'activate'") == 0
    world.now = MONDAY
    assert ask(world, Leg.ACTIVATE, [one]).granted == (one,)


def test_the_last_instant_of_a_window_is_granted_and_its_end_is_not(world):
    one, two = hold_image(world, 2, policy())
    world.now = MONDAY.replace(hour=16) - INSTANT
    assert ask(world, Leg.ACTIVATE, [one]).granted == (one,)
    world.now = MONDAY.replace(hour=16)
    assert ask(world, Leg.ACTIVATE, [two]).refused[two].until == MONDAY + timedelta(days=1)


def test_distribution_and_activation_have_windows_apart(world):
    ids = world.campaign(world.fleet(1), policy(activate=(), distribute=WORKDAYS))
    assert ask(world, Leg.DISTRIBUTE, ids).refused[ids[0]].until == MONDAY
    world.now = MONDAY
    assert ask(world, Leg.DISTRIBUTE, ids).granted == tuple(ids)


def test_a_ppmid_activates_by_itself_so_its_image_keeps_the_windows_of_both(world):
    world.device_type = "PPMID"
    ids = world.campaign(world.fleet(1), policy())
    assert ask(world, Leg.DISTRIBUTE, ids).refused[ids[0]].until == MONDAY


def test_each_device_keeps_the_bank_holidays_of_its_region_and_the_windows_of_how_it_pays(world):
    south, north, prepaid = hold_image(world, 3, policy(prepayment=Window(hours="10:00-12:00")))
    fleet_has(world, north, region="North")
    fleet_has(world, prepaid, payment_mode="prepayment")
    world.now = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)  # Saint Andrew's Day
    found = [ask(world, Leg.ACTIVATE, [each]) for each in (south, north, prepaid)]
    assert [each.granted for each in found] == [(south,), (), ()]
    assert "bank holiday: Saint Andrew's Day" in found[1].refused[north].reason
    assert found[1].refused[north].until == datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
    assert found[2].refused[prepaid].until == datetime(2026, 11, 30, 10, 0, tzinfo=UTC)


def test_a_load_switch_keeps_its_own_calendar_else_the_policy_s(world):
    world.device_type = "HCALCS"
    rules = policy(activate=(), switching=Switching(hours="00:30-07:30"))
    usual, own = hold_image(world, 2, rules)
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO load_calendar SELECT eui, '[\"13:00-15:00\"]', :now FROM campaign_device WHERE id = :id"),
            {"id": own, "now": world.now},
        )
    world.now = MONDAY.replace(hour=13)
    assert ask(world, Leg.ACTIVATE, [own]).refused[own].until == MONDAY.replace(hour=15)
    assert ask(world, Leg.ACTIVATE, [usual]).granted == (usual,)


def test_a_sweep_wakes_nobody_while_the_window_is_closed_and_comes_again_when_it_opens(world):
    one, two = hold_image(world, 2, policy())
    found = sweep(world)
    assert found.wake == []
    assert found.next_due == MONDAY
    assert row(world, one).reason.startswith("the activation window is closed until Mon 23 Nov 08:00 GMT")
    world.now = MONDAY
    assert sweep(world).wake == sorted([row(world, one).eui, row(world, two).eui])


def test_the_page_and_when_say_what_is_closed_and_until_when(world):
    hold_image(world, 2, policy())
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
    sweep(world)
    with world.engine.connect() as connection:
        page = progress.progress(connection, "spring", world.now)
        openings = windows.openings(connection, "spring", world.now)
        opened = overview.view(connection, "spring", MONDAY)
    assert (opened.held, opened.next_due) == ([], None)
    assert page.next_due == MONDAY
    assert page.waits_for == f"wave 1 to close; 2 devices not now: {SHUT}"
    assert [str(each) for each in openings] == [
        "the distribution window is open for 2 devices in South",
        f"{SHUT} for 2 devices in South",
    ]


def test_a_request_that_was_left_behind_does_not_leave_once_its_window_has_closed(world):
    (one,) = hold_image(world, 1, policy())
    world.now = MONDAY.replace(hour=16) - INSTANT
    outbox_id = ask(world, Leg.ACTIVATE, [one]).outbox_id
    world.now = MONDAY.replace(hour=17)
    assert "the activation window is closed until Tue 24 Nov 08:00" in send(world, outbox_id)
    assert world.count("outbox", "sends > 0 AND leg = 'activate'") == 0
    world.now = MONDAY + timedelta(days=1)
    assert isinstance(send(world, outbox_id), outbox.Sending)


def test_a_request_whose_acknowledgement_was_lost_is_not_sent_again_outside_its_window(world):
    (one,) = hold_image(world, 1, policy())
    world.now = MONDAY.replace(hour=16) - INSTANT
    outbox_id = ask(world, Leg.ACTIVATE, [one]).outbox_id
    with world.engine.begin() as connection:
        outbox.make_ready(connection, outbox_id, b"<request/>")
        assert isinstance(outbox.begin(connection, outbox_id, world.now), outbox.Sending)
        outbox.no_answer(connection, outbox_id, world.now)
    world.later(minutes=1)
    with world.engine.begin() as connection:
        assert "the activation window is closed" in outbox.begin(connection, outbox_id, world.now)
    assert world.count("outbox", "sends = 1 AND leg = 'activate'") == 1


def dated(**more) -> Policy:
    return policy(**more).model_copy(update={"activation": ActivationMode.FUTURE_DATED, "lead": timedelta(hours=12)})


def test_a_future_dated_activation_is_sent_at_any_time_and_its_date_lies_inside(world):
    (one,) = hold_image(world, 1, dated())
    outbox_id = ask(world, Leg.ACTIVATE, [one]).outbox_id  # on Sunday at 10:00; the lead ends at 22:00
    with world.engine.connect() as connection:
        at = outbox.get(connection, outbox_id).parameters["at"]
        (found,) = standings(connection, [one], world.now)
    assert at == MONDAY.isoformat()
    assert found.standing.dated == MONDAY
    send(world, outbox_id)
    say(world, [one], Kind.SCHEDULED, Leg.ACTIVATE)
    assert row(world, one).due_at == MONDAY + timedelta(hours=24)


def test_a_date_inside_the_window_stays_what_the_lead_makes_it(world):
    (one,) = hold_image(world, 1, dated())
    world.now = datetime(2026, 11, 23, 1, 30, 0, 5, tzinfo=UTC)
    outbox_id = ask(world, Leg.ACTIVATE, [one]).outbox_id
    with world.engine.connect() as connection:
        assert outbox.get(connection, outbox_id).parameters["at"] == "2026-11-23T13:30:00+00:00"


def test_a_date_further_ahead_than_the_dcc_takes_is_not_asked_for_yet(world):
    (one,) = hold_image(world, 1, dated(activate=Window(blackout="2026-11-01/2027-01-31")))
    found = ask(world, Leg.ACTIVATE, [one]).refused[one]
    assert found.until == datetime(2027, 1, 2, tzinfo=UTC)  # thirty days before it
    world.now = found.until
    assert ask(world, Leg.ACTIVATE, [one]).granted == (one,)


def test_an_announced_maintenance_moves_a_date_out_of_its_way(world):
    (one,) = hold_image(world, 1, dated())
    add(
        world,
        service="activation",
        starts_at=MONDAY - timedelta(hours=2),
        ends_at=MONDAY + timedelta(hours=1, seconds=1),
    )
    outbox_id = ask(world, Leg.ACTIVATE, [one]).outbox_id
    with world.engine.connect() as connection:
        assert outbox.get(connection, outbox_id).parameters["at"] == "2026-11-23T09:00:01+00:00"


def test_an_incident_closes_the_permit_where_it_is_and_for_what_it_takes(world):
    one, two = hold_image(world, 2, policy(activate=()))
    fleet_has(world, two, region="North")
    add(world, region="South", service="distribution")
    assert ask(world, Leg.ACTIVATE, [one]).granted == (one,)
    number = add(world, region="North", service="activation", reference="INC2")
    found = ask(world, Leg.ACTIVATE, [two]).refused[two]
    assert found.reason == (
        "the activation window is closed, and no opening within a year is known"
        " (DCC incident INC2, of which no end is known)"
    )
    assert sweep(world).wake == []
    world.later(minutes=1)
    end(world, number)
    assert sweep(world).wake == [row(world, two).eui]
    assert ask(world, Leg.ACTIVATE, [two]).granted == (two,)


def test_a_region_s_incident_stops_the_clocks_of_what_is_in_flight_there(world):
    ids = world.campaign(world.fleet(2), policy())
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    sent = world.now
    fleet_has(world, ids[1], region="North")
    world.later(days=2)
    number = add(world, region="South")
    world.later(days=3)
    end(world, number)
    world.now = sent + timedelta(days=10)
    sweep(world)
    assert [row(world, each).state for each in ids] == ["requested", "delivery_failed"]
    assert row(world, ids[0]).due_at == sent + timedelta(days=13)
    world.now = sent + timedelta(days=13)
    sweep(world)
    assert row(world, ids[0]).state == "delivery_failed"


def test_an_end_that_comes_early_brings_the_deadlines_forward_again(world):
    ids = world.campaign(world.fleet(1), policy())
    send(world, ask(world, Leg.DISTRIBUTE, ids).outbox_id)
    sent = world.now
    number = add(world, ends_at=sent + timedelta(days=20))
    world.now = sent + timedelta(days=9)
    say(world, ids, Kind.HEARD, Leg.DISTRIBUTE)
    assert row(world, ids[0]).due_at == sent + timedelta(days=30)
    end(world, number)  # nine days after it began
    sweep(world)
    assert row(world, ids[0]).due_at == sent + timedelta(days=19)


def test_nobody_is_asked_for_a_version_while_everything_is_down(world):
    (one,) = hold_image(world, 1, policy(activate=()))
    send(world, ask(world, Leg.ACTIVATE, [one]).outbox_id)
    world.later(hours=24)
    sweep(world)  # overdue, so its version is to be read
    number = add(world)
    assert row(world, one).step == Step.READ
    assert ask(world, Leg.READ, [one]).granted == ()
    world.later(hours=1)
    end(world, number)
    assert ask(world, Leg.READ, [one]).granted == (one,)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"region": "Mars"}, "the incident's region holds 'Mars'"),
        ({"service": "11.2"}, "the incident's service holds '11.2'"),
        ({"reference": " "}, "needs the DCC's reference"),
        ({"reference": "x" * 61}, "at most 60 characters"),
        ({"reason": ""}, "needs a reason"),
        ({"ends_at": datetime(2026, 11, 22, 9, tzinfo=UTC)}, "should be later than its start"),
    ],
)
def test_an_incident_that_cannot_be_is_refused_in_a_sentence(world, fields, says):
    with pytest.raises(LedgerError, match=says):
        add(world, **fields)
    assert world.count("incident") == world.count("note") == 0


def test_an_incident_is_ended_once_and_one_that_is_called_off_never_was(world):
    lasting, planned = add(world), add(world, starts_at=world.now + timedelta(days=1), reference="CHG1")
    world.later(hours=1)
    end(world, lasting)
    end(world, planned)
    with pytest.raises(LedgerError, match=f"there is no incident {lasting} that is not over"):
        end(world, lasting)
    with world.engine.connect() as connection:
        found = incidents.listed(connection, world.now + timedelta(days=2), ended=True)
        assert incidents.listed(connection, world.now + timedelta(days=2)) == []
    assert [each.ends_at - each.starts_at for each in found] == [timedelta(hours=1), timedelta(0)]
    assert world.count("note", "verb IN ('add_incident', 'end_incident')") == 4
