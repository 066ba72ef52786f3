from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanwave.credentials import Certificate, CredentialError, Role
from hanwave.duis import (
    Acknowledgement,
    ActivateFirmware,
    DuisError,
    MalformedMessage,
    Request,
    Response,
    ResponseMessage,
    SignatureError,
    TrustStore,
    examine,
    read,
    read_signed,
    sign,
    write,
)
from hanwave.identifiers import RequestID
from infra.pki import Authority
from tests.unit.duis import strategies
from tests.unit.duis.conftest import ACB, AT, DEVICE, PATIENT, SUPPLIER

pytestmark = pytest.mark.unit

REQUEST = Request.of(RequestID(SUPPLIER, DEVICE, 1000), ActivateFirmware(bytes(32)))
RESPONSE = Response("I99", AT, ResponseMessage("11.3", Acknowledgement()), REQUEST.request_id)


@pytest.fixture(scope="module")
def signed_request(supplier):
    return sign(REQUEST, supplier.key, supplier.certificate, AT)


@pytest.fixture(scope="module")
def signed_response(dcc):
    return sign(RESPONSE, dcc.key, dcc.certificate, AT)


@pytest.fixture(scope="module")
def suppliers(supplier):
    return TrustStore([supplier.certificate], Role.XML_SIGN)


@pytest.fixture(scope="module")
def dccs(dcc):
    return TrustStore([dcc.certificate])


def test_a_request_is_read_as_its_originator_signed_it(signed_request, suppliers, supplier):
    signed = read_signed(signed_request, suppliers, AT)
    assert (signed.message, signed.signer) == (REQUEST, supplier.certificate)
    assert read(signed_request) == REQUEST


@PATIENT
@given(response=strategies.responses)
def test_every_response_is_read_as_it_was_signed(response, dcc, dccs):
    assert read_signed(sign(response, dcc.key, dcc.certificate, AT), dccs, AT).message == response


def test_either_of_two_dcc_keys_is_accepted(dcc, authority, signed_response):
    transform = authority.organisation(ACB, Role.DSP_XML_SIGN)
    store = TrustStore([transform.certificate, dcc.certificate, dcc.certificate])
    other = sign(RESPONSE, transform.key, transform.certificate, AT)
    assert read_signed(signed_response, store, AT).signer == dcc.certificate
    assert read_signed(other, store, AT).signer == transform.certificate


def test_a_message_states_its_signer(signed_request, supplier):
    claimed = examine(signed_request).claimed_signer
    assert claimed == (supplier.certificate.issuer, str(supplier.certificate.serial))


def test_bytes_lose_their_white_space_and_are_signed(dcc, dccs):
    pretty = write(RESPONSE).replace(b"><", b">\n  <")
    signed = sign(pretty, dcc.key, dcc.certificate, AT)
    assert b"\n" not in signed
    assert read_signed(signed, dccs, AT).message == RESPONSE


def test_bytes_that_are_signed_are_not_signed_again(dcc, signed_response):
    with pytest.raises(SignatureError, match="signed already"):
        sign(signed_response, dcc.key, dcc.certificate, AT)


def test_white_space_after_the_signature_belongs_to_what_is_digested(signed_response, dccs):
    with pytest.raises(SignatureError, match="digest"):
        read_signed(signed_response.replace(b"</ds:Signature>", b"</ds:Signature>\n"), dccs, AT)


def test_the_form_of_the_issuer_name_is_free(signed_response, dccs, dcc):
    assert dcc.certificate.issuer == "CN=T1,OU=07"
    for name in (b"CN=T1, OU=07", b" CN = T1 ,OU=07\n"):
        assert read_signed(signed_response.replace(b"CN=T1,OU=07", name), dccs, AT).message == RESPONSE
    for name in (b"OU=07,CN=T1", b"CN=T1+OU=07", b"CN=T1\\, OU=07", b"CN=T2,OU=07", b"", b"not a name"):
        with pytest.raises(SignatureError):
            read_signed(signed_response.replace(b"CN=T1,OU=07", name), dccs, AT)


def test_an_issuer_name_is_escaped(dcc):
    odd = Authority("A & B <c>", at=AT).organisation(ACB, Role.DSP_XML_SIGN)
    signed = sign(RESPONSE, odd.key, odd.certificate, AT)
    assert read_signed(signed, TrustStore([odd.certificate]), AT).signer == odd.certificate


def test_line_breaks_in_the_signature_are_tolerated(signed_response, dccs):
    start = signed_response.index(b"<ds:SignatureValue>") + 40
    broken = signed_response[:start] + b"&#13;\n" + signed_response[start:]
    assert read_signed(broken, dccs, AT).message == RESPONSE


def test_character_data_sections_are_the_text_that_is_digested(signed_response, dccs):
    section = signed_response.replace(b">I99<", b"><![CDATA[I9]]>9<")
    assert read_signed(section, dccs, AT).message == RESPONSE
    with pytest.raises(SignatureError, match="digest"):
        read_signed(signed_response.replace(b">I99<", b"><![CDATA[E]]>99<"), dccs, AT)


