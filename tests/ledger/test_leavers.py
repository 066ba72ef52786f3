"""Devices that leave, are exchanged, or are gained, and releases that leave the CPL, in the middle of a campaign."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave import duis
from hanwave.duis.inventory import Region
from hanwave.firmware.cpl import CplEntry
from hanwave.firmware.terms import CplStatus, FirmwareVersion, Model
from hanwave.firmware.terms import DeviceType as FirmwareType
from hanwave.identifiers import EUI64, RequestID
from hanwave.ledger import campaigns, control, gains, inventory, leavers, outbox, routing, stops, waves
from hanwave.ledger.cpl import import_cpl
from hanwave.ledger.fleet import import_fleet
from hanwave.ledger.standing import standings
from hanwave.rollout.device import State
from hanwave.rollout.events import Kind, Leg
from hanwave.rollout.policy import Deadlines, DeviceType, Policy, Wave
from tests.ledger.test_permit_and_outbox import activate, distribute, hold_image, say, send
from tests.support import messages
from tests.support.fleet import fleet, row
from tests.support.ledger import ACB, HASH, US, VERSION, World, eui
from tests.support.routing import deliver

pytestmark = pytest.mark.ledger
ANOTHER = "90-B3-D5-1F-30-02-00-00"
OURS = {"import_supplier": US, "home": "home-0", "leaves_at": "", "supplier_certificate": "", "hub": eui(900)}


def feed(world: World, tmp_path, *rows: dict[str, str]) -> None:
    """What the supplier's feed now says."""
    with world.engine.begin() as connection:
        done = import_fleet(connection, fleet(*rows), tmp_path / "refused.csv", "ann", world.now)
    assert done.refused == 0


def leaving(world: World, days: float) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET leaves_at = :at"), {"at": world.now + timedelta(days=days)})


def outcome(world: World, update_id: int) -> tuple[str, str]:
    with world.engine.connect() as connection:
        statement = text("SELECT outcome, reason FROM campaign_device WHERE id = :id")
        return tuple(connection.execute(statement, {"id": update_id}).one())


def sweep(world: World) -> None:
    with world.engine.begin() as connection:
        waves.sweep(connection, "spring", 1, world.now, timedelta(seconds=30))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"import_supplier": ANOTHER}, "another supplier is responsible for it"),
        ({"smi_status": "Decommissioned"}, "it is out of use: its SMI status is Decommissioned"),
        ({"smi_status": "Withdrawn"}, "it is out of use: its SMI status is Withdrawn"),
    ],
)
@pytest.mark.parametrize("begun", [False, True], ids=["planned", "held"])
def test_a_device_that_the_feed_says_has_left_leaves_and_is_no_failure(world, tmp_path, change, why, begun):
    (update_id,) = hold_image(world) if begun else world.campaign(world.fleet(1))
    feed(world, tmp_path, row(0, **OURS | change))
    assert outcome(world, update_id) == ("left", why)
    assert world.count("note", "verb = 'left'") == 1
    assert world.count("lease") == world.count("home_lease") == 0
    with world.engine.connect() as connection:
        assert campaigns.funnel(connection, "spring") == {"closed:left": 1}
    assert activate(world, update_id).outbox_id is None


def test_a_suspended_device_is_no_leaver_and_is_updated(world, tmp_path):
    (update_id,) = hold_image(world)
    feed(world, tmp_path, row(0, **OURS | {"smi_status": "Suspended"}))
    assert world.state(update_id) is State.HELD
    assert activate(world, update_id).granted == (update_id,)


def test_a_leaver_whose_activation_is_in_flight_stays_on_the_halts_list(world, tmp_path):
    (update_id,) = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    feed(world, tmp_path, row(0, **OURS | {"import_supplier": ANOTHER}))
    assert outcome(world, update_id)[0] == "left"
    with world.engine.connect() as connection:
        assert [each.eui for each in control.beyond_recall(connection, stops.Scope("all"))] == [eui(0)]


