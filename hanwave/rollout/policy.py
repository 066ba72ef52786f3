"""What a campaign may do, how fast, and how long it waits: read strictly, and frozen with the plan.

Durations are written as "90s", "30m", "6h" or "10d" (or ISO 8601), and are counted from sending, never from an answer.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, model_validator

from hanwave.duis.inventory import Region
from hanwave.identifiers import EUI64, IdentifierError
from hanwave.rollout.calendars import DAY, table
from hanwave.rollout.evidence import POWER_ON_FAILURE
from hanwave.rollout.pace import Pace
from hanwave.rollout.terms import Duration, Many, Strict
from hanwave.rollout.windows import Windows


def _device(value: str) -> str:
    try:
        return str(EUI64.parse(value))
    except IdentifierError as error:
        raise ValueError(str(error)) from error


def _not_restless(value: timedelta) -> timedelta:
    if value < timedelta(seconds=0.1):
        raise ValueError("a wave that looks so often does nothing else: it should be 0.1s or longer")
    return value


Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Rate = Annotated[float, Field(strict=True, gt=0, lt=1)]
"""A share that is neither nothing nor all: no number of devices rules out the first, and the second rules out nothing."""
Whole = Annotated[int, Field(strict=True)]
AlertCode = Annotated[str, Field(strict=True, pattern="^[0-9A-F]{4}$")]
Device = Annotated[str, AfterValidator(_device)]
"""An EUI-64 in DCC's form, however it was written."""


class DeviceType(StrEnum):
    """The device types that hanwave updates (DUIS XSD 5.4 DeviceType, less those out of scope)."""

    ESME = "ESME"
    GSME = "GSME"
    HCALCS = "HCALCS"
    PPMID = "PPMID"

    @property
    def one_step(self) -> bool:
        """Whether distribution activates by itself (SR 11.4)."""
        return self is DeviceType.PPMID


class Deadlines(Strict):
    """How long one device type may take for each leg, from the time of sending."""

    distribute: Duration = timedelta(days=10)
    """For the image to arrive."""
    activate: Duration = timedelta(hours=24)
    """For the word that it was activated."""
    read: Duration = timedelta(hours=24)
    """For the answer which version it runs."""
    activate_unverified_after: Duration | None = None
    """Activate on the word of the hub alone (N60, 8F8A) this long after it; None: only on the device's own 8F72."""


def _deadlines() -> dict[DeviceType, Deadlines]:
    # A GSME sleeps, and a PPMID may be unplugged: both are slow. An HCALCS may send no 8F72 (domain 3.2).
    return {
        DeviceType.ESME: Deadlines(),
        DeviceType.GSME: Deadlines(distribute=timedelta(days=21), activate=timedelta(days=3)),
        DeviceType.HCALCS: Deadlines(activate_unverified_after=timedelta(days=2)),
        DeviceType.PPMID: Deadlines(distribute=timedelta(days=28)),
    }


def _soon(deadlines: Mapping[DeviceType, Deadlines]) -> dict[DeviceType, Deadlines]:
    """The same, with the hub's word taken half-way to the deadline, where it was not taken at all."""
    return {
        kind: d.model_copy(update={"activate_unverified_after": d.activate_unverified_after or d.distribute / 2})
        for kind, d in deadlines.items()
    }


_REGIONS = {str(region): region for region in Region}


class Attempts(Strict):
    """How often a leg may be tried, and how long to wait before the next try."""

    distribute: Whole = Field(default=3, ge=1, le=10)
    """Images sent to one device in one hop."""
    activate: Whole = Field(default=3, ge=1, le=10)
    """Commands to activate it."""
    read: Whole = Field(default=5, ge=1, le=100)
    """Readings of its version."""
    gsme_images: Whole = Field(default=3, ge=1, le=10)
    """Images ever sent to one GSME, by this campaign and all before: each costs battery."""
    requests: Whole = Field(default=30, ge=3, le=1000)
    """Requests of any kind to one device in one hop of a campaign: a device that takes so many wants a person's look."""
    back_off: Duration = timedelta(hours=1)
    """At least so long between two tries; by hash of the device up to half as much again."""


class Proof(StrEnum):
    """The kinds of evidence that a gate may ask for: the kinds of event that hold them."""

    DELIVERED = "delivered"
    """The hub has the image (N60)."""
    TRANSFERRED = "transferred"
    """The hub passed it on (8F8A)."""
    VERIFIED = "verified"
    """The device verified it (8F72)."""
    ACTIVATED = "activated"
    """The device says that it activated it (the answer to the 11.3, 8F66, 8F8B)."""
    READ_BACK = "version"
    """The device named its version when it was asked (11.2)."""


