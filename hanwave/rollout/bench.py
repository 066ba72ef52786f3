"""Updating a device on a bench, over ZigBee: what the policy may ask, and how it can end.

The words that workflows, plans and the bench worker share; the worker itself is a program of its own. Success is one
thing alone: the device itself reports the new version.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from hanwave.rollout.policy import DeviceType, Whole
from hanwave.rollout.terms import Duration, Strict

VIRTUAL = "virtual"
"""The radio of software: what went by it is training, and no evidence."""
MAX_BLOCK = 128
"""Octets of a block beyond which no frame without fragments has room (Zigbee PRO: some 80 octets are payload)."""


class Outcome(StrEnum):
    """How an update over ZigBee ended; decide on it, and never on an exception."""

    ACTIVATED = "activated"
    """The device reports the new version."""
    HELD = "held"
    """The device verified the image and waits to be told."""
    ALREADY = "already"
    """It ran that version before anything was sent."""
    WRONG_HASH = "wrong_hash"
    """The image is not the approved one. Nothing was sent."""
    WRONG_DESTINATION = "wrong_destination"
    """The image is for one other device. Nothing was sent."""
    WRONG_MANUFACTURER = "wrong_manufacturer"
    """The device names another manufacturer. Nothing was sent."""
    WRONG_TYPE = "wrong_type"
    """The device asks for another image type. Nothing was sent."""
    WRONG_HARDWARE = "wrong_hardware"
    """The image is not for its hardware, or it does not tell its hardware. Nothing was sent."""
    NEWER = "newer"
    """It runs a later version, and the policy forbids the way back. Nothing was sent."""
    CANNOT_HOLD = "cannot_hold"
    """It would activate a held image by itself after a time. Nothing was sent."""
    NOT_PERMITTED = "not_permitted"
    """The ledger refused the first block. Nothing was sent."""
    DECLINED = "declined"
    """It was offered the image, and asked for none of it."""
    GAVE_UP = "gave_up"
    """It broke the download off by itself (ABORT), as after many answers that it did not get; or began it anew again and again."""
    REFUSED = "refused"
    """It had the whole image and rejected it: the report says with what status."""
    STALLED = "stalled"
    """Nothing was heard of it for as long as the policy waits; what it holds, it keeps."""
    CANCELLED = "cancelled"
    """It was cancelled: the report says whether the device was told."""
    KEPT_OLD = "kept_old"
    """It took the image, and still reports another version at the end of the time it was given."""
    UNCONFIRMED = "unconfirmed"
    """It took the image, and was not heard with any version since."""

    @property
    def is_success(self) -> bool:
        """Whether the device runs the version."""
        return self in {Outcome.ACTIVATED, Outcome.ALREADY}


class BenchPolicy(Strict):
    """How one kind of device is updated over ZigBee."""

    hold: bool = False
    """Leave the image held; a later update without hold activates it."""
    may_downgrade: bool = False
    aps_encryption: bool = False
    """Encrypt with the device's link key what is sent on the OTA cluster."""
    block: Whole = Field(default=50, ge=1, le=MAX_BLOCK)
    """The most octets in a block; the device may ask for fewer."""
    block_period_ms: Whole | None = Field(default=None, ge=1, le=1000)
    """At least so long between two blocks."""
    stall_after: Duration = timedelta(minutes=15)
    """Silence that ends the update; it says nothing against the device, and destroys nothing."""
    notify_every: Duration = timedelta(minutes=1)
    """After so much silence the device is notified (again); each time without an answer doubles it, up to 16 times."""
    wait_step: Duration = timedelta(seconds=30)
    """What a device is told to wait while the update is paused: at the latest then it hears more."""
    abort_within: Duration = timedelta(minutes=2)
    """How long a cancelled update waits for the device to ask, so that it can be told."""
    confirm_within: Duration = timedelta(minutes=10)
    """How long a device may take to restart and report the new version."""
    confirm_every: Duration = timedelta(seconds=20)

    @model_validator(mode="after")
    def _is_patient(self) -> Self:
        if self.stall_after <= self.wait_step:
            raise ValueError("stall_after should be longer than wait_step: a device that waits as told is silent")
        return self

    @classmethod
    def usual(cls, kind: DeviceType, *, sleeps: bool = False) -> Self:
        """What a kind of device gets unless a policy says otherwise: an HCALCS holds its image, a sleeper has hours."""
        hold = kind is not DeviceType.PPMID
        if not sleeps:
            return cls(hold=hold)
        return cls(
            hold=hold,
            stall_after=timedelta(hours=6),
            notify_every=timedelta(minutes=10),
            wait_step=timedelta(minutes=5),
            abort_within=timedelta(minutes=30),
            confirm_within=timedelta(hours=2),
            confirm_every=timedelta(minutes=2),
        )


@dataclass(frozen=True, slots=True)
class BenchReport:
    """How one update ended, and what was seen: an activity's result."""

    outcome: Outcome
    version_before: int | None
    """What the device reported first; None: it reported none."""
    version_after: int | None
    """What it reported last."""
    device_status: int | None
    """The ZCL status of its Upgrade End Request; None: it sent none."""
    first_offset: int | None
    """Where the first block began: above 0, the device went on with what it held."""
    blocks: int
    """Blocks that the device acknowledged."""
    repeats: int
    """Of these, blocks of octets that had been sent in this session before."""
    octets: int
    seconds: float
    was_told: bool
    """Whether the device was told of a cancel."""