def test_what_was_permitted_for_a_leaver_and_has_not_left_is_given_back(world, tmp_path):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    feed(world, tmp_path, row(0, **OURS | {"import_supplier": ANOTHER}))
    assert send(world, granted.outbox_id) == "the request is abandoned"
    assert outcome(world, update_id)[0] == "left"


def test_a_quarantined_device_leaves_only_once_a_person_said_what_became_of_its_request(world, tmp_path):
    (update_id,) = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    say(world, update_id, Kind.QUARANTINED, Leg.ACTIVATE)
    feed(world, tmp_path, row(0, **OURS | {"import_supplier": ANOTHER}))
    assert world.state(update_id) is State.QUARANTINED
    say(world, update_id, Kind.DELETED, Leg.ACTIVATE)
    world.later(hours=2)
    refused = activate(world, update_id)
    with world.engine.begin() as connection:
        waves.defer(connection, "spring", refused.refused, world.now)
    assert outcome(world, update_id) == ("left", "another supplier is responsible for it")


@pytest.mark.parametrize(("days", "starts"), [(5, False), (60, True)])
def test_a_device_that_leaves_within_its_activations_reach_is_not_started(world, days, starts):
    (update_id,) = world.campaign(world.fleet(1))
    leaving(world, days)
    asked = distribute(world, [update_id])
    assert (asked.granted == (update_id,)) is starts
    with world.engine.begin() as connection:
        waves.defer(connection, "spring", asked.refused, world.now)
    assert (world.state(update_id) is State.CLOSED) is not starts
    if not starts:
        assert outcome(world, update_id)[0] == "left"
        assert "it changes supplier on 2026-11-27" in asked.refused[update_id].reason


def test_how_far_an_activation_reaches_goes_by_the_deadlines_of_the_devices_region(world):
    slow = {Region.SOUTH: {DeviceType.ESME: Deadlines(distribute=timedelta(days=90))}}
    (update_id,) = world.campaign(world.fleet(1), Policy(waves=(Wave(share=1),), regions=slow))
    leaving(world, 60)
    assert "it changes supplier on 2027-01-21" in distribute(world, [update_id]).refused[update_id].reason


def test_an_image_on_its_way_to_a_hub_that_was_exchanged_is_sent_again(world, tmp_path):
    feed(world, tmp_path, row(0, **OURS))
    (update_id,) = world.campaign([eui(0)])
    send(world, distribute(world, [update_id]).outbox_id)
    feed(world, tmp_path, row(0, **OURS))
    assert world.state(update_id) is State.REQUESTED
    world.later(hours=1)
    feed(world, tmp_path, row(0, **OURS | {"hub": eui(901)}))
    assert world.state(update_id) is State.DELIVERY_FAILED
    assert world.count("note", "verb = 'hub_exchanged'") == 1
    world.later(days=1)
    assert distribute(world, [update_id]).granted == (update_id,)


@pytest.mark.parametrize("code", ["E4", "E19"])
def test_a_refusal_that_says_that_the_device_is_not_ours_is_no_rejection(world, code):
    (update_id,) = hold_image(world)
    granted = activate(world, update_id)
    send(world, granted.outbox_id)
    deliver(world, messages.error(RequestID.parse(granted.request_id), code, at=world.now))
    sweep(world)
    assert outcome(world, update_id) == ("left", leavers.GONE[code])


def test_a_batch_that_the_dcc_refuses_whole_says_nothing_of_its_devices(world):
    (update_id,) = world.campaign(world.fleet(1))
    send(world, distribute(world, [update_id]).outbox_id, outbox.Answer("E4", b"<no/>"))
    sweep(world)
    assert outcome(world, update_id) == ("rejected", "E4")


