"""What is left to chance, drawn by hash: the same seed and the same question give the same answer, in any order."""

from hashlib import blake2b


def fraction(seed: str, *question: object) -> float:
    """A number from 0 (included) to 1 (not included), evenly spread over questions."""
    text = "/".join(map(str, (seed, *question)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def between(low: float, high: float, seed: str, *question: object) -> float:
    """A number from low to high."""
    return low + (high - low) * fraction(seed, *question)
