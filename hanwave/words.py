"""What people write of themselves and their acts, as it is kept and shown: one printable line.

Guarantee: nothing that a terminal, a page or PostgreSQL takes for more than text (control characters, NUL, half of a
surrogate pair, marks that turn the direction of writing) is in what these functions return.
"""

import unicodedata

_ELLIPSIS = "..."


def printable(text: str) -> str:
    """The text on one line: whatever cannot be printed is a space."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def line(text: str, most: int) -> str:
    """The text on one printable line of at most so many characters; what is cut off is an ellipsis."""
    whole = printable(text)
    return whole if len(whole) <= most else whole[: most - len(_ELLIPSIS)] + _ELLIPSIS


def person(name: str) -> str:
    """A name as names are compared: other capitals, spaces or widths make nobody another person."""
    return " ".join(unicodedata.normalize("NFKC", printable(name)).casefold().split())
