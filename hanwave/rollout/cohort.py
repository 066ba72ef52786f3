"""Who may be updated: what a plan knows of a device, what is wanted of it, and the one reason that stands against it.

Guarantee: a reason depends on the device, the release and the time alone, never on the other devices; whatever is not
known (a hub's firmware, when a device was last heard) is held against none.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from hanwave.errors import HanwaveError
from hanwave.firmware.errors import FirmwareError
from hanwave.firmware.paths import Upgrade, UpgradeGraph
from hanwave.firmware.terms import FirmwareVersion, GbcsVersion, HardwareRange, Model
from hanwave.rollout import route as routes
from hanwave.rollout.policy import DeviceType


class PlanError(HanwaveError):
    """A plan cannot be drawn as it was asked for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the plan needs to know of a device."""

    eui: str
    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    smi_status: str
    ours: bool
    """Whether our User ID is the one responsible for it."""
    protected_class: str | None = None
    """A code, never the reason; None: not protected."""
    region: str = ""
    hub: str = ""
    home: str | None = None
    """The supplier's key of the premises; without one the hub stands for the home."""
    area: str | None = None
    """The network operator's area: the first two digits of its MPAN; None where it is not known."""
    hub_firmware: str | None = None
    gbcs_version: str | None = None
    last_heard: datetime | None = None
    leaves_at: datetime | None = None
    """When it changes supplier, where that is known."""
    held_back: str | None = None
    """The reason of a hold upon it."""
    leased_by: str | None = None
    """The campaign that is updating it."""
    images: int = 0
    """Of a GSME: the images that were ever sent to it."""
    known: bool = True
    """Whether the fleet has it."""


def stranger(eui: str) -> Candidate:
    """A device that a cohort names, and that the fleet does not have."""
    return Candidate(eui, "", "", "", "", "", "", ours=False, known=False)


@dataclass(frozen=True, slots=True)
class Stepping:
    """Another release's upgrade, by which a device may come to where it can take the wanted one."""

    release: str
    upgrade: Upgrade
    why_not: str | None = None
    """Why it may not be sent by this User ID now; None where it may."""
    minimum_hub_firmware: str | None = None
    minimum_gbcs_version: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the release is for."""

    release: str
    device_type: DeviceType
    manufacturer: str
    models: frozenset[str]
    hardware: tuple[int, int]
    version: str
    predecessors: frozenset[str]
    """Versions that may go to the target in one hop; empty: any."""
    may_downgrade: bool
    minimum_hub_firmware: str | None = None
    minimum_gbcs_version: str | None = None
    undoes: bool = False
    """Whether it undoes a campaign: who leaves or is not heard is not spared it, and a PPMID that runs the version is sent
    it all the same, while the bad image may be on its way to it."""
    stepping: tuple[Stepping, ...] = ()
    """What other releases permit: by them a device comes, hop by hop, to where it can take this one."""
    urgent: bool = False
    """Whether it takes devices over from slower campaigns: whoever approves the plan approves that too."""
    route: str = routes.DCC

    @property
    def on_bench(self) -> bool:
        """Whether its devices are on a bench, where nothing hangs on what the DCC has of them."""
        return routes.is_bench(self.route)

    @property
    def takes_one_hop(self) -> bool:
        """Whether a device that would need several hops is left out."""
        return self.undoes or self.on_bench


class Kind(NamedTuple):
    """What a device has in common with all others that the release suits, or does not suit, for the same reason."""

    device_type: str
    manufacturer: str
    model: str
    hardware_version: str
    firmware_version: str
    hub_firmware: str | None = None
    gbcs_version: str | None = None


NO_WAVE = "in none of the policy's waves"
"""Why a device is left out that nothing but the policy's shares and counts stands against."""
NOT_KNOWN = "not in the fleet"
"""Why a device is left out that the cohort names."""
NOT_OURS = "another supplier is responsible"
OTHER_MODEL = "of another model"
DORMANT = "dormant: not heard for longer than the policy's dormant_after"
"""The lane of those unheard for long: outside the waves and their gates, and no failure of the campaign."""
LEAVES = "changes supplier before the campaign can have ended"
SENT_TO = ("Commissioned", "Suspended")
"""[I] The SMI statuses of the devices to which the DCC sends firmware; a Suspended one is one that firmware must rescue."""
_HEX = re.compile(r"[0-9A-Fa-f]{1,8}", re.ASCII)


def kind_of(device: Candidate) -> Kind:
    """The device's kind."""
    return Kind(
        *(device.device_type, device.manufacturer, device.model, device.hardware_version, device.firmware_version),
        *(device.hub_firmware, device.gbcs_version),
    )


def unsuited(wanted: Wanted, kind: Kind) -> str | None:
    """The first reason for which the release does not suit a kind of device, or None."""
    return next((reason for test in _UNSUITED if (reason := test(wanted, kind))), None)


def unfit(device: Candidate, at: datetime, dormant_after: timedelta | None, *, on_bench: bool = False) -> str | None:
    """The first reason that is the device's own for which it is left out at that time (aware UTC), or None."""
    if not device.ours:
        return NOT_OURS
    if device.smi_status not in SENT_TO and not on_bench:
        return "not commissioned"
    if device.leased_by is not None:
        return "in another update"
    if dormant_after and device.last_heard and at - device.last_heard > dormant_after:
        return DORMANT
    return device.held_back


@lru_cache(maxsize=4096)
def _number(text: str) -> int | None:
    """A version written in hexadecimal, however many digits and in either case; None where it is not one."""
    return int(text, 16) if _HEX.fullmatch(text) else None


def _type(wanted: Wanted, kind: Kind) -> str | None:
    return "of another device type" if kind.device_type != wanted.device_type else None


