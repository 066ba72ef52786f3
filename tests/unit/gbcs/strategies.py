"""Every message that hanwave builds, drawn by hypothesis: a header and a body that fit each other."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from hanwave.gbcs import (
    CANCEL,
    CRA,
    ActivateFirmware,
    ActivateImage,
    ActivateImageResponseCode,
    AlertCode,
    Body,
    CommandAccepted,
    DataAccessResult,
    ExecutionOutcome,
    FirmwareTransfer,
    FirmwareVersion,
    FutureDatedOutcome,
    Header,
    ImageVerification,
    MessageCode,
    PpmidActivation,
    ReadFirmwareVersion,
    ReadResponseCode,
    Supplementary,
    TransferResponseCode,
    Unrecognised,
    ZclStatus,
)
from hanwave.gbcs.octets import with_length
from hanwave.identifiers import EUI64

COUNTER_63 = st.integers(0, 2**63 - 1)
COUNTER_64 = st.integers(0, 2**64 - 1)
euis = st.binary(min_size=8, max_size=8).map(EUI64)
versions = st.binary(min_size=4, max_size=4).map(lambda octets: octets.hex().upper())
hashes = st.binary(min_size=32, max_size=32)
times = st.integers(0, 3_000_000_000).map(lambda seconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def codes(kind, limit):
    """A member of the enum, or a number that a newer device may send."""
    return st.sampled_from(list(kind)) | st.integers(0, limit).filter(lambda n: n not in {m.value for m in kind})


certificates = (
    st.binary(max_size=300)
    .map(lambda body: b"\x30" + with_length(body))
    .filter(lambda certificate: len(certificate) != 8)
)
supplements = (
    st.builds(Supplementary, euis)
    | st.builds(Supplementary, euis, COUNTER_64)
    | st.builds(Supplementary, euis, COUNTER_64, COUNTER_64)
    | st.builds(Supplementary, euis, COUNTER_64, certificate=certificates)
)
outcomes = st.builds(ExecutionOutcome, codes(ActivateImageResponseCode, 2**31 - 1), versions)
alert_codes = codes(AlertCode, 0xFFFF)


def version_answers(kind, limit):
    failed = st.builds(FirmwareVersion, st.none(), codes(kind, limit).filter(bool))
    return failed | st.builds(FirmwareVersion, versions, st.just(kind(0)))


BODIES: dict[tuple[CRA, MessageCode], st.SearchStrategy[Body]] = {
    (CRA.RESPONSE, MessageCode.CS06): st.just(CommandAccepted()) | outcomes,
    (CRA.ALERT, MessageCode.CS06_ALERT): st.builds(FutureDatedOutcome, alert_codes, times, COUNTER_63, outcomes),
    (CRA.ALERT, MessageCode.FDRA_DLMS): st.builds(
        ImageVerification, alert_codes, st.none() | times, st.none() | hashes
    ),
    (CRA.ALERT, MessageCode.FDRA_GBZ): st.builds(ImageVerification, alert_codes, st.none() | times, st.none() | hashes),
    (CRA.ALERT, MessageCode.CCS08): st.builds(
        FirmwareTransfer, alert_codes, times, euis, versions, codes(TransferResponseCode, 2**31 - 1)
    ),
    (CRA.ALERT, MessageCode.CS09): st.builds(
        PpmidActivation, alert_codes, times, versions, codes(ActivateImage, 2**31 - 1)
    ),
    (CRA.ALERT, MessageCode.CS08): st.builds(
        PpmidActivation, alert_codes, times, versions, codes(ActivateImage, 2**31 - 1)
    ),
    (CRA.COMMAND, MessageCode.CS08): st.just(ReadFirmwareVersion()),
    (CRA.COMMAND, MessageCode.ECS52): st.just(ReadFirmwareVersion()),
    (CRA.COMMAND, MessageCode.GCS38): st.just(ReadFirmwareVersion()),
    (CRA.RESPONSE, MessageCode.CS08): st.builds(FirmwareVersion, versions, codes(ReadResponseCode, 2**31 - 1)),
    (CRA.RESPONSE, MessageCode.ECS52): version_answers(DataAccessResult, 0xFF),
    (CRA.RESPONSE, MessageCode.GCS38): version_answers(ZclStatus, 0xFF),
}


@st.composite
def activations(draw):
    """A CS06 command: its payload repeats the header's counter."""
    counter = draw(COUNTER_63)
    header = Header(CRA.COMMAND, counter, draw(euis), draw(euis), MessageCode.CS06)
    return header, ActivateFirmware(draw(hashes), counter, draw(st.none() | st.just(CANCEL) | times))


@st.composite
def others(draw):
    """Any other message of GBCS, of which hanwave reads the header."""
    cra = draw(st.sampled_from(CRA))
    code = draw(st.integers(0, 0xFFFF).filter(lambda n: n not in set(MessageCode)))
    return draw(headers(cra, code)), Unrecognised(draw(st.binary(max_size=600)))


def headers(cra, code):
    date_times = st.none() | st.binary(min_size=12, max_size=12)
    return st.builds(Header, st.just(cra), COUNTER_64, euis, euis, st.just(code), date_times, st.none() | supplements)


def _fitting(kind):
    return st.tuples(headers(*kind), BODIES[kind])


messages = activations() | others() | st.sampled_from(sorted(BODIES)).flatmap(_fitting)
