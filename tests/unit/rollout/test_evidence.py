"""What each message says of a device; and that one which contradicts itself says nothing."""

from dataclasses import replace

import pytest

from hanwave import duis, gbcs
from hanwave.identifiers import EUI64, RequestID
from hanwave.rollout.device import State, Target, fold
from hanwave.rollout.events import NO_IMAGE_HELD, Event, Evidence, Kind, Leg
from hanwave.rollout.evidence import Contradiction, addressee, findings
from tests.support import messages as m

pytestmark = pytest.mark.unit
OTHER = EUI64.parse("00-DB-00-00-00-00-00-99")


def only(message: duis.Response):
    (finding,) = findings(duis.read(duis.write(message)))
    return finding


def same(finding, **wanted) -> None:
    assert {name: getattr(finding, name) for name in wanted} == wanted


def test_an_immediate_success_is_an_activation_with_the_devices_version():
    said = only(m.outcome(m.asked()))
    same(said, eui=m.DEVICE, kind=Kind.ACTIVATED, leg=Leg.ACTIVATE, request_id=m.asked(), version=m.VERSION)
    same(said, evidence=Evidence.DEVICE, at=m.AT, spoken=True)


@pytest.mark.parametrize(
    ("code", "detail"),
    [(1, NO_IMAGE_HELD), (2, "hashMismatch"), (3, "activationFailure"), (9, "activateImageResponseCode 9")],
)
def test_an_i0_with_a_failed_outcome_inside_is_a_failure(code, detail):
    said = only(m.outcome(m.asked(), "00000001", code))
    same(said, kind=Kind.ACTIVATION_FAILED, version="00000001", detail=detail)


def test_command_accepted_is_a_schedule():
    same(only(m.accepted(m.asked())), kind=Kind.SCHEDULED, leg=Leg.ACTIVATE, version=None)


@pytest.mark.parametrize(("alert", "kind"), [("8F66", Kind.ACTIVATED), ("8F67", Kind.ACTIVATION_FAILED)])
def test_a_future_dated_outcome_names_the_request_that_asked_for_it(alert, kind):
    as_response = m.future_dated(m.asked(), alert)
    same(only(as_response), kind=kind, request_id=m.asked(), leg=Leg.ACTIVATE, code=alert)
    content = as_response.body.content
    as_alert = m.device_alert(alert, content.payload, counter=77)
    same(only(as_alert), kind=kind, request_id=m.asked(), leg=Leg.ACTIVATE, eui=m.DEVICE)


@pytest.mark.parametrize("code", ["E20", "E21", "E30", "E31"])
def test_a_device_that_was_not_reached_did_not_refuse(code):
    same(only(m.error(m.asked(), code)), kind=Kind.UNREACHED, leg=Leg.ACTIVATE, detail=code, evidence=Evidence.DCC)


@pytest.mark.parametrize(
    ("code", "reference", "leg"),
    [("E4", "11.3", Leg.ACTIVATE), ("E5", "11.2", Leg.READ), ("E4711", "11.3", Leg.ACTIVATE)],
)
def test_any_other_error_is_a_refusal_with_its_code(code, reference, leg):
    same(only(m.error(m.asked(), code, reference)), kind=Kind.REFUSED, leg=leg, detail=code)


def test_an_error_of_a_batch_is_of_all_its_devices():
    same(only(m.error(m.batch(), "E110102", "11.1")), eui=None, kind=Kind.REFUSED, leg=Leg.DISTRIBUTE)


@pytest.mark.parametrize("code", [gbcs.MessageCode.ECS52, gbcs.MessageCode.GCS38, gbcs.MessageCode.CS08])
def test_a_version_that_was_read_is_a_read_back(code):
    said = only(m.version_read(m.asked(), "0000000A", code=code))
    same(said, kind=Kind.VERSION, evidence=Evidence.READ_BACK, version="0000000A", leg=Leg.READ)


def test_a_read_that_failed_on_the_device_ends_its_wait_and_tells_no_version():
    octets = m.payload(gbcs.CRA.RESPONSE, gbcs.MessageCode.ECS52, gbcs.FirmwareVersion(None, 3))
    same(only(m.reply(m.asked(), duis.GBCSPayload(octets), "11.2")), kind=Kind.REFUSED, version=None, leg=Leg.READ)


