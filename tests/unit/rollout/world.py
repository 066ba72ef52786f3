"""A device, its DCC and the people around it, as the rules meet them: what is asked for is done, and fate answers.

Each request's fate is a list of events with the hours after which they happen and the hours that their messages take.
The world holds each decision against what a safety engineer would say of it, from the events alone and not by the fold.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hanwave.rollout.decide import Decision, Step, decide
from hanwave.rollout.device import ENDED, State, Target, fold
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import DeviceType, Policy
from tests.unit.rollout.making import HASH, NEW, OLD, OTHER_HASH, START

MOST = 400
"""Decisions by which every device must have come to its end: far above what any allowance adds up to."""


@dataclass(frozen=True)
class Says:
    """One thing that happens after a request, so many hours later, and is heard of after a lag (None: never)."""

    kind: Kind
    after: float
    lag: float | None = 0.0
    version: str | None = None
    detail: str | None = None
    leg: Leg | None = None


Fate = tuple[Says, ...]
_VERIFIED = Says(Kind.VERIFIED, 5, detail=HASH)
_DELIVERED, _WRONG = Says(Kind.DELIVERED, 2), Says(Kind.VERIFIED, 5, detail=OTHER_HASH)
_RUNS = Says(Kind.ACTIVATED, 1, version=NEW)
_IN_PROGRESS, _LOST = "OtherRequestInProgress", Says(Kind.HEARD, 0, None)

FATES: dict[tuple[bool, Leg], dict[str, Fate]] = {
    (False, Leg.DISTRIBUTE): {
        "silence": (),
        "verified": (_DELIVERED, _VERIFIED),
        "verified, and nothing of the delivery": (_VERIFIED,),
        "on the hub, then silence": (_DELIVERED,),
        "verified long after the deadline": (Says(Kind.VERIFIED, 600, detail=HASH),),
        "verified in time, told late": (Says(Kind.VERIFIED, 5, 48, detail=HASH),),
        "another image": (_DELIVERED, _WRONG),
        "refused by the device": (Says(Kind.VERIFICATION_FAILED, 5),),
        "refused after it was verified": (_VERIFIED, Says(Kind.VERIFICATION_FAILED, 6)),
        "not delivered": (Says(Kind.DELIVERY_FAILED, 3),),
        "delivered after all": (Says(Kind.DELIVERY_FAILED, 3), Says(Kind.DELIVERED, 9)),
        "another in progress": (Says(Kind.REFUSED, 0, detail=_IN_PROGRESS),),
        "not for this device": (Says(Kind.REFUSED, 0, detail="E4"),),
        "never left": (Says(Kind.ABANDONED, 0.5, detail="halted"),),
        "quarantined": (Says(Kind.QUARANTINED, 0.1),),
        "already there": (Says(Kind.VERSION, 3, version=NEW),),
    },
    (True, Leg.DISTRIBUTE): {
        "silence": (),
        "activated": (Says(Kind.TRANSFERRED, 5), _RUNS),
        "activated, and nothing of the transfer": (_RUNS,),
        "the transfer, then silence": (Says(Kind.TRANSFERRED, 5),),
        "transferred long after the deadline": (Says(Kind.TRANSFERRED, 900), Says(Kind.ACTIVATED, 901, version=NEW)),
        "activated, both words lost": (Says(Kind.ACTIVATED, 6, None, version=NEW),),
        "activation failed": (Says(Kind.TRANSFERRED, 5), Says(Kind.ACTIVATION_FAILED, 6, version=OLD)),
        "a success that runs the old version": (Says(Kind.ACTIVATED, 6, version=OLD),),
        "not passed on": (Says(Kind.DELIVERY_FAILED, 3, detail="HardwareVersionMismatch"),),
        "another in progress": (Says(Kind.REFUSED, 0, detail=_IN_PROGRESS),),
        "never left": (Says(Kind.ABANDONED, 0.5, detail="halted"),),
        "quarantined": (Says(Kind.QUARANTINED, 0.1),),
    },
    (False, Leg.ACTIVATE): {
        "silence": (),
        "activated": (_RUNS,),
        "activated, the response lost": (Says(Kind.ACTIVATED, 1, None, version=NEW),),
        "activated, told after the deadline": (Says(Kind.ACTIVATED, 1, 40, version=NEW),),
        "success without a version": (Says(Kind.ACTIVATED, 1),),
        "runs the old version after a success": (_RUNS, Says(Kind.VERSION, 9, version=OLD)),
        "no image": (Says(Kind.ACTIVATION_FAILED, 1, version=OLD, detail="noImageHeld"),),
        "failed": (Says(Kind.ACTIVATION_FAILED, 1, version=OLD, detail="activationFailure"),),
        "cannot be reached": (Says(Kind.UNREACHED, 2, detail="E21"),),
        "not reached, and activated all the same": (Says(Kind.UNREACHED, 2, detail="E21"), Says(Kind.ACTIVATED, 3, 30)),
        "refused for a while": (Says(Kind.REFUSED, 0, detail="E20"),),
        "refused for good": (Says(Kind.REFUSED, 0, detail="E5"),),
        "refused, and another image since": (
            Says(Kind.REFUSED, 0, detail="E20"),
            Says(Kind.VERIFIED, 0.2, detail=OTHER_HASH, leg=Leg.DISTRIBUTE),
        ),
        "scheduled and activated": (Says(Kind.SCHEDULED, 0.1), Says(Kind.ACTIVATED, 13, version=NEW)),
        "scheduled and failed": (Says(Kind.SCHEDULED, 0.1), Says(Kind.ACTIVATION_FAILED, 13, version=OLD)),
        "scheduled, then silence": (Says(Kind.SCHEDULED, 0.1),),
        "scheduled and withdrawn": (Says(Kind.SCHEDULED, 0.1), Says(Kind.WITHDRAWN, 2)),
        "never left": (Says(Kind.ABANDONED, 0.5, detail="halted"),),
        "quarantined": (Says(Kind.QUARANTINED, 0.1),),
        "quarantined, told after the deadline": (Says(Kind.QUARANTINED, 0.1, 60),),
    },
}
_READS: dict[str, Fate] = {
    "silence": (),
    "the truth": (Says(Kind.VERSION, 1, version="truth"),),
    "the truth, told late": (Says(Kind.VERSION, 1, 40, version="truth"),),
    "cannot be reached": (Says(Kind.UNREACHED, 1, detail="E21"),),
    "refused": (Says(Kind.REFUSED, 0, detail="E65"),),
    "quarantined": (Says(Kind.QUARANTINED, 0.1),),
    "never left": (Says(Kind.ABANDONED, 0.5),),
}
FATES[False, Leg.READ] = FATES[True, Leg.READ] = _READS


_NO_ANSWER = {Kind.GRANTED, Kind.SENT, Kind.ACCEPTED, Kind.RELEASED, Kind.QUARANTINED, Kind.DELIVERED, Kind.TRANSFERRED}


@dataclass
class World:
    """One device under an update; fates are taken in turn for each leg, and then all is silence."""

    device_type: DeviceType
    policy: Policy
    fates: dict[Leg, list[str]]
    released: bool = True
    """What a person does with a quarantined request."""
    now: datetime = START
    known: list[Event] = field(default_factory=list)
    coming: list[tuple[datetime, Event]] = field(default_factory=list)
    steps: list[Decision] = field(default_factory=list)
    moves: set[tuple[State, State]] = field(default_factory=set)
    truth: str = OLD

    @property
    def target(self) -> Target:
        return Target(NEW, HASH, self.device_type.one_step)

    def run(self) -> State:
        """Decide and do, until the update has ended; the state that it ended in."""
        while (state := fold(self.known, self.target).state) not in ENDED:
            assert len(self.steps) < MOST, f"no end in sight: {[s.step for s in self.steps[-6:]]}"
            decision = decide(fold(self.known, self.target), self.device_type, self.policy, self.now)
            self.steps.append(decision)
            self.do(decision, state)
        self._late_evidence(state)
        return state

    def do(self, decision: Decision, state: State) -> None:
        """Carry a decision out, having held it against what is known."""
        if decision.step in (Step.DISTRIBUTE, Step.ACTIVATE):
            self._check_forward(decision.step)
        match decision.step:
            case Step.DISTRIBUTE | Step.ACTIVATE | Step.READ:
                assert decision.leg is not None
                self._request(decision.leg)
            case Step.OVERDUE:
                assert decision.leg is not None
                attempt = fold(self.known, self.target).attempt(decision.leg)
                self._learn(Event(Kind.OVERDUE, self.now, decision.leg, attempt=attempt))
            case Step.SETTLE:
                self._learn(Event(Kind.SETTLED, self.now))
            case Step.CLOSE:
                assert decision.outcome is not None
                self._learn(Event(Kind.CLOSED, self.now, detail=decision.outcome, reason=decision.reason))
            case Step.WAIT:
                self._wait(decision, state)

    def _wait(self, decision: Decision, state: State) -> None:
        assert decision.until is None or decision.until > self.now, "a wait that is over is no wait"
        if decision.until is None:
            held = {(e.leg, e.attempt) for e in self.known if e.kind is Kind.QUARANTINED}
            assert held, f"{state} waits for ever"
            self.now += timedelta(days=3)
            self._arrive()
            for leg, attempt in sorted(held):
                kind = Kind.RELEASED if self.released else Kind.DELETED
                self._learn(Event(kind, self.now, leg, attempt=attempt))
                if self.released and leg is Leg.ACTIVATE:
                    self._come(Says(Kind.ACTIVATED, 1, version=NEW), leg, attempt)
            return
        self.now = min([decision.until, *(when for when, _ in self.coming)])
        self._arrive()

    def _request(self, leg: Leg) -> None:
        attempt = fold(self.known, self.target).attempt(leg) + 1
        self._learn(Event(Kind.GRANTED, self.now, leg, attempt=attempt))
        self.now += timedelta(seconds=30)
        names = self.fates.get(leg, [])
        fate = FATES[self.device_type.one_step, leg][names.pop(0)] if names else ()
        if not any(says.kind is Kind.ABANDONED for says in fate):
            self._learn(Event(Kind.SENT, self.now, leg, attempt=attempt))
        for says in fate:
            self._come(says, leg, attempt)

    def _come(self, says: Says, leg: Leg, attempt: int) -> None:
        at = self.now + timedelta(hours=says.after)
        if says.kind is Kind.ACTIVATED and says.version != OLD:
            self.truth = NEW
        if says.version == OLD:
            self.truth = OLD
        version = self.truth if says.version == "truth" else says.version
        evidence = Evidence.READ_BACK if says.kind is Kind.VERSION else Evidence.DEVICE
        if says.lag is not None:
            if says.leg:
                leg, attempt = says.leg, fold(self.known, self.target).attempt(says.leg)
            found = Event(says.kind, at, leg, 1, attempt, evidence, version, says.detail)
            self.coming.append((at + timedelta(hours=says.lag), found))

    def _arrive(self) -> None:
        arrived = [pair for pair in self.coming if pair[0] <= self.now]
        self.coming = [pair for pair in self.coming if pair[0] > self.now]
        for _, found in sorted(arrived, key=lambda pair: pair[0]):
            self._learn(found)

    def _learn(self, found: Event) -> None:
        before = fold(self.known, self.target).state
        self.known.append(found)
        after = fold(self.known, self.target)
        self.moves.add((before, after.state))
        self._check_standing(after.state)
        shuffled = [*self.known, found]
        random.Random(len(shuffled)).shuffle(shuffled)
        assert fold(shuffled, self.target) == after, "the order of arrival matters"

    def _late_evidence(self, state: State) -> None:
        """Whatever is still on its way changes nothing, and brings no further step."""
        self.now += timedelta(days=400)
        self._arrive()
        standing = fold(self.known, self.target)
        assert standing.state is state
        assert decide(standing, self.device_type, self.policy, self.now).step is Step.WAIT

    # What must hold, from the events alone.

    def _of(self, leg: Leg, *kinds: Kind) -> list[Event]:
        return sorted((e for e in self.known if e.leg is leg and e.kind in kinds), key=lambda e: (e.at, e.kind))

    def _check_forward(self, asked: Step) -> None:
        assert not self._runs_target(), "the device says that it runs the target"
        for grant in self._of(Leg.ACTIVATE, Kind.GRANTED):
            assert self._known_outcome(grant), f"{asked} while activation {grant.attempt} is outstanding"
        for grant in self._of(Leg.DISTRIBUTE, Kind.GRANTED):
            about = self._about(grant)
            assert not self._in_quarantine(about), f"{asked} while distribution {grant.attempt} is in quarantine"
            # What the device says of its image answers for every attempt: an activation asks for no more.
            assert asked is Step.ACTIVATE or about - _NO_ANSWER, f"sends again while {grant.attempt} is outstanding"
        if asked is Step.ACTIVATE:
            self._check_image()
        elif self.device_type is DeviceType.GSME:
            self._check_battery()

    def _about(self, grant: Event) -> set[Kind]:
        return {e.kind for e in self.known if e.leg is grant.leg and e.attempt == grant.attempt}

    @staticmethod
    def _in_quarantine(about: set[Kind]) -> bool:
        return Kind.QUARANTINED in about and not about & {Kind.RELEASED, Kind.DELETED, Kind.ACTIVATED, Kind.UNREACHED}

    def _known_outcome(self, grant: Event) -> bool:
        about = self._about(grant)
        if self._in_quarantine(about):
            return False
        if about & {Kind.DELETED, Kind.WITHDRAWN, Kind.REFUSED, Kind.ABANDONED, Kind.ACTIVATION_FAILED}:
            return True
        # An unknown outcome needs the device's word before anything more is asked of it.
        silence = [e.at for e in self._of(Leg.ACTIVATE, Kind.OVERDUE, Kind.UNREACHED) if e.attempt == grant.attempt]
        return bool(silence) and any(e.version and e.at > max(silence) for e in self.known)

    def _check_image(self) -> None:
        words = self._of(Leg.DISTRIBUTE, Kind.VERIFIED, Kind.VERIFICATION_FAILED)
        dropped = [e for e in self._of(Leg.ACTIVATE, Kind.ACTIVATION_FAILED) if e.detail == "noImageHeld"]
        words = [e for e in words if not dropped or e.at > dropped[-1].at]
        if words:
            assert (words[-1].kind, words[-1].detail) == (Kind.VERIFIED, HASH), "activates an image that is not ours"
        else:
            assert self.policy.deadlines_in("", self.device_type).activate_unverified_after, (
                "activates what nobody verified"
            )
            assert self._of(Leg.DISTRIBUTE, Kind.DELIVERED, Kind.TRANSFERRED)

    def _check_battery(self) -> None:
        grants = self._of(Leg.DISTRIBUTE, Kind.GRANTED)
        left = {e.attempt for e in grants} - {e.attempt for e in self._of(Leg.DISTRIBUTE, Kind.ABANDONED)}
        assert len(left) < self.policy.attempts.gsme_images, "a GSME is sent more images than its cap"
        about = {e.kind for e in self.known if e.leg is Leg.DISTRIBUTE and grants and e.attempt == grants[-1].attempt}
        silent = about <= {Kind.GRANTED, Kind.SENT, Kind.OVERDUE, Kind.DELIVERED, Kind.RELEASED, Kind.QUARANTINED}
        dropped = any(e.detail == "noImageHeld" for e in self.known)
        assert not (grants and silent) or dropped, "a GSME is sent an image again for a missing alert alone"

    def _runs_target(self) -> bool:
        said = sorted((e for e in self.known if e.version), key=lambda e: e.at)
        return bool(said) and said[-1].version == NEW

    def _check_standing(self, state: State) -> None:
        kinds = Counter(e.kind for e in self.known)
        if state is State.FAILED:
            ran = kinds[Kind.ACTIVATED] or any(e.version == NEW for e in self.known)
            denied = any(e.version == OLD for e in self.known) and ran
            assert kinds[Kind.ACTIVATION_FAILED] or denied, "failed for want of an answer"
        if state is State.CONFIRMED:
            assert self._runs_target(), "confirmed without the device's word"
