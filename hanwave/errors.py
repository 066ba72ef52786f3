"""The root of hanwave's errors.

Every refusal that a person may meet is a HanwaveError whose text is one clear sentence: it names the file, row or
field, says what it held, and what it should hold. It never holds a key, a customer's number or an address.

Guarantee: the text is one printable line of at most LONGEST characters, whatever was put into it.
"""

from hanwave.words import printable

LONGEST = 240
"""Characters of a sentence: what fits a line of a log, and is read."""
_ELLIPSIS = "..."
_WORD = 60
"""A word is cut to no less: the two ends of a path or a value that still tell which it was."""


class HanwaveError(Exception):
    """Something was refused; the text says what, why and, where it helps, what to do."""

    # Here and not where each is raised: a path, a name or another's error may be of any length, and one forgotten cut
    # would be enough.
    def __init__(self, sentence: str) -> None:
        super().__init__(fitted(sentence))


def fitted(sentence: str) -> str:
    """The sentence on one line of at most LONGEST characters: its longest words lose their middles, or else it its end."""
    line = printable(sentence)
    while len(line) > LONGEST and len(word := max(line.split(" "), key=len)) > _WORD:
        line = line.replace(word, _without_middle(word, max(_WORD, len(word) - len(line) + LONGEST)))
    return line if len(line) <= LONGEST else line[: LONGEST - len(_ELLIPSIS)] + _ELLIPSIS


def _without_middle(word: str, most: int) -> str:
    kept = most - len(_ELLIPSIS)
    return word[: kept - kept // 2] + _ELLIPSIS + word[len(word) - kept // 2 :]
