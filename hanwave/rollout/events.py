"""What can happen to a device in an update: the vocabulary of the device_event table and of the fold over it.

Every event says what was done or learnt, when, in which hop and attempt of which leg, and by what class of evidence.
An event is a fact and is never changed; a device's standing is a pure function of the set of its events.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

NO_IMAGE_HELD = "noImageHeld"
"""What a device answers to an activation of an image that it does not hold (GBCS CS06 activateImageResponseCode 1)."""


WRONG_PRECOMMAND = "the Transform Service returned a pre-command that was not asked for"
"""Why an activation was abandoned that no gateway would sign: it counts as an attempt, though nothing was sent."""


class Leg(StrEnum):
    """The legs of an update. Attempts are numbered by the ledger within an update, a hop and a leg."""

    DISTRIBUTE = "distribute"
    """SR 11.1, or 11.4: for a PPMID distribution and activation are one."""
    ACTIVATE = "activate"
    """SR 11.3."""
    WITHDRAW = "withdraw"
    """SR 11.3 with the cancelling date, of a future-dated activation."""
    READ = "read"
    """SR 11.2, to learn the version that a device runs."""
    INVENTORY = "inventory"
    """SR 8.2, to learn what the DCC's inventory has of a device, which may be older than what the device has said."""


class Evidence(StrEnum):
    """Who says so. The classes are kept, and shown, apart."""

    OURS = "ours"
    """hanwave did it, or noticed that a deadline passed."""
    DCC = "dcc"
    """The DCC reported it."""
    DEVICE = "device"
    """The device reported it, in a payload of its own."""
    READ_BACK = "read_back"
    """It was read from the device on our request."""
    OBSERVED = "observed"
    """It was observed in the device's service."""
    IMPORTED = "imported"
    """It came from another system's records."""


class Kind(StrEnum):
    """What happened."""

    # Each leg, by hanwave and by the party that answers its request.
    GRANTED = "granted"
    """The permit was given; the request is in the outbox. detail is the date of an activation that was dated ahead."""
    SENT = "sent"
    """A POST of the request began; whether it arrived is not yet known."""
    ABANDONED = "abandoned"
    """The permit was given back: no POST of the request ever began."""
    ACCEPTED = "accepted"
    """The DCC acknowledged the request for this device (I99 or I0)."""
    REFUSED = "refused"
    """The DCC refused the request, or listed this device in its warning; the code says why."""
    QUARANTINED = "quarantined"
    """The DCC holds the request, above a threshold; it may be released at any time until a person records which."""
    RELEASED = "released"
    """A person recorded that the quarantined request was released."""
    DELETED = "deleted"
    """A person recorded that the quarantined request was deleted."""
    OVERDUE = "overdue"
    """The leg's deadline, counted from sending, passed in silence."""
    UNREACHED = "unreached"
    """The DCC could not reach the device, or got no answer (E20, E21, E30, E31)."""

    # What is learnt of a distribution.
    DELIVERED = "delivered"
    """The image is on the Communications Hub (N60)."""
    DELIVERY_FAILED = "delivery_failed"
    """It did not reach the hub, or the hub did not pass it on (N61, N18, 8F89)."""
    TRANSFERRED = "transferred"
    """The hub passed the whole image to the device (8F8A)."""
    VERIFIED = "verified"
    """The device verified the image; version holds nothing, detail the hash that it computed (8F72)."""
    VERIFICATION_FAILED = "verification_failed"
    """The device refused the image (8F1C)."""

    # What is learnt of an activation.
    SCHEDULED = "scheduled"
    """The device holds a future-dated activation (CS06 "command accepted")."""
    WITHDRAWN = "withdrawn"
    """The device dropped its future-dated activation."""
    ACTIVATED = "activated"
    """The device activated; version is what it says it now runs (CS06 outcome, 8F66, 8F8B)."""
    ACTIVATION_FAILED = "activation_failed"
    """It did not; detail is the reason in its own words (CS06 outcome, 8F67, 8F8B)."""

    # What is learnt at any time.
    VERSION = "version"
    """The device runs version (11.2, or the DCC's inventory by 8.2: the evidence class tells)."""
    HEARD = "heard"
    """The device said something, whatever it was."""
    SERVICE = "service"
    """A service check told whether the device still does its job; detail is the check's name, and what it told."""

    # How it ends.
    CANCELLED = "cancelled"
    """A person ended this device's update, for a reason: nothing more is sent that would change the device."""
    SETTLED = "settled"
    """The soak is over and its checks passed."""
    CLOSED = "closed"
    """The update ended otherwise; detail is the outcome, and the reason stands beside it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact of one device's update; times are aware UTC, ours or the DCC's: a device's clock may be years out.

    attempt is 0 where the fact belongs to no attempt.
    """

    kind: Kind
    at: datetime
    leg: Leg | None = None
    hop: int = 1
    attempt: int = 0
    evidence: Evidence = Evidence.OURS
    version: str | None = None
    detail: str | None = None
    reason: str | None = None
    """Of a CLOSED one, whose detail is the outcome, of a CANCELLED one, and of an image refused on a bench: why."""
