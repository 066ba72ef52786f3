"""The column map: what a person declares of a CPL file's columns and words, so that code need not be touched.

A map is complete and consistent, or refused in one sentence.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from pydantic import TypeAdapter

from hanwave.firmware.errors import CplError
from hanwave.firmware.terms import CplStatus, DeviceType
from hanwave.firmware.written import STRICT, read_document

MAX_MAP = 100_000
"""Octets; the map that is shipped has two thousand."""

DEFAULT_MAP = "cpl_columns.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The column, or the columns to be joined, of each field."""

    __pydantic_config__ = STRICT

    device_type: str | tuple[str, ...]
    manufacturer: str | tuple[str, ...]
    model: str | tuple[str, ...]
    hardware: str | tuple[str, ...]
    firmware_version: str | tuple[str, ...]
    hash: str | tuple[str, ...]
    status: str | tuple[str, ...]
    entry_id: str | tuple[str, ...] | None = None
    gbcs_version: str | tuple[str, ...] | None = None

    def named(self) -> dict[str, tuple[str, ...]]:
        """Each field that the file has, with the names of its columns."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: (held,) if isinstance(held, str) else held for name, held in fields.items() if held}


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What the file's words mean."""

    __pydantic_config__ = STRICT

    device_type: Mapping[str, DeviceType]
    status: Mapping[str, CplStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """How to read a CPL file: its delimiter, what precedes its hexadecimal values, its columns and its words."""

    __pydantic_config__ = STRICT

    columns: Columns
    values: Values
    delimiter: str = ","
    hex_prefix: str = ""

    def __post_init__(self) -> None:
        """Refuse (CplError) a delimiter that is not one character, and a column that is two fields."""
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise CplError(f"the column map: the delimiter holds {self.delimiter!r}, it should be one character")
        names = [name for columns in self.columns.named().values() for name in columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CplError(f"the column map: the column {twice[0]!r} is named for two fields")


_MAP = TypeAdapter(ColumnMap)


class _Loader(yaml.SafeLoader):
    """YAML in which a name stands once, and nothing refers to anything: an alias can unfold to any size."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise CplError("the column map refers to another part of itself (an alias), it should be plain")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CplError(f"the column map: {twice[0][:60]!r} stands twice in one place")
        return super().construct_mapping(node, deep)


def default_map_text() -> str:
    """The map that is shipped, as YAML with its comments: for a person to copy and correct."""
    return resources.files(__package__).joinpath(DEFAULT_MAP).read_text(encoding="utf-8")


def read_column_map(text: bytes | str) -> ColumnMap:
    """Read a column map from YAML; CplError says what in it is wrong."""
    if len(text) > MAX_MAP:
        raise CplError(f"the column map has {len(text)} octets, it should have at most {MAX_MAP}")
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CplError(f"the column map is not YAML: {' '.join(str(error).split())[:150]}") from error
    return read_document(_MAP, document, "the column map", CplError)
