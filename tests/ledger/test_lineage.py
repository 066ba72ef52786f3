"""A rollback is what roll_back planned: no request makes itself one, and neither a long nor a taken name prevents one."""

import pytest
from sqlalchemy import text

from hanwave.ledger import campaigns, holds, overview, permit, planning, retrying, rollback
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.rollout.request import LONGEST_NAME, CampaignRequest, Cohort
from tests.ledger.test_permit_and_outbox import distribute, say, send
from tests.support.ledger import HASH, US, World, eui

pytestmark = pytest.mark.ledger


@pytest.fixture
def fleet(world: World) -> World:
    world.release_document()
    world.release_document("r1", "00000001", may_downgrade=True)
    world.fleet(3)
    return world


def freeze(world: World, request: CampaignRequest, name: str = "autumn") -> None:
    with world.engine.begin() as connection:
        planning.freeze(connection, name, request, US, world.now)


def rolled_back(world: World, name: str) -> rollback.Restore:
    """A campaign that has activated its device, and its rollback."""
    activated(world, [eui(0)], name)
    return rollback.plan_rollback(world.engine, name, ["r1"], By("ann", "silence", f"digest-{name}"))


def activated(world: World, euis: list[str], name: str, policy: Policy | None = None) -> None:
    ids = world.campaign(euis, policy, name)
    send(world, distribute(world, ids, name).outbox_id)
    for update_id in ids:
        say(world, update_id, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
        with world.engine.begin() as connection:
            granted = permit.ask(connection, permit.Ask(name, 1, Leg.ACTIVATE, [update_id], "11.3"), world.now)
        send(world, granted.outbox_id)
    world.runs("00000002", euis)


def undoing(undone: str, **more: object) -> CampaignRequest:
    """A request that says of itself that it is a rollback: no gate, no budget, and lower versions too."""
    return CampaignRequest.model_validate({"release": "r1", "author": "eve", "rollback_of": undone, **more})


def test_a_request_cannot_make_itself_a_rollback(fleet):
    for undone in ("spring", "nothing"):
        with pytest.raises(LedgerError, match=f"a rollback of '{undone}' is begun by its verb roll_back"):
            freeze(fleet, undoing(undone))
    assert fleet.count("campaign") == 0


def test_a_request_comes_of_no_campaign_that_is_not_there(fleet):
    with pytest.raises(LedgerError, match="retry_of: there is no campaign 'nothing'"):
        freeze(fleet, CampaignRequest(release="r2", author="eve", retry_of="nothing"))


def test_a_rollback_to_the_bad_release_itself_is_refused_and_nothing_is_withdrawn(fleet):
    """It would send the image on to devices that were halted, as a way back."""
    fleet.campaign([eui(0)], name="spring")
    with pytest.raises(LedgerError, match="release 'r2' is what campaign 'spring' installs"):
        rollback.plan_rollback(fleet.engine, "spring", ["r1", "r2"], By("ann", "a slip", "digest-spring"))
    assert fleet.count("stop") == 0
    assert fleet.count("campaign") == 1


def test_a_request_names_no_fallback_that_it_installs_itself():
    with pytest.raises(ValueError, match="fallbacks: 'r2' is what it installs"):
        CampaignRequest(release="r2", fallbacks=("r1", "r2"))


def test_a_rollback_reaches_the_protected_too_and_names_who_is_gone(fleet):
    """Of a policy in whose last wave alone they were; the rollback has one wave."""
    two = Policy(waves=(Wave(share=0.5), Wave(share=1)), protected_from=2)
    activated(fleet, [eui(0), eui(1)], "spring", two)
    with fleet.engine.begin() as connection:
        connection.execute(text("UPDATE device SET protected_class = 'P1' WHERE eui = :eui"), {"eui": eui(0)})
        connection.execute(text("DELETE FROM device WHERE eui = :eui"), {"eui": eui(1)})
    found = rollback.plan_rollback(fleet.engine, "spring", ["r1"], By("ann", "silence", "digest-spring"))
    assert (found.campaigns, found.left_out) == (["spring-back-1"], {"not in the fleet": 1})
    with fleet.engine.begin() as connection:
        assert campaigns.frame(connection, "spring-back-1").policy == two.for_rollback()


def test_who_is_left_out_is_named_with_the_reason_of_the_release_for_his_own_model(fleet):
    """Not with that of the last one that was tried: a hold can be lifted, a model cannot."""
    fleet.release_document("other", "00000001", may_downgrade=True)
    activated(fleet, [eui(0), eui(1)], "spring")
    with fleet.engine.begin() as connection:
        other = (
            "UPDATE release SET document = CAST(replace(document::text, '1111', '2222') AS jsonb) WHERE name = 'other'"
        )
        connection.execute(text(other))
        holds.place(connection, holds.NewHold("device", eui(0), "INC0042", "ann", user_id=US), fleet.now)
    found = rollback.plan_rollback(fleet.engine, "spring", ["r1", "other"], By("ann", "silence", "digest-spring"))
    assert found.campaigns == ["spring-back-1"]
    ((reason, devices),) = found.left_out.items()
    assert (reason, devices) == ("INC0042", 1)


def test_another_release_takes_whom_the_first_left_out_and_undoes_no_plan_of_it(fleet):
    """By a person who changed their mind, or two at once: the first plan stood for nothing, and nobody ran it."""
    fleet.release_document("r3", "00000003")
    activated(fleet, [eui(0), eui(1)], "spring")
    with fleet.engine.begin() as connection:
        hold = holds.place(connection, holds.NewHold("device", eui(0), "INC0042", "ann", user_id=US), fleet.now)
    back = By("ann", "silence", "digest-spring")
    assert rollback.plan_rollback(fleet.engine, "spring", ["r1"], back).campaigns == ["spring-back-1"]
    with fleet.engine.begin() as connection:
        holds.lift(connection, hold, "it is well", "ann", fleet.now)
    for _ in range(2):
        found = rollback.plan_rollback(fleet.engine, "spring", ["r3"], back)
        assert (found.campaigns, found.left_out) == (["spring-back-1", "spring-back-2"], {})
        with fleet.engine.connect() as connection:
            assert overview.known(connection, "spring").restoring == found.campaigns


@pytest.mark.parametrize("name", ["spring", "s" * LONGEST_NAME])
def test_a_campaign_is_rolled_back_whatever_its_name(fleet, name):
    (planned,) = rolled_back(fleet, name).campaigns
    assert len(planned) <= LONGEST_NAME
    assert planned.endswith("-back-1")
    assert fleet.count("campaign_device", f"campaign = '{planned}'") == 1


def test_somebody_elses_campaign_of_its_name_prevents_no_rollback(fleet):
    fleet.campaign([eui(2)], name="spring-back-1")
    (planned,) = rolled_back(fleet, "spring").campaigns
    assert planned != "spring-back-1"
    assert fleet.count("campaign_device", f"campaign = '{planned}'") == 1


def test_a_rollback_is_retried_over_its_own_devices_alone(fleet):
    (planned,) = rolled_back(fleet, "spring").campaigns
    with fleet.engine.begin() as connection:
        connection.execute(
            text("UPDATE campaign_device SET state = 'closed', outcome = 'failed' WHERE campaign = :name"),
            {"name": planned},
        )
        again = retrying.request_for(connection, planned, ["failed"], "ann")
    wider = again.model_copy(update={"cohort": Cohort(devices=(eui(0), eui(1)))})
    for wrong in (wider, again.model_copy(update={"cohort": Cohort()}), again.model_copy(update={"release": "r2"})):
        with pytest.raises(LedgerError, match="roll_back"):
            freeze(fleet, wrong)
    freeze(fleet, again)
    assert fleet.count("campaign_device", "campaign = 'autumn'") == 1
