"""A plan: which devices are updated in which wave, and which are left out and why. Pure and reproducible.

Guarantees: a device's place depends on the seed and its own EUI-64 alone, so that adding devices moves none between
waves given as shares; a device is in exactly one wave, or left out with exactly one reason; the digest covers
everything that a person approves.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hanwave.rollout.policy import DeviceType, Policy


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


@dataclass(frozen=True, slots=True)
class Plan:
    """Members by wave (numbered from 1, EUI-64s in their order), and what was left out."""

    waves: tuple[tuple[str, ...], ...]
    left_out: dict[str, str]
    digest: str


# The DCC sends firmware to these alone; a Suspended device is one that firmware must rescue (domain 7, SMI status).
_REACHABLE = frozenset({"Commissioned", "Suspended"})


def make_plan(wanted: Wanted, devices: Iterable[Candidate], policy: Policy, seed: str) -> Plan:
    """The frozen plan of a campaign; its digest is SHA-256 over the canonical JSON of all of it."""
    members: list[Candidate] = []
    left_out: dict[str, str] = {}
    for device in devices:
        if reason := why_not(wanted, device):
            left_out[device.eui] = reason
        else:
            members.append(device)
    waves = _waves(members, policy, seed)
    return Plan(waves, left_out, _digest(wanted, policy, seed, waves))


def why_not(wanted: Wanted, device: Candidate) -> str | None:
    """The first reason for which a device is left out, or None."""
    return next((reason for test, reason in _REFUSALS if test(wanted, device)), None) or device.held_back


_REFUSALS: tuple[tuple[Callable[[Wanted, Candidate], bool], str], ...] = (
    (lambda w, d: d.device_type != w.device_type, "of another device type"),
    (lambda w, d: d.manufacturer != w.manufacturer or d.model not in w.models, "of another model"),
    (lambda w, d: not w.hardware[0] <= int(d.hardware_version, 16) <= w.hardware[1], "hardware version out of range"),
    (lambda w, d: d.firmware_version == w.version, "already runs the version"),
    (lambda w, d: not w.may_downgrade and d.firmware_version > w.version, "would be a downgrade, which it refuses"),
    (lambda w, d: bool(w.predecessors) and d.firmware_version not in w.predecessors, "no permitted upgrade path"),
    (lambda _, d: not d.ours, "another supplier is responsible"),
    (lambda _, d: d.smi_status not in _REACHABLE, "not commissioned"),
    (lambda _, d: d.leased_by is not None, "in another update"),
)


def rank(seed: str, eui: str) -> float:
    """A device's place in [0, 1), from the seed and its EUI-64 alone."""
    digest = hashlib.sha256(f"{seed}:{eui}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _waves(members: list[Candidate], policy: Policy, seed: str) -> tuple[tuple[str, ...], ...]:
    """Each wave takes, from those not yet placed: its named devices, its count, or the share with the lowest ranks."""
    # Protected classes join no wave but the last: the rank orders them after everyone else.
    placed = {d.eui: (d.protected, rank(seed, d.eui)) for d in members}
    left = sorted(placed, key=lambda eui: (placed[eui], eui))
    waves: list[tuple[str, ...]] = []
    low = 0.0
    for number, wave in enumerate(policy.waves, 1):
        last = number == len(policy.waves)
        if wave.devices:
            chosen = [eui for eui in left if eui in set(wave.devices)]
        elif wave.count is not None:
            chosen = [eui for eui in left if last or not placed[eui][0]][: wave.count]
        else:
            high = low + (1 - low) * (wave.share or 0)
            chosen = [eui for eui in left if (placed[eui][1] < high and not placed[eui][0]) or (last and high >= 1)]
            low = high
        taken = set(chosen)
        left = [eui for eui in left if eui not in taken]
        waves.append(tuple(chosen))
    return tuple(waves)


def _digest(wanted: Wanted, policy: Policy, seed: str, waves: tuple[tuple[str, ...], ...]) -> str:
    whole = {
        "release": wanted.release,
        "version": wanted.version,
        "policy": policy.model_dump(mode="json"),
        "seed": seed,
        "waves": waves,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
