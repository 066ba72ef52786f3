"""Plans drawn from a real ledger: what the fleet says of a device, what is refused, and who joins late."""

import json
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from hanwave.cli.campaign.draft_view import draft_page
from hanwave.errors import HanwaveError
from hanwave.firmware.document import release_from_dict, release_to_dict
from hanwave.ledger import budgets, campaigns, cohort, overview, planning, progress, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.draft import Draft, draft, kept_side
from hanwave.ledger.standing import Fact, record, standings
from hanwave.rollout.budget import Threshold
from hanwave.rollout.cohort import DORMANT, LEAVES, PlanError
from hanwave.rollout.decide import Step
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import DeviceType, Policy, Wave
from hanwave.rollout.request import CampaignRequest
from tests.ledger.test_permit_and_outbox import activate, hold_image
from tests.support.ledger import START, US, World, eui

pytestmark = pytest.mark.ledger
FEW = {"harm": 0.7, "silence": 0.7, "confidence": 0.6}
"""A gate for waves of one or two devices."""


@pytest.fixture
def world(world: World) -> World:
    world.release_document()
    world.fleet(6)
    return world


def request(policy: dict[str, Any] | None = None, **more: Any) -> CampaignRequest:
    given = {"waves": [{"count": 2}, {"share": 1}], "gate": FEW} | (policy or {})
    return CampaignRequest.model_validate({"release": "r2", "author": "ann", "policy": given, **more})


def drawn(world: World, asked: CampaignRequest | None = None) -> Draft:
    with world.engine.connect() as connection:
        return draft(connection, "spring", asked or request(), US, world.now)


def change(world: World, number: int, **facts: Any) -> None:
    columns = ", ".join(f"{name} = :{name}" for name in facts)
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE device SET {columns} WHERE eui = :eui"), facts | {"eui": eui(number)})


def revise(world: World, name: str, **facts: Any) -> None:
    """Change a release's document."""
    with world.engine.begin() as connection:
        document = connection.execute(text("SELECT document FROM release WHERE name = :n"), {"n": name}).scalar_one()
        whole = release_to_dict(release_from_dict(document | facts))
        connection.execute(
            text("UPDATE release SET document = CAST(:d AS jsonb) WHERE name = :n"), {"d": json.dumps(whole), "n": name}
        )


# What the fleet says of a device.


def test_each_fact_of_the_fleet_that_stands_against_a_device_is_its_reason(world):
    change(world, 0, last_heard=START - timedelta(days=100))
    change(world, 1, leaves_at=START + timedelta(hours=1))
    change(world, 2, hub_firmware="00000001")
    change(world, 3, gbcs_version="3.2")
    revise(world, "r2", minimum_hub_firmware="00000002", minimum_gbcs_version="4.1")
    found = drawn(world, request({"waves": [{"share": 1}]}))
    assert found.left_out_devices == {
        eui(0): DORMANT,
        eui(1): LEAVES,
        eui(2): "its Communications Hub's firmware is below 00000002",
        eui(3): "its GBCS version is below 4.1",
    }
    assert (found.devices, found.statement.dormant) == (2, 1)


def test_each_device_that_a_cohort_names_is_in_a_wave_or_has_its_reason(world):
    change(world, 1, device_type="GSME")
    named = {"devices": [eui(0).lower().replace("-", ""), eui(1), eui(99), eui(99)]}
    found = drawn(world, request({"waves": [{"share": 1}], "gate": {"harm": 0.95, "silence": 0.95}}, cohort=named))
    assert found.members == ((eui(0),),)
    assert found.left_out_devices == {eui(1): "of another device type", eui(99): "not in the fleet"}


def on_a_way(world: World) -> CampaignRequest:
    """A release that all devices but the first take by way of another, which is on the CPL and signed for us."""
    world.release_document("r1b", "00000003")
    world.release_document("r3", "00000004")
    revise(world, "r1b", predecessors=["00000001"])
    revise(world, "r3", predecessors=["00000003"])
    change(world, 0, firmware_version="00000003")
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO signed_image (release, user_id, image, added_at) VALUES ('r1b', :us, 'x', :now)"),
            {"us": US, "now": world.now},
        )
    return request({"waves": [{"share": 1}]}, release="r3")


