"""The identifiers that every message carries: EUI-64s, and the originator:target:counter of a request or response.

An object of these types is always well formed, and prints in DCC's form (upper case, octets joined by hyphens), so
equal identifiers are equal however they were written.
"""

import re
from dataclasses import dataclass
from typing import Self

from hanwave.errors import HanwaveError

MAX_COUNTER = 2**64 - 1
"""The largest originator counter: GBCS and DUIS give it eight octets (DUIS XSD 5.4 RequestID)."""

_EUI = re.compile(r"[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){7}|[0-9A-Fa-f]{16}", re.ASCII)
_COUNTER = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)


class IdentifierError(HanwaveError):
    """An identifier is not of the form that DUIS and GBCS give it."""


@dataclass(frozen=True, slots=True, order=True)
class EUI64:
    """A device, a Communications Hub, an organisation or a DCC service: eight octets (DUIS XSD 5.4 EUI)."""

    octets: bytes

    def __post_init__(self) -> None:
        """Refuse anything but eight octets."""
        if len(self.octets) != 8:
            raise IdentifierError(f"an EUI-64 has 8 octets, this has {len(self.octets)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "00-DB-12-34-56-78-90-A0" or "00DB1234567890A0", in either case; else IdentifierError."""
        if not _EUI.fullmatch(text):
            raise IdentifierError(f"{text[:40]!r} is not an EUI-64: it should be 8 hexadecimal octets joined by '-'")
        return cls(bytes.fromhex(text.replace("-", "")))

    def __str__(self) -> str:
        return self.octets.hex("-").upper()


@dataclass(frozen=True, slots=True, order=True)
class RequestID:
    """originator:target:counter, of a request or (answering party first) a response (DUIS XSD 5.4 RequestID).

    The counter of a request is also the originator counter of its GBCS command.
    """

    originator: EUI64
    target: EUI64
    counter: int

    def __post_init__(self) -> None:
        """Refuse a counter outside eight octets."""
        if not 0 <= self.counter <= MAX_COUNTER:
            raise IdentifierError(f"a counter is from 0 to {MAX_COUNTER}, this is {self.counter}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "EUI:EUI:counter"; the counter is decimal without leading zeros; else IdentifierError."""
        parts = text.split(":")
        if len(parts) != 3 or not _COUNTER.fullmatch(parts[2]):
            raise IdentifierError(f"{text[:80]!r} is not of the form originator:target:counter")
        return cls(EUI64.parse(parts[0]), EUI64.parse(parts[1]), int(parts[2]))

    def __str__(self) -> str:
        return f"{self.originator}:{self.target}:{self.counter}"