# The Central Products List.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "Withdrawn"}, "the CPL has the release for its model as Withdrawn"),
        ({"status": "Expired"}, "the CPL has the release for its model as Expired"),
        ({"image_hash": "CD" * 32}, "the CPL has the release for its model with another hash"),
    ],
)
@pytest.mark.parametrize("leg", [Leg.DISTRIBUTE, Leg.ACTIVATE])
def test_nothing_more_is_sent_of_a_release_whose_cpl_entry_is_withdrawn(world, change, why, leg):
    ids = world.campaign(world.fleet(1)) if leg is Leg.DISTRIBUTE else hold_image(world)
    world.cpl(**change)
    asked = distribute(world, ids) if leg is Leg.DISTRIBUTE else activate(world, ids[0])
    assert asked.outbox_id is None
    assert asked.refused[ids[0]].reason == why
    world.cpl()
    again = distribute(world, ids) if leg is Leg.DISTRIBUTE else activate(world, ids[0])
    assert again.granted == tuple(ids)


def test_a_device_whose_hardware_the_cpl_does_not_list_is_refused_and_the_others_are_not(world):
    one, two = world.campaign(world.fleet(2))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET hardware_version = '0002' WHERE eui = :eui"), {"eui": eui(1)})
    asked = distribute(world, [one, two])
    assert asked.granted == (one,)
    assert asked.refused[two].reason.startswith("the CPL lists no firmware 00000002 for its model and hardware")


def test_an_import_that_withdraws_an_entry_gives_back_what_has_not_left(world):
    world.release_document()
    (update_id,) = world.campaign(world.fleet(1))
    granted = distribute(world, [update_id])
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE release SET stage = 'general'"))
        import_cpl(connection, [_entry(CplStatus.WITHDRAWN)], "ann", world.now)
    assert send(world, granted.outbox_id) == "the request is abandoned"
    world.later(days=1)
    assert "as Withdrawn" in distribute(world, [update_id]).refused[update_id].reason


def _entry(status: CplStatus) -> CplEntry:
    return CplEntry(
        line=2,
        device_type=FirmwareType.ESME,
        model=Model.parse("121D/1111"),
        hardware=1,
        firmware_version=FirmwareVersion.parse(VERSION),
        hash=bytes.fromhex(HASH),
        status=status,
    )


# Devices that were gained, and certificates that were renewed.


def holds_certificate(world: World, device: str, serial: str) -> None:
    with world.engine.begin() as connection:
        statement = text("UPDATE device SET supplier_certificate = :serial WHERE eui = :eui")
        connection.execute(statement, {"serial": serial, "eui": device})


def signed(world: World, serial: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO signed_image (release, user_id, certificate, image, added_at)"
                " VALUES ('r2', :us, :serial, :image, :now)"
            ),
            {"us": US, "serial": serial, "image": serial.encode(), "now": world.now},
        )


def test_a_gained_device_waits_until_the_release_is_signed_under_the_certificate_that_it_holds(world):
    (update_id,) = world.campaign(world.fleet(1))
    holds_certificate(world, eui(0), "77")
    asked = distribute(world, [update_id])
    assert asked.refused[update_id].reason == (
        "the release is not signed under the certificate 77 that it holds: sign it"
    )
    signed(world, "77")
    assert distribute(world, [update_id]).granted == (update_id,)


def test_a_batch_holds_one_image_so_devices_of_another_certificate_come_in_the_next(world):
    one, two, three = world.campaign(world.fleet(3))
    for device, serial in ((eui(0), "11"), (eui(1), "22"), (eui(2), "11")):
        holds_certificate(world, device, serial)
    with world.engine.connect() as connection:
        frame = campaigns.frame(connection, "spring")
        assert gains.of_one_certificate(connection, frame, [one, two, three]) == ([one, three], "11")
        assert gains.of_one_certificate(connection, frame, [two]) == ([two], "22")
        assert gains.of_one_certificate(connection, frame, []) == ([], None)


# The inventory before an activation.


def ask_again(world: World, update_id: int) -> list[int]:
    with world.engine.begin() as connection:
        (device,) = standings(connection, [update_id], world.now)
        return inventory.ask_again(connection, device, ACB, world.now)