def test_a_device_that_needs_another_release_first_takes_both_and_the_plan_freezes_the_way(world):
    asked = on_a_way(world)
    found = drawn(world, asked)
    assert (found.left_out, found.devices) == ({}, 6)
    assert found.longer == dict.fromkeys([eui(n) for n in range(1, 6)], ("r1b", "r3"))
    assert found.requests == {"8.2": 11, "11.1": 3, "11.2": 6, "11.3": 11}
    console = Console(record=True, width=200)
    console.print(draft_page(found, None))
    assert "r1b -> r3" in console.export_text()
    with world.engine.begin() as connection:
        frozen = planning.freeze(connection, "spring", asked, US, world.now)
        assert frozen.digest == found.digest
        (longer,) = campaigns.frame(connection, "spring").longer
        assert [(hop.release, hop.version) for hop in longer] == [("r1b", "00000003"), ("r3", "00000004")]
        assert kept_side(connection, "spring").longer == found.longer
    assert world.count("campaign_device", "path = 2") == 5


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM signed_image", "has no image signed for this User ID: sign one"),
        ("UPDATE release SET stage = 'lab_passed' WHERE name = 'r1b'", "is lab_passed, and not yet to be sent"),
        (
            "UPDATE cpl_entry SET status = 'Withdrawn' WHERE firmware_version = '00000003'",
            "the CPL does not list as Active with its hash: import it",
        ),
    ],
)
def test_a_release_on_the_way_that_may_not_be_sent_is_the_one_reason(world, statement, why):
    asked = on_a_way(world)
    with world.engine.begin() as connection:
        connection.execute(text(statement))
    assert drawn(world, asked).left_out == {f"its way leads by r1b, which {why}": 5}


def test_who_pays_beforehand_is_protected_unless_the_policy_says_otherwise(world):
    for number in range(5):
        change(world, number, payment_mode="prepayment")
    change(world, 4, protected_class="MED")
    asked = {"waves": [{"share": 1}, {"share": 1}]}
    found = drawn(world, request(asked))
    assert [wave.devices for wave in found.waves] == [1, 5]
    assert {part.protected_class: part.devices for part in found.waves[1].parts} == {"prepayment": 4, "MED": 1}
    asked = {"waves": [{"share": 1}, {"devices": [eui(4)]}], "prepayment_is_protected": False}
    assert [wave.devices for wave in drawn(world, request(asked)).waves] == [5, 1]


def test_notice_is_by_the_distributor_of_the_mpan_and_nothing_else_of_it_leaves_the_database(world):
    change(world, 0, mpxn="1200012345678")
    change(world, 1, mpxn="123456")
    found = drawn(world, request({"waves": [{"share": 1}]}))
    assert [(n.area, n.devices) for n in found.statement.notices] == [("12", 1), ("South", 5)]
    assert "12000" not in repr(found)


# What is refused.


def test_a_wave_too_small_for_its_gate_is_refused_with_the_number_it_needs(world):
    with pytest.raises(PlanError, match=r"wave 1: a wave of 2 cannot rule out .* make it 299"):
        drawn(world, request({"gate": {"harm": 0.01, "silence": 0.01}}))


def test_a_plan_that_must_exceed_a_threshold_is_refused(world):
    table = [Threshold(user_id=US, variant="11.3", period="300d", limit=5, reserve=2)]
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, table, "ann", world.now)
    with pytest.raises(PlanError, match=r"6 requests of SR 11\.3 need 300 days under the threshold of 5"):
        drawn(world)
    table[0] = table[0].model_copy(update={"limit": 500})
    with world.engine.begin() as connection:
        budgets.import_thresholds(connection, table, "ann", world.now)
    (against,) = drawn(world).thresholds
    assert (against.variant, against.limit, against.days_needed) == ("11.3", 500, 0)


def test_a_fallback_that_the_ledger_does_not_have_is_refused_before_it_is_needed(world):
    with pytest.raises(LedgerError, match="there is no release 'r0'"):
        drawn(world, request(fallbacks=["r0"]))


def test_what_can_be_undone_is_asked_of_the_fallbacks(world):
    world.release_document("r1", "00000001")
    (undo,) = drawn(world, request(fallbacks=["r1"])).statement.undo
    assert undo.why_not == "r1: would be a downgrade, which it refuses"
    world.release_document("r1d", "00000000", may_downgrade=True)
    (undo,) = drawn(world, request(fallbacks=["r1", "r1d"])).statement.undo
    assert (undo.release, undo.devices) == ("r1d", 6)


