"""A plan: which devices are updated in which wave, and which are left out and why. Pure and reproducible.

Guarantees: a device is in exactly one wave, or left out with exactly one reason; a device's place depends on the seed and
its own EUI-64 (`strata` says precisely what adding devices moves); a protected one is in no wave before the policy's n-th;
what the policy names by itself is in its wave or refused; the digest covers everything that a person approves.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from hanwave.rollout.cohort import (
    LEAVES,
    NO_WAVE,
    NOT_KNOWN,
    Candidate,
    PlanError,
    Wanted,
    kind_of,
    path_of,
    unfit,
    unsuited,
)
from hanwave.rollout.policy import DeviceType, Policy, Strata
from hanwave.rollout.statement import Members, Statement, state
from hanwave.rollout.strata import Traits, drawn, place
from hanwave.rollout.timetable import timetable

_BLOCK = 4096  # lines that are hashed at a time: some 200 kB


@dataclass(frozen=True, slots=True)
class Plan:
    """Members by wave (numbered from 1, EUI-64s in their order), what was left out, and what a person is told of it."""

    waves: tuple[tuple[str, ...], ...]
    left_out: dict[str, str]
    longer: dict[str, tuple[str, ...]]
    """The releases that each member of several hops installs, in order; every other one installs the release alone."""
    statement: Statement
    digest: str


def make_plan(
    wanted: Wanted,
    devices: Iterable[Candidate],
    policy: Policy,
    seed: str,
    at: datetime,
    fallbacks: Sequence[Wanted] = (),
) -> Plan:
    """The frozen plan of a campaign; PlanError where the cohort contradicts itself or the policy's named devices.

    at (aware UTC) is when it is drawn: who is dormant or about to leave depends on it. The digest is SHA-256 over lines of
    canonical JSON: what is wanted with policy and seed, then the statement, then [wave, EUI-64] for each member in its
    order (with the releases of its path, where it takes several), then [EUI-64, reason] for each device left out, by EUI-64.
    """
    found = _Judged(wanted, policy, at)
    for device in devices:
        found.add(device)
    _check_named(found, policy)
    draws = drawn(found.members, seed)
    waves = place(found.members, policy, draws)
    if leaving := found.leaving(waves):
        found.refuse(leaving, LEAVES)
        waves = place(found.members, policy, draws)
    placed = set().union(*waves)
    left_out = found.refused | {eui: NO_WAVE for eui in found.members if eui not in placed}
    members = Members(waves, found.members, found.homes)
    statement = state(wanted, members, left_out.values(), policy, fallbacks)
    longer = {eui: path for wave in waves for eui in wave if len(path := found.members[eui].path) > 1}
    digest = _digest(_lines(wanted, policy, seed, statement), waves, longer, left_out)
    return Plan(waves, left_out, longer, statement, digest)


@dataclass(slots=True)
class _Judged:
    """Every device of the cohort, as a member or with its reason. Equal facts are one object: a million have a few hundred."""

    wanted: Wanted
    policy: Policy
    at: datetime
    members: dict[str, Traits] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    goes: dict[str, datetime] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    _kinds: dict[tuple[str | None, ...], tuple[str | None, tuple[str, ...]]] = field(default_factory=dict)
    _traits: dict[tuple[str | bool | tuple[str, ...] | None, ...], Traits] = field(default_factory=dict)

    @property
    def dormant_after(self) -> timedelta | None:
        """A rollback spares nobody, and a device on a bench is heard when it is switched on."""
        return None if self.wanted.takes_one_hop else self.policy.dormant_after

    def add(self, device: Candidate) -> None:
        """Judge a device; the same again changes nothing."""
        eui = device.eui
        reason, path = self._unsuited(device) if device.known else (NOT_KNOWN, ())
        own = unfit(device, self.at, self.dormant_after, on_bench=self.wanted.on_bench)
        reason = reason or own or self._worn(device, path)
        if eui in self.members or eui in self.refused:
            self._check_same(device, reason, path)
            return
        if device.protected_class is not None:
            self.protected.add(eui)
        if reason is not None:
            self.refused[eui] = reason
            return
        self.members[eui] = self._shared(device, path)
        self.homes[eui] = device.home or device.hub
        if device.leaves_at is not None and not self.wanted.undoes:
            self.goes[eui] = device.leaves_at

    def _unsuited(self, device: Candidate) -> tuple[str | None, tuple[str, ...]]:
        # A plain tuple finds an equal Kind, and is made in a third of the time.
        key = (
            *(device.device_type, device.manufacturer, device.model, device.hardware_version, device.firmware_version),
            *(device.hub_firmware, device.gbcs_version),
        )
        if (found := self._kinds.get(key)) is None:
            kind = kind_of(device)
            found = self._kinds[kind] = unsuited(self.wanted, kind), path_of(self.wanted, kind)
        return found

    def _worn(self, device: Candidate, path: tuple[str, ...]) -> str | None:
        """Why a GSME is not begun with whose battery would end its path half-way."""
        left = self.policy.attempts.gsme_images - device.images
        if device.device_type != DeviceType.GSME or len(path) == 1 or len(path) <= left:
            return None
        return f"its path takes {len(path)} images, of which its battery has {max(0, left)} left"

    def _shared(self, device: Candidate, path: tuple[str, ...]) -> Traits:
        hub = device.hub if self.policy.strata is Strata.HUB else ""
        suspended = device.smi_status == "Suspended"
        key = (
            *(device.manufacturer, device.model, device.firmware_version, device.region, hub, device.protected_class),
            *(device.hardware_version, device.area, suspended, path),
        )
        if (found := self._traits.get(key)) is None:
            model, area = f"{device.manufacturer}/{device.model}", device.area or device.region
            found = self._traits[key] = Traits(
                *(model, device.firmware_version, device.region, hub),
                device.protected_class,
                device.hardware_version,
                area,
                suspended,
                path,
            )
        return found

    def _check_same(self, device: Candidate, reason: str | None, path: tuple[str, ...]) -> None:
        eui = device.eui
        same = self.refused.get(eui) == reason if reason else self.members.get(eui) == self._shared(device, path)
        if not same or (device.protected_class is not None) != (eui in self.protected):
            raise PlanError(f"the cohort has {eui} twice, with facts that differ: it should be there once")

    def leaving(self, waves: Sequence[Sequence[str]]) -> list[str]:
        """Who changes supplier before the campaign can have ended, at the soonest."""
        if not self.goes:
            return []
        sizes = [Counter(len(self.members[eui].path) for eui in wave) for wave in waves]
        runs = timetable(sizes, self.wanted.device_type, self.policy)
        end = self.at + timedelta(days=runs[-1].ends.soonest)
        return [eui for eui, goes in self.goes.items() if goes <= end]

    def refuse(self, euis: Iterable[str], reason: str) -> None:
        """Take members out."""
        for eui in euis:
            del self.members[eui]
            self.refused[eui] = reason


def _check_named(found: _Judged, policy: Policy) -> None:
    """Refuse a named device that is not in the cohort, or protected and named too early: neither is dropped unsaid."""
    for number, wave in enumerate(policy.waves, 1):
        if unknown := [eui for eui in wave.devices if eui not in found.members and eui not in found.refused]:
            raise PlanError(f"wave {number} names {_few(unknown)}, not in the cohort: name devices of the cohort alone")
        if number < policy.first_protected and (early := [eui for eui in wave.devices if eui in found.protected]):
            raise PlanError(
                f"wave {number} names {_few(early)}, protected: wave {policy.first_protected} is the first to have it"
            )


def _few(euis: list[str]) -> str:
    return euis[0] if len(euis) == 1 else f"{euis[0]} and {len(euis) - 1} more"


def _lines(wanted: Wanted, policy: Policy, seed: str, statement: Statement) -> Iterator[Any]:
    asked = asdict(wanted) | {"models": sorted(wanted.models), "predecessors": sorted(wanted.predecessors)}
    del asked["stepping"]
    yield {"wanted": asked, "policy": policy.model_dump(mode="json"), "seed": seed}
    yield {"statement": asdict(statement)}


_Paths = dict[str, tuple[str, ...]]


def _digest(head: Iterable[Any], waves: Sequence[Sequence[str]], longer: _Paths, left_out: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for line in head:
        digest.update(json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    block: list[str] = []
    for line in _entries(waves, longer, left_out):
        block.append(line)
        if len(block) == _BLOCK:
            digest.update("".join(block).encode())
            block.clear()
    digest.update("".join(block).encode())
    return digest.hexdigest()


def _entries(waves: Sequence[Sequence[str]], longer: _Paths, left_out: dict[str, str]) -> Iterator[str]:
    # The same text as json.dumps gives, in a quarter of its time.
    paths = {eui: "," + ",".join(map(quoted, path)) for eui, path in longer.items()}
    yield from (
        f"[{number},{quoted(eui)}{paths.get(eui, '')}]\n" for number, wave in enumerate(waves, 1) for eui in wave
    )
    yield from (f"[{quoted(eui)},{quoted(left_out[eui])}]\n" for eui in sorted(left_out))