def test_the_inventory_is_read_once_before_an_activation_where_what_is_known_is_old(world):
    policy = Policy(waves=(Wave(share=1),), inventory_age=timedelta(hours=6))
    (update_id,) = hold_image(world, policy=policy)
    assert ask_again(world, update_id) == []
    world.later(hours=7)
    (question,) = ask_again(world, update_id)
    assert ask_again(world, update_id) == []
    with world.engine.connect() as connection:
        request = outbox.get(connection, question)
    assert (request.service_reference, request.permit_class) == ("8.2", "observe")


@pytest.mark.parametrize(("status", "state"), [("Decommissioned", State.CLOSED), ("Suspended", State.HELD)])
def test_what_the_inventory_says_ends_the_update_of_a_device_that_left_alone(world, status, state):
    policy = Policy(waves=(Wave(share=1),), inventory_age=timedelta(hours=6))
    (update_id,) = hold_image(world, policy=policy)
    world.later(hours=7)
    (question,) = ask_again(world, update_id)
    send(world, question)
    found = duis.Inventory(
        (duis.Device(EUI64.parse(eui(0)), duis.DeviceType.ESME, "121D", "1111", duis.DeviceStatus(status)),)
    )
    with world.engine.begin() as connection:
        routing.inventory(connection, question, found, b"<inventory/>", world.now)
    assert world.state(update_id) is state
    assert ask_again(world, update_id) == []


# N59: the other supplier of a PPMID updates it.


def test_a_ppmid_that_another_supplier_updates_is_asked_what_it_runs_and_people_are_told(world):
    world.device_type = "PPMID"
    (update_id,) = world.campaign(world.fleet(1))
    send(world, distribute(world, [update_id]).outbox_id)
    told = duis.FirmwareUpgradeRequested(duis.DeviceType.PPMID, "00000003", (messages.DEVICE,))
    deliver(world, messages.dcc_alert("N59", told, world.now))
    assert world.count("outbox", f"leg = 'read' AND update_id = {update_id}") == 1
    assert world.count("note", "verb = 'elsewhere' AND reason LIKE 'another supplier asked for version 00000003%'") == 1
    assert world.state(update_id) is State.REQUESTED


def test_a_ppmid_in_no_update_of_ours_is_asked_nothing(world):
    world.device_type = "PPMID"
    world.fleet(1)
    told = duis.FirmwareUpgradeRequested(duis.DeviceType.PPMID, "00000003", (messages.DEVICE,))
    deliver(world, messages.dcc_alert("N59", told, world.now))
    assert world.count("outbox") == 0
    assert world.count("note", "verb = 'elsewhere'") == 1


# Two campaigns, one home.


def test_an_unplugged_ppmid_holds_up_its_home_for_a_week(world):
    euis = world.fleet(2, homes=1)
    (first,) = world.campaign(euis[:1], name="spring")
    (second,) = world.campaign(euis[1:], name="summer")
    send(world, distribute(world, [first]).outbox_id)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign_device SET device_type = 'PPMID' WHERE id = :id"), {"id": first})
    world.later(days=6)
    assert distribute(world, [second], "summer").refused[second].reason == "its home has another update under way"
    world.later(days=2)
    assert distribute(world, [second], "summer").granted == (second,)


@pytest.mark.parametrize("days", [0, 9])
def test_two_campaigns_for_one_home_take_turns(world, days):
    euis = world.fleet(2, homes=1)
    (first,) = world.campaign(euis[:1], name="spring")
    (second,) = world.campaign(euis[1:], name="summer")
    send(world, distribute(world, [first]).outbox_id)
    world.later(days=days)  # the image may yet come: its deadline is ten days
    waiting = distribute(world, [second], "summer")
    assert waiting.refused[second].reason == "its home has another update under way"
    say(world, first, Kind.VERIFIED, Leg.DISTRIBUTE, detail=HASH)
    send(world, distribute(world, [second], "summer").outbox_id)
    assert (world.state(first), world.state(second)) == (State.HELD, State.REQUESTED)
    assert activate(world, first).granted == (first,)
