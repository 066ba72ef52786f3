"""A plan: which devices are updated in which wave, and which are left out and why. Pure and reproducible.

Guarantees: a device's place depends on the seed and its own EUI-64 alone, so that adding devices moves none between
waves given as shares; a device is in exactly one wave, or left out with exactly one reason; a protected one is in no wave
but the last; what the policy names by itself is in its wave or refused; the digest covers everything that a person
approves.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from heapq import nsmallest
from typing import Any

from hanwave.errors import HanwaveError
from hanwave.rollout.policy import DeviceType, Policy, Wave


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
    protected: bool = False
    held_back: str | None = None
    """The reason of a hold upon it."""
    leased_by: str | None = None
    """The campaign that is updating it."""


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
    anew: bool = False
    """Sent also to a device that runs the version: a rollback, while the bad image may be on its way to it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Members by wave (numbered from 1, EUI-64s in their order), and what was left out."""

    waves: tuple[tuple[str, ...], ...]
    left_out: dict[str, str]
    digest: str


# The DCC sends firmware to these alone; a Suspended device is one that firmware must rescue (domain 7, SMI status).
_REACHABLE = frozenset({"Commissioned", "Suspended"})
NO_WAVE = "in none of the policy's waves"
"""Why a device is left out that nothing but the policy's shares and counts stands against."""


def make_plan(wanted: Wanted, devices: Iterable[Candidate], policy: Policy, seed: str) -> Plan:
    """The frozen plan of a campaign; PlanError where the cohort contradicts itself or the policy's named devices.

    The digest is SHA-256 over lines of canonical JSON: what is wanted with policy and seed, then [wave, EUI-64] for each
    member in its order, then [EUI-64, reason] for each device left out, by EUI-64.
    """
    judged = _judge(wanted, devices)
    _check_named(judged, policy)
    waves = _waves({eui: protected for eui, (reason, protected) in judged.items() if reason is None}, policy, seed)
    taken = set().union(*waves)
    left_out = {eui: reason or NO_WAVE for eui, (reason, _) in judged.items() if eui not in taken}
    return Plan(waves, left_out, _digest(wanted, policy, seed, waves, left_out))


_Judged = dict[str, tuple[str | None, bool]]


def _judge(wanted: Wanted, devices: Iterable[Candidate]) -> _Judged:
    """Each device's reason to be left out (None: a member), and whether it is protected."""
    judged: _Judged = {}
    for device in devices:
        found = (why_not(wanted, device), device.protected)
        if judged.setdefault(device.eui, found) != found:
            raise PlanError(f"the cohort has {device.eui} twice, with facts that differ: it should be there once")
    return judged


def _check_named(judged: _Judged, policy: Policy) -> None:
    """Refuse a named device that is not in the cohort, or protected and not in the last wave: neither is dropped unsaid."""
    for number, wave in enumerate(policy.waves, 1):
        if unknown := [eui for eui in wave.devices if eui not in judged]:
            raise PlanError(f"wave {number} names {_few(unknown)}, not in the cohort: name devices of the cohort alone")
        if number < len(policy.waves) and (protected := [eui for eui in wave.devices if judged[eui][1]]):
            raise PlanError(f"wave {number} names {_few(protected)}, protected: only the last wave may have it")


def _few(euis: list[str]) -> str:
    return euis[0] if len(euis) == 1 else f"{euis[0]} and {len(euis) - 1} more"


def why_not(wanted: Wanted, device: Candidate) -> str | None:
    """The first reason for which a device is left out, or None."""
    return next((reason for test, reason in _REFUSALS if test(wanted, device)), None) or device.held_back


_HEX = re.compile(r"[0-9A-Fa-f]{1,8}", re.ASCII)


@lru_cache(maxsize=4096)
def _number(text: str) -> int | None:
    """A version written in hexadecimal, however many digits and in either case; None where it is not one."""
    return int(text, 16) if _HEX.fullmatch(text) else None


def _out_of_range(wanted: Wanted, device: Candidate) -> bool:
    hardware = _number(device.hardware_version)
    return hardware is not None and not wanted.hardware[0] <= hardware <= wanted.hardware[1]


