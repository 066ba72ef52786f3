"""Signatures forged, moved, wrapped, swapped or borrowed: none makes a message read that nobody trusted signed."""

import base64
import hmac
import re
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hanwave.credentials import Role, sign_raw
from hanwave.duis import (
    Acknowledgement,
    MalformedMessage,
    Response,
    ResponseMessage,
    SignatureError,
    TrustStore,
    read_signed,
    sign,
    write,
)
from infra.pki import Authority
from tests.attack.duis_support import (
    ACB,
    AT,
    AUTHORITY,
    DCC,
    DEVICE,
    DS,
    REQUEST,
    SIGNED,
    SR,
    SUPPLIER,
    TRUSTED,
    refused,
)

pytestmark = pytest.mark.attack

GOOD = SIGNED.split(b"?>", 1)[1]
START, END = GOOD.index(b"<ds:Signature "), GOOD.index(b"</sr:Response>")
SIGNATURE = GOOD[START:END]
UNSIGNED = GOOD[:START] + GOOD[END:]
FORGED = write(Response("E1", AT, ResponseMessage("11.3", Acknowledgement()))).split(b"?>", 1)[1]
ROOT_END = b"</sr:Response>"


def with_signature(document, signature):
    end = document.rindex(b"</")
    return document[:end] + signature + document[end:]


def resigned(document=UNSIGNED, change=lambda info: info, signature=SIGNATURE, key=DCC.key):
    """A Signature whose SignedInfo was changed, and signed again by DCC's own key: what a careless DCC might send."""
    info = re.search(rb"<ds:SignedInfo>.*</ds:SignedInfo>", signature)[0]
    digest = base64.b64encode(sha256(document).digest())
    new = change(re.sub(rb"(<ds:DigestValue>)[^<]*", rb"\g<1>" + digest, info))
    value = sign_raw(key, new.replace(b"<ds:SignedInfo>", b'<ds:SignedInfo xmlns:ds="%s">' % DS.encode()))
    changed = signature.replace(info, new)
    changed = re.sub(rb"(<ds:SignatureValue>)[^<]*", lambda m: m[1] + base64.b64encode(value), changed)
    return with_signature(document, changed)


def test_the_forger_s_tools_work():
    assert read_signed(resigned(), TRUSTED, AT).message == read_signed(SIGNED, TRUSTED, AT).message


# Signature wrapping: what is read must be what was signed.


def test_a_signature_on_another_message():
    refused(with_signature(FORGED, SIGNATURE), "changed after it was signed", error=SignatureError)


def test_the_signature_moved_before_the_body():
    moved = UNSIGNED.replace(b"<sr:Body>", SIGNATURE + b"<sr:Body>")
    refused(moved, "last in its root", error=MalformedMessage)


def test_the_signature_moved_into_the_body():
    moved = UNSIGNED.replace(b"</sr:Body>", SIGNATURE + b"</sr:Body>")
    refused(moved, "Signature where it has no place", error=MalformedMessage)


def test_the_signature_moved_into_the_header():
    moved = UNSIGNED.replace(b"</sr:Header>", SIGNATURE + b"</sr:Header>")
    refused(moved, "Signature where it has no place", error=MalformedMessage)


def test_the_original_wrapped_in_an_object_of_the_signature():
    wrapped = SIGNATURE.replace(b"</ds:Signature>", b"<ds:Object>" + UNSIGNED + b"</ds:Object></ds:Signature>")
    refused(with_signature(FORGED, wrapped), "DUIS has SignedInfo, SignatureValue, KeyInfo", error=SignatureError)


def test_the_original_wrapped_in_the_forged_body():
    refused(FORGED.replace(b"</sr:Body>", GOOD + b"</sr:Body>"), "no place", error=MalformedMessage)


def test_a_second_signature():
    refused(with_signature(UNSIGNED, SIGNATURE + SIGNATURE), "one Signature", error=MalformedMessage)
    refused(with_signature(FORGED, SIGNATURE + SIGNATURE), "one Signature", error=MalformedMessage)


