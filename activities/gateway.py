"""What a wave and a device ask of the DCC: permit, then delivery. Each may be called again at any point of a crash."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection, Engine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.wave import DeviceStart, WaveRef, now
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns, gains, inventory, outbox, permit, waves
from hanwave.ledger.standing import kept, standings
from hanwave.rollout.decide import Step
from hanwave.rollout.device import ENDED
from hanwave.rollout.events import Leg

_READERS = 4
"""Versions that one activity reads at once: a wave waits for it, and its other devices with it."""
_READS = {Step.READ: (Leg.READ, "11.2")}
_STEPS = {Step.ACTIVATE: (Leg.ACTIVATE, "11.3"), **_READS}
Deliver = Callable[[int], str | None]
"""Build, send and record one outbox row; a sentence where it could not leave now."""


@dataclass(frozen=True)
class Advanced:
    """A device after its workflow's activity: where it stands."""

    state: str
    ended: bool
    reason: str = ""
    outcome: str | None = None
    """How its update ended, where it did not end well."""

    @classmethod
    def now(cls, connection: Connection, update_id: int, reason: str | None) -> Self:
        """As the ledger has it; reason: why what is due could not be done now."""
        state, why, outcome = kept(connection, update_id)
        return cls(state, state in ENDED, reason or why, outcome)


@dataclass(frozen=True)
class Batch:
    """A distribution request: how many devices it was granted for, and why nothing left, where it did not."""

    granted: int
    reason: str = ""


class GatewayActivities:
    """The activities that speak to the DCC, over a ledger and a way to deliver an outbox row.

    A cancelled workflow does not interrupt them: between a POST and its record there is no good place to stop.
    """

    def __init__(self, ledger: Engine, deliver: Deliver, acb: EUI64) -> None:
        """Keep what they work with; acb is the DCC's Access Control Broker."""
        self.ledger = ledger
        self.deliver = deliver
        self.acb = acb

    @activity.defn(no_thread_cancel_exception=True)
    def distribute(self, ref: WaveRef) -> Batch:
        """Send what was permitted and never left; else permit and send the next distribution request (11.1 or 11.4)."""
        if waiting := self._undelivered(ref, Leg.DISTRIBUTE):
            reason = self._deliver_all(waiting)
            moved = set(waiting).difference(self._undelivered(ref, Leg.DISTRIBUTE))
            if reason or moved:
                return Batch(len(moved), reason or "")
            # What may not be sent again now (its model is stopped, say) holds up no other, nor is it asked for at once.
        with self.ledger.begin() as connection:
            frame = campaigns.frame(connection, ref.campaign)
            due = waves.next_batch(connection, ref.campaign, ref.wave, now())
            if not due:
                return Batch(0)
            ids, certificate = gains.of_one_certificate(connection, frame, due)
            reference = "11.4" if frame.device_type.one_step else "11.1"
            signed = {"certificate": certificate} if certificate else {}
            ask = permit.Ask(ref.campaign, ref.wave, Leg.DISTRIBUTE, ids, reference, self.acb, signed)
            granted = permit.ask(connection, ask, now())
            waves.defer(connection, ref.campaign, granted.refused, now())
        if granted.outbox_id is None:
            return Batch(0, next((each.reason for each in granted.refused.values()), ""))
        return Batch(len(granted.granted), self.deliver(granted.outbox_id) or "")

    @activity.defn(no_thread_cancel_exception=True)
    def read_versions(self, updates: list[int]) -> int:
        """Read the version of each device (11.2), at the end of its soak; how many were asked."""
        with ThreadPoolExecutor(_READERS) as readers:
            return sum(reason is None for reason in readers.map(self._read, updates))

    def _read(self, update_id: int) -> str | None:
        """Finish a read that was left behind, else ask anew; a sentence where nothing new left."""
        with self.ledger.connect() as connection:
            unfinished = outbox.open_requests(connection, update_id)
        return self._deliver_all(unfinished) or self._step(update_id, _READS)

    @activity.defn(no_thread_cancel_exception=True)
    def advance(self, device: DeviceStart) -> Advanced:
        """Do a device's next step, if it is due: finish what was permitted, activate, or read its version."""
        with self.ledger.connect() as connection:
            unfinished = outbox.open_requests(connection, device.update_id)
        reason = self._deliver_all(unfinished)
        if reason is None:
            reason = self._step(device.update_id, _STEPS, of=(device.campaign, device.eui))
        with self.ledger.connect() as connection:
            return Advanced.now(connection, device.update_id, reason)

    def _step(
        self, update_id: int, steps: Mapping[Step, tuple[Leg, str]], *, of: tuple[str, str] | None = None
    ) -> str | None:
        """Permit and send the one of these requests that is due; a sentence where it may not be or did not leave.

        of: whose update it should be, by campaign and EUI-64. Anybody may start a device's workflow, with any number.
        """
        with self.ledger.begin() as connection:
            # Without a lock: the permit takes its own, in its own order, and looks again.
            device = next(iter(standings(connection, [update_id], now())), None)
            if device is None or of not in (None, (device.campaign, device.eui)):
                sentence = (
                    f"update {update_id} is not that device's in that campaign: a campaign starts its devices itself"
                )
                raise ApplicationError(sentence, type="BadInput", non_retryable=True)
            if device.decision.step not in steps:
                return device.decision.reason
            leg, reference = steps[device.decision.step]
            asked = inventory.ask_again(connection, device, self.acb, now()) if leg is Leg.ACTIVATE else []
            if not asked:
                ask = permit.Ask(device.campaign, device.wave, leg, [update_id], reference)
                granted = permit.ask(connection, ask, now())
                waves.defer(connection, device.campaign, granted.refused, now())
        if asked:
            # What it brings may end the update: the rule is asked again.
            return self._deliver_all(asked) or self._step(update_id, steps)
        return granted.refused[update_id].reason if granted.outbox_id is None else self.deliver(granted.outbox_id)

    def _undelivered(self, ref: WaveRef, leg: Leg) -> list[int]:
        with self.ledger.connect() as connection:
            return outbox.undelivered(connection, ref.campaign, ref.wave, leg, now())

    def _deliver_all(self, requests: list[int]) -> str | None:
        for outbox_id in requests:
            if reason := self.deliver(outbox_id):
                return reason
        return None
