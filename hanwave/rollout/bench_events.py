"""What the end of an update on a bench means for its device: events as every other route has them.

Guarantees: a success is the device's own word for its version, read from it; silence is never a failure of the device;
what was not sent is told as a refusal that says why; a cancel or a lost coordinator leaves nothing that harms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from hanwave.rollout.bench import BenchReport, Outcome
from hanwave.rollout.events import NO_IMAGE_HELD, Event, Evidence, Kind, Leg

_SUCCESS = 0
"""The ZCL status of an Upgrade End Request of a device that verified its image."""
_NOTHING_SENT = {
    Outcome.WRONG_HASH: "the image kept for the release is not the approved one: its hash differs",
    Outcome.WRONG_DESTINATION: "the image is for one other device",
    Outcome.WRONG_MANUFACTURER: "the device names another manufacturer than the image",
    Outcome.WRONG_TYPE: "the device asks for another image type",
    Outcome.WRONG_HARDWARE: "the image is not for its hardware, or it does not tell its hardware",
    Outcome.NEWER: "it runs a later version, and this campaign may not go back",
    Outcome.CANNOT_HOLD: "it would install a held image by itself after a time",
    Outcome.DECLINED: "it was offered the image, and asked for none of it",
}


_TOOK_IT = frozenset({Outcome.HELD, Outcome.ACTIVATED, Outcome.KEPT_OLD, Outcome.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one leg on a bench: DISTRIBUTE, or ACTIVATE of an image that is held."""

    leg: Leg
    hop: int
    number: int
    image_hash: str
    """Of the Manufacturer Image that the bench checked before it sent an octet; upper-case hexadecimal."""


def events(report: BenchReport, attempt: Attempt, at: datetime) -> list[Event]:
    """What is to be recorded of that attempt; nothing where nothing is known but that it may be tried again."""
    return [*_held(report, attempt, at), *_end(report, attempt, at)]


def _event(kind: Kind, attempt: Attempt, at: datetime, evidence: Evidence, **more: str | None) -> Event:
    return Event(kind, at, attempt.leg, attempt.hop, attempt.number, evidence, **more)


def _held(report: BenchReport, attempt: Attempt, at: datetime) -> Iterator[Event]:
    """It has the whole image, by its own word."""
    if attempt.leg is Leg.DISTRIBUTE and (report.device_status == _SUCCESS or report.outcome in _TOOK_IT):
        yield _event(Kind.TRANSFERRED, attempt, at, Evidence.DEVICE)
        yield _event(Kind.VERIFIED, attempt, at, Evidence.DEVICE, detail=attempt.image_hash)


def _end(report: BenchReport, attempt: Attempt, at: datetime) -> Iterator[Event]:
    match report.outcome:
        case Outcome.ACTIVATED | Outcome.ALREADY:
            yield from _runs(report, attempt, at)
        case Outcome.KEPT_OLD:
            version, detail = _version(report.version_after), "it restarted, and still runs what it ran before"
            yield _event(Kind.ACTIVATION_FAILED, attempt, at, Evidence.DEVICE, version=version, detail=detail)
        case Outcome.UNCONFIRMED:
            yield _event(Kind.OVERDUE, attempt, at, Evidence.OURS)
        case Outcome.REFUSED:
            yield _refused(report, attempt, at)
        case Outcome.STALLED | Outcome.GAVE_UP | Outcome.CANCELLED:
            yield _unreached(report, attempt, at)
        case Outcome.NOT_PERMITTED if attempt.leg is Leg.ACTIVATE:
            # It was to install what it holds, and asked for octets: it holds nothing.
            yield _event(Kind.ACTIVATION_FAILED, attempt, at, Evidence.DEVICE, detail=NO_IMAGE_HELD)
        case outcome if outcome in _NOTHING_SENT:
            yield _event(Kind.REFUSED, attempt, at, Evidence.DEVICE, detail=_NOTHING_SENT[outcome])


def _runs(report: BenchReport, attempt: Attempt, at: datetime) -> Iterator[Event]:
    version = _version(report.version_after)
    if report.outcome is Outcome.ACTIVATED:
        yield _event(Kind.ACTIVATED, attempt, at, Evidence.DEVICE, version=version)
    yield _event(Kind.VERSION, attempt, at, Evidence.READ_BACK, version=version)


def _refused(report: BenchReport, attempt: Attempt, at: datetime) -> Event:
    status = f"it rejected the image with the ZCL status 0x{report.device_status or 0:02X}"
    return _event(Kind.VERIFICATION_FAILED, attempt, at, Evidence.DEVICE, reason=status)


def _unreached(report: BenchReport, attempt: Attempt, at: datetime) -> Event:
    """Silence, a device that gave up, or a cancel; an activation that nobody answered may have taken place."""
    if report.outcome is Outcome.CANCELLED:
        detail = (
            f"cancelled; the device {'was told' if report.was_told else 'was not told, and waits with what it has'}"
        )
    elif report.outcome is Outcome.GAVE_UP:
        detail = f"the device broke the download off, or began it anew again and again, after {report.octets} octets"
    else:
        detail = f"not heard for as long as the bench waits, after {report.octets} octets"
    kind = Kind.DELIVERY_FAILED if attempt.leg is Leg.DISTRIBUTE else Kind.UNREACHED
    return _event(kind, attempt, at, Evidence.OURS, detail=detail)


def _version(number: int | None) -> str | None:
    return None if number is None else f"{number:08X}"