def test_a_version_read_through_the_access_control_broker_is_matched_by_the_counter_behind_it():
    behind = gbcs.Supplementary(m.US, 1000)
    header = gbcs.Header(gbcs.CRA.RESPONSE, 42, m.DEVICE, m.ACB, gbcs.MessageCode.CS08, m.NOON, behind)
    octets = gbcs.build(header, gbcs.FirmwareVersion(m.VERSION, 0), m.device_key())
    same(only(m.reply(m.asked(), duis.GBCSPayload(octets), "11.2")), kind=Kind.VERSION, version=m.VERSION)


def test_a_verified_image_is_told_with_its_hash_in_upper_case():
    same(
        only(m.verified()),
        kind=Kind.VERIFIED,
        leg=Leg.DISTRIBUTE,
        detail="AB" * 32,
        evidence=Evidence.DEVICE,
        request_id=None,
    )
    same(only(m.verified(code="8F1C")), kind=Kind.VERIFICATION_FAILED, leg=Leg.DISTRIBUTE)


def test_a_verification_that_names_no_hash_vouches_for_no_image(monkeypatch):
    # No vector has one, and the codec may read one: it must not stand for ours.
    nameless = gbcs.ImageVerification(gbcs.AlertCode.IMAGE_VERIFIED, None, None)
    inside = replace(gbcs.read(m.verified().body.payload), body=nameless)
    monkeypatch.setattr(gbcs, "read", lambda _: inside)
    same(findings(m.verified())[0], kind=Kind.HEARD, leg=None)


def test_a_delivery_to_the_hub_is_of_the_request_that_it_names():
    said = only(m.delivered(m.batch(), version="0000abcd"))
    same(
        said,
        kind=Kind.DELIVERED,
        eui=m.DEVICE,
        request_id=m.batch(),
        version="0000ABCD",
        evidence=Evidence.DCC,
        spoken=False,
    )
    same(only(m.delivered(m.batch(), status="Failure")), kind=Kind.DELIVERY_FAILED, detail="N61")


@pytest.mark.parametrize("result", ["FirmwareImageDiscarded", "HardwareVersionMismatch", "FileTransferFailure"])
def test_a_transfer_that_failed_says_why(result):
    same(only(m.transferred(result=result)), kind=Kind.DELIVERY_FAILED, detail=result, code="8F89", leg=Leg.DISTRIBUTE)


def test_a_transfer_to_the_device_is_no_activation():
    same(only(m.transferred()), kind=Kind.TRANSFERRED, version=m.VERSION, spoken=False)


def test_a_ppmid_tells_of_its_own_activation_within_its_distribution():
    same(only(m.ppmid()), kind=Kind.ACTIVATED, leg=Leg.DISTRIBUTE, version=m.VERSION, spoken=True)
    failed = only(m.ppmid(version="00000001", result="ActivationFailure"))
    same(failed, kind=Kind.ACTIVATION_FAILED, version="00000001", detail="activationFailure")


def test_a_distribution_failure_is_of_each_device_that_it_lists():
    found = findings(m.dcc_alert("N18", duis.FirmwareDistributionFailure(m.batch(), (m.DEVICE, OTHER))))
    assert [(f.eui, f.kind, f.request_id) for f in found] == [
        (e, Kind.DELIVERY_FAILED, m.batch()) for e in (m.DEVICE, OTHER)
    ]


@pytest.mark.parametrize(
    "breach", [duis.ADUserThresholdBreach, duis.ADDCCThresholdBreach, duis.ADAttributeLimitsBreach]
)
def test_a_quarantine_is_of_the_request_whatever_its_code(breach):
    said = only(m.dcc_alert("N12", duis.QuarantinedRequest(breach(m.asked(), 12345))))
    same(said, kind=Kind.QUARANTINED, eui=None, request_id=m.asked(), detail=f"{breach.__name__} 12345")


def test_a_command_failure_is_a_device_not_reached():
    same(
        only(m.dcc_alert("N11", duis.CommandFailure(m.asked(), m.DEVICE))),
        kind=Kind.UNREACHED,
        request_id=m.asked(),
        leg=None,
    )