def test_the_releases_own_fallback_is_what_a_rollback_goes_back_to_where_none_is_named(world):
    for name, version in (("r1", "00000000"), ("r1d", "00000000")):
        world.release_document(name, version, may_downgrade=True)
    revise(world, "r2", fallback="r1")
    for name, asked, release in (("spring", request(), "r1"), ("autumn", request(fallbacks=["r1d"]), "r1d")):
        assert drawn(world, asked).statement.undo[0].release == release
        with world.engine.begin() as connection:
            planning.freeze(connection, name, asked, US, world.now)
            assert overview.known(connection, name).fallbacks == [release]


def test_what_is_refused_keeps_nothing(world):
    asked = request({"gate": {"harm": 0.01, "silence": 0.01}})
    with pytest.raises(HanwaveError), world.engine.begin() as connection:
        planning.freeze(connection, "spring", asked, US, world.now)
    assert world.count("campaign") == world.count("left_out") == 0


def test_what_is_drawn_is_what_is_frozen(world):
    found = drawn(world)
    with world.engine.begin() as connection:
        assert planning.freeze(connection, "spring", request(), US, world.now).digest == found.digest


# What a wave says of itself holds where it is used.


def test_a_waves_own_exposure_cap_holds_at_the_permit(ledger):
    other = World(ledger)
    ids = hold_image(other, 3, Policy(waves=(Wave(share=1, exposure_cap=1),)))
    assert activate(other, ids[0]).granted
    assert "exposure cap of 1" in activate(other, ids[1]).refused[ids[1]].reason


def test_a_waves_own_soak_is_what_its_devices_go_through(ledger):
    other = World(ledger)
    (update_id,) = other.campaign(other.fleet(1), Policy(waves=(Wave(share=1, soak="3h"),), soak_check=False))
    heard = Event(Kind.VERSION, other.now, Leg.READ, attempt=1, evidence=Evidence.DEVICE, version="00000002")
    with other.engine.begin() as connection:
        record(connection, [Fact(update_id, heard)], other.now)
        (before,) = standings(connection, [update_id], other.now + timedelta(hours=2, minutes=59))
        (after,) = standings(connection, [update_id], other.now + timedelta(hours=3))
    assert (before.decision.step, after.decision.step) == (Step.WAIT, Step.SETTLE)


@pytest.mark.parametrize(("kind", "outcome"), [("ESME", "needs_visit"), ("PPMID", "customer_action")])
def test_the_dormant_end_beside_the_waves_each_with_what_to_do(ledger, kind, outcome):
    world = World(ledger, device_type=kind)
    world.release_document()
    world.fleet(4)
    heard = {eui(0): 200, eui(1): 1, eui(2): 91}
    with ledger.begin() as connection:
        for name, days in heard.items():
            change = text("UPDATE device SET last_heard = :at WHERE eui = :eui")
            connection.execute(change, {"at": world.now - timedelta(days=days), "eui": name})
        planned = planning.freeze(connection, "spring", request({"waves": [{"share": 1}]}), US, world.now)
        assert (sum(planned.waves), planned.left_out) == (2, {DORMANT: 2})
        found = progress.dormant(connection, "spring")
        assert [(each.eui, each.outcome, each.wave) for each in found] == [
            (eui(0), outcome, None),
            (eui(2), outcome, None),
        ]
        assert all(each.reason.startswith(f"{DORMANT}; ") for each in found)
        assert progress.dormant(connection, "spring", eui(2)) == []


# Late joiners.


def begin(world: World, policy: dict[str, Any], **cohort: Any) -> None:
    with world.engine.begin() as connection:
        asked = request(policy, cohort={"regions": ["South"], **cohort})
        planning.freeze(connection, "spring", asked, US, world.now)
        waves.open_wave(connection, "spring", 1, world.now)
        connection.execute(text("UPDATE wave SET verdict = 'pass' WHERE number = 1"))


def open_last(world: World) -> None:
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 2, world.now)


def enter(world: World, *numbers: int, **facts: Any) -> None:
    """New devices in the fleet, like the first."""
    with world.engine.begin() as connection:
        for number in numbers:
            connection.execute(
                text(
                    "INSERT INTO device SELECT (jsonb_populate_record(d, jsonb_build_object('eui', CAST(:eui AS text),"
                    " 'home', CAST(:eui AS text)))).* FROM device d WHERE d.eui = :first"
                ),
                {"eui": eui(number), "first": eui(1)},
            )
    for number in numbers:
        if facts:
            change(world, number, **facts)


