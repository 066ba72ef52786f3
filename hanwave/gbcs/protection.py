"""Signatures and MACs on GBCS messages: who may have said this.

Keys are handed in. A signature is over the grouping header and the payload, the MAC over those and the signature; both
are made and checked over the octets as they stand, never over a rebuilt message (GBCS 4.3 and 5).
"""

from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from hanwave.credentials import SIGNATURE_LENGTH, sign_raw
from hanwave.gbcs.header import Header
from hanwave.gbcs.octets import GbcsError

MAC_LENGTH = 12
_KEY_LENGTH = 16
SECURITY_HEADER = bytes.fromhex("1100000000")
# The algorithm of the derived key, AES-GCM-128, as the KDF's AlgorithmID has it.
_ALGORITHM = bytes.fromhex("60857406080300")


def derive_key(private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey, header: Header) -> bytes:
    """The 16-octet MAC key between two key-agreement keys, for the message with this header (GBCS 4.3.3).

    For a command that DCC delivers, one key is the Access Control Broker's and the other the device's; otherwise they are
    the originator's and the target's.
    """
    info = _ALGORITHM + header.originator.octets + header.transaction + header.target.octets
    return ConcatKDFHash(hashes.SHA256(), _KEY_LENGTH, info).derive(private.exchange(ec.ECDH(), public))


def signed(unsigned: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The message with its signature: r||s over all but the leading tag."""
    return unsigned + bytes([SIGNATURE_LENGTH]) + sign_raw(key, unsigned[1:])


def mac_of(grouped: bytes, header: Header, key: bytes) -> bytes:
    """The MAC over a message from the grouping header to the end of its signature: GMAC cut to twelve octets."""
    if len(key) != _KEY_LENGTH:
        raise GbcsError(f"a MAC key has {_KEY_LENGTH} octets, this has {len(key)}")
    authenticated = SECURITY_HEADER + b"\0" + grouped
    return AESGCM(key).encrypt(header.originator.octets + bytes(4), b"", authenticated)[:MAC_LENGTH]


def same(mac: bytes, expected: bytes) -> bool:
    """Whether two MACs are equal, in a time that does not tell where they differ."""
    return constant_time.bytes_eq(mac, expected)
