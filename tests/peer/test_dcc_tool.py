"""DCC's own signing tool and hanwave: each verifies what the other signed, with the test keys that DCC publishes in it.

The tool also checks each message against its schema, DUIS 5.1, and drops white space between elements as it reads.
"""

import pytest

from hanwave.credentials import Role
from hanwave.duis import Response, SignatureError, TrustStore, read_signed, sign, write
from tests.peer.messages import REQUESTS, RESPONSES, pretty, tampered

pytestmark = pytest.mark.peer

VALID, INVALID = 0, 10
SIGNED_BY_US = REQUESTS | RESPONSES
SIGNED_BY_TOOL = [
    "8.2 by device", "8.2 by property", "11.1", "11.2", "11.3 CV4", "11.3 CV4 cancelled", "11.3 CV5 dated", "11.4",
]  # fmt: skip


@pytest.fixture
def ours(dcc_supplier, dcc_signer, now):
    def sign_it(message):
        identity = dcc_signer if isinstance(message, Response) else dcc_supplier
        return sign(message, identity.key, identity.certificate, now)

    return sign_it


@pytest.fixture
def believe(dcc_supplier, now):
    """hanwave's reading of a request that DCC's test supplier signed."""
    trust = TrustStore([dcc_supplier.certificate], Role.XML_SIGN)
    return lambda data: read_signed(data, trust, now)


@pytest.mark.parametrize("name", SIGNED_BY_US)
def test_the_tool_verifies_what_hanwave_signs(name, ours, dcc_tool):
    verdict, said = dcc_tool.validate(ours(SIGNED_BY_US[name]))
    assert verdict == VALID, said
    assert "passed xsd validation" in said
    assert "passed signature check" in said


@pytest.mark.parametrize("name", SIGNED_BY_TOOL)
def test_hanwave_verifies_what_the_tool_signs(name, dcc_tool, dcc_supplier, believe):
    signed = believe(dcc_tool.sign(write(REQUESTS[name])))
    assert (signed.message, signed.signer) == (REQUESTS[name], dcc_supplier.certificate)


def test_the_tool_signs_a_laid_out_request_and_hanwave_verifies_it(dcc_tool, believe):
    request = REQUESTS["11.3 CV4 dated"]
    assert believe(dcc_tool.sign(pretty(write(request)))).message == request


def test_hanwave_signs_a_laid_out_request_and_the_tool_verifies_it(dcc_tool, ours):
    verdict, said = dcc_tool.validate(ours(pretty(write(REQUESTS["11.1"]))))
    assert verdict == VALID, said


def test_a_message_laid_out_after_it_was_signed_is_refused_by_hanwave_alone(dcc_tool, ours, believe):
    # The tool digests what its schema parser leaves; hanwave, as the standard has it, what was sent.
    data = pretty(ours(REQUESTS["11.3 CV4"]))
    assert dcc_tool.validate(data)[0] == VALID
    with pytest.raises(SignatureError, match="changed after it was signed"):
        believe(data)


@pytest.mark.parametrize("change", ["a counter", "the digest", "the signature value"])
def test_neither_verifies_what_was_changed(change, dcc_tool, ours, believe):
    request = REQUESTS["11.3 CV5"]
    for data in (ours(request), dcc_tool.sign(write(request))):
        changed = tampered(data)[change]
        verdict, said = dcc_tool.validate(changed)
        assert verdict == INVALID, said
        with pytest.raises(SignatureError):
            believe(changed)


def test_the_tool_knows_no_stranger(dcc_tool, supplier, now):
    data = sign(REQUESTS["11.2"], supplier.key, supplier.certificate, now)
    verdict, said = dcc_tool.validate(data)
    assert verdict != VALID, said