def test_a_suspension_and_a_restoration_move_the_inventory_status_and_no_step():
    suspended = m.dcc_alert("N28", duis.DeviceStatusChangeEvent(m.DEVICE, duis.DeviceSuspended()))
    same(only(suspended), kind=Kind.HEARD, smi_status="Suspended", spoken=False)
    restored = m.dcc_alert("N29", duis.DeviceStatusChangeEvent(m.DEVICE, duis.DeviceRestored()))
    same(only(restored), kind=Kind.HEARD, smi_status="Commissioned")


@pytest.mark.parametrize("written", ["abcd", "0000ABCD", " ABCD"])
def test_a_version_that_lacks_its_leading_zeros_is_told_in_eight_digits(written):
    mismatch = duis.FirmwareVersionMismatch(m.DEVICE, duis.DeviceType.ESME, "1", written)
    messages = (
        m.delivered(version=written, request=m.batch()),
        m.transferred(version=written),
        m.ppmid(version=written),
    )
    assert {only(message).version for message in (*messages, m.dcc_alert("N49", mismatch))} == {"0000ABCD"}


def test_a_version_mismatch_tells_the_devices_version_not_the_inventorys():
    alert = duis.FirmwareVersionMismatch(m.DEVICE, duis.DeviceType.ESME, "00000001", "00000002")
    same(only(m.dcc_alert("N49", alert)), kind=Kind.VERSION, version="00000002", leg=None)


def test_a_failure_at_power_on_is_told_to_people():
    same(only(m.device_alert("8F1B", b"whatever")), kind=Kind.HEARD, alarm=True)


@pytest.mark.parametrize("code", ["81AD", "8F0A"])
def test_any_other_alert_of_a_device_is_only_a_sign_of_life(code):
    same(only(m.device_alert(code, b"not read")), kind=Kind.HEARD, eui=m.DEVICE, leg=None, alarm=False)


def test_the_outcome_of_another_kind_of_future_dated_command_is_not_an_activation():
    octets = m.payload(gbcs.CRA.ALERT, 0x00CC, gbcs.Unrecognised(b"\x01"), counter=500)
    same(only(m.device_alert("8F66", octets)), kind=Kind.HEARD, leg=None)


def test_the_answer_to_another_systems_service_is_only_a_sign_of_life():
    said = m.reply(m.asked(), duis.GBCSPayload(b"not read"), "4.1.1")
    same(only(said), kind=Kind.HEARD, eui=m.DEVICE, leg=None)
    assert findings(m.error(m.asked(), "E21", "4.1.1")) == ()


@pytest.mark.parametrize(
    "message",
    [
        m.error(m.asked(), "I99"),
        m.dcc_alert("AD1", duis.PowerOutageEvent(m.HUB, m.AT, "1234567890123")),
        m.dcc_alert("N62", duis.CommsHubAlert(m.HUB, "8F8A")),
        duis.Response("I0", m.AT, duis.DeviceAlertMessage("8F72", b"")),
        duis.Response("I0", m.AT, duis.ResponseMessage("11.3", duis.GBCSPayload(b""))),
    ],
)
def test_what_names_no_device_or_says_nothing_of_one_finds_nothing(message):
    assert findings(message) == ()


def test_another_supplier_asking_for_a_shared_ppmid_is_kept_as_heard():
    alert = duis.FirmwareUpgradeRequested(duis.DeviceType.PPMID, "00000007", (m.DEVICE, OTHER))
    found = findings(m.dcc_alert("N59", alert))
    assert [f.eui for f in found] == [m.DEVICE, OTHER]
    assert all(f.kind is Kind.HEARD and "00000007" in f.detail and f.version is None for f in found)


def swap(message: duis.Response, **changes) -> duis.Response:
    return replace(message, **changes)


def future(counter: int = 1000, code: int = 0) -> bytes:
    body = gbcs.FutureDatedOutcome(0x8F66, m.AT, counter, gbcs.ExecutionOutcome(code, m.VERSION))
    return m.payload(gbcs.CRA.ALERT, gbcs.MessageCode.CS06_ALERT, body, counter=77)