def _model(wanted: Wanted, kind: Kind) -> str | None:
    same = kind.manufacturer == wanted.manufacturer and kind.model in wanted.models
    return None if same else OTHER_MODEL


def _hardware(wanted: Wanted, kind: Kind) -> str | None:
    hardware = _number(kind.hardware_version)
    if hardware is None:
        return "hardware version is not hexadecimal"
    return None if wanted.hardware[0] <= hardware <= wanted.hardware[1] else "hardware version out of range"


def _version(wanted: Wanted, kind: Kind) -> str | None:
    version, target = _number(kind.firmware_version), _number(wanted.version) or 0
    if version is None:
        return "firmware version is not hexadecimal"
    if version == target:
        return None if wanted.undoes and wanted.device_type.one_step else "already runs the version"
    return "would be a downgrade, which it refuses" if version > target and not wanted.may_downgrade else None


def _way(wanted: Wanted, kind: Kind) -> str | None:
    if _is_one_hop(wanted, kind):
        return None
    if path := _steps(wanted, kind, sendable=True):
        said = f"needs {len(path)} hops, and {'a rollback' if wanted.undoes else 'the bench'} takes one"
        return said if wanted.takes_one_hop else None
    # Where there is a way, a release on it may not be sent: one that may is on no way that could be gone.
    stopped = ((step.release, step.why_not) for step in _steps(wanted, kind, sendable=False) if step.why_not)
    return next((f"its way leads by {name}, which {why}" for name, why in stopped), "no permitted upgrade path")


def _hub(wanted: Wanted, kind: Kind) -> str | None:
    held = kind.hub_firmware
    for least in (each.minimum_hub_firmware for each in _taken(wanted, kind)):
        if least is not None and held is not None and (_number(held) or 0) < (_number(least) or 0):
            return f"its Communications Hub's firmware is below {least}"
    return None


def _gbcs(wanted: Wanted, kind: Kind) -> str | None:
    held = kind.gbcs_version
    for least in (each.minimum_gbcs_version for each in _taken(wanted, kind)):
        if least is not None and held is not None and GbcsVersion.parse(held) < GbcsVersion.parse(least):
            return f"its GBCS version is below {least}"
    return None


def _taken(wanted: Wanted, kind: Kind) -> tuple[Wanted | Stepping, ...]:
    return (wanted, *([] if _is_one_hop(wanted, kind) else _steps(wanted, kind, sendable=True)[:-1]))


_UNSUITED: tuple[Callable[[Wanted, Kind], str | None], ...] = (_type, _model, _hardware, _version, _way, _hub, _gbcs)


def _is_one_hop(wanted: Wanted, kind: Kind) -> bool:
    if not wanted.predecessors:
        return True
    return _number(kind.firmware_version) in _numbers(wanted.predecessors | {wanted.version})


@lru_cache(maxsize=16)
def _numbers(versions: frozenset[str]) -> frozenset[int | None]:
    return frozenset(_number(version) for version in versions)


def path_of(wanted: Wanted, kind: Kind) -> tuple[str, ...]:
    """The releases that a kind of device installs, in order, the wanted one last; none where there is no permitted path."""
    if _is_one_hop(wanted, kind):
        return (wanted.release,)
    return () if wanted.takes_one_hop else tuple(step.release for step in _steps(wanted, kind, sendable=True))


def versions_on(wanted: Wanted, path: Sequence[str]) -> tuple[str, ...]:
    """The versions that a device runs on that path, one after another."""
    known = {step.release: str(step.upgrade.target) for step in wanted.stepping} | {wanted.release: wanted.version}
    return tuple(known[release] for release in path)


def _steps(wanted: Wanted, kind: Kind, *, sendable: bool) -> tuple[Stepping, ...]:
    graph, steps = _graph(wanted, sendable=sendable)
    hardware = _number(kind.hardware_version)
    try:
        model = Model.parse(f"{kind.manufacturer}/{kind.model}")
        source = FirmwareVersion(_number(kind.firmware_version) or 0)
        path = graph.path(model, hardware, source, FirmwareVersion.parse(wanted.version))
    except FirmwareError:
        return ()
    hops = zip((source, *path), path, strict=False)
    return tuple(
        next(each for each in steps[(model, target)] if each.upgrade.suits(hardware) and _leads(each.upgrade, held))
        for held, target in hops
    )


def _leads(upgrade: Upgrade, held: FirmwareVersion) -> bool:
    return upgrade.leaves(held) and upgrade.keeps_order(held)


@lru_cache(maxsize=16)
def _graph(
    wanted: Wanted, *, sendable: bool
) -> tuple[UpgradeGraph, dict[tuple[Model, FirmwareVersion], list[Stepping]]]:
    """Every permitted upgrade (that may be sent), and those by what they lead to: the wanted release's first, then by name."""
    others = sorted(wanted.stepping, key=lambda step: step.release)
    found = [*_own(wanted), *(step for step in others if not (sendable and step.why_not))]
    steps: defaultdict[tuple[Model, FirmwareVersion], list[Stepping]] = defaultdict(list)
    for step in found:
        steps[(step.upgrade.model, step.upgrade.target)].append(step)
    return UpgradeGraph(step.upgrade for step in found), steps


def _own(wanted: Wanted) -> list[Stepping]:
    target, hardware = FirmwareVersion.parse(wanted.version), HardwareRange(*wanted.hardware)
    return [
        Stepping(
            wanted.release,
            Upgrade(
                Model.parse(f"{wanted.manufacturer}/{model}"),
                *(FirmwareVersion(_number(source) or 0), target, hardware, wanted.may_downgrade),
            ),
        )
        for model in wanted.models
        for source in wanted.predecessors
    ]
