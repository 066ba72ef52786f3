"""Every message that DUIS can carry, drawn by hypothesis."""

from datetime import UTC, date
from enum import StrEnum

from hypothesis import strategies as st

from hanwave.duis import (
    CANCEL,
    Acknowledgement,
    ActivateFirmware,
    ActivationResult,
    ADAttributeLimitsBreach,
    ADDCCThresholdBreach,
    ADUserThresholdBreach,
    CommandFailure,
    CommsHubAlert,
    CommsHubFirmwareActivation,
    CSPFirmwareDeliveryStatus,
    DCCAlertMessage,
    DCCAlertVersionMismatch,
    DecodedMessage,
    Device,
    DeviceAlertMessage,
    DeviceRestored,
    DeviceStatus,
    DeviceStatusChangeEvent,
    DeviceSuspended,
    DeviceType,
    DUISVersionMismatch,
    FirmwareDistributionFailure,
    FirmwareTransferAlert,
    FirmwareUpgradeRequested,
    FirmwareVersionMismatch,
    FutureDatedDeviceAlert,
    GBCSPayload,
    HubUpdateStatus,
    Inventory,
    ListStatus,
    PowerOutageEvent,
    PPMIDAlert,
    PPMIDFirmwareUpgradeAlert,
    PreCommand,
    PropertyFilter,
    QuarantinedRequest,
    ReadFirmwareVersion,
    ReadInventory,
    Region,
    Request,
    Response,
    ResponseMessage,
    ServiceResponseVersionMismatch,
    SignedPreCommand,
    SMETS1CHFirmwareNotification,
    TransferResponse,
    TransferStatus,
    Unrecognised,
    UpdateFirmware,
    UpdateFirmwareWarning,
    UpdatePPMIDFirmware,
    UpdatePPMIDFirmwareWarning,
)
from hanwave.duis import decoded as mmc
from hanwave.identifiers import EUI64, MAX_COUNTER, RequestID

SR = "http://www.dccinterface.co.uk/ServiceUserGateway"
RA = "http://www.dccinterface.co.uk/ResponseAndAlert"

_characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
_text_characters = _characters | st.sampled_from("\t\n\r<>&\"'")


def texts(least, most):
    return st.text(_text_characters, min_size=least, max_size=most)


def open_enums(known: type[StrEnum]):
    return st.sampled_from(known) | st.just("ANewValue")


def maybe(strategy):
    return st.none() | strategy


euis = st.binary(min_size=8, max_size=8).map(EUI64)
eui_lists = st.lists(euis, min_size=1, max_size=5, unique=True).map(tuple)
request_ids = st.builds(RequestID, euis, euis, st.integers(0, MAX_COUNTER))
times = st.datetimes(timezones=st.just(UTC)) | st.just(CANCEL)
payloads = st.binary(max_size=60)
versions = texts(1, 8)
alert_codes = st.binary(min_size=2, max_size=2).map(lambda octets: octets.hex().upper())
property_filters = st.builds(PropertyFilter, texts(6, 8), texts(0, 30))
uprns = st.integers(1, 10**12 - 1)
unsigned = maybe(st.integers(0, 2**32 - 1))
unrecognised = st.sampled_from(["NewThing", "AnotherThing"]).map(
    lambda name: Unrecognised(
        name, f'<sr:{name} xmlns:sr="{SR}"><sr:A b="&quot;">x &amp; y</sr:A></sr:{name}>'.encode()
    )
)
raw_decoded = st.just(Unrecognised("NewThing", f'<ra:NewThing xmlns:ra="{RA}">1</ra:NewThing>'.encode()))

request_bodies = st.one_of(
    st.builds(ReadInventory, device_id=euis),
    st.builds(ReadInventory, uprn=uprns),
    st.builds(ReadInventory, mpxn=texts(1, 13)),
    st.builds(ReadInventory, property_filter=property_filters),
    st.builds(UpdateFirmware, payloads, versions, eui_lists),
    st.builds(UpdatePPMIDFirmware, payloads, versions, eui_lists),
    st.builds(ReadFirmwareVersion, maybe(times)),
    st.builds(ActivateFirmware, st.binary(min_size=32, max_size=32), maybe(times)),
    st.builds(SignedPreCommand, payloads, maybe(times)),
    unrecognised,
)


@st.composite
def requests(draw):
    plain = Request.of(draw(request_ids), draw(request_bodies))
    return Request(
        plain.request_id,
        draw(st.integers(1, 9)),
        plain.service_reference,
        plain.body,
        draw(maybe(st.just("11.3"))),
        draw(maybe(st.booleans())),
        draw(maybe(request_ids)),
    )


devices = st.builds(
    Device,
    euis,
    open_enums(DeviceType),
    texts(0, 30),
    texts(0, 30),
    maybe(open_enums(DeviceStatus)),
    maybe(texts(1, 20)),
    maybe(versions),
    maybe(open_enums(ListStatus)),
    maybe(open_enums(ListStatus)),
    maybe(st.dates(date(1900, 1, 1), date(2900, 1, 1))),
    maybe(texts(1, 13)),
    maybe(texts(13, 13)),
    maybe(texts(13, 13)),
    maybe(st.just("ADEF")),
    maybe(uprns),
    maybe(property_filters),
    maybe(open_enums(Region)),
    maybe(texts(0, 10)),
    maybe(texts(0, 10)),
    maybe(texts(0, 10)),
    maybe(st.just("Cellular")),
)