def test_a_signature_in_the_signature():
    nested = SIGNATURE.replace(b"</ds:Signature>", SIGNATURE + b"</ds:Signature>")
    refused(with_signature(UNSIGNED, nested), "DUIS has SignedInfo", error=SignatureError)


def test_a_reference_to_an_id():
    wrapper = FORGED.replace(b"<sr:Body>", b'<sr:Body Id="forged">')
    for uri in (b"#signed", b"#xpointer(/)", b"file:///etc/passwd", b"http://127.0.0.1:9/x"):
        swapped = resigned(wrapper, lambda info, uri=uri: info.replace(b'URI=""', b'URI="%s"' % uri))
        refused(swapped, "DUIS has", error=SignatureError)


def test_a_reference_without_a_uri():
    refused(resigned(change=lambda info: info.replace(b' URI=""', b"")), "DUIS has", error=SignatureError)


def test_a_wrapped_root():
    outer = b'<sr:Response xmlns:sr="' + SR.encode() + b'" schemaVersion="5.4">' + GOOD + b"</sr:Response>"
    refused(outer, "no place", error=MalformedMessage)
    refused(b"<a>" + GOOD + b"</a>", "no place", error=MalformedMessage)
    beside = with_signature(FORGED, UNSIGNED + SIGNATURE)
    refused(beside, error=SignatureError)


def test_the_signature_not_last():
    refused(GOOD.replace(ROOT_END, b"<sr:Body/>" + ROOT_END), "last in its root", error=MalformedMessage)


def test_text_after_the_signature():
    refused(GOOD.replace(ROOT_END, b"E1" + ROOT_END), "digest", error=SignatureError)
    refused(resigned(UNSIGNED.replace(ROOT_END, b"E1" + ROOT_END)), "text between", error=MalformedMessage)


def test_a_comment_that_splits_a_value_is_read_as_it_is_digested():
    split = GOOD.replace(b">I0<", b">I<!-- x -->0<")
    assert read_signed(split, TRUSTED, AT).message.code == "I0"
    refused(GOOD.replace(b">I0<", b">I0<!-- x -->1<"), "digest", error=SignatureError)


def test_a_signature_in_a_comment():
    with pytest.raises(SignatureError, match="not signed"):
        read_signed(with_signature(FORGED, b"<!--" + SIGNATURE + b"-->"), TRUSTED, AT)


def test_a_signature_of_another_namespace_is_none():
    other = SIGNATURE.replace(DS.encode(), b"urn:x")
    refused(with_signature(FORGED, other), "no place", error=MalformedMessage)


# SignedInfo: one Reference, one transform, DUIS's algorithms.

TRANSFORM = re.search(rb"<ds:Transform .*?</ds:Transform>", SIGNATURE)[0]
REFERENCE = re.search(rb"<ds:Reference .*</ds:Reference>", SIGNATURE)[0]
XPATH = b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>1</ds:XPath></ds:Transform>'
XSLT = b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"></ds:Transform>'
C14N = b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform>'


@pytest.mark.parametrize(
    "transforms",
    [b"", XPATH, XSLT, C14N, TRANSFORM + XPATH, XPATH + TRANSFORM, TRANSFORM + C14N, TRANSFORM * 2],
    ids=["none", "xpath", "xslt", "c14n", "then xpath", "xpath before", "then c14n", "twice"],
)
def test_other_transforms(transforms):
    refused(resigned(change=lambda info: info.replace(TRANSFORM, transforms)), "DUIS has", error=SignatureError)


def test_no_reference():
    refused(resigned(change=lambda info: info.replace(REFERENCE, b"")), "DUIS has", error=SignatureError)


