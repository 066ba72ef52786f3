"""A path of several hops: which of them is in hand, by the events alone, and what is told of the one before.

Guarantees: a hop is in hand from its first grant on, and a path is gone one way; what a device says late of an earlier hop's
image moves nothing of a later one; a device that says that it runs a version further on its path is sent nothing of the hops
up to there.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hanwave.rollout.events import Event, Kind, Leg
from hanwave.rollout.facts import TELLS_OF_IMAGE, Facts, same_version

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """What one hop wants of a device: the version and the Manufacturer Image hash (upper-case hexadecimal)."""

    version: str
    image_hash: str
    one_step: bool
    """True where distribution activates by itself (PPMID, SR 11.4)."""
    hop: int = 1
    alarms: frozenset[str] = frozenset()
    """Alerts, by their codes, that are harm once the image may act."""


def in_hand(events: Collection[Event], path: Sequence[Target]) -> int:
    """The place in the path of the last hop of which anything was granted."""
    if len(path) == 1:
        return 0
    begun = {event.hop for event in events if event.kind is Kind.GRANTED}
    return max((place for place, target in enumerate(path) if target.hop in begun), default=0)


def without_echoes(events: Collection[Event], earlier: Sequence[Target]) -> Iterable[Event]:
    """Without what tells, late, of an earlier hop's image: an 8F72, 8F1C and 8F8B name no request, only what they are of."""
    if not earlier:
        return events
    before, hashes = earlier[-1], {target.image_hash.upper() for target in earlier}
    heard = any(e.kind is Kind.ACTIVATED and e.hop == before.hop for e in events)

    def is_echo(event: Event) -> bool:
        if event.hop <= before.hop or event.leg is not Leg.DISTRIBUTE:
            return False
        if event.kind is Kind.ACTIVATED:
            # Its first success that names the version before is that one's word; a second one is this hop's, and a failure.
            return not heard and same_version(event.version or "", before.version)
        return event.kind in TELLS_OF_IMAGE and (event.detail or "").upper() in hashes

    return (event for event in events if not is_echo(event))


def images_sent(events: Iterable[Event]) -> int:
    """How many images left for the device, or may have, in all hops."""
    of_image = [e for e in events if e.leg is Leg.DISTRIBUTE and e.attempt]
    unsent = {(e.hop, e.attempt) for e in of_image if e.kind is Kind.ABANDONED}
    return len({(e.hop, e.attempt) for e in of_image} - unsent)


def furthest(facts: Facts, path: Sequence[Target]) -> tuple[Target, Event | None]:
    """The hop whose version the device says that it runs, and since when; the first of them, and None, where it names none.

    Whoever brought it there, nothing more of that hop is to be sent. A PPMID's word counts from the first request of the hop in
    hand on: it activates what
    comes, so an image that is still on its way to it from elsewhere would undo what it said before.
    """
    since = _BEGINNING
    if path[0].one_step:
        first = facts.first(Leg.DISTRIBUTE)
        if first is None:
            return path[0], None
        since = first.at
    found = ((target, facts.runs(target.version, since)) for target in reversed(path))
    return next(((target, said) for target, said in found if said), (path[0], None))
