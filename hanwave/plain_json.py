"""JSON as a person or another program writes it: nothing in it said twice, no number that is none, not too deep to read."""

import json
from typing import Any, NoReturn


def read_json(text: str | bytes) -> Any:
    """The values of one document; ValueError where it is not JSON, says a name twice or nests too deep.

    Of a name that stands twice a person may read the first, and a program the last.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    once: dict[str, Any] = {}
    for name, value in pairs:
        if name in once:
            raise ValueError(f"{name[:60]!r} stands twice in one object")
        once[name] = value
    return once


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