def test_two_references():
    refused(resigned(change=lambda info: info.replace(REFERENCE, REFERENCE * 2)), "DUIS has", error=SignatureError)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#hmac-sha256"),
        (b"2001/04/xmldsig-more#ecdsa-sha256", b"2000/09/xmldsig#rsa-sha1"),
        (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#ecdsa-sha1"),
        (b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", b""),
        (b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", b"none"),
        (b"2001/04/xmlenc#sha256", b"2000/09/xmldsig#sha1"),
        (b"2001/10/xml-exc-c14n#", b"TR/2001/REC-xml-c14n-20010315"),
        (b"2001/10/xml-exc-c14n#", b"2001/10/xml-exc-c14n#WithComments"),
    ],
)
def test_another_algorithm(ours, theirs):
    refused(resigned(change=lambda info: info.replace(ours, theirs)), "Algorithm", error=SignatureError)


def test_an_hmac_keyed_with_the_public_certificate():
    info = re.search(rb"<ds:SignedInfo>.*</ds:SignedInfo>", SIGNATURE)[0]
    tag = hmac.digest(DCC.certificate_pem, info, "sha256")
    value = base64.b64encode(tag + tag)
    forged = re.sub(rb"(<ds:SignatureValue>)[^<]*", lambda m: m[1] + value, SIGNATURE)
    forged = forged.replace(b"#ecdsa-sha256", b"#hmac-sha256")
    refused(with_signature(UNSIGNED, forged), "Algorithm", error=SignatureError)


def test_an_rsa_sha1_signature():
    key = rsa.generate_private_key(65537, 2048)
    value = base64.b64encode(key.sign(b"x", padding.PKCS1v15(), hashes.SHA1()))
    forged = re.sub(rb"(<ds:SignatureValue>)[^<]*", lambda m: m[1] + value, SIGNATURE)
    refused(with_signature(UNSIGNED, forged), "256 octets", error=SignatureError)


def test_unknown_attributes_in_the_signature():
    for place in (b"<ds:SignedInfo", b"<ds:SignatureValue", b"<ds:X509IssuerName", b"<ds:Transforms"):
        refused(GOOD.replace(place, place + b' Id="a"'), error=SignatureError)
    refused(GOOD.replace(b"<ds:Signature ", b'<ds:Signature Id="a" '), "attributes", error=SignatureError)


def test_text_in_the_signature():
    refused(GOOD.replace(b"<ds:KeyInfo>", b"<ds:KeyInfo>x"), "holds text", error=SignatureError)
    refused(GOOD.replace(b"</ds:SignedInfo>", b"</ds:SignedInfo>x"), "holds text", error=SignatureError)


# The value: base64, 64 octets r||s, of the right key.


def signature_value(change):
    return re.sub(rb"(<ds:SignatureValue>)([^<]*)", lambda m: m[1] + change(m[2]), GOOD)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 40, 88])
def test_truncated_base64(cut):
    refused(signature_value(lambda value: value[:-cut]), "base64|octets", error=SignatureError)


def test_a_digest_of_another_length():
    short = re.sub(rb"(<ds:DigestValue>)[^<]*", rb"\g<1>AAAA", GOOD)
    refused(short, "DigestValue has 3 octets", error=SignatureError)


def test_base64_with_rubbish():
    for rubbish in (b"*", b"=", b"-", b"\xc3\xa9", b"<ds:A/>"):
        refused(signature_value(lambda value, r=rubbish: value[:10] + r + value[10:]), error=SignatureError)


@pytest.mark.parametrize("octets", [bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32, b"\x01" * 32 + bytes(32)])
def test_numbers_that_are_no_signature(octets):
    refused(signature_value(lambda _: base64.b64encode(octets)), "not made with the key", error=SignatureError)


def test_a_signature_in_der():
    der = DCC.key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    refused(signature_value(lambda _: base64.b64encode(der)), "it should have 64", error=SignatureError)


def test_wrong_key():
    stranger = ec.generate_private_key(ec.SECP256R1())
    refused(resigned(key=stranger), "not made with the key", error=SignatureError)
    refused(resigned(FORGED, key=stranger), "not made with the key", error=SignatureError)


