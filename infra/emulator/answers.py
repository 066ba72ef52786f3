"""How a step says what the DCC answers at once."""

from dataclasses import dataclass

from hanwave import duis
from infra.emulator.faults import Occasion


@dataclass(frozen=True, slots=True)
class Answer:
    """A code and what comes with it; the occasion decides whether the acknowledgement is lost."""

    code: str
    content: duis.ResponseContent | None = None
    occasion: Occasion | None = None


class Refused(Exception):  # noqa: N818 - it is an answer
    """The DCC refuses a request with a code; why is for the log alone."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(why)
        self.code = code
