"""What devices count as, for the gate and the breaker: by state, and the closed ones by outcome too ("closed:quiet")."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hanwave.rollout.bounds import Share, lower
from hanwave.rollout.gate import ORDINARY_SILENCE, Counts, Progress
from hanwave.rollout.policy import DeviceType, Gate

FAILED = ("failed", "closed:failed")
REFUSED = ("verification_failed", "closed:not_verified")
LOST = ("closed:quiet", "closed:unknown")
"""Ended in silence after their activation."""
SILENT = (*LOST, "unknown")
EXCUSED = (
    "closed:left",
    "closed:cancelled",
    "closed:rejected",
    "closed:not_delivered",
    "closed:customer_action",
    "closed:needs_visit",
    "closed:inspect",
    "closed:not_started",
    "closed:superseded",
)
ACTIVATED = ("activated", "stepped", "confirmed", "settled")
VERIFIED = ("held", "scheduled", *ACTIVATED, *FAILED)


def progress(funnel: Mapping[str, int], further: Mapping[str, int] = MappingProxyType({})) -> Progress:
    """What the breaker looks at, of so many devices by state; further: those of them that are open and in a later hop.

    They verified an image and activated it, whatever they do now: that one of them failed is one of as many.
    """
    activated, failed, verified, refused = (_sum(funnel, group) for group in (ACTIVATED, FAILED, VERIFIED, REFUSED))
    activated += sum(n for state, n in further.items() if state not in (*ACTIVATED, *FAILED, *REFUSED))
    verified += sum(n for state, n in further.items() if state not in (*VERIFIED, *REFUSED))
    return Progress(activated, failed, verified, refused)


def counts(funnel: Mapping[str, int]) -> Counts:
    """What the gate judges, of so many devices by state; those that it excuses count nowhere."""
    settled, failed, refused, silent, excused = (
        _sum(funnel, group) for group in (("settled",), FAILED, REFUSED, SILENT, EXCUSED)
    )
    left = sum(funnel.values()) - settled - failed - refused - silent - excused
    return Counts(settled, failed, refused, silent, left)


def borne(gate: Gate, kind: DeviceType) -> float:
    """The share of a wave that may be silent: what is ordinary for the type, and what the gate tolerates beyond it."""
    ordinary = ORDINARY_SILENCE[kind] if gate.ordinary is None else gate.ordinary
    return min(1.0, ordinary + gate.silence)


def lost(funnel: Mapping[str, int], gate: Gate, kind: DeviceType) -> int:
    """How many more devices, of so many by state, ended in silence than the gate bears; 0 until it is proven that more do.

    They are activated and will not settle, so they keep their places under the exposure cap: an image that silences its
    devices would go on through the whole wave else, for silence opens no breaker.
    """
    silent, limit = _sum(funnel, LOST), borne(gate, kind)
    share = Share(silent, silent + _sum(funnel, ("settled",)))
    if share.point <= limit or lower(share, gate.confidence) <= limit:
        return 0
    return silent - math.floor(limit * share.of)


def _sum(funnel: Mapping[str, int], states: Iterable[str]) -> int:
    return sum(funnel.get(state, 0) for state in states)
