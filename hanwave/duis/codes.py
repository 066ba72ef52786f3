"""What DUIS response codes and alert codes mean, and what to do about them: tables that a person can correct.

The tables are YAML beside this module; an override of the same form replaces fields or adds codes. A code that no table
knows is for a person to inspect: it is never an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NoReturn, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hanwave.duis.errors import DuisError
from hanwave.plain_yaml import read_yaml

Confidence = Literal["V", "S", "I", "M", "M?", "unknown"]


class Retry(StrEnum):
    """What may be done after a code: never again; once mended; later, by itself; or what a person decides."""

    NEVER = "never"
    AFTER_FIX = "after_fix"
    BACKOFF = "backoff"
    INSPECT = "inspect"


class Who(StrEnum):
    """Who acts on a code."""

    NOBODY = "nobody"
    HANWAVE = "hanwave"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class ResponseCode:
    """A row of the response-code table; confidence says how sure its meaning is (V verified ... unknown)."""

    meaning: str
    confidence: Confidence
    retry: Retry
    who: Who
    action: str
    unreached: bool = False
    """Whether the device could not be reached, or did not answer: then a command may have been carried out."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class AlertCode:
    """A row of the alert tables; structure is the DCC Alert's element that the code is believed to come with."""

    meaning: str
    confidence: Confidence
    structure: str | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")


UNKNOWN_CODE = ResponseCode(
    "not known to hanwave", "unknown", Retry.INSPECT, Who.OPERATOR, "Look it up in DCC's documents, then decide."
)
UNKNOWN_ALERT = AlertCode("not known to hanwave", "unknown")


@dataclass(frozen=True, slots=True)
class CodeTable:
    """The response codes."""

    codes: Mapping[str, ResponseCode]

    @classmethod
    def load(cls, override: str | None = None) -> Self:
        """The packaged table, with the rows of an override file's text on top; DuisError names a wrong key."""
        rows = dict(_packaged("codes.yaml"))
        for code, row in _mapping(override, "the override").items():
            rows[code] = _merged(rows.get(code), row, code)
        return cls(_validated(TypeAdapter(dict[str, ResponseCode]), rows))

    def classify(self, code: str) -> ResponseCode:
        """The row of a code; UNKNOWN_CODE (inspect) for one that the table does not have."""
        return self.codes.get(code, UNKNOWN_CODE)

    @property
    def unreached(self) -> list[str]:
        """The codes by which DCC says that it could not reach a device, or got no answer."""
        return [code for code, row in self.codes.items() if row.unreached]


@dataclass(frozen=True, slots=True)
class AlertTable:
    """The codes of DCC Alerts and of device alerts."""

    dcc: Mapping[str, AlertCode]
    device: Mapping[str, AlertCode]

    @classmethod
    def load(cls, override: str | None = None) -> Self:
        """The packaged tables, with an override file's text on top; DuisError names a wrong key."""
        tables = {table: dict(rows) for table, rows in _packaged("alerts.yaml").items()}
        for table, rows in _mapping(override, "the override").items():
            if table not in tables or not isinstance(rows, dict):
                raise DuisError(f"the table's key {table!r} should be 'dcc' or 'device', with codes under it")
            for code, row in rows.items():
                tables[table][code] = _merged(tables[table].get(code), row, f"{table}.{code}")
        valid = _validated(TypeAdapter(dict[str, dict[str, AlertCode]]), tables)
        return cls(valid["dcc"], valid["device"])


_corrections: dict[str, str] = {}


def correct(responses: str = "", alerts: str = "") -> None:
    """Have this process go by the packaged tables with those override files' texts on top; DuisError, and nothing changes."""
    CodeTable.load(responses)
    AlertTable.load(alerts)
    _corrections.update(responses=responses, alerts=alerts)
    response_codes.cache_clear()
    alert_codes.cache_clear()


@cache
def response_codes() -> CodeTable:
    """The response codes that this process goes by."""
    return CodeTable.load(_corrections.get("responses"))


@cache
def alert_codes() -> AlertTable:
    """The alert codes that this process goes by."""
    return AlertTable.load(_corrections.get("alerts"))


def classify(code: str) -> ResponseCode:
    """The row of a response code in the table that this process goes by; inspect for an unknown one."""
    return response_codes().classify(code)


def alert(code: str) -> AlertCode:
    """The same for a DCC Alert code such as N60, or a device's such as 8F72."""
    tables = alert_codes()
    return tables.dcc.get(code) or tables.device.get(code.upper(), UNKNOWN_ALERT)


@cache
def _packaged(name: str) -> dict[str, Any]:
    return _mapping(files("hanwave.duis").joinpath(name).read_text("utf-8"), name)


def _mapping(text: str | None, name: str) -> dict[str, Any]:
    rows = read_yaml(text or "", name, DuisError)
    if rows is None:
        return {}
    if not isinstance(rows, dict) or not all(isinstance(key, str) for key in rows):
        raise DuisError(f"{name} should map codes, as text, to their rows")
    return rows


def _merged(before: Any, row: Any, where: str) -> Any:
    if not isinstance(row, dict):
        raise DuisError(f"the table's key {where!r} holds {row!r:.60}, it should hold a row of fields")
    return {**(before or {}), **row}


def _validated(adapter: TypeAdapter[Any], rows: Any) -> Any:
    try:
        return adapter.validate_python(rows)
    except ValidationError as error:
        _refuse(error)


def _refuse(error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    held = "" if first["type"] == "missing" else f", it holds {first['input']!r:.60}"
    raise DuisError(f"the table's key {where!r} is wrong: {first['msg']}{held}") from error
