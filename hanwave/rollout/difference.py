"""How two plans differ: by their policies, and by what becomes of each device. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Side:
    """One of two plans."""

    name: str
    digest: str
    release: str
    policy: Mapping[str, Any]
    members: Mapping[str, int]
    """The wave of each EUI-64."""
    left_out: Mapping[str, str]
    """The reason of each EUI-64."""
    longer: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The releases of each member of several hops, in order."""

    def path(self, eui: str) -> list[str]:
        """The releases that a member installs, in order."""
        return list(self.longer.get(eui, (self.release,)))


@dataclass(frozen=True, slots=True)
class Change:
    """What one plan says, and what the other does."""

    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from the first plan to the second; by EUI-64, or by the policy's field ("gate.harm")."""

    names: Change
    digests: Change
    releases: Change
    policy: dict[str, Change]
    moved: dict[str, Change]
    """Members of both, in another wave."""
    rerouted: dict[str, Change]
    """Members of both, by other releases on the way."""
    added: dict[str, int]
    """Members of the second alone, with their wave."""
    gone: dict[str, str]
    """Members of the first alone, with the second's reason."""
    other_reason: dict[str, Change]
    """Left out by both, for another reason."""

    @property
    def is_none(self) -> bool:
        """Whether a person who approved one approved the other."""
        return self.digests.before == self.digests.after


NOT_KNOWN = "not in its cohort"
_ABSENT = "not said"


def difference(first: Side, second: Side) -> Difference:
    """What changed from the first plan to the second."""
    both = first.members.keys() & second.members.keys()
    return Difference(
        names=Change(first.name, second.name),
        digests=Change(first.digest, second.digest),
        releases=Change(first.release, second.release),
        policy=_policies(_flat(first.policy), _flat(second.policy)),
        moved=_changed({e: first.members[e] for e in sorted(both)}, {e: second.members[e] for e in both}),
        rerouted=_rerouted(first, second, both),
        added={e: second.members[e] for e in sorted(second.members.keys() - both)},
        gone={e: second.left_out.get(e, NOT_KNOWN) for e in sorted(first.members.keys() - both)},
        other_reason=_changed(
            {e: reason for e, reason in sorted(first.left_out.items()) if e in second.left_out}, second.left_out
        ),
    )


def _rerouted(first: Side, second: Side, both: AbstractSet[str]) -> dict[str, Change]:
    on_a_way = sorted(both & (first.longer.keys() | second.longer.keys()))
    return _changed({e: first.path(e) for e in on_a_way}, {e: second.path(e) for e in on_a_way})


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    return {name: Change(old, after[name]) for name, old in before.items() if old != after[name]}


def _policies(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Change]:
    names = sorted(before.keys() | after.keys())
    return _changed({n: before.get(n, _ABSENT) for n in names}, {n: after.get(n, _ABSENT) for n in names})


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Each field under its whole name, a list's items by their number from 1 ("waves.1.share")."""
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        value = {str(number): item for number, item in enumerate(value, 1)}
    if not isinstance(value, Mapping) or not value:
        return {name: value}
    return {
        key: held for part, below in value.items() for key, held in _flat(below, f"{name}.{part}".lstrip(".")).items()
    }
