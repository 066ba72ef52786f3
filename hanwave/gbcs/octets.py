"""The error of this package, and a cursor that takes octets strictly: exact lengths, shortest length forms, no rest.

A cursor never reads past its data and never allocates by a length that the data does not have.
"""

from hanwave.errors import HanwaveError


class GbcsError(HanwaveError):
    """Octets are not the GBCS message that they should be, or a message cannot be built as asked."""


class Cursor:
    """Takes octets from the front; every refusal says what was read and where."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """Start at the first octet of data, which errors call what."""
        self._data = data
        self._what = what
        self._at = 0

    @property
    def left(self) -> int:
        """How many octets are not yet taken."""
        return len(self._data) - self._at

    def take(self, count: int, field: str) -> bytes:
        """The next count octets."""
        end = self._at + count
        if end > len(self._data):
            raise GbcsError(
                f"{self._what} ends inside {field}: octets due at octet {self._at}: {count}, left: {self.left}"
            )
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def expect(self, octets: bytes, field: str) -> None:
        """Take octets that can have one value only."""
        taken = self.take(len(octets), field)
        if taken != octets:
            raise GbcsError(f"{field} of {self._what} should be {octets.hex().upper()}, it is {taken.hex().upper()}")

    def number(self, count: int, field: str) -> int:
        """An unsigned number of count octets, the highest first."""
        return int.from_bytes(self.take(count, field), "big")

    def length(self, field: str) -> int:
        """A BER length in its shortest form, of at most three octets after the first (GBCS 7.2: A-XDR and DER alike)."""
        first = self.number(1, f"the length of {field}")
        if first < 0x80:
            return first
        count = first & 0x7F
        if not 1 <= count <= 3:
            raise GbcsError(
                f"the length of {field} in {self._what} has the first octet {first:02X}: 00 to 83 but not 80"
            )
        value = self.number(count, f"the length of {field}")
        if value < 0x80 or value < 1 << 8 * (count - 1):
            raise GbcsError(f"the length of {field} in {self._what} is {value}, not in its shortest form")
        return value

    def variable(self, field: str) -> bytes:
        """A length and as many octets."""
        return self.take(self.length(field), field)

    def end(self) -> None:
        """Refuse octets that are left over."""
        if self.left:
            raise GbcsError(f"{self._what} should end after {self._at} octets, {self.left} more follow")


def with_length(octets: bytes) -> bytes:
    """The octets behind their length in its shortest form."""
    size = len(octets)
    if size < 0x80:
        return bytes([size]) + octets
    count = (size.bit_length() + 7) // 8
    return bytes([0x80 | count]) + size.to_bytes(count, "big") + octets
