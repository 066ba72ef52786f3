"""The audit chain's arithmetic, and the verifier of an export: it needs the export and nothing else, no database.

An export is JSON lines: {"format": ...}; then one line a chained row, in the chain's order; then one line a row that is
not chained yet (its seq is null); then {"tail": ...}, which counts both and names the head, the last hash. A hash is
SHA-256 over the previous hash (64 upper-case hexadecimal digits) and the canonical JSON of [source, row, document]:
UTF-8, names sorted, no spaces.

What is found: a row that was changed, removed, inserted or moved, and an export that was cut short. Someone who writes
the chain anew from some row on makes a chain that is consistent in itself: only a hash that was kept elsewhere, a
checkpoint, shows it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hanwave.errors import HanwaveError

FORMAT = "hanwave-audit/1"
GENESIS = "0" * 64
"""What the first row of a chain follows."""
MAX_LINE = 4_000_000
"""Octets of a line: a row has some hundreds, and a note's document some thousands."""
_NAMED = 10
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_UNCHAINED = {"source": str, "row": int}
_CHAINED = _UNCHAINED | {"seq": int, "previous": str, "hash": str}


class AuditError(HanwaveError):
    """An export is not what the chain says; the text names the first place."""


def link(previous: str, source: str, row: int, document: Mapping[str, Any]) -> str:
    """The hash of a row that follows that hash: 64 upper-case hexadecimal digits."""
    whole = [source, row, document]
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(previous.encode() + canonical.encode()).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain that holds: its rows, its last hash, and what of the export is not chained yet."""

    rows: int
    head: str
    unchained: int
    unchained_rows: list[str]
    """The first ten of them, "source/row"."""
    checkpoint_at: int | None
    """Where the chain passes through the checkpoint, if one was given."""


@dataclass(slots=True)
class _Walk:
    """Where the verifier is in the chain."""

    checkpoint: str | None
    rows: int = 0
    hash: str = GENESIS
    unchained: int = 0
    unchained_rows: list[str] = field(default_factory=list)
    checkpoint_at: int | None = None

    def take(self, place: str, row: dict[str, Any]) -> None:
        if row["seq"] is None:
            self.unchained += 1
            if len(self.unchained_rows) < _NAMED:
                self.unchained_rows.append(f"{row['source']}/{row['row']}")
            return
        what = f"row {row['seq']} of the chain ({row['source']}/{row['row']}, {place})"
        if self.unchained:
            raise AuditError(f"{what} stands after rows that are not chained: it was inserted or moved")
        if row["previous"] != self.hash:
            raise AuditError(
                f"{what} does not follow row {self.rows}: it holds another hash as its previous one, so a row was"
                " inserted or removed before it, or the chain was written anew from it on"
            )
        if row["document"] is None:
            raise AuditError(f"{what} has no row behind it any more: {row['source']}/{row['row']} was removed")
        if _link(row, place) != row["hash"]:
            raise AuditError(f"{what} was changed: its hash is not that of what it holds")
        self.rows, self.hash = self.rows + 1, row["hash"]
        if self.hash == self.checkpoint:
            self.checkpoint_at = self.rows

    def end(self, tail: dict[str, Any]) -> Verified:
        held = {"rows": self.rows, "head": self.hash, "unchained": self.unchained}
        for name, value in held.items():
            if tail.get(name) != value:
                raise AuditError(
                    f"the export's tail says {name} {tail.get(name)!r:.70}, and the export has {value!r}: it was"
                    " cut or added to"
                )
        if self.checkpoint and self.checkpoint_at is None:
            raise AuditError(
                f"the chain of {self.rows} rows does not pass through the checkpoint {self.checkpoint}: it was cut"
                " before it, or written anew"
            )
        return Verified(self.rows, self.hash, self.unchained, self.unchained_rows, self.checkpoint_at)


def _link(row: dict[str, Any], place: str) -> str:
    try:
        return link(row["previous"], row["source"], row["row"], row["document"])
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{place} of the export holds what JSON cannot") from error


def verify(lines: Iterable[bytes], checkpoint: str | None = None) -> Verified:
    """Walk an export from its first line to its last; AuditError names the first place that is wrong.

    checkpoint is a hash that was kept elsewhere, 64 hexadecimal digits: the chain must pass through it.
    """
    if checkpoint is not None and not _DIGEST.fullmatch(checkpoint):
        raise AuditError(f"the checkpoint holds {checkpoint[:80]!r}, it should be 64 hexadecimal digits")
    walk = _Walk(checkpoint and checkpoint.upper())
    objects = _objects(lines)
    if next(objects, ("", {}))[1].get("format") != FORMAT:
        raise AuditError(f"the file is no audit export: its first line should hold the format {FORMAT!r}")
    for place, found in objects:
        if "tail" in found:
            if next(objects, None):
                raise AuditError(f"{place} of the export is its tail, and more follows it")
            return walk.end(found["tail"] if isinstance(found["tail"], dict) else {})
        _check_form(place, found)
        _check_order(place, found["seq"], walk.rows + 1, objects)
        walk.take(place, found)
    raise AuditError(f"the export ends after row {walk.rows} of the chain without its tail: it was cut short")


def _check_form(place: str, row: dict[str, Any]) -> None:
    chained = row.get("seq", "") is not None
    types = _CHAINED if chained else _UNCHAINED
    # Of the exact type: True is an int too.
    if any(type(row.get(name)) is not kind for name, kind in types.items()):
        raise AuditError(f"{place} of the export is not a row of the chain: it should hold {', '.join(types)}")
    if not isinstance(row.get("document", ""), dict | None):
        raise AuditError(f"{place} of the export holds a document that is no JSON object")


def _check_order(place: str, seq: int | None, expected: int, rest: Iterator[tuple[str, dict[str, Any]]]) -> None:
    if seq is None or seq == expected:
        return
    if seq < expected:
        raise AuditError(f"row {seq} of the chain stands again on {place}, where row {expected} should be")
    # Is it missing, or only out of its place? What follows tells.
    if at := next((later for later, row in rest if row.get("seq") == expected), None):
        raise AuditError(f"the rows were re-ordered: row {seq} stands on {place}, before row {expected} on {at}")
    which = f"row {expected} is" if seq == expected + 1 else f"rows {expected} to {seq - 1} are"
    raise AuditError(f"{which} missing from the chain: row {seq} stands on {place}")


def _objects(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        place = f"line {number}"
        if len(line) > MAX_LINE:
            raise AuditError(f"{place} of the export is longer than {MAX_LINE} octets")
        try:
            found = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise AuditError(f"{place} of the export is not JSON, or it was cut short") from error
        if not isinstance(found, dict):
            raise AuditError(f"{place} of the export is not a JSON object")
        yield place, found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of a name that stands twice a person may read the first, and a program the last.
    if len(once := dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return once