warning_lists = [maybe(eui_lists)] * 5
response_contents = st.one_of(
    st.just(Acknowledgement()),
    st.builds(UpdateFirmwareWarning, *warning_lists),
    st.builds(UpdatePPMIDFirmwareWarning, *warning_lists),
    st.builds(PreCommand, texts(0, 10), payloads),
    st.builds(GBCSPayload, payloads),
    st.builds(
        FutureDatedDeviceAlert,
        st.sampled_from(["8F66", "8F67"]),
        payloads,
        st.integers(0, 65535),
        st.integers(0, 65535),
    ),
    st.builds(Inventory, st.lists(devices, min_size=1, max_size=3).map(tuple)),
    unrecognised,
)

alerts = st.one_of(
    st.builds(FirmwareDistributionFailure, request_ids, eui_lists),
    st.builds(CSPFirmwareDeliveryStatus, request_ids, euis, euis, versions, times, open_enums(TransferStatus)),
    st.builds(
        CommsHubAlert,
        euis,
        alert_codes,
        maybe(times),
        maybe(st.builds(FirmwareTransferAlert, euis, versions, open_enums(TransferResponse), maybe(request_ids))),
    ),
    st.builds(
        PPMIDAlert,
        euis,
        alert_codes,
        maybe(times),
        maybe(st.builds(PPMIDFirmwareUpgradeAlert, versions, open_enums(ActivationResult))),
    ),
    st.builds(FirmwareUpgradeRequested, open_enums(DeviceType), versions, eui_lists),
    st.builds(FirmwareVersionMismatch, euis, open_enums(DeviceType), versions, versions),
    st.builds(DeviceStatusChangeEvent, euis, st.just(DeviceSuspended()) | st.just(DeviceRestored()) | unrecognised),
    st.builds(CommandFailure, request_ids, euis, maybe(st.integers(0, 10**12))),
    st.builds(
        QuarantinedRequest,
        st.one_of(
            st.builds(kind, request_ids, st.integers(0, 10**20 - 1))
            for kind in (ADUserThresholdBreach, ADDCCThresholdBreach, ADAttributeLimitsBreach)
        ),
    ),
    st.builds(CommsHubFirmwareActivation, euis, versions),
    st.builds(SMETS1CHFirmwareNotification, euis, versions, open_enums(HubUpdateStatus)),
    st.builds(PowerOutageEvent, euis, times, texts(1, 13)),
    st.builds(
        DUISVersionMismatch,
        st.builds(DCCAlertVersionMismatch, texts(0, 10), maybe(euis), maybe(request_ids))
        | st.builds(ServiceResponseVersionMismatch, request_ids, texts(0, 9), texts(0, 9), texts(0, 9)),
        texts(0, 9),
    ),
    unrecognised,
)

response_bodies = st.one_of(
    st.builds(ResponseMessage, st.just("11.1"), response_contents, maybe(st.just("6.2.1"))),
    st.builds(DeviceAlertMessage, alert_codes, payloads, unsigned, unsigned),
    st.builds(DCCAlertMessage, st.sampled_from(["N60", "N1234"]), alerts, unsigned, unsigned),
    unrecognised,
)
responses = st.builds(
    Response, st.sampled_from(["I0", "E999999"]), times, response_bodies, maybe(request_ids), maybe(request_ids)
)
messages = requests() | responses

counters = st.integers(0, MAX_COUNTER)
device_times = st.builds(mmc.DeviceTime, times, maybe(st.booleans()), maybe(texts(0, 25)))
statuses = maybe(st.builds(mmc.ActivationStatus, texts(1, 20), maybe(st.integers(0, 3))))
decoded_responses = st.builds(
    mmc.DecodedResponse,
    maybe(
        st.one_of(
            st.builds(mmc.ActivateFirmwareRsp, statuses, maybe(versions), maybe(st.booleans())),
            st.builds(mmc.ReadFirmwareVersionRsp, maybe(texts(0, 9)), maybe(st.booleans())),
            raw_decoded,
        )
    ),
)
outcomes = st.builds(
    mmc.FutureDatedCommandOutcome,
    st.builds(mmc.FirmwareActivationDeviceAlert, maybe(times), maybe(counters), statuses, maybe(versions))
    | raw_decoded,
)
decoded_alerts = st.builds(
    mmc.DecodedAlert,
    maybe(
        st.builds(
            mmc.DeviceAlertContent,
            texts(0, 30),
            device_times,
            maybe(alert_codes),
            maybe(
                st.builds(mmc.FirmwareVerificationDeviceAlert, maybe(st.binary(min_size=32, max_size=32)))
                | outcomes
                | raw_decoded
            ),
        )
    ),
)
decoded_messages = st.builds(
    DecodedMessage,
    euis,
    euis,
    counters,
    decoded_responses | decoded_alerts | raw_decoded,
    maybe(euis),
    maybe(counters),
    maybe(counters),
    maybe(alert_codes),
    maybe(texts(1, 10)),
    maybe(texts(1, 10)),
    maybe(device_times),
)
