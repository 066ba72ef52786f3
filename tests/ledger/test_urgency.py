"""Urgent campaigns take over; shadow campaigns permit nothing. On a real PostgreSQL."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave import duis
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns, control, overview, permit, planning, waves, withdrawal
from hanwave.ledger.database import LedgerError
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import ActivationMode, Gate, Policy, Wave
from hanwave.rollout.request import CampaignRequest, RequestError, parse_request
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.support import messages as m
from tests.support.ledger import ACB, US, VERSION, World, eui
from tests.support.routing import ask, deliver, post
from workflows import pages

pytestmark = pytest.mark.ledger
ONE_WAVE = Policy(waves=(Wave(share=1),))


def start(world: World, euis: list[str], name: str = "fix", *, urgent: bool = True, approved: bool = True) -> list[int]:
    """A campaign over those devices whose first wave has been opened; its updates."""
    request = {"approvals": 1 if urgent else 0}
    new = campaigns.NewCampaign(
        name, "r2", US, ONE_WAVE, "seed", f"digest-{name}", "ann", request=request, urgent=urgent, shadow=not urgent
    )
    with world.engine.begin() as connection:
        campaigns.create(connection, new, (tuple(euis),), {}, world.now)
    if approved and urgent:
        control.approve(world.engine, name, f"digest-{name}", "bob")
    with world.engine.begin() as connection:
        waves.open_wave(connection, name, 1, world.now)
        rows = connection.execute(text("SELECT id FROM campaign_device WHERE campaign = :n ORDER BY eui"), {"n": name})
        return list(rows.scalars())


def sweep(world: World, name: str = "fix") -> waves.Sweep:
    with world.engine.begin() as connection:
        return waves.sweep(connection, name, 1, world.now, timedelta(seconds=30))


def ends(world: World, name: str = "spring") -> list[tuple[str, str]]:
    statement = "SELECT outcome, reason FROM campaign_device WHERE campaign = :n AND state = 'closed' ORDER BY id"
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), {"n": name})]


TAKEN = ("superseded", "the urgent campaign fix takes the device over")


def test_an_urgent_campaign_takes_over_what_is_not_yet_activating_and_its_lease(world):
    euis = world.fleet(3)
    slow = world.campaign(euis, ONE_WAVE)
    send(world, distribute(world, slow[:2]).outbox_id)
    for update_id in slow[:2]:
        say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail="AB" * 32)
    send(world, activate(world, slow[0]).outbox_id)
    urgent = start(world, euis)
    sweep(world)
    assert ends(world) == [TAKEN, TAKEN]
    assert world.state(slow[0]) is State.ACTIVATING
    assert world.count("note", "verb = 'superseded'") == 2
    asked = distribute(world, urgent, "fix")
    assert set(asked.granted) == set(urgent[1:])
    assert asked.refused[urgent[0]].reason == "in another update"
    assert world.count("lease", f"update_id IN ({urgent[1]}, {urgent[2]})") == 2


def test_an_image_on_its_way_is_waited_for_and_nothing_more_is_sent_for_the_slower_campaign(world):
    euis = world.fleet(1)
    (slow,) = world.campaign(euis, ONE_WAVE)
    send(world, distribute(world, [slow]).outbox_id)
    start(world, euis)
    sweep(world)
    assert ends(world) == []
    say(world, slow, Kind.VERIFIED, Leg.DISTRIBUTE, detail="AB" * 32)
    assert activate(world, slow).refused[slow].reason == "the urgent campaign fix takes it over"
    sweep(world)
    assert ends(world) == [TAKEN]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_future_dated_activation_is_withdrawn_before_its_update_is_superseded(world, acknowledged):
    """Also where the answer to it was lost: the device may have it all the same."""
    policy = Policy(waves=(Wave(share=1),), activation=ActivationMode.FUTURE_DATED)
    (slow,) = hold_image(world, policy=policy)
    send(world, activate(world, slow).outbox_id)
    if acknowledged:
        say(world, slow, Kind.SCHEDULED, Leg.ACTIVATE)
    with world.engine.begin() as connection:
        assert withdrawal.due(connection, world.now, 10) == []
    start(world, [eui(0)])
    sweep(world)
    assert ends(world) == []
    with world.engine.begin() as connection:
        assert [each.update_id for each in withdrawal.due(connection, world.now, 10)] == [slow]
        cancel = permit.ask(connection, permit.Ask("spring", 1, Leg.WITHDRAW, [slow], "11.3"), world.now)
    assert cancel.granted == (slow,)
    say(world, slow, Kind.WITHDRAWN, Leg.ACTIVATE)
    sweep(world)
    assert ends(world) == [TAKEN]


def test_a_request_that_the_dcc_holds_keeps_its_device_from_an_urgent_campaign(world):
    """It was the first one, as is learnt after the second came to nothing; it may be released tomorrow."""
    euis = world.fleet(1)
    (slow,) = world.campaign(euis, ONE_WAVE)
    send(world, distribute(world, [slow]).outbox_id)
    say(world, slow, Kind.OVERDUE, Leg.DISTRIBUTE)
    world.later(hours=2)
    send(world, distribute(world, [slow]).outbox_id)
    say(world, slow, Kind.DELIVERY_FAILED, Leg.DISTRIBUTE, attempt=2)
    say(world, slow, Kind.QUARANTINED, Leg.DISTRIBUTE)
    start(world, euis)
    sweep(world)
    assert (world.state(slow), ends(world)) == (State.DELIVERY_FAILED, [])


def test_an_urgent_campaign_that_is_not_approved_takes_nothing(world):
    euis = world.fleet(1)
    (slow,) = world.campaign(euis, ONE_WAVE)
    with pytest.raises(LedgerError, match="'fix' may not begin: 0 of 1 approvals"):
        start(world, euis, approved=False)
    assert distribute(world, [slow]).granted == (slow,)


def test_a_plan_counts_on_what_it_will_take_over_and_on_nothing_that_activates(world):
    world.release_document()
    one, two = hold_image(world, 2)
    send(world, activate(world, two).outbox_id)
    policy = Policy(waves=(Wave(share=1),), gate=Gate(harm=0.95, silence=0.95))
    request = CampaignRequest(release="r2", policy=policy, author="ann", urgent=True, approvals=1)
    with world.engine.begin() as connection:
        plan = planning.draw(connection, "fix", request, US, world.now)
    assert [list(wave) for wave in plan.waves] == [[eui(0)]]
    assert plan.left_out == {eui(1): "in another update"}
    assert world.state(one) is State.HELD


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"urgent": True}, "so it needs approvals: at least 1"),
        ({"urgent": True, "shadow": True, "approvals": 1, "author": "ann"}, "urgent or a shadow, not both"),
        ({"urgent": "yes"}, "urgent: input should be a valid boolean"),
    ],
)
def test_an_urgent_request_that_cannot_be_is_refused_in_a_sentence(more, sentence):
    with pytest.raises(RequestError, match=sentence) as refused:
        parse_request({"release": "r2", **more})
    assert len(str(refused.value)) <= 240


def test_a_shadow_campaign_permits_nothing_and_shows_what_would_have_been_sent(world):
    euis = world.fleet(3)
    world.release()
    ids = start(world, euis, "shade", urgent=False)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET smi_status = 'Pending' WHERE eui = :eui"), {"eui": euis[2]})
        asked = permit.ask(connection, permit.Ask("shade", 1, Leg.DISTRIBUTE, ids, "11.1", ACB), world.now)
        waves.defer(connection, "shade", asked.refused, world.now)
    assert asked.outbox_id is None
    assert [asked.refused[each].reason for each in ids] == [campaigns.SHADOW] * 2 + ["its SMI status is Pending"]
    assert world.count("outbox") == world.count("lease") == world.count("home_lease") == 0
    with world.engine.connect() as connection:
        view = overview.view(connection, "shade")
    assert view
    assert view.funnel == {"planned": 1, "planned:would be sent": 2}


def test_a_shadow_campaign_sees_what_becomes_of_its_devices_by_others_doing_and_steps_in_nowhere(world):
    euis = world.fleet(3)
    (real, *_) = world.campaign(euis[:1], ONE_WAVE)
    ids = start(world, euis, "shade", urgent=False)
    send(world, distribute(world, [real]).outbox_id)
    deliver(world, m.verified(at=world.later(minutes=1)))
    request = post(world, ask(world, [real], Leg.ACTIVATE, "11.3"))
    routed = deliver(world, m.outcome(request, at=world.later(minutes=1)))
    assert [wake.campaign for wake in routed.wakes] == ["spring"]
    elsewhere = duis.FirmwareUpgradeRequested(duis.DeviceType.ESME, VERSION, (EUI64.parse(euis[1]),))
    deliver(world, m.dcc_alert("N59", elsewhere, world.now))
    deliver(world, m.version_read(m.asked(EUI64.parse(euis[2]), 7), "00000001", at=world.now))
    assert [world.state(each) for each in ids] == [State.CONFIRMED, State.PLANNED, State.PLANNED]
    assert world.count("device_event", f"update_id = ANY('{{{','.join(map(str, ids))}}}') AND evidence = 'ours'") == 0
    world.later(days=3)
    with world.engine.begin() as connection:
        read = permit.ask(connection, permit.Ask("shade", 1, Leg.READ, ids[:1], "11.2"), world.now)
        assert read.refused[ids[0]].reason == campaigns.SHADOW
        asked = permit.ask(connection, permit.Ask("shade", 1, Leg.DISTRIBUTE, ids, "11.1", ACB), world.now)
        waves.defer(connection, "shade", asked.refused | read.refused, world.now)
        view = overview.view(connection, "shade")
    assert view
    assert view.funnel == {"confirmed": 1, "planned:would be sent": 2}
    assert view.seen == {
        "8F72": 1,
        f"another supplier asked for version {VERSION} (N59)": 1,
        "runs 00000001": 1,
        f"runs {VERSION}": 1,
    }
    assert "**Seen instead**" in pages.campaign(view, "nothing")


def test_a_shadows_wave_ends_once_its_devices_were_watched_for_as_long_as_an_update_takes(world):
    euis = world.fleet(3)
    world.campaign(euis[:1], ONE_WAVE)
    ids = start(world, euis, "shade", urgent=False)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET smi_status = 'Pending' WHERE eui = :eui"), {"eui": euis[2]})
    deliver(world, m.version_read(m.asked(EUI64.parse(euis[0]), 7), VERSION, at=world.now))

    def watch(days: float) -> int:
        world.later(days=days)
        with world.engine.begin() as connection:
            for leg, service in ((Leg.READ, "11.2"), (Leg.DISTRIBUTE, "11.1")):
                asked = permit.ask(connection, permit.Ask("shade", 1, leg, ids, service, ACB), world.now)
                due = {each: why for each, why in asked.refused.items() if why.by != "step_is_due"}
                waves.defer(connection, "shade", due, world.now)
        return sweep(world, "shade").open

    assert watch(days=12.9) == 3
    assert watch(days=0.2) == 1
    assert ends(world, "shade") == [
        ("unknown", "the campaign is a shadow: it runs the version, and nobody asks it how it does"),
        ("not_started", "the campaign is a shadow: nobody was seen to bring it the version"),
    ]


def test_a_shadow_campaign_holds_up_no_other(world):
    euis = world.fleet(1)
    (real,) = world.campaign(euis, ONE_WAVE)
    (shade,) = start(world, euis, "shade", urgent=False)
    with world.engine.begin() as connection:
        permit.ask(connection, permit.Ask("shade", 1, Leg.DISTRIBUTE, [shade], "11.1", ACB), world.now)
    assert distribute(world, [real]).granted == (real,)


def test_that_a_campaign_is_urgent_is_a_part_of_what_is_approved(world):
    world.release_document()
    world.fleet(1)
    policy = Policy(waves=(Wave(share=1),), gate=Gate(harm=0.95, silence=0.95))
    digests = set()
    for urgent in (True, False):
        request = CampaignRequest(release="r2", policy=policy, author="ann", urgent=urgent, approvals=1)
        with world.engine.begin() as connection:
            digests.add(planning.draw(connection, "fix", request, US, world.now).digest)
    assert len(digests) == 2
