"""The devices' own keys, derived from (seed, EUI-64): 100,000 devices need no stored key, and a test can verify them."""

from functools import lru_cache
from hashlib import sha512

from cryptography.hazmat.primitives.asymmetric import ec

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@lru_cache(maxsize=10_000)
def device_key(seed: str, eui: str, use: str = "sign") -> ec.EllipticCurvePrivateKey:
    """A device's private key; use: sign (its alerts and critical responses) or agree (the MAC of the others)."""
    digest = sha512(f"hanwave emulator/{use}/{seed}/{eui}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(digest, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
