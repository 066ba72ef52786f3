"""XML signatures as DUIS has them (domain: XML signature): enveloped, ECDSA P-256 with SHA-256, raw r||s.

The document is digested in inclusive, SignedInfo signed in exclusive Canonical XML. Of what XML Signature allows only
this one form is accepted: what is read is the tree whose canonical form was digested, and nothing can stand beside it.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest

from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from hanwave.credentials import Certificate, Role, sign_raw, verify_raw
from hanwave.duis._kinds import BASE64
from hanwave.duis._parser import DS, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, SR, canonical, parse
from hanwave.duis.errors import MalformedMessage, SignatureError
from hanwave.duis.messages import (
    DECLARATION,
    SCHEMA_VERSION,
    SIGNATURE_TAG,
    canonical_form,
    detach_signature,
    read_root,
)
from hanwave.duis.requests import Request
from hanwave.duis.responses import Response
from hanwave.duis.trust import TrustStore

_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"

# Written in the form that exclusive canonicalisation gives it, so it is signed as it stands.
_SIGNED_INFO = (
    f'<ds:SignedInfo xmlns:ds="{DS}">'
    f'<ds:CanonicalizationMethod Algorithm="{_EXCLUSIVE}"></ds:CanonicalizationMethod>'
    f'<ds:SignatureMethod Algorithm="{_ECDSA_SHA256}"></ds:SignatureMethod>'
    f'<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="{_ENVELOPED}"></ds:Transform></ds:Transforms>'
    f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod>'
    "<ds:DigestValue>%b</ds:DigestValue></ds:Reference></ds:SignedInfo>"
).encode()
_SIGNATURE = (
    f'<ds:Signature xmlns:ds="{DS}">%b<ds:SignatureValue>%b</ds:SignatureValue>'
    "<ds:KeyInfo><ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>%b</ds:X509IssuerName>"
    "<ds:X509SerialNumber>%d</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></ds:KeyInfo></ds:Signature>"
).encode()
_XMLNS = f' xmlns:ds="{DS}"'.encode()


def sign(
    message: Request | Response | bytes,
    key: ec.EllipticCurvePrivateKey,
    certificate: Certificate,
    at: datetime,
    version: str = SCHEMA_VERSION,
) -> bytes:
    """The message with its signature, compact, ready to send.

    Bytes lose the white space between their elements: DCC's tool digests without it (domain: trap 3). SignatureError
    when they are signed already, or the key is not the certificate's, or a request's certificate is not its
    originator's; CredentialError when the certificate's role or validity forbids (a Request needs XML_SIGN).
    """
    if isinstance(message, bytes):
        root = parse(message, MAX_REQUEST_BYTES, compact=True)
        if detach_signature(root) is not None:
            raise SignatureError("the message is signed already: give it as it was before, without its Signature")
        form, message = canonical(root), read_root(root)
    else:
        form = canonical_form(message, version)
    certificate.check(_role_of(message), at)
    if key.public_key() != certificate.public_key:
        raise SignatureError(f"the private key is not that of the certificate of {certificate.eui}")
    _check_originator(message, certificate)
    return _sign_form(form, key, certificate)


def _sign_form(form: bytes, key: ec.EllipticCurvePrivateKey, certificate: Certificate) -> bytes:
    signed_info = _SIGNED_INFO % base64.b64encode(sha256(form).digest())
    signature = _SIGNATURE % (
        signed_info.replace(_XMLNS, b"", 1),
        base64.b64encode(sign_raw(key, signed_info)),
        _issuer_text(certificate),
        certificate.serial,
    )
    end = form.rindex(b"</")
    return b"".join((DECLARATION, memoryview(form)[:end], signature, memoryview(form)[end:]))


def _issuer_text(certificate: Certificate) -> bytes:
    return certificate.issuer.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()


def _role_of(message: Request | Response) -> Role:
    return Role.XML_SIGN if isinstance(message, Request) else Role.DSP_XML_SIGN


def _check_originator(message: Request | Response, certificate: Certificate) -> None:
    if isinstance(message, Request) and message.request_id.originator != certificate.eui:
        raise SignatureError(
            f"the request is of {message.request_id.originator}, the signing certificate of {certificate.eui}"
        )


@dataclass(frozen=True, slots=True)
class Signed:
    """A message, and the certificate that signed it; None only where the caller allowed an unsigned one."""

    message: Request | Response
    signer: Certificate | None


def read_signed(
    data: bytes,
    trust: TrustStore,
    at: datetime,
    *,
    allow_unsigned: bool = False,
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> Signed:
    """The message in those bytes, if a trusted certificate signed it, valid at that time.

    A request must be signed by its originator. allow_unsigned accepts a message without a signature (DCC's synchronous
    errors have none); a signature that is there must hold. Errors: MalformedMessage, SignatureError.
    """
    root = parse(data, max_bytes)
    signature = detach_signature(root)
    if any(not _is_inner(stray) for stray in root.iter(SIGNATURE_TAG)):
        raise MalformedMessage(
            "the message has a Signature where it has no place: one should stand, last in its root element"
        )
    if signature is None:
        if not allow_unsigned:
            raise SignatureError("the message is not signed: a Signature should stand last in its root element")
        return Signed(read_root(root), None)
    signer = _verify(canonical(root), _Parts.of(signature), trust, at)
    message = read_root(root)
    _check_originator(message, signer)
    return Signed(message, signer)


def _is_inner(signature: etree._Element) -> bool:
    # A SMETS1 response carries its own provider's signature; hanwave reads neither, and digests both.
    return any(element.tag == f"{{{SR}}}SMETS1SignedResponse" for element in signature.iterancestors())


@dataclass(frozen=True, slots=True)
class _Parts:
    signed_info: bytes
    digest: bytes
    value: bytes
    issuer: str
    serial: str

    @classmethod
    def of(cls, signature: etree._Element) -> "_Parts":
        """The parts of a Signature of exactly DUIS's form; else SignatureError."""
        signed_info, value, key_info = _children(signature, "SignedInfo", "SignatureValue", "KeyInfo")
        digest = _check_signed_info(signed_info)
        (data,) = _children(key_info, "X509Data")
        (issuer_serial,) = _children(data, "X509IssuerSerial")
        issuer, serial = _children(issuer_serial, "X509IssuerName", "X509SerialNumber")
        return cls(
            canonical(signed_info, exclusive=True), digest, _octets(value, 64), _text(issuer), _text(serial).strip()
        )


