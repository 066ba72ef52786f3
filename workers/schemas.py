"""The JSON Schemas of what goes into a campaign and comes out of it, for those who speak to it from another language.

Guarantee: each is made from the very type that reads, or writes, the value, and each property is described by the words that
stand under its attribute there; docs/schemas holds them as they were published, and a test says when one has changed.
"""

import ast
import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from hanwave.ledger.draft import Draft
from hanwave.ledger.progress import DeviceOutcome, Progress
from hanwave.ledger.rollback import Restore
from hanwave.ledger.story import Story
from hanwave.ledger.webhook_events import Payload
from hanwave.rollout.policy import Policy
from hanwave.rollout.request import CampaignRequest
from workflows import verbs

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue
    from pydantic_core import core_schema

INPUTS: Mapping[str, Any] = {
    "campaign": CampaignRequest,
    "policy": Policy,
    "approve": verbs.Approve,
    "halt": verbs.Verb,
    "pause": verbs.Pause,
    "resume": verbs.Resume,
    "go_on": verbs.Widen,
    "change_pace": verbs.ChangePace,
    "roll_back": verbs.RollBack,
    "cancel_device": verbs.CancelDevice,
}
"""The input of the workflow FirmwareCampaign, the policy in it, and the input of each of its Updates."""

RESULTS: Mapping[str, Any] = {
    "draft": Draft,
    "progress": Progress,
    "outcome": DeviceOutcome,
    "restore": Restore,
    "story": Story,
    "webhook": Payload,
}
"""What `campaign plan`, `status`, `outcomes` (a line each), `roll_back` and `device` answer, with --json, and what is posted."""

NAMES = (*INPUTS, *RESULTS)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one of NAMES."""
    mode: JsonSchemaMode = "validation" if name in INPUTS else "serialization"
    made = TypeAdapter(INPUTS.get(name) or RESULTS[name]).json_schema(mode=mode, schema_generator=_Described)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": f"hanwave: {name}"}


def written(name: str) -> bytes:
    """The schema as its file holds it."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False).encode() + b"\n"


class _Described(GenerateJsonSchema):
    """With the attributes' docstrings as descriptions: pydantic's own option would read them at every start of every process."""

    def model_schema(self, schema: "core_schema.ModelSchema") -> "JsonSchemaValue":
        return _describe(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: "core_schema.DataclassSchema") -> "JsonSchemaValue":
        return _describe(super().dataclass_schema(schema), schema["cls"])


def _describe(made: "JsonSchemaValue", kind: type) -> "JsonSchemaValue":
    told = {name: text for base in reversed(kind.__mro__) for name, text in _attributes(base).items()}
    for name, held in made.get("properties", {}).items():
        if name in told:
            held.setdefault("description", told[name])
    return made


def _attributes(kind: type) -> dict[str, str]:
    """The docstring of each of a class's own attributes that has one."""
    if kind.__module__.partition(".")[0] not in {"hanwave", "workflows"}:
        return {}
    body = _classes(kind.__module__)[kind.__name__]
    return {
        first.target.id: " ".join(inspect.cleandoc(second.value.value).split())
        for first, second in pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
        and isinstance(second.value.value, str)
    }


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {each.name: each.body for each in tree.body if isinstance(each, ast.ClassDef)}