def _is_downgrade(wanted: Wanted, device: Candidate) -> bool:
    return not wanted.may_downgrade and (_number(device.firmware_version) or 0) > (_number(wanted.version) or 0)


def _no_path(wanted: Wanted, device: Candidate) -> bool:
    if not wanted.predecessors:
        return False
    return _number(device.firmware_version) not in _numbers(wanted.predecessors | {wanted.version})


@lru_cache(maxsize=16)
def _numbers(versions: frozenset[str]) -> frozenset[int | None]:
    return frozenset(_number(version) for version in versions)


_REFUSALS: tuple[tuple[Callable[[Wanted, Candidate], bool], str], ...] = (
    (lambda w, d: d.device_type != w.device_type, "of another device type"),
    (lambda w, d: d.manufacturer != w.manufacturer or d.model not in w.models, "of another model"),
    (lambda _, d: _number(d.hardware_version) is None, "hardware version is not hexadecimal"),
    (_out_of_range, "hardware version out of range"),
    (lambda _, d: _number(d.firmware_version) is None, "firmware version is not hexadecimal"),
    (lambda w, d: not w.anew and _number(d.firmware_version) == _number(w.version), "already runs the version"),
    (_is_downgrade, "would be a downgrade, which it refuses"),
    (_no_path, "no permitted upgrade path"),
    (lambda _, d: not d.ours, "another supplier is responsible"),
    (lambda _, d: d.smi_status not in _REACHABLE, "not commissioned"),
    (lambda _, d: d.leased_by is not None, "in another update"),
)


def rank(seed: str, eui: str) -> float:
    """A device's place in [0, 1), from the seed and its EUI-64 alone."""
    digest = hashlib.sha256(f"{seed}:{eui}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _waves(protected: dict[str, bool], policy: Policy, seed: str) -> tuple[tuple[str, ...], ...]:
    """Each wave takes, from those not yet placed: its named devices, its count, or the share with the lowest ranks."""
    left = {eui: rank(seed, eui) for eui in protected}
    named = {eui for wave in policy.waves for eui in wave.devices}
    waves: list[tuple[str, ...]] = []
    high = 0.0
    for number, wave in enumerate(policy.waves, 1):
        high = _upper(high, wave)
        last = number == len(policy.waves)
        free = (eui for eui in left if eui not in named and (last or not protected[eui]))
        chosen = sorted(
            _choose(wave, free, left, protected, seed, high), key=lambda eui: (protected[eui], left[eui], eui)
        )
        waves.append(tuple(chosen))
        for eui in chosen:
            del left[eui]
    return tuple(waves)


def _upper(low: float, wave: Wave) -> float:
    """Up to which rank a wave takes devices: its share of what lies above the ranks of the waves before it."""
    return 1.0 if wave.share == 1 else low + (1 - low) * (wave.share or 0)


def _choose(
    wave: Wave, free: Iterable[str], left: dict[str, float], protected: dict[str, bool], seed: str, high: float
) -> Iterable[str]:
    if wave.devices:
        return (eui for eui in wave.devices if eui in left)
    if wave.count is None:
        return (eui for eui in free if left[eui] < high)
    # By another draw than the shares', whose devices would else all be taken first; the unprotected before the others.
    return nsmallest(wave.count, free, key=lambda eui: (protected[eui], rank(f"{seed}/count", eui), eui))


def _digest(
    wanted: Wanted, policy: Policy, seed: str, waves: tuple[tuple[str, ...], ...], left_out: dict[str, str]
) -> str:
    digest = hashlib.sha256()
    for line in _lines(wanted, policy, seed, waves, left_out):
        digest.update(json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _lines(
    wanted: Wanted, policy: Policy, seed: str, waves: tuple[tuple[str, ...], ...], left_out: dict[str, str]
) -> Iterator[Any]:
    asked = asdict(wanted) | {"models": sorted(wanted.models), "predecessors": sorted(wanted.predecessors)}
    yield {"wanted": asked, "policy": policy.model_dump(mode="json"), "seed": seed}
    yield from ([number, eui] for number, wave in enumerate(waves, 1) for eui in wave)
    yield from ([eui, left_out[eui]] for eui in sorted(left_out))
