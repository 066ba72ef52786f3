"""A release as a JSON document, and back: strict both ways.

Reading a document makes a Release, so a document whose life or facts contradict themselves is refused as any other
release would be. Hexadecimal is of full width, times have a zone, and the Manufacturer Image, if there, is in base64.
"""

import json
from typing import Any

from pydantic import TypeAdapter

from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.header import MAX_IMAGE_SIZE
from hanwave.firmware.release import Release
from hanwave.firmware.written import read_document

MAX_DOCUMENT = 2 * MAX_IMAGE_SIZE
"""Octets: the largest Manufacturer Image in base64 is 1.34 of it, and the rest of a release is some kilobytes."""

_RELEASE = TypeAdapter(Release)


def release_to_dict(release: Release) -> dict[str, Any]:
    """The release in dicts, lists, strings, numbers and booleans; every field is there, absent ones as None."""
    document: dict[str, Any] = _RELEASE.dump_python(release, mode="json")
    return document


def release_from_dict(document: object) -> Release:
    """The release that such a document describes; ReleaseError says which field is wrong, and how."""
    return read_document(_RELEASE, document, "the release document", ReleaseError)


def read_release(data: bytes) -> Release:
    """Read a release file, JSON in UTF-8; ReleaseError also for a name that stands twice in one object."""
    if len(data) > MAX_DOCUMENT:
        raise ReleaseError(f"the release document has {len(data)} octets, it should have at most {MAX_DOCUMENT}")
    try:
        document = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"the release document is not JSON: {str(error)[:100]}") from error
    return release_from_dict(document)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    once: dict[str, Any] = {}
    for name, value in pairs:
        if name in once:
            raise ReleaseError(f"the release document: {name[:60]!r} stands twice in one object")
        once[name] = value
    return once
