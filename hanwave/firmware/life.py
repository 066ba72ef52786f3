"""A release's life, from its receipt to its end: a table of permitted steps, and nothing else decides.

Each step says who took it, when, and on what evidence; steps are only ever added. `verified` proves the Manufacturer
Image Hash by a second channel: the step holds the hash that came that way. A PPMID's image carries no supplier
signature, so a PPMID release has no `signed` step: it goes from `cpl_active` to `pilot`.

A release that loses its CPL entry (withdrawn, expired, cancelled, or a submission refused) goes back to `lab_passed`,
and is submitted again from there. A pilot or general release may be narrowed. `withdrawn` can be reached from every
stage and is left by none: firmware that is wanted again is a new release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType

from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.terms import DeviceType
from hanwave.firmware.written import STRICT, Digest, Time

MAX_EVIDENCE = 2_000
"""Characters: a sentence and a reference, not the report itself."""


class Stage(StrEnum):
    """Where a release is in its life."""

    RECEIVED = "received"
    VERIFIED = "verified"
    LAB_PASSED = "lab_passed"
    CPL_SUBMITTED = "cpl_submitted"
    CPL_ACTIVE = "cpl_active"
    SIGNED = "signed"
    PILOT = "pilot"
    GENERAL = "general"
    WITHDRAWN = "withdrawn"


TRANSITIONS: Mapping[Stage, frozenset[Stage]] = MappingProxyType(
    {
        Stage.RECEIVED: frozenset({Stage.VERIFIED, Stage.WITHDRAWN}),
        Stage.VERIFIED: frozenset({Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.LAB_PASSED: frozenset({Stage.CPL_SUBMITTED, Stage.WITHDRAWN}),
        Stage.CPL_SUBMITTED: frozenset({Stage.CPL_ACTIVE, Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.CPL_ACTIVE: frozenset({Stage.SIGNED, Stage.PILOT, Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.SIGNED: frozenset({Stage.PILOT, Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.PILOT: frozenset({Stage.GENERAL, Stage.SIGNED, Stage.CPL_ACTIVE, Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.GENERAL: frozenset({Stage.PILOT, Stage.LAB_PASSED, Stage.WITHDRAWN}),
        Stage.WITHDRAWN: frozenset(),
    }
)

NEEDS_ACTIVE_CPL = frozenset({Stage.CPL_ACTIVE, Stage.SIGNED, Stage.PILOT, Stage.GENERAL})
NEEDS_SIGNATURE = frozenset({Stage.SIGNED, Stage.PILOT, Stage.GENERAL})
"""Stages that need at least one signed image, unless the release is for PPMIDs."""


def next_stages(stage: Stage, device_type: DeviceType) -> frozenset[Stage]:
    """The stages that may follow, for a release of that device type."""
    # Between cpl_active and pilot, each form of image has one way forward and one way back.
    if device_type is DeviceType.PPMID:
        return TRANSITIONS[stage] - {Stage.SIGNED}
    closed = {Stage.CPL_ACTIVE: Stage.PILOT, Stage.PILOT: Stage.CPL_ACTIVE}.get(stage)
    return TRANSITIONS[stage] - {closed} if closed else TRANSITIONS[stage]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the stage it led to, who took it, when (with a zone), and the evidence, in words or by reference.

    second_channel_hash is the Manufacturer Image Hash as the second channel gave it: for `verified` only.
    """

    __pydantic_config__ = STRICT

    stage: Stage
    actor: str
    at: Time
    evidence: str
    second_channel_hash: Digest | None = None

    def __post_init__(self) -> None:
        """Refuse (ReleaseError) a step without actor, evidence or zone, or a hash where none belongs."""
        if not self.actor.strip():
            raise ReleaseError(f"the step to {self.stage} names no actor, it should say who took it")
        if not self.evidence.strip() or len(self.evidence) > MAX_EVIDENCE:
            raise ReleaseError(
                f"the evidence of the step to {self.stage} has {len(self.evidence)} characters,"
                f" it should have 1 to {MAX_EVIDENCE} and not be blank"
            )
        if self.at.tzinfo is None:
            raise ReleaseError(f"the time of the step to {self.stage} holds {self.at}, it should have a time zone")
        if (self.second_channel_hash is not None) != (self.stage is Stage.VERIFIED):
            raise ReleaseError(
                f"the step to {self.stage} should {'' if self.stage is Stage.VERIFIED else 'not '}"
                "hold the hash from the second channel"
            )


def check_history(steps: tuple[Step, ...], device_type: DeviceType, expected_hash: bytes) -> None:
    """Refuse (ReleaseError) a history that the table does not permit, goes back in time, or verified another hash."""
    if not steps or steps[0].stage is not Stage.RECEIVED:
        raise ReleaseError(
            f"a release's life begins with {Stage.RECEIVED}, not {steps[0].stage if steps else 'nothing'}"
        )
    for before, after in pairwise(steps):
        permitted = next_stages(before.stage, device_type)
        if after.stage not in permitted:
            raise ReleaseError(
                f"a release for {device_type} that is {before.stage} cannot become {after.stage}, only"
                f" {', '.join(sorted(permitted)) or 'nothing more'}"
            )
        if after.at < before.at:
            raise ReleaseError(
                f"the step to {after.stage} is dated {after.at:%Y-%m-%d %H:%M:%S%z},"
                f" it should not be before {before.stage}, {before.at:%Y-%m-%d %H:%M:%S%z}"
            )
        if after.second_channel_hash not in {None, expected_hash}:
            raise ReleaseError(
                f"the second channel gave the hash {(after.second_channel_hash or b'').hex().upper()},"
                f" the Manufacturer Image has {expected_hash.hex().upper()}"
            )
