"""Upgrade paths: which versions a device of a model passes through to reach a target, or why it cannot.

The path found is a shortest one; of several, the one whose first hop (then second, and so on) installs the newest
version. So the same graph gives the same path, whatever the order that it was built in. A hop to a lower version is
taken only where it was declared that the version may downgrade.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from hanwave.firmware.errors import PathError
from hanwave.firmware.life import Stage
from hanwave.firmware.release import Release
from hanwave.firmware.terms import FirmwareVersion, HardwareRange, Model

_NAMED = 5
"""Versions that a refusal names before it says "and more"."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A permitted step of one model: from a version (None: from any) to another, on that hardware (None: on any)."""

    model: Model
    source: FirmwareVersion | None
    target: FirmwareVersion
    hardware: HardwareRange | None = None
    may_downgrade: bool = False

    def leaves(self, version: FirmwareVersion) -> bool:
        """Whether it starts at that version."""
        return self.target != version and self.source in {None, version}

    def suits(self, hardware: int | None) -> bool:
        """Whether it is for that hardware; hardware that is not known suits only an upgrade for any."""
        return self.hardware is None or (hardware is not None and hardware in self.hardware)

    def keeps_order(self, version: FirmwareVersion) -> bool:
        """Whether going there from that version is no downgrade, or a permitted one."""
        return self.may_downgrade or self.target > version


def upgrades_of(release: Release) -> tuple[Upgrade, ...]:
    """The upgrades that a release permits, one for each model and predecessor; none once it is withdrawn."""
    if release.stage is Stage.WITHDRAWN:
        return ()
    sources: tuple[FirmwareVersion | None, ...] = release.predecessors or (None,)
    return tuple(
        Upgrade(model, source, release.firmware_version, release.hardware, release.may_downgrade)
        for model in release.models
        for source in sources
    )


class UpgradeGraph:
    """The permitted upgrades of every model. Cycles are harmless: a path visits a version once."""

    def __init__(self, upgrades: Iterable[Upgrade]) -> None:
        """Take the upgrades, in any order; the same one twice is the same as once."""
        by_model: dict[Model, set[Upgrade]] = defaultdict(set)
        for upgrade in upgrades:
            by_model[upgrade.model].add(upgrade)
        self._by_model = {
            model: sorted(found, key=lambda upgrade: (upgrade.target, upgrade.may_downgrade), reverse=True)
            for model, found in by_model.items()
        }

    def path(
        self, model: Model, hardware: int | None, source: FirmwareVersion, target: FirmwareVersion
    ) -> tuple[FirmwareVersion, ...]:
        """The versions to install, in order, the last of them the target; none when the device already runs it.

        PathError says in one sentence why there is no path.
        """
        if source == target:
            return ()
        upgrades = self._by_model.get(model, [])
        suitable = [upgrade for upgrade in upgrades if upgrade.suits(hardware)]
        found = _search(suitable, source, target, downgrade=False)
        if found is None:
            raise PathError(_why_not(model, hardware, source, target, upgrades))
        return tuple(upgrade.target for upgrade in found)


def _search(
    upgrades: list[Upgrade], source: FirmwareVersion, target: FirmwareVersion, *, downgrade: bool
) -> tuple[Upgrade, ...] | None:
    """A breadth-first search; upgrades come newest target first, which makes the first path found the chosen one."""
    paths: dict[FirmwareVersion, tuple[Upgrade, ...]] = {source: ()}
    queue = deque([source])
    while queue and target not in paths:
        version = queue.popleft()
        for upgrade in upgrades:
            if upgrade.leaves(version) and (downgrade or upgrade.keeps_order(version)) and upgrade.target not in paths:
                paths[upgrade.target] = (*paths[version], upgrade)
                queue.append(upgrade.target)
    return paths.get(target)


def _why_not(
    model: Model,
    hardware: int | None,
    source: FirmwareVersion,
    target: FirmwareVersion,
    upgrades: list[Upgrade],
) -> str:
    """The first of the reasons that holds, from the plainest to the least."""
    suitable = [upgrade for upgrade in upgrades if upgrade.suits(hardware)]
    board = "of unknown version" if hardware is None else f"{hardware:04X}"
    if not upgrades:
        return f"model {model} has no permitted upgrade at all"
    if all(upgrade.target != target for upgrade in upgrades):
        return f"no permitted upgrade of model {model} leads to {target}, only to {_named(u.target for u in upgrades)}"
    if _search(upgrades, source, target, downgrade=False) is not None:
        return f"model {model} can go from {source} to {target}, but not on hardware {board}"
    if lower := _search(suitable, source, target, downgrade=True):
        before = (source, *(hop.target for hop in lower))
        held, hop = next((held, hop) for held, hop in zip(before, lower, strict=False) if not hop.keeps_order(held))
        return f"model {model} would have to go down from {held} to {hop.target}, which may not be a downgrade"
    if not any(upgrade.leaves(source) for upgrade in upgrades):
        starts = _named(u.source for u in upgrades if u.source)
        return f"no permitted upgrade of model {model} starts at {source}, only at {starts}"
    return f"no chain of permitted upgrades of model {model} on hardware {board} leads from {source} to {target}"


def _named(versions: Iterable[FirmwareVersion]) -> str:
    distinct = sorted(set(versions))
    return ", ".join(map(str, distinct[:_NAMED])) + (" and more" if len(distinct) > _NAMED else "")
