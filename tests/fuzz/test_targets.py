"""Every fuzzing target, run for a bounded count from its seeds: the same mutations each time."""

import random

import pytest

from tests.fuzz import files
from tests.fuzz.targets import TARGETS as READERS

pytestmark = pytest.mark.unit

MUTATIONS = 3_000
TOKENS = [
    b"\0",
    b"\xff" * 4,
    b"<",
    b">",
    b"&",
    b'"',
    b"'",
    b"\n",
    b",",
    b"-1",
    b"9" * 25,
    b"<!--",
    b"]]>",
    b"\xc3\xa9",
    b"{",
    b": ",
]


TARGETS = {**READERS, **files.TARGETS}
# What people's files are read by is no part of the fast set.
NAMES = [*READERS, *(pytest.param(name, marks=pytest.mark.long) for name in files.TARGETS)]


def mutated(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """The data with one to three changes of the kinds that readers stumble over."""
    for _ in range(chance.randint(1, 3)):
        at, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        near = min(end, at + 8)
        change = chance.choice(("octet", "cut", "drop", "twice", "token", "splice"))
        if change == "octet" and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif change == "cut":
            data = data[:at]
        elif change == "drop":
            data = data[:at] + data[near:]
        elif change == "twice":
            data = data[:end] + data[at:end] + data[end:]
        elif change == "token":
            data = data[:at] + chance.choice(TOKENS) + data[near:]
        else:
            other = chance.choice(seeds)
            data = data[:at] + other[chance.randint(0, len(other)) :]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_read(name):
    assert all(TARGETS[name].accepts(seed) for seed in TARGETS[name].seeds())


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_seed_is_refused_by_the_packages_error_or_read_rightly(name):
    target, chance = TARGETS[name], random.Random(name)
    seeds = target.seeds()
    refused = sum(not target.accepts(mutated(chance.choice(seeds), seeds, chance)) for _ in range(MUTATIONS))
    assert refused > MUTATIONS // 10
