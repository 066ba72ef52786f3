"""A device's draw: what decides its wave, and spreads retries over time, without anything to remember."""

import hashlib


def rank(seed: str, eui: str) -> float:
    """A device's place in [0, 1), from the seed and its EUI-64 alone."""
    digest = hashlib.sha256(f"{seed}:{eui}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
