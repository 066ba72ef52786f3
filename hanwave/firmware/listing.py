"""Holds a release against the CPL: each model that it is for is listed, Active, with the release's own hash."""

from collections.abc import Iterable

from hanwave.firmware.cpl import CplEntry
from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.release import Release
from hanwave.firmware.terms import CplStatus


def check_listed(release: Release, entries: Iterable[CplEntry]) -> tuple[CplEntry, ...]:
    """The release's own entries, at least one a model: its firmware version on hardware within its range.

    ReleaseError for a model that has none, or an entry whose device type, hash or status is not what it should be.
    """
    found = tuple(entry for entry in entries if _concerns(entry, release))
    for model in release.models:
        if all(entry.model != model for entry in found):
            raise ReleaseError(
                f"release {release.name}: the CPL lists no firmware {release.firmware_version} of model {model}"
                f" on hardware {release.hardware}"
            )
    for entry in found:
        _check(entry, release)
    return found


def _concerns(entry: CplEntry, release: Release) -> bool:
    return (
        entry.model in release.models
        and entry.hardware in release.hardware
        and entry.firmware_version == release.firmware_version
    )


def _check(entry: CplEntry, release: Release) -> None:
    facts = (
        ("device type", entry.device_type, release.device_type),
        ("hash", entry.hash, release.manufacturer_image_hash),
        ("status", entry.status, CplStatus.ACTIVE),
    )
    for field, held, should in facts:
        if held != should:
            # An entry that comes from the ledger stands on no line.
            where = f"line {entry.line} of the CPL" if entry.line else "the CPL's entry"
            raise ReleaseError(
                f"release {release.name}: the {field} of {where} ({entry}) holds {_said(held)}, it should hold"
                f" {_said(should)}"
            )


def _said(fact: object) -> str:
    # A hash's beginning tells it from another, and two whole ones are more than a sentence holds.
    if isinstance(fact, bytes):
        return f"{fact[:8].hex().upper()}..."
    return "nothing" if fact is None else str(fact)
