"""What the models of a policy are made of: strict, frozen, and forgiving in how a duration or a single value is written."""

import re
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_T = TypeVar("_T")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    # A bare number has no unit: a soak of 2 would be two seconds where two days were meant.
    if not isinstance(value, str):
        raise ValueError("should be a duration such as '30m', '6h' or '2d', not a bare number")  # noqa: TRY004 - pydantic's
    text = value.strip()
    if text.startswith("P"):
        return text
    if not (match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", text, re.ASCII)):
        raise ValueError(f"{text[:40]!r} is no duration: it should be a number and one of s, m, h, d, w, as in '6h'")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as error:
        raise ValueError(f"{text!r} is longer than 365 days: it should be at most that") from error


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0), le=timedelta(days=365))]


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str | dict | BaseModel) else value


Many = Annotated[tuple[_T, ...], BeforeValidator(_many)]
"""Several, of which one may be written without the list."""
Some = Annotated[tuple[_T, ...], Field(min_length=1), BeforeValidator(_many)]
"""At least one."""


class Strict(BaseModel):
    """A frozen model that takes no name that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
