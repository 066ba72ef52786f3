"""What a file holds, before anybody's signature is judged: for tools, which must also show what hanwave would not act on."""

from dataclasses import dataclass

from lxml import etree

from hanwave.duis._parser import DS, MAX_REQUEST_BYTES, RA, parse
from hanwave.duis.messages import Message, detach_signature, read_decoded_root, read_root, schema_version


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message, its schema version, and whose Signature it claims to carry: (issuer, serial), unverified."""

    message: Message
    schema_version: str
    claimed_signer: tuple[str, str] | None


def examine(data: bytes, max_bytes: int = MAX_REQUEST_BYTES) -> Envelope:
    """Read a Request, a Response or a decoded message; MalformedMessage when it is none of them."""
    root = parse(data, max_bytes)
    if etree.QName(root).namespace == RA:
        return Envelope(read_decoded_root(root), schema_version(root), None)
    signature = detach_signature(root)
    claimed = None if signature is None else (_text(signature, "X509IssuerName"), _text(signature, "X509SerialNumber"))
    return Envelope(read_root(root), schema_version(root), claimed)


def _text(signature: etree._Element, name: str) -> str:
    return (signature.findtext(f".//{{{DS}}}{name}") or "").strip()