def in_future_dated(octets: bytes, alert: str = "8F66") -> duis.Response:
    content = duis.FutureDatedDeviceAlert(alert, octets, 1, 1)
    return duis.Response("I0", m.AT, duis.ResponseMessage("11.3", content), m.asked(), RequestID(m.DEVICE, m.US, 77))


LIES = {
    "an outcome of another device": m.reply(m.asked(), m.outcome(m.asked(OTHER)).body.content, "11.3"),
    "an outcome of another request": m.reply(m.asked(), m.outcome(m.asked(counter=999)).body.content, "11.3"),
    "an answer for another supplier": m.reply(
        m.asked(), duis.GBCSPayload(m.payload(gbcs.CRA.RESPONSE, 0x12, gbcs.CommandAccepted(), to=OTHER)), "11.3"
    ),
    "a version in answer to an activation": m.reply(m.asked(), m.version_read(m.asked()).body.content, "11.3"),
    "an outcome in answer to a read": m.reply(m.asked(), m.outcome(m.asked()).body.content, "11.2"),
    "an alert in answer to an activation": m.reply(m.asked(), duis.GBCSPayload(m.verified().body.payload), "11.3"),
    "a response to somebody else": swap(m.outcome(m.asked()), response_id=RequestID(OTHER, m.US, 1000)),
    "octets that are no GBCS": m.reply(m.asked(), duis.GBCSPayload(b"\xdf\x09"), "11.3"),
    "a verification of another device": m.device_alert("8F72", m.verified(OTHER).body.payload),
    "a verification replayed under another counter": m.device_alert("8F72", m.verified().body.payload, counter=501),
    "a failed verification dressed as a success": m.device_alert("8F72", m.verified(code="8F1C").body.payload),
    "an outcome dressed as a verification": m.device_alert("8F72", future(), counter=77),
    "a future-dated outcome of another command": in_future_dated(future(counter=999)),
    "a failure dressed as 8F66": in_future_dated(future(code=3)),
    "8F67 that holds 8F66": in_future_dated(future(), "8F67"),
    "8F66 that holds a verification": in_future_dated(m.verified(counter=77).body.payload),
    "8F66 of another device": swap(in_future_dated(future()), request_id=None, response_id=RequestID(OTHER, m.US, 77)),
    "8F8A that failed": m.dcc_alert("N62", duis.CommsHubAlert(m.HUB, "8F8A", None, duis.FirmwareTransferAlert(m.DEVICE, m.VERSION, duis.TransferResponse.FAILURE))),
    "8F89 that succeeded": m.dcc_alert("N62", duis.CommsHubAlert(m.HUB, "8F89", None, duis.FirmwareTransferAlert(m.DEVICE, m.VERSION, duis.TransferResponse.SUCCESS))),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_message_that_contradicts_itself_is_no_evidence(lie):
    with pytest.raises(Contradiction):
        findings(LIES[lie])


def test_a_device_check_sees_every_payload_and_can_refuse_it():
    def refuse(inside: gbcs.Message) -> None:
        raise Contradiction(f"not signed by {inside.header.originator}")

    for message in (m.outcome(m.asked()), m.verified(), m.future_dated(m.asked())):
        with pytest.raises(Contradiction, match="not signed by"):
            findings(message, refuse)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [(m.outcome(m.asked()), m.US), (m.verified(to=OTHER), OTHER), (swap(m.ppmid(), response_id=None), None)],
)
def test_whom_a_message_is_for(message, wanted):
    assert addressee(message) == wanted


def test_a_campaigns_evidence_folds_to_a_confirmed_device():
    events = [Event(Kind.GRANTED, m.AT.replace(hour=1), leg, 1, 1) for leg in (Leg.DISTRIBUTE, Leg.ACTIVATE)]
    for message in (m.delivered(m.batch()), m.verified(), m.outcome(m.asked())):
        said = only(message)
        events.append(Event(said.kind, said.at, said.leg, 1, 1, said.evidence, said.version, said.detail))
    assert fold(events, Target(m.VERSION, "AB" * 32, one_step=False)).state is State.CONFIRMED
