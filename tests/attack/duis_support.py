"""What the attacks on DUIS share: a victim's signed messages, and a limit on what refusing may cost."""

import resource
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from hanwave.credentials import Role
from hanwave.duis import (
    ActivateFirmware,
    DuisError,
    GBCSPayload,
    MalformedMessage,
    Request,
    Response,
    ResponseMessage,
    TrustStore,
    read,
    read_signed,
    sign,
)
from hanwave.identifiers import EUI64, RequestID
from infra.pki import Authority

SR = "http://www.dccinterface.co.uk/ServiceUserGateway"
DS = "http://www.w3.org/2000/09/xmldsig#"
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SUPPLIER, DEVICE, ACB = (EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002"))

AUTHORITY = Authority(at=AT)
DCC = AUTHORITY.organisation(ACB, Role.DSP_XML_SIGN)
TRUSTED = TrustStore([DCC.certificate])
REQUEST = Request.of(RequestID(SUPPLIER, DEVICE, 1000), ActivateFirmware(bytes(32)))
RESPONSE = Response(
    "I0",
    AT,
    ResponseMessage("11.3", GBCSPayload(bytes(range(80)))),
    REQUEST.request_id,
    RequestID(DEVICE, SUPPLIER, 1000),
)
SIGNED = sign(RESPONSE, DCC.key, DCC.certificate, AT)

# The real figures are some milliseconds; these bounds leave room for a busy machine.
LIMIT_S, LIMIT_MB = 1.0, 50


def refused(data, sentence=None, *, error=DuisError, trust=TRUSTED, **options):
    """Neither reader takes the data, soon and without filling memory; returns what read_signed said."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(error, match=sentence) as refusal:
        read_signed(data, trust, AT, allow_unsigned=True, **options)
    assert time.process_time() - started < LIMIT_S
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LIMIT_MB * 2**20
    # libxml2's memory is not Python's: the process itself may not have grown beyond the bound either.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LIMIT_MB * 1024
    return str(refusal.value)


def malformed(data, sentence=None, **options):
    """As refused, and read, which judges no signature, refuses it too."""
    said = refused(data, sentence, error=MalformedMessage, **options)
    with pytest.raises(MalformedMessage, match=sentence):
        read(data, **options)
    return said
