"""YAML as a person writes settings and tables: small, shallow, nothing in it said twice, nothing that refers to another part.

Whatever is handed in is read, or refused in one sentence, within milliseconds: an alias can unfold to any size, deep nesting
ends the reader's stack, of a name that stands twice PyYAML itself would keep the last and say nothing, and of a tag that does not
suit its value it raises whatever befalls it.
"""

from collections.abc import Hashable
from typing import Any

import yaml

from hanwave.errors import HanwaveError

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML that was built without libyaml: the same, ten times slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_OCTETS = 200_000
"""The largest table that is shipped has 42,000."""

MAX_DEPTH = 20
"""The deepest that is shipped has four."""


class _Loader(_SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.YAMLError(f"{key.value[:60]!r} stands twice in one place")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: bytes | str, what: str, refusal: type[HanwaveError]) -> Any:
    """The plain values of one document; else that refusal, which says what (such as "the column map") is wrong in it."""
    if len(text) > MAX_OCTETS:
        raise refusal(f"{what} has {len(text)} octets, it should have at most {MAX_OCTETS}")
    try:
        _check_shape(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # a ValueError is a date that no calendar has
        raise refusal(f"{what} is not plain YAML: {' '.join(str(error).split())[:150]}") from error


def _check_shape(text: bytes | str) -> None:
    depth = 0
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"it refers to another part of itself, *{event.anchor!s:.40}: write that out")
        # Of what else is written with a tag, nothing suits a setting or a table.
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            raise yaml.YAMLError(f"it holds a tag, {event.tag[:40]!r}: leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is more than {MAX_DEPTH} levels deep")
