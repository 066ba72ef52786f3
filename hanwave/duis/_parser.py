"""XML from outside, parsed with nothing left to chance.

Guarantees: the bytes are bounded before they are parsed; UTF-8 only; no document type, so no entities; no processing
instruction; no network; at most MAX_DEPTH deep; comments are gone, so text that a comment splits reads as the text
that is digested (C14N without comments). Anything else is a MalformedMessage.
"""

import re

from lxml import etree

from hanwave.duis.errors import MalformedMessage

SR = "http://www.dccinterface.co.uk/ServiceUserGateway"
RA = "http://www.dccinterface.co.uk/ResponseAndAlert"
DS = "http://www.w3.org/2000/09/xmldsig#"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""The default bound: the longest of what DCC sends names 50,000 devices in 1.2 MB."""

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The bound for a request with an image: 10,240,000 octets in base64 with line breaks, and 1.2 MB of devices."""

MAX_DEPTH = 32
"""Twice the deepest that DUIS XSD 5.4 goes."""

# An element is two of '<', an attribute one '='; the longest inventory has about 800 and base64 ends in at most two.
# What stands between is text, which costs its own size; so memory is bounded by the bytes and this.
_MAX_MARKUP = 20_000

# libxml2 compares each attribute of an element with the others, and looks through all namespaces for each name:
# thousands make it slow. DCC's messages have some dozens, and declare four namespaces.
_MAX_ATTRIBUTES = 2_000
_MAX_NAMESPACES = 100

_LIBXML_MAX_TEXT = 10_000_000
_BOM = b"\xef\xbb\xbf"
_DECLARATION = re.compile(
    rb"""<\?xml\s+version\s*=\s*(["'])1\.0\1(?:\s+encoding\s*=\s*(["'])[Uu][Tt][Ff]-8\2)?"""
    rb"""(?:\s+standalone\s*=\s*(["'])(?:yes|no)\3)?\s*\?>"""
)
_TOO_DEEP = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")


def _parser(*, huge: bool, compact: bool) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        remove_comments=True,
        remove_blank_text=compact,
        huge_tree=huge,
    )


_PARSERS = {(h, c): _parser(huge=h, compact=c) for h in (False, True) for c in (False, True)}


def parse(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES, *, compact: bool = False) -> etree._Element:
    """The root element of a document, under the guarantees above; compact drops whitespace between elements."""
    if len(data) > max_bytes:
        raise MalformedMessage(f"the message has {len(data)} octets; at most {max_bytes} are read")
    _check_markup(data)
    try:
        root = etree.fromstring(data, _PARSERS[max_bytes > _LIBXML_MAX_TEXT, compact])
    except etree.XMLSyntaxError as error:
        raise MalformedMessage(f"the message is not well-formed XML: {str(error)[:120]}") from error
    if _TOO_DEEP(root):
        raise MalformedMessage(f"the message is more than {MAX_DEPTH} elements deep")
    return root


def _check_markup(data: bytes) -> None:
    start = len(_BOM) if data.startswith(_BOM) else 0
    if data.startswith(b"<?xml", start):
        declaration = _DECLARATION.match(data, start)
        if not declaration:
            raise MalformedMessage("the message's XML declaration should say version 1.0 and UTF-8")
        start = declaration.end()
    # Found and counted, not matched: so 16 MB are looked through in some 30 ms.
    if data.find(b"<!", start) >= 0 and data.count(b"<!") != data.count(b"<!--") + data.count(b"<![CDATA["):
        raise MalformedMessage("the message holds a document type or entity declaration, which DUIS has no use for")
    if data.find(b"<?", start) >= 0:
        raise MalformedMessage("the message holds a processing instruction, which DUIS has no use for")
    if data.find(b"\0") >= 0:
        raise MalformedMessage("the message holds a NUL octet; it should be XML in UTF-8")
    elements, attributes = data.count(b"<"), data.count(b"=")
    if attributes > _MAX_ATTRIBUTES:
        raise MalformedMessage(f"the message has {attributes} marks of attributes, more than {_MAX_ATTRIBUTES}")
    if elements + attributes > _MAX_MARKUP:
        raise MalformedMessage(
            f"the message has {elements + attributes} marks of elements and attributes, more than {_MAX_MARKUP}"
        )
    if attributes > _MAX_NAMESPACES and (namespaces := data.count(b"xmlns")) > _MAX_NAMESPACES:
        raise MalformedMessage(f"the message declares {namespaces} namespaces, more than {_MAX_NAMESPACES}")


def canonical(element: etree._Element, *, exclusive: bool = False) -> bytes:
    """Canonical XML 1.0 of the element without comments: inclusive, or exclusive (domain: XML signature, trap 1)."""
    try:
        return etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)
    except etree.LxmlError as error:
        raise MalformedMessage(f"the message has no canonical form: {str(error)[:120]}") from error


def name_of(element: etree._Element, namespace: str) -> str:
    """The element's local name; MalformedMessage when it is of another namespace."""
    name = etree.QName(element)
    if name.namespace != namespace:
        raise MalformedMessage(f"{name.localname} is of the namespace {str(name.namespace)[:80]!r}, not {namespace!r}")
    return name.localname
