"""Events, targets and standings in few words, for the tests of the rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hanwave.rollout.decide import Decision, decide
from hanwave.rollout.device import Standing, Target, fold
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import DeviceType, Policy

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NEW, OLD, OTHER = "0123ABCE", "0123ABCD", "0FFFFFFF"
HASH, OTHER_HASH = "AB" * 32, "CD" * 32
DISTRIBUTE, ACTIVATE, READ = Leg.DISTRIBUTE, Leg.ACTIVATE, Leg.READ

_OURS = {
    Kind.GRANTED,
    Kind.SENT,
    Kind.ABANDONED,
    Kind.RELEASED,
    Kind.DELETED,
    Kind.OVERDUE,
    Kind.SETTLED,
    Kind.CLOSED,
    Kind.CANCELLED,
}
_DCC = {Kind.ACCEPTED, Kind.REFUSED, Kind.QUARANTINED, Kind.UNREACHED, Kind.DELIVERED, Kind.DELIVERY_FAILED}


def hours(number: float) -> datetime:
    """The time so many hours after the start."""
    return START + timedelta(hours=number)


def event(kind: Kind, hour: float, leg: Leg | None = None, attempt: int = 1, **more: Any) -> Event:
    """An event, of the class of evidence that its kind comes in."""
    usual = Evidence.OURS if kind in _OURS else Evidence.DCC if kind in _DCC else Evidence.DEVICE
    return Event(kind, hours(hour), leg, attempt=attempt, **{"evidence": usual, **more})


def sent(leg: Leg, hour: float, attempt: int = 1) -> list[Event]:
    """A step that was granted and sent."""
    return [event(Kind.GRANTED, hour, leg, attempt), event(Kind.SENT, hour + 0.01, leg, attempt)]


def held(hour: float = 0) -> list[Event]:
    """An image sent, and verified by the device an hour later."""
    return [*sent(DISTRIBUTE, hour), event(Kind.VERIFIED, hour + 1, DISTRIBUTE, detail=HASH)]


def ran(version: str, hour: float, leg: Leg | None = None, attempt: int = 0, **more: Any) -> Event:
    """The device's answer to what it runs."""
    return event(Kind.VERSION, hour, leg, attempt, version=version, **{"evidence": Evidence.READ_BACK, **more})


def stand(events: list[Event], device_type: DeviceType = DeviceType.ESME) -> Standing:
    """The fold of those events."""
    return fold(events, Target(NEW, HASH, device_type.one_step))


def step(
    events: list[Event], hour: float, device_type: DeviceType = DeviceType.ESME, policy: Policy | None = None
) -> Decision:
    """What is next with a device of those events, at that hour."""
    return decide(stand(events, device_type), device_type, policy or Policy(), hours(hour))
