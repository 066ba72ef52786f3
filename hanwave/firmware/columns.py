"""The column map: what a person declares of a CPL file's columns and words, so that code need not be touched.

A map is complete and consistent, or refused in one sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from pydantic import TypeAdapter

from hanwave.firmware.errors import CplError
from hanwave.firmware.terms import CplStatus, DeviceType
from hanwave.firmware.written import STRICT, read_document
from hanwave.plain_yaml import read_yaml

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


def default_map_text() -> str:
    """The map that is shipped, as YAML with its comments: for a person to copy and correct."""
    return resources.files(__package__).joinpath(DEFAULT_MAP).read_text(encoding="utf-8")


def read_column_map(text: bytes | str) -> ColumnMap:
    """Read a column map from YAML; CplError says what in it is wrong."""
    return read_document(_MAP, read_yaml(text, "the column map", CplError), "the column map", CplError)
