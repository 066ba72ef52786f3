"""DUIS messages as plain facts: every field, for a table or for JSON."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any

from hanwave.duis import (
    CANCEL,
    DCCAlertMessage,
    DeviceAlertMessage,
    Message,
    Request,
    Response,
    Unrecognised,
    codes,
)
from hanwave.identifiers import EUI64, RequestID

_SHOWN = 20


def kind_of(message: Message) -> str:
    """What a message is, in a word."""
    return {Request: "request", Response: "response"}.get(type(message), "decoded message")


def meanings(message: Message) -> dict[str, Any]:
    """What the message's codes mean, by the tables that are in force here."""
    if not isinstance(message, Response):
        return {}
    row = codes.classify(message.code)
    facts: dict[str, Any] = {"code_means": row_of(row)}
    if isinstance(message.body, DCCAlertMessage):
        facts["alert_means"] = row_of(codes.alert(message.body.code))
    if isinstance(message.body, DeviceAlertMessage):
        facts["alert_means"] = row_of(codes.alert(message.body.alert_code))
    return facts


def row_of(row: codes.ResponseCode | codes.AlertCode) -> dict[str, Any]:
    """What a table holds of a code, but for what it leaves open."""
    facts = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {name: value if isinstance(value, bool) else str(value) for name, value in facts.items() if value}


def plain(value: Any, *, full: bool, whole_lists: bool) -> Any:
    """The value as text, numbers, lists and mappings; an object's type stands first, what is absent does not stand."""

    def inner(held: Any) -> Any:
        for types, write_it in _WRITERS.items():
            if isinstance(held, types):
                return write_it(held)
        if isinstance(held, tuple):
            return many(held)
        if dataclasses.is_dataclass(held):
            return {"type": type(held).__name__, **fields(held)}
        return held

    def many(held: tuple[Any, ...]) -> Any:
        if not whole_lists and len(held) > _SHOWN and isinstance(held[0], EUI64):
            return f"{len(held)} devices, from {held[0]} to {held[-1]} (--full lists them)"
        return [inner(item) for item in held]

    def fields(held: Any) -> dict[str, Any]:
        found = {f.name: getattr(held, f.name) for f in dataclasses.fields(held)}
        if not full and "image" in found:
            found["image"] = _summary(found["image"])
        facts = {name: inner(item) for name, item in found.items() if item is not None}
        return facts | ({"cancels": True} if found.get("at") == CANCEL else {})

    return fields(value)


def _summary(image: bytes) -> dict[str, Any]:
    return {"octets": len(image), "sha256": hashlib.sha256(image).hexdigest().upper()}


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_WRITERS: Mapping[type[Any] | tuple[type[Any], ...], Callable[[Any], Any]] = {
    (EUI64, RequestID): str,
    Enum: lambda value: value.value,
    Unrecognised: lambda value: {"type": "Unrecognised", "name": value.name, "xml": value.xml.decode()},
    datetime: _utc,
    date: date.isoformat,
    bytes: lambda value: value.hex().upper(),
}