class Gate(Strict):
    """What a wave must show before the next begins. Each bound is one-sided, at the gate's confidence."""

    harm: Rate = 0.01
    """The largest share harmed that is tolerable: the gate passes once more than that is ruled out, and fails, as the
    breaker opens, once that much or less is. 1 % at 95 % takes 299 devices that do well and none that does not."""
    silence: Rate = 0.05
    """The largest share silent, beyond what is ordinary, that is tolerable. More is *not enough evidence*, never *fail*."""
    confidence: Annotated[float, Field(strict=True, ge=0.5, le=0.9999)] = 0.95
    """How sure its bounds are: at 0.95 one of them is wrong in one case of twenty, at most."""
    minimum: Whole = Field(default=1, ge=1)
    """Devices that must have settled before the gate passes."""
    ordinary: Share | None = None
    """No more silence than this counts as ordinary, whatever the fleet shows; None: what is usual for the type."""
    heard_within: Duration = timedelta(days=14)
    """A device that is not in an update is silent where nothing was heard of it for so long."""
    expects: tuple[Proof, ...] | None = None
    """The kinds of evidence without any of which a wave, or a stratum of it, does not pass; None: those of the type."""
    alarms: Many[AlertCode] = (POWER_ON_FAILURE,)
    """Device alerts that are harm, at once, from a device that was activated: by their codes, such as "81AD"."""
    services: dict[str, Rate] = Field(default_factory=dict)
    """The installation's service checks, by name, and the share of devices that may do their job worse than before."""


class ActivationMode(StrEnum):
    """Whether the 11.3 acts on arrival, or at a time that the device keeps."""

    IMMEDIATE = "immediate"
    FUTURE_DATED = "future_dated"


