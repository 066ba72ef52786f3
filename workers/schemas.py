"""The JSON Schemas of what goes into a campaign and comes out of it, for those who speak to it from another language.

Guarantee: each is made from the very type that reads, or writes, the value; docs/schemas holds them as they were published,
and a test says when one has changed.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from hanwave.ledger.draft import Draft
from hanwave.ledger.progress import DeviceOutcome, Progress
from hanwave.ledger.rollback import Restore
from hanwave.ledger.story import Story
from hanwave.rollout.policy import Policy
from hanwave.rollout.request import CampaignRequest
from workflows import verbs

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaMode

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
}
"""What `campaign plan`, `status`, `outcomes` (a line each), `roll_back` and `device` answer, with --json."""

NAMES = (*INPUTS, *RESULTS)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one of NAMES."""
    mode: JsonSchemaMode = "validation" if name in INPUTS else "serialization"
    made = TypeAdapter(INPUTS.get(name) or RESULTS[name]).json_schema(mode=mode)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": f"hanwave: {name}"}


def written(name: str) -> bytes:
    """The schema as its file holds it."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False).encode() + b"\n"
