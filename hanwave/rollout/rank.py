"""A device's draw: what decides its wave, and spreads retries over time, without anything to remember."""

import hashlib


def rank(seed: str, eui: str) -> float:
    """A device's place in [0, 1), from the seed and its EUI-64 alone."""
    return draws(seed, eui)[0]


def draws(seed: str, eui: str) -> tuple[float, float]:
    """Two places in [0, 1) that have nothing to do with one another; the first is the device's rank."""
    digest = hashlib.sha256(f"{seed}:{eui}".encode()).digest()
    first, second = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
    return (first >> 11) / 2**53, (second >> 11) / 2**53