def test_unsigned_is_accepted_only_where_the_caller_says_so(dccs):
    with pytest.raises(
        SignatureError, match=r"^the message is not signed: a Signature should stand last in its root element$"
    ):
        read_signed(write(RESPONSE), dccs, AT)
    signed = read_signed(write(RESPONSE), dccs, AT, allow_unsigned=True)
    assert (signed.message, signed.signer) == (RESPONSE, None)


def test_a_broken_signature_is_no_missing_one(signed_response, dccs):
    with pytest.raises(SignatureError):
        read_signed(signed_response.replace(b"I99", b"I98"), dccs, AT, allow_unsigned=True)


@pytest.mark.parametrize("role", [Role.SUPPLIER, Role.DSP_XML_SIGN])
def test_signing_a_request_wants_the_role_for_it(authority, role):
    wrong = authority.organisation(SUPPLIER, role)
    with pytest.raises(CredentialError, match=f"role {role:d}, not 135"):
        sign(REQUEST, wrong.key, wrong.certificate, AT)


def test_signing_wants_a_valid_certificate(supplier):
    with pytest.raises(CredentialError, match="valid from"):
        sign(REQUEST, supplier.key, supplier.certificate, AT + timedelta(days=365 * 11))


def test_signing_wants_the_certificate_of_the_key(supplier, dcc):
    with pytest.raises(SignatureError, match="not that of the certificate"):
        sign(REQUEST, dcc.key, supplier.certificate, AT)


def test_signing_wants_the_originator(authority):
    other = authority.organisation(DEVICE, Role.XML_SIGN)
    with pytest.raises(SignatureError, match="the request is of"):
        sign(REQUEST, other.key, other.certificate, AT)


def test_two_certificates_of_one_issuer_and_serial_are_refused(dcc, authority):
    twin = authority.organisation(ACB, Role.DSP_XML_SIGN).certificate
    twin = Certificate(_WithSerial(twin.x509, dcc.certificate.serial))
    with pytest.raises(SignatureError, match="two trusted certificates"):
        TrustStore([dcc.certificate, twin])


class _WithSerial:
    """A certificate with the serial number of another, as a careless authority could issue it."""

    def __init__(self, certificate, serial):
        self.issuer, self.serial_number = certificate.issuer, serial
        self.rfc4514 = certificate.issuer.rfc4514_string


def test_the_signature_of_a_smets1_provider_inside_is_not_ours(dcc, dccs):
    inner = b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"></ds:Signature>'
    body = (
        b"<sr:SMETS1ResponseMessage><sr:SMETS1SignedResponse>" + inner + b"</sr:SMETS1SignedResponse>"
        b"</sr:SMETS1ResponseMessage>"
    )
    start, end = (write(RESPONSE).index(tag) for tag in (b"<sr:ResponseMessage>", b"</sr:Body>"))
    data = write(RESPONSE)[:start] + body + write(RESPONSE)[end:]
    assert read_signed(sign(data, dcc.key, dcc.certificate, AT), dccs, AT).message.body.name == "SMETS1ResponseMessage"


@settings(PATIENT, max_examples=300)
@given(data=st.data())
def test_no_prefix_verifies(data, signed_request, suppliers):
    prefix = signed_request[: data.draw(st.integers(0, len(signed_request) - 1))]
    for reader in (lambda: read_signed(prefix, suppliers, AT, allow_unsigned=True), lambda: read(prefix)):
        with pytest.raises(DuisError):
            reader()


@settings(PATIENT, max_examples=500)
@given(data=st.data())
def test_no_changed_byte_changes_what_is_verified(data, signed_request, suppliers, supplier):
    # XML has several spellings for one document (a tab for a space in a tag): those may pass, if they read the same.
    position = data.draw(st.integers(0, len(signed_request) - 1))
    octet = data.draw(st.integers(0, 255))
    changed = signed_request[:position] + bytes([octet]) + signed_request[position + 1 :]
    try:
        signed = read_signed(changed, suppliers, AT)
    except DuisError:
        return
    assert (signed.message, signed.signer) == (REQUEST, supplier.certificate)


def test_every_changed_letter_or_digit_is_refused(signed_request, suppliers):
    start = signed_request.index(b"<sr:Header>")
    for position in range(start, len(signed_request)):
        octet = signed_request[position]
        if not chr(octet).isalnum():
            continue
        for other in {octet ^ 1, octet ^ 0x20} - {octet}:
            changed = signed_request[:position] + bytes([other]) + signed_request[position + 1 :]
            with pytest.raises(DuisError):
                read_signed(changed, suppliers, AT)


def test_a_message_over_the_bound_is_refused_before_it_is_parsed(signed_request, suppliers):
    with pytest.raises(MalformedMessage, match="at most 100 are read"):
        read_signed(signed_request, suppliers, AT, max_bytes=100)
