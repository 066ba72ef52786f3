"""What a bench asks of the ledger: what is due to a device, leave for it, whether to go on, and a record of what came of it.

Guarantees: no octet and no word to install without a step that the permit granted; a step that was granted is gone on
with, not granted anew, whoever was killed in between; a stop has a transfer wait, and the end of its update has it aborted; what came
of it is recorded once, with its device's own word in the fleet.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from hanwave.firmware.image import Form
from hanwave.ledger import beats, campaigns, checks, holds, permit, releases, stops, waves, windows
from hanwave.ledger.checks import NotNow
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, Folded, record, standings
from hanwave.rollout import bench_events
from hanwave.rollout.bench import BenchReport
from hanwave.rollout.decide import Step
from hanwave.rollout.device import ENDED, State
from hanwave.rollout.events import Event, Evidence, Kind, Leg

_LEGS = {Step.DISTRIBUTE: Leg.DISTRIBUTE, Step.ACTIVATE: Leg.ACTIVATE, Step.READ: Leg.READ}
_TRANSFERS = frozenset({State.REQUESTED, State.DELIVERED})
_INSTALLS = frozenset({State.ACTIVATING, State.SCHEDULED})


@dataclass(frozen=True, slots=True)
class Due:
    """What a device on a bench is to have done now, or to have gone on with."""

    update_id: int
    campaign: str
    wave: int
    eui: str
    device_type: str
    leg: Leg
    hop: int
    attempt: int
    granted: bool
    """Whether its step was granted before: a transfer that somebody began, and did not end."""
    release: str
    image_hash: str
    user_id: str
    may_downgrade: bool

    @property
    def of(self) -> bench_events.Attempt:
        """What its events are of."""
        return bench_events.Attempt(self.leg, self.hop, self.attempt, self.image_hash)


class Hand(StrEnum):
    """What the ledger would have of a transfer that runs."""

    GO_ON = "go_on"
    WAIT = "wait"
    ABORT = "abort"


def due(
    connection: Connection, update_id: int, route: str, now: datetime, of: tuple[str, str] | None = None
) -> Due | str:
    """What is due to an update's device on the bench of that route; a sentence where nothing is.

    LedgerError where there is no such update, it goes by another route, or it is not of that campaign and device, where
    they are given.
    """
    found = next(iter(standings(connection, [update_id], now)), None)
    if found is None or of not in (None, (found.campaign, found.eui)):
        raise LedgerError(
            f"update {update_id} is not that device's in that campaign: a campaign starts its devices itself"
        )
    its = campaigns.frame(connection, found.campaign).route
    if its != route:
        raise LedgerError(
            f"campaign {found.campaign} goes by {its}, it should go by {route}: this bench has no part in it"
        )
    if found.decision.step in _LEGS:
        return _due(connection, found, _LEGS[found.decision.step], granted=False)
    if leg := _in_hand(found):
        return _due(connection, found, leg, granted=True)
    return found.decision.reason


def _in_hand(device: Folded) -> Leg | None:
    """The leg that was granted and has not come to an end."""
    standing, one_step = device.standing, device.device_type.one_step
    if standing.state in ENDED or standing.cancelled:
        return None
    if standing.reading:
        return Leg.READ
    if standing.state in _TRANSFERS or (one_step and standing.state in _INSTALLS):
        return Leg.DISTRIBUTE
    return Leg.ACTIVATE if standing.state in _INSTALLS else None


def _due(connection: Connection, device: Folded, leg: Leg, *, granted: bool) -> Due:
    frame, standing = campaigns.frame(connection, device.campaign), device.standing
    hop, attempt = (standing.hop, standing.attempt(leg)) if granted else standing.next(leg)
    undoes = text("SELECT kind = 'rollback' FROM campaign WHERE name = :name")
    return Due(
        update_id=device.update_id,
        campaign=device.campaign,
        wave=device.wave,
        eui=device.eui,
        device_type=str(device.device_type),
        leg=leg,
        hop=hop,
        attempt=attempt,
        granted=granted,
        release=frame.release,
        image_hash=frame.image_hash,
        user_id=frame.user_id,
        may_downgrade=bool(connection.execute(undoes, {"name": frame.name}).scalar_one()),
    )


def image(connection: Connection, step: Due) -> tuple[bytes, Form]:
    """The image that the step is of, and its form: signed for the User ID where there is one, else as it was made."""
    try:
        data = releases.image_for(connection, step.release, step.user_id)
    except LedgerError:
        # A release is qualified before it is signed.
        data = releases.image_for(connection, step.release, releases.EVERYONE)
        return data, Form.PPMID
    return data, Form.PPMID if step.device_type == "PPMID" else Form.SIGNED


def ask(connection: Connection, step: Due, now: datetime, radio: str) -> str | None:
    """Leave for the step, once; None where it is given, else why not, and the device waits until it is asked again.

    The radio that it is to go by is kept with what is granted: releases.pass_lab asks for it.
    """
    by = {"radio": radio}
    request = permit.Ask(step.campaign, step.wave, step.leg, [step.update_id], checks.ON_BENCH, parameters=by)
    granted = permit.ask(connection, request, now)
    if granted.outbox_id is None:
        waves.defer(connection, step.campaign, granted.refused, now)
        return granted.refused[step.update_id].reason
    # Nobody stands between the bench and the device: what is granted begins.
    connection.execute(_BEGUN, {"id": granted.outbox_id, "now": now})
    sent = Event(Kind.SENT, now, step.leg, step.hop, step.attempt)
    record(connection, [Fact(step.update_id, sent)], now)
    return None


_BEGUN = text(
    "UPDATE outbox SET state = 'acknowledged', sending_at = :now, answered_at = :now, sends = 1 WHERE id = :id"
)


def hand(connection: Connection, step: Due, now: datetime, *, installs: bool = False) -> tuple[Hand, str]:
    """Whether a granted step may go on now, and why not; installs: as far as the word to install."""
    found = next(iter(standings(connection, [step.update_id], now)))
    if why := _over(connection, found, step):
        return Hand.ABORT, why
    # The word to install activates, whichever leg the image came by.
    legs = {step.leg, Leg.ACTIVATE} if installs else {step.leg}
    why = next(filter(None, (_stopped(connection, found, step, leg) for leg in sorted(legs))), None)
    why = why or (_unfit_to_install(connection, step, now) if installs else None)
    return (Hand.WAIT, why) if why else (Hand.GO_ON, "")


def _stopped(connection: Connection, device: Folded, step: Due, leg: Leg) -> str | None:
    if stop := stops.blocking(connection, step.user_id, step.campaign, step.wave, leg):
        return str(stop)
    return "its model is stopped" if device.known.row.model in stops.stopped_models(connection, leg) else None


def _unfit_to_install(connection: Connection, step: Due, now: datetime) -> str | None:
    """What the permit asks of an activation too, and may have changed since it was asked."""
    if silent := beats.silent(connection, beats.WARDEN, now):
        return silent
    if held := holds.of_device(connection, step.eui, step.user_id, now):
        return f"on hold: {held[:200]}"
    frame = campaigns.frame(connection, step.campaign)
    shut = windows.why_not(connection, frame, step.leg, [step.update_id], now)
    return shut[step.update_id][0] if step.update_id in shut else None


def _over(connection: Connection, device: Folded, step: Due) -> str | None:
    if device.standing.cancelled or device.standing.state in ENDED:
        return device.standing.cancelled or "the update has ended"
    if campaigns.withdrawn(connection, step.campaign):
        return "the campaign was withdrawn"
    if device.standing.attempt(step.leg) > step.attempt:
        return "a later attempt of the same step was permitted"
    return None


def not_now(connection: Connection, step: Due, reason: str, until: datetime, now: datetime) -> None:
    """Nothing could be done with a device whose step is due: ask again at that time, and show why until then."""
    waves.defer(connection, step.campaign, {step.update_id: NotNow(reason, until)}, now)


def ended(connection: Connection, step: Due, report: BenchReport, now: datetime) -> None:
    """Record how the step ended, in one transaction with what the device said that it runs."""
    facts = [Fact(step.update_id, event) for event in bench_events.events(report, step.of, now)]
    record(connection, facts, now)
    _tell_fleet(connection, step.eui, report.version_after, now)


def read(connection: Connection, step: Due, version: int | None, now: datetime) -> None:
    """Record what a device answered that was asked for its version; None: it did not answer."""
    if version is None:
        event = Event(Kind.UNREACHED, now, step.leg, step.hop, step.attempt)
    else:
        said = f"{version:08X}"
        event = Event(Kind.VERSION, now, step.leg, step.hop, step.attempt, Evidence.READ_BACK, said)
    record(connection, [Fact(step.update_id, event)], now)
    _tell_fleet(connection, step.eui, version, now)


def _tell_fleet(connection: Connection, eui: str, version: int | None, now: datetime) -> None:
    if version is not None:
        values = {"eui": eui, "version": f"{version:08X}", "now": now}
        connection.execute(_RUNS, values)


_RUNS = text("UPDATE device SET firmware_version = :version, last_heard = :now WHERE eui = :eui")