def _check_signed_info(signed_info: etree._Element) -> bytes:
    method, signing, reference = _children(signed_info, "CanonicalizationMethod", "SignatureMethod", "Reference")
    transforms, digesting, digest = _children(reference, "Transforms", "DigestMethod", "DigestValue", URI="")
    (transform,) = _children(transforms, "Transform")
    _children(method, Algorithm=_EXCLUSIVE)
    _children(signing, Algorithm=_ECDSA_SHA256)
    _children(transform, Algorithm=_ENVELOPED)
    _children(digesting, Algorithm=_SHA256)
    return _octets(digest, 32)


def _children(element: etree._Element, *names: str, **attributes: str) -> list[etree._Element]:
    """The children, when they are exactly those, and the attributes too; else SignatureError."""
    name = etree.QName(element).localname
    held = {str(key): str(value) for key, value in element.attrib.items()}
    if held != attributes:
        raise SignatureError(f"{name} has the attributes {str(held)[:120]}, DUIS has {attributes}")
    found = list(element)
    if [child.tag for child in found] != [f"{{{DS}}}{child}" for child in names]:
        listed = ", ".join(etree.QName(child).localname for child in found[:6]) or "nothing"
        raise SignatureError(f"{name} holds {listed}; DUIS has {', '.join(names) or 'nothing'}")
    if "".join(filter(None, [element.text, *(child.tail for child in found)])).strip():
        raise SignatureError(f"{name} holds text, it should hold elements alone")
    return found


def _text(element: etree._Element) -> str:
    if len(element) or element.attrib:
        raise SignatureError(f"{etree.QName(element).localname} should hold text alone")
    return element.text or ""


def _octets(element: etree._Element, length: int) -> bytes:
    try:
        value: bytes = BASE64.parse(_text(element))
    except ValueError as error:
        raise SignatureError(f"{etree.QName(element).localname} should be base64, it is not") from error
    if len(value) != length:
        raise SignatureError(f"{etree.QName(element).localname} has {len(value)} octets, it should have {length}")
    return value


def _verify(form: bytes, parts: _Parts, trust: TrustStore, at: datetime) -> Certificate:
    signer = trust.find(parts.issuer, parts.serial, at)
    if not compare_digest(sha256(form).digest(), parts.digest):
        raise SignatureError("the message was changed after it was signed: its digest is not that of the Signature")
    if not verify_raw(signer.public_key, parts.value, parts.signed_info):
        raise SignatureError(f"the signature was not made with the key of the certificate of {signer.eui}")
    return signer
