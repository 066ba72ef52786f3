"""The routes of a campaign: through the DCC, or over the ZigBee coordinator of a bench, by the bench's name."""

import re

DCC = "dcc"
BENCH = "bench"
LAB = "lab"
"""The name of a bench that was given none."""
_BENCH = re.compile(rf"{BENCH}/[a-z0-9][a-z0-9._-]{{0,62}}", re.ASCII)


def bench(name: str) -> str:
    """The route over that bench; it is its task queue's name too."""
    return f"{BENCH}/{name}"


def is_bench(route: str) -> bool:
    """Whether devices are updated on a bench, and none of them by the DCC."""
    return route != DCC


def read_route(value: object) -> object:
    """A route as it is kept, however short it was written ("bench" is bench/lab); ValueError where it is none."""
    if value == BENCH:
        return bench(LAB)
    if isinstance(value, str) and (value == DCC or _BENCH.fullmatch(value)):
        return value
    raise ValueError(
        f"holds {str(value)[:40]!r}, it should be dcc, bench, or bench/ and a bench's name (a-z, 0-9, '.-_')"
    )
