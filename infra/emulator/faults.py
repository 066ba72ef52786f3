"""Faults by name: which exist, whom they strike, and how often.

Whether a fault strikes is drawn by hash of (seed, fault, device, leg, attempt), never by order of arrival, so the same
campaign meets the same faults however its messages interleave. docs/emulator.md says what each fault does.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hanwave.plain_yaml import read_yaml
from infra.emulator.draw import fraction
from infra.emulator.errors import EmulatorError
from infra.emulator.tables import Device


class Fault(StrEnum):
    """What can go wrong."""

    ACK_LOST = "ack_lost"
    UNKNOWN_CODE = "unknown_code"
    UNREACHABLE = "unreachable"
    LOST_RESPONSE = "lost_response"
    DUPLICATE = "duplicate"
    LATE = "late"
    REORDERED = "reordered"
    DROPPED_ALERT = "dropped_alert"
    DELIVERY_FAILURE = "delivery_failure"
    TRANSFER_FAILURE = "transfer_failure"
    VERIFICATION_FAILURE = "verification_failure"
    WRONG_HASH = "wrong_hash"
    ACTIVATION_FAILURE = "activation_failure"
    REFUSES_DOWNGRADE = "refuses_downgrade"
    REFUSES_SKIP = "refuses_skip"
    KEEPS_OLD_IMAGE = "keeps_old_image"
    SUCCESS_THEN_QUIET = "success_then_quiet"
    LOAD_STUCK_ON = "load_stuck_on"
    POWER_CUT = "power_cut"
    CHANGE_OF_SUPPLIER = "change_of_supplier"


class Leg(StrEnum):
    """What a device was doing when a fault struck."""

    DISTRIBUTE = "distribute"
    ACTIVATE = "activate"
    READ = "read"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a device is about: by its leg and attempt faults are drawn; version is the one that the leg is about."""

    device: Device
    leg: Leg
    attempt: int
    version: str = ""
    request_id: str = ""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Document):
    """A fault, its share (0 to 1) and its scope: a scope that is not given is open."""

    fault: Fault
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    types: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """Such as "0A01/1001"."""
    versions: tuple[str, ...] = ()
    """The firmware version that the leg is about: the new one, or the one that is read."""
    regions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    legs: tuple[Leg, ...] = ()
    attempts: tuple[int, ...] = ()
    """Counted from 1 for each device and leg."""
    kinds: tuple[str, ...] = ()
    """The messages that are dropped, doubled or delayed: 8F72, N60, E21, I0 and so on."""
    runs: tuple[str, ...] = ()
    """The firmware version that the device runs at the time."""
    answer: Literal["E20", "E21", "silence"] = "silence"
    """What the DCC says of an unreachable device."""

    def covers(self, occasion: Occasion, kinds: tuple[str, ...]) -> bool:
        """Whether all of the scope holds."""
        device = occasion.device
        scopes = (
            (self.types, device.device_type),
            (self.models, f"{device.manufacturer}/{device.model}"),
            (self.versions, occasion.version),
            (self.runs, device.firmware_version),
            (self.regions, device.region),
            (self.devices, device.eui),
            (self.legs, occasion.leg),
            (self.attempts, occasion.attempt),
        )
        if any(scope and held not in scope for scope, held in scopes):
            return False
        return not self.kinds or any(kind in self.kinds for kind in kinds)


class Quarantine(_Document):
    """Anomaly detection: more than threshold requests of a service within window seconds are held back."""

    threshold: Annotated[int, Field(ge=0)]
    window: Annotated[float, Field(gt=0)] = 86_400
    services: tuple[str, ...] = ("11.1", "11.3", "11.4")
    users: tuple[str, ...] = ()
    """The User IDs that have this threshold; not given: each."""


class Outage(_Document):
    """A region without communications, from start to end in seconds after it was told."""

    region: str
    start: float = 0
    end: float


class Faults(_Document):
    """All that goes wrong."""

    faults: tuple[Rule, ...] = ()
    quarantine: Quarantine | None = None
    outages: tuple[Outage, ...] = ()

    @classmethod
    def read(cls, text: str, name: str) -> Self:
        """Read YAML (or JSON, which is YAML); EmulatorError says what in it is wrong."""
        return cls.of(read_yaml(text, name, EmulatorError) or {}, name)

    @classmethod
    def of(cls, document: Any, name: str) -> Self:
        """The faults of a document; EmulatorError says what in it is wrong."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            raise EmulatorError(f"{name}: {where} holds {first['input']!r:.80}: {first['msg']}") from error

    def strike(self, seed: str, fault: Fault, occasion: Occasion, kinds: tuple[str, ...] = ()) -> Rule | None:
        """The first rule by which this fault strikes here, or None; kinds are the names of the message concerned."""
        drawn = (occasion.device.eui, occasion.leg, occasion.attempt)
        for rule in self.faults:
            if rule.fault is not fault or not rule.covers(occasion, kinds):
                continue
            if fraction(seed, "fault", fault, *drawn, *kinds) < rule.share:
                return rule
        return None
