"""Reading and writing whole messages, signatures aside: bytes <-> Request, Response or DecodedMessage.

write gives Canonical XML without insignificant white space (after an XML declaration), so what is digested is what is
sent. read judges no signature: it is for tools and for storing.
"""

import re

from lxml import etree

from hanwave.duis._elements import Output
from hanwave.duis._parser import DS, MAX_MESSAGE_BYTES, RA, SR, canonical, name_of, parse
from hanwave.duis.decoded import DecodedMessage
from hanwave.duis.errors import DuisError, MalformedMessage
from hanwave.duis.requests import Request
from hanwave.duis.responses import Response

SCHEMA_VERSION = "5.4"
"""The DUIS version that is written unless the caller says another."""

SIGNATURE_TAG = f"{{{DS}}}Signature"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'

Message = Request | Response | DecodedMessage

_KINDS: dict[str, type[Request | Response]] = {"Request": Request, "Response": Response}
_ROOTS: dict[type[Message], tuple[str, str, str]] = {
    Request: ("Request", "sr", SR),
    Response: ("Response", "sr", SR),
    DecodedMessage: ("GBCSResponse", "ra", RA),
}
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?", re.ASCII)
_ROOT_ATTRIBUTES = frozenset({"schemaVersion"})


def read(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> Request | Response:
    """The message in those bytes, whoever signed it, if anybody; MalformedMessage when they cannot be one.

    max_bytes bounds what is parsed: MAX_REQUEST_BYTES for an emulator, which gets images.
    """
    root = parse(data, max_bytes)
    detach_signature(root)
    return read_root(root)


def read_root(root: etree._Element) -> Request | Response:
    """The message of a parsed document from which the signature has been taken."""
    kind = _KINDS.get(name_of(root, SR))
    if kind is None:
        raise MalformedMessage(f"the message is a {etree.QName(root).localname}, not a Request or a Response")
    schema_version(root)
    message: Request | Response = kind.XML.read(kind, root, _ROOT_ATTRIBUTES)
    return message


def read_decoded(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> DecodedMessage:
    """A message that DCC's Parse and Correlate software decoded (MMC); it is never signed. MalformedMessage."""
    return read_decoded_root(parse(data, max_bytes))


def read_decoded_root(root: etree._Element) -> DecodedMessage:
    """The same of a parsed document."""
    if name_of(root, RA) != "GBCSResponse":
        raise MalformedMessage(f"the message is a {etree.QName(root).localname}, not a GBCSResponse")
    schema_version(root)
    message: DecodedMessage = DecodedMessage.XML.read(DecodedMessage, root, _ROOT_ATTRIBUTES)
    return message


def schema_version(root: etree._Element) -> str:
    """The root's schemaVersion, such as "5.4"."""
    version = root.get("schemaVersion", "")
    if not _VERSION.fullmatch(version):
        raise MalformedMessage(f"schemaVersion is {version[:20]!r}, it should be a number such as 5.4")
    return version


def detach_signature(root: etree._Element) -> etree._Element | None:
    """Take the Signature, if there is one, out of the root, of which it must be the last child; once at most."""
    found = [child for child in root if child.tag == SIGNATURE_TAG]
    if not found:
        return None
    if len(found) > 1 or root[-1] is not found[0]:
        raise MalformedMessage("the message should have one Signature, last in its root element")
    signature = found[0]
    # White space after the Signature belongs to the document that is digested: lxml would take it along.
    if signature.tail:
        before = signature.getprevious()
        if before is None:
            root.text = (root.text or "") + signature.tail
        else:
            before.tail = (before.tail or "") + signature.tail
        signature.tail = None
    root.remove(signature)
    return signature


def write(message: Message, version: str = SCHEMA_VERSION) -> bytes:
    """The message as compact XML, unsigned; DuisError when a value is not one that the schema takes."""
    return DECLARATION + canonical_form(message, version)


def canonical_form(message: Message, version: str) -> bytes:
    """The message as Canonical XML 1.0: what write gives, and what a signature digests."""
    if not _VERSION.fullmatch(version):
        raise DuisError(f"the schema version {version[:20]!r} should be a number such as 5.4")
    name, prefix, namespace = _ROOTS[type(message)]
    out = Output()
    out.pieces.append(f'<{prefix}:{name} xmlns:{prefix}="{namespace}" schemaVersion="{version}">')
    message.XML.write_content(message, out)
    out.pieces.append(f"</{prefix}:{name}>")
    data = "".join(out.pieces).encode()
    # Raw pieces repeat namespaces that the root declares; Canonical XML does not.
    return canonical(parse(data, len(data))) if out.raw else data
