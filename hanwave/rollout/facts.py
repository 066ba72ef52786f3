"""The events of one hop of an update, put in order, and the questions that the fold asks of them.

Guarantees: the same set of events gives the same answers, whatever the order of arrival; a device's word for its version
is told from hearsay (the DCC's inventory may be older than what the device has said since); a request in quarantine
stays there until a person records which way it went, or evidence of that very request shows that it was let go.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from hanwave.firmware.terms import version_digits
from hanwave.rollout.events import NO_IMAGE_HELD, Event, Evidence, Kind, Leg

TELLS_VERSION = frozenset({Kind.VERSION, Kind.ACTIVATED, Kind.ACTIVATION_FAILED})
_OWN_WORD = frozenset({Evidence.DEVICE, Evidence.READ_BACK})
TELLS_OF_IMAGE = frozenset({Kind.VERIFIED, Kind.VERIFICATION_FAILED})
_SILENCE = frozenset({Kind.OVERDUE, Kind.UNREACHED})
_OF_THE_WHOLE = frozenset({Kind.CLOSED, Kind.SETTLED, Kind.CANCELLED})
_NEVER = datetime.min.replace(tzinfo=UTC)
_FOREVER = datetime.max.replace(tzinfo=UTC)

# Evidence that names its request, and so shows that the request left quarantine. An 8F72 and an 8F8B name none.
OUT_OF_QUARANTINE = frozenset(
    {
        Kind.RELEASED,
        Kind.DELETED,
        Kind.DELIVERED,
        Kind.DELIVERY_FAILED,
        Kind.UNREACHED,
        Kind.SCHEDULED,
        Kind.WITHDRAWN,
        Kind.ACTIVATED,
        Kind.ACTIVATION_FAILED,
    }
)


def same_version(one: str, other: str) -> bool:
    """Whether two firmware versions are equal, however their hexadecimal digits were written."""
    return version_digits(one) == version_digits(other)


def _is_own_word(event: Event) -> bool:
    """Whether the device itself names its version: in the DCC's words too, but for what the inventory has of it."""
    if event.kind not in TELLS_VERSION or not event.version:
        return False
    return event.evidence in _OWN_WORD or (event.evidence is Evidence.DCC and event.kind is not Kind.VERSION)


def _place(event: Event) -> tuple[datetime, str, str, int, int, str, str, str, str]:
    """An event's place in the order, total so that equal times do not leave it to the order of arrival."""
    leg, version = event.leg or "", event.version or ""
    last = event.detail or "", event.reason or ""
    return event.at, event.kind, leg, event.hop, event.attempt, event.evidence, version, *last


def _quarantined(events: list[Event]) -> frozenset[tuple[int, Leg, int]]:
    """The requests (hop, leg, attempt) in quarantine that would change the device if they were released."""
    held = {(e.hop, e.leg, e.attempt) for e in events if e.kind is Kind.QUARANTINED and e.leg is not Leg.READ}
    if not held:
        return frozenset()
    gone = {(e.hop, e.leg, e.attempt) for e in events if e.kind in OUT_OF_QUARANTINE}
    return frozenset((hop, leg, attempt) for hop, leg, attempt in held - gone if leg)


class Facts:
    """What is known of one hop. An update ends whole, so its end counts in every hop; so do cancel and quarantine.

    So does what the device said of the version that it ran: before the hop began by whatever word, since then by one that
    is of no step, since a late success of the hop before tells of what was, not of what is.
    """

    def __init__(self, events: Iterable[Event], hop: int) -> None:
        """Take the events of an update, in any order, however often each."""
        known = sorted(set(events), key=_place)
        here = [e for e in known if e.hop == hop or e.kind in _OF_THE_WHOLE]
        released = {(e.leg, e.attempt): e.at for e in here if e.kind is Kind.RELEASED}
        # A request was not overdue while the DCC held it: its wait began with the release.
        self.events = [e for e in here if not (e.kind in _SILENCE and e.at <= released.get((e.leg, e.attempt), _NEVER))]
        self._of: defaultdict[Leg | None, list[Event]] = defaultdict(list)
        for event in self.events:
            self._of[event.leg].append(event)
        self.quarantined = _quarantined(known)
        self.cancelled = next((e for e in self.events if e.kind is Kind.CANCELLED), None)
        self.began = next((e.at for e in self.events if e.hop == hop and e.kind is Kind.GRANTED), _FOREVER)
        """When the hop's first step was granted."""
        self.said = [e for e in known if _is_own_word(e) and self._counts(e, hop)]
        self.word = self.said[-1] if self.said else None
        """The device's own latest word for the version that it runs."""

    def _counts(self, word: Event, hop: int) -> bool:
        return word.hop == hop or (word.hop < hop and (word.kind is Kind.VERSION or word.at <= self.began))

    def legs(self) -> list[Leg]:
        """The legs of which anything is known, in their order."""
        return [leg for leg in Leg if self._of.get(leg)]

    def attempts(self, leg: Leg) -> set[int]:
        """The attempts of that leg that anything is known of."""
        return {e.attempt for e in self._of[leg] if e.attempt}

    def latest(self, leg: Leg) -> int:
        """The highest of them; 0 where there is none."""
        return max(self.attempts(leg), default=0)

    def last(self, leg: Leg, *kinds: Kind, attempt: int | None = None) -> Event | None:
        """The latest of these kinds in that leg (in that attempt only, where one is given)."""
        for event in reversed(self._of[leg]):
            if event.kind in kinds and attempt in (None, event.attempt):
                return event
        return None

    def begun(self, leg: Leg, attempt: int) -> Event | None:
        """What that attempt's wait is counted from: its sending or its release, its grant until then."""
        return (
            self.last(leg, Kind.SENT, Kind.RELEASED, attempt=attempt)
            or self.last(leg, Kind.GRANTED, attempt=attempt)
            or next((e for e in self._of[leg] if e.attempt == attempt), None)
        )

    def first(self, leg: Leg, *kinds: Kind) -> Event | None:
        """The first event of that leg (of these kinds, where any is given)."""
        return next((e for e in self._of[leg] if not kinds or e.kind in kinds), None)

    def granted(self, leg: Leg) -> datetime:
        """When a step of that leg was last granted."""
        event = self.last(leg, Kind.GRANTED)
        return event.at if event else _NEVER

    def runs(self, version: str, since: datetime) -> Event | None:
        """From when on the device has said, without a word against it, that it runs that version."""
        first = None
        for event in reversed(self.said):
            if event.at < since or not same_version(event.version or "", version):
                break
            first = event
        return first

    @property
    def dropped(self) -> Event | None:
        """When the device last said that it holds no image."""
        said = (e for e in reversed(self.events) if e.kind is Kind.ACTIVATION_FAILED and e.detail == NO_IMAGE_HELD)
        return next(said, None)

    def of_image(self) -> Event | None:
        """The device's latest word on the image that it holds (it holds one); what it has dropped since is no word.

        An 8F72 whose hash could not be read says nothing of which image it is.
        """
        since = self.dropped.at if self.dropped else _NEVER
        said = self.last(Leg.DISTRIBUTE, *TELLS_OF_IMAGE)
        return said if said and said.at > since and (said.detail or said.kind is not Kind.VERIFIED) else None