def test_an_authority_of_the_same_name():
    impostor = Authority("T1", at=AT).organisation(ACB, Role.DSP_XML_SIGN)
    forged = sign(
        Response("I0", AT, ResponseMessage("11.1", Acknowledgement())), impostor.key, impostor.certificate, AT
    )
    refused(forged, "no trusted certificate", error=SignatureError)
    serial = str(impostor.certificate.serial).encode()
    refused(forged.replace(serial, str(DCC.certificate.serial).encode()), "not made with the key", error=SignatureError)


# The certificate: role, validity, originator.


def signed_by(role, **options):
    other = AUTHORITY.organisation(ACB, role, **options)
    signature = SIGNATURE.replace(str(DCC.certificate.serial).encode(), b"%d" % other.certificate.serial)
    return resigned(signature=signature, key=other.key), TrustStore([other.certificate])


@pytest.mark.parametrize("role", [Role.XML_SIGN, Role.SUPPLIER, Role.ACCESS_CONTROL_BROKER, Role.ROOT])
def test_wrong_role(role):
    data, trust = signed_by(role)
    refused(data, f"has role {role:d}, not 137", error=SignatureError, trust=trust)


def test_expired():
    data, trust = signed_by(Role.DSP_XML_SIGN, start=AT - timedelta(days=2), life=timedelta(days=1))
    refused(data, "valid from", error=SignatureError, trust=trust)


def test_not_valid_yet():
    data, trust = signed_by(Role.DSP_XML_SIGN, start=AT + timedelta(days=2))
    refused(data, "valid from", error=SignatureError, trust=trust)


def test_a_key_for_key_agreement():
    data, trust = signed_by(Role.DSP_XML_SIGN, may_sign=False)
    refused(data, "may not sign", error=SignatureError, trust=trust)


def test_a_request_that_another_supplier_signed():
    other = AUTHORITY.organisation(DEVICE, Role.XML_SIGN)
    signature = SIGNATURE.replace(str(DCC.certificate.serial).encode(), b"%d" % other.certificate.serial)
    data = resigned(write(REQUEST).split(b"?>", 1)[1], signature=signature, key=other.key)
    trust = TrustStore([other.certificate], Role.XML_SIGN)
    refused(data, f"the request is of {SUPPLIER}", error=SignatureError, trust=trust)


@pytest.mark.parametrize("serial", [b"", b"-1", b"0x1", b"1e9", b"1" * 5000, b"\xd9\xa1"])
def test_a_serial_number_that_is_none(serial):
    data = GOOD.replace(b">%d<" % DCC.certificate.serial, b">" + serial + b"<")
    refused(data, "X509SerialNumber", error=SignatureError)


@pytest.mark.parametrize(
    "issuer", [b"", b"=", b"CN", b"CN=T1,,OU=07", b"A" * 100_000, b"CN=\\", b"2.5.4.3=#zz", b"\\,=+"]
)
def test_an_issuer_that_is_no_name(issuer):
    data = GOOD.replace(b">CN=T1,OU=07<", b">" + issuer + b"<")
    refused(data, error=SignatureError)


def test_a_certificate_brought_along():
    own = ec.generate_private_key(ec.SECP256R1())
    brought = SIGNATURE.replace(b"</ds:X509Data>", b"<ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data>")
    refused(resigned(signature=brought, key=own), "DUIS has X509IssuerSerial", error=SignatureError)
    value = SIGNATURE.replace(b"<ds:KeyInfo>", b"<ds:KeyInfo><ds:KeyValue></ds:KeyValue>")
    refused(resigned(signature=value, key=own), "DUIS has X509Data", error=SignatureError)


def test_a_namespace_that_has_no_canonical_form():
    relative = GOOD.replace(b"<sr:Body>", b'<sr:Body xmlns:x="relative/uri">')
    refused(relative, error=(MalformedMessage, SignatureError))