class OnHarm(StrEnum):
    """What is done once a gate fails, or a breaker opens for harm: wait for a person, or begin the rollback."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


class Wave(Strict):
    """One wave: a share of the devices not yet in an earlier one, a count, or a list of named devices."""

    share: Annotated[Share, Field(gt=0)] | None = None
    """Of the devices that are in no earlier wave."""
    count: Annotated[Whole, Field(gt=0)] | None = None
    """So many of them."""
    devices: tuple[Device, ...] = ()
    """These, by their EUI-64s."""
    per_stratum: Whole = Field(default=0, ge=0, le=1000)
    """At least so many of every stratum (model, version that it runs, region), or all that it has left."""
    gate: Gate | None = None
    """Its own, where the policy's does not suit it; so with the next two."""
    exposure_cap: Annotated[Whole, Field(ge=1)] | None = None
    """Devices activated or in flight, and not settled, at one time."""
    soak: Duration | None = None
    """How long its devices must go on well after their activation."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum((self.share is not None, self.count is not None, bool(self.devices))) != 1:
            raise ValueError("a wave is given by one of share, count or devices")
        if self.devices and self.per_stratum:
            raise ValueError("a wave of named devices promises nothing per_stratum: leave it out")
        return self


_ONE_WAVE: dict[str, object] = {"waves": (Wave(share=1),), "protected_from": None}
"""A policy of one wave, which the protected are in too."""


class Strata(StrEnum):
    """What a stratum is, beside a model and the version that it runs."""

    REGION = "region"
    HUB = "hub"
    """And one hub: a stratum is then a device or two, for a cohort behind few hubs."""


class LateJoiners(StrEnum):
    """What becomes of a device that enters the cohort after the plan was frozen."""

    LEAVE = "leave"
    """It is not in the campaign."""
    LAST_WAVE = "last_wave"
    """It joins when the last wave opens."""


class Policy(Strict):
    """How a campaign is run."""

    waves: tuple[Wave, ...] = (Wave(share=0.02, per_stratum=2), Wave(share=0.2, per_stratum=2), Wave(share=1))
    """In their order."""
    strata: Strata = Strata.REGION
    """What waves with per_stratum spread over."""
    protected_from: Annotated[Whole, Field(ge=1)] | None = None
    """The first wave that a protected device may be in; None: the last."""
    prepayment_is_protected: StrictBool = True
    """Whether whoever pays beforehand counts as protected, as the class "prepayment" where the fleet says no other."""
    late_joiners: LateJoiners = LateJoiners.LEAVE
    """What becomes of a device that enters the cohort after the plan was frozen."""
    dormant_after: Duration | None = timedelta(days=90)
    """A device unheard for longer, when the plan is drawn, is left out as dormant; None: none is. One that was never heard
    is not: nothing is known of it yet."""
    deadlines: dict[DeviceType, Deadlines] = Field(default_factory=_deadlines)
    """By device type: where any is given, all are."""
    regions: dict[Region, dict[DeviceType, Deadlines]] = Field(default_factory=dict)
    """Deadlines that differ in a region, by type."""
    attempts: Attempts = Attempts()
    """How often a leg is tried, and after how long."""
    gate: Gate = Gate()
    """What a wave must show before the next begins, where the wave has none of its own."""
    on_harm: OnHarm = OnHarm.HOLD
    """What is done once harm is proven; silence alone always waits for a person. A rollback goes to the plan's fallbacks."""
    exposure_cap: Whole = Field(default=2000, ge=1)
    """Devices of one wave that may be activated or in flight, and not settled, at one time."""
    batch: Whole = Field(default=5000, ge=1, le=50_000)
    """Devices a distribution request (DUIS XSD 5.4 DeviceIDList: at most 50,000)."""
    pace: Pace = Pace()
    """How fast it activates, over all and by region and hub."""
    activation: ActivationMode = ActivationMode.IMMEDIATE
    """Whether a command to activate acts on arrival, or at a time that the device keeps."""
    lead: Duration = timedelta(hours=12)
    """How far ahead an activation is dated, where it is future-dated."""
    cancels: float = Field(default=5.0, strict=True, gt=0, le=1000)
    """Future-dated activations that we count on cancelling a second, a halt being pressed: no more are outstanding than
    this many for each second until the earliest falls due. `benchmarks/halt.py` measures what an installation can do."""
    sweep: Annotated[Duration, AfterValidator(_not_restless)] = timedelta(seconds=30)
    """How often a wave looks for what fell due; *not now* is asked again after twice this long."""
    soak: Duration = timedelta(days=2)
    """How long a device must go on well after its activation before it is settled."""
    hop_soak: Duration = timedelta(hours=1)
    """How long a device must run an intermediate version, its word not taken back, before its next hop begins."""
    unexplained: Whole = Field(default=5, ge=0)
    """Devices of a wave that may be refused with a code that a person must look up; more, and the wave's breaker opens."""
    inventory_age: Duration = timedelta(days=1)
    """How old what the fleet has of a device may be when it is activated; else the DCC's inventory is read first (8.2)."""
    windows: Windows = Windows()
    """When images may be sent and activated; empty, at any time."""
    soak_check: StrictBool = True
    """Read the version back (11.2) at the end of the soak: a device that went quiet is not settled."""

    def deadlines_in(self, region: str, device_type: DeviceType) -> Deadlines:
        """How long a device of that type may take in that region."""
        return (
            self.regions.get(_REGIONS.get(region, Region.UNKNOWN), {}).get(device_type) or self.deadlines[device_type]
        )

    def of_region(self, region: str) -> Self:
        """The policy as a region has it, whose deadlines are then everybody's."""
        deadlines = {kind: self.deadlines_in(region, kind) for kind in self.deadlines}
        return self.model_copy(update={"deadlines": deadlines, "regions": {}})

    @property
    def first_protected(self) -> int:
        """The number of the first wave that a protected device may be in."""
        return self.protected_from or len(self.waves)

    def of_wave(self, number: int) -> Self:
        """The policy as a wave has it, whose number counts from 1: with what the wave says otherwise of itself."""
        wave = self.waves[number - 1]
        own = {"gate": wave.gate, "exposure_cap": wave.exposure_cap, "soak": wave.soak}
        said = {name: value for name, value in own.items() if value is not None}
        return self.model_copy(update=said) if said else self

    def for_rollback(self) -> Self:
        """The same policy for undoing a campaign: one wave, and the hub's word is enough.

        A rollback does not wait for gates: the devices that it mends are known to be ill, and its one gate, with nothing
        behind it, only says whether most of them are well again. And a device that its image has silenced cannot say that
        it verified the next one, so it is activated on the hub's word half-way to its deadline: it checks the hash itself.
        """
        regions = {region: _soon(some) for region, some in self.regions.items()}
        gate = Gate(harm=0.5, silence=0.5, confidence=0.5, expects=())
        update = {"deadlines": _soon(self.deadlines), "regions": regions, "gate": gate, "on_harm": OnHarm.HOLD}
        return self.model_copy(update=_ONE_WAVE | update)

    def without_lists(self) -> Self:
        """The same policy without its waves of named devices; the protected join no earlier than they were to."""
        kept = [(number, wave) for number, wave in enumerate(self.waves, 1) if not wave.devices]
        if not kept:
            return self.model_copy(update=_ONE_WAVE)
        first = next((place for place, (n, _) in enumerate(kept, 1) if n >= self.first_protected), len(kept))
        waves = tuple(wave for _, wave in kept)
        return self.model_copy(update={"waves": waves, "protected_from": self.protected_from and first})

    @model_validator(mode="after")
    def _dates(self) -> Self:
        if self.activation is not ActivationMode.FUTURE_DATED:
            return self
        if self.cancels * self.lead.total_seconds() < 1:
            raise ValueError(
                "cancels times lead is less than one activation, so none could be withdrawn in time: make either larger"
            )
        if self.lead > (most := table().look_ahead_days * DAY):
            raise ValueError(
                f"lead is {self.lead.days} days: it should be at most {most.days}, for the DCC takes no later date"
            )
        return self

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.waves:
            raise ValueError("waves is empty: a policy should have at least one wave")
        if self.first_protected > len(self.waves):
            raise ValueError(
                f"protected_from is {self.protected_from}, there are {len(self.waves)} waves: it should be one of them"
            )
        if missing := set(DeviceType) - set(self.deadlines):
            raise ValueError(f"deadlines are missing for {', '.join(sorted(missing))}")
        named = Counter(device for wave in self.waves for device in wave.devices)
        if twice := sorted(device for device, times in named.items() if times > 1):
            raise ValueError(f"waves name {twice[0]} {named[twice[0]]} times: a device should be in one wave")
        return self