def members(world: World, wave: int) -> set[str]:
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT eui FROM campaign_device WHERE wave = :wave"), {"wave": wave})
        return set(rows.scalars())


def test_late_joiners_are_not_in_the_campaign_where_the_policy_leaves_them(world):
    begin(world, {})
    enter(world, 10)
    open_last(world)
    assert world.count("campaign_device") == 6
    assert world.count("note", "verb = 'join_late'") == 0


def test_a_device_that_the_plan_left_out_as_anothers_joins_once_it_is_gained(world):
    change(world, 0, import_supplier="another")
    begin(world, {"late_joiners": "last_wave"})
    change(world, 0, import_supplier=US)
    open_last(world)
    assert eui(0) in members(world, 2)
    assert world.count("campaign_device") == 6


def test_a_device_that_a_cohort_names_before_the_fleet_has_it_joins_late(world):
    begin(world, {"late_joiners": "last_wave"}, devices=[eui(n) for n in (0, 1, 2, 10)])
    enter(world, 10, 11)
    open_last(world)
    assert eui(10) in members(world, 2)
    assert world.count("campaign_device") == 4


def test_late_joiners_come_as_the_last_wave_opens_once_and_only_those_that_fit(world):
    change(world, 0, smi_status="Pending")
    begin(world, {"late_joiners": "last_wave"})
    before = members(world, 1)
    change(world, 0, smi_status="Commissioned")  # left out by the plan: it stays so
    enter(world, 10, 11)
    enter(world, 12, region="North")
    enter(world, 13, import_supplier="another")
    enter(world, 14, firmware_version="00000002")
    open_last(world)
    assert members(world, 1) == before
    assert {eui(10), eui(11)} <= members(world, 2)
    assert world.count("campaign_device") == 5 + 2
    enter(world, 15)
    open_last(world)
    assert world.count("campaign_device") == 5 + 2
    assert world.count("note", "verb = 'join_late' AND document->>'devices' = '2'") == 1
    with world.engine.connect() as connection:
        assert campaigns.funnel(connection, "spring", 2) == {"planned": 5}
        assert connection.execute(text("SELECT size FROM wave WHERE number = 2")).scalar_one() == 5


def test_a_late_joiner_takes_one_of_the_plans_ways_or_stays_out(world):
    on_a_way(world)
    with world.engine.begin() as connection:
        asked = request({"late_joiners": "last_wave"}, release="r3")
        planning.freeze(connection, "spring", asked, US, world.now)
        waves.open_wave(connection, "spring", 1, world.now)
        connection.execute(text("UPDATE wave SET verdict = 'pass' WHERE number = 1"))
    enter(world, 10, 11)
    change(world, 11, firmware_version="00000003")
    enter(world, 12, firmware_version="00000002")
    revise(world, "r1b", predecessors=["00000001", "00000002"])
    world.release_document("r1a", "00000001")
    revise(world, "r1a", predecessors=["00000000"])
    enter(world, 13, firmware_version="00000000")
    open_last(world)
    with world.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT eui, path FROM campaign_device WHERE eui = ANY(:some)"),
            {"some": [eui(n) for n in (10, 11, 12, 13)]},
        )
        assert {row.eui: row.path for row in rows} == {eui(10): 2, eui(11): 1, eui(12): 2}


def test_nobody_joins_a_wave_before_the_last(world):
    enter(world, 10, region="North")
    with world.engine.begin() as connection:
        asked = request({"late_joiners": "last_wave"}, cohort={"regions": ["South"]})
        planning.freeze(connection, "spring", asked, US, world.now)
        change(world, 10, region="South")
        waves.open_wave(connection, "spring", 1, world.now)
    assert world.count("campaign_device") == 6


@pytest.mark.parametrize(("model", "found"), [("1111", 6), ("121D/1111", 6), ("0A01/1111", 0), ("2222", 0)])
def test_a_cohorts_model_may_be_said_with_its_manufacturer_as_the_plan_shows_it(world, model, found):
    with world.engine.connect() as connection:
        asked = request(cohort={"models": [model]})
        assert len(list(cohort.candidates(connection, asked, DeviceType.ESME, US))) == found


def test_candidates_that_a_campaign_knows_are_none_of_its_late_joiners(world):
    begin(world, {"late_joiners": "last_wave"})
    enter(world, 10)
    with world.engine.connect() as connection:
        found = cohort.candidates(connection, request(), DeviceType.ESME, US, new_to="spring")
        assert [device.eui for device in found] == [eui(10)]
