"""Temporal's Web UI as the operators' console: the views of its list that hanwave's workflows are found by, and its settings.

The Web UI keeps saved views in each person's browser and nowhere else; a link that names one saves it in the browser that
opens the link. Its settings grey buttons out and refuse nothing: what somebody presses in spite of them, the warden answers.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from hanwave import names

_OF = '`WorkflowType`="{}"'
_RUNS = '`ExecutionStatus`="Running"'
_CAMPAIGN, _WAVE, _DEVICE = map(_OF.format, (names.CAMPAIGN_WORKFLOW, names.WAVE_WORKFLOW, names.DEVICE_WORKFLOW))


@dataclass(frozen=True, slots=True)
class View:
    """A saved view of the Web UI's list: its name there, and its query."""

    name: str
    query: str


VIEWS = (
    View("Campaigns", _CAMPAIGN),
    View("Campaigns under way", f"{_CAMPAIGN} AND {_RUNS}"),
    View("Devices that did not end well", f"{_DEVICE} AND `Outcome` is not null"),
    View("Devices under way", f"{_DEVICE} AND {_RUNS}"),
    View("Failed, or ended by hand", '`ExecutionStatus` in ("Failed", "Canceled", "Terminated", "TimedOut")'),
    View("Waves under way", f"{_WAVE} AND {_RUNS}"),
)
"""What hanwave's people look for, in the order of their names, which is the Web UI's."""

TAKEN = (
    "WorkflowTerminateDisabled",
    "WorkflowResetDisabled",
    "WorkflowPauseDisabled",
    "BatchActionsDisabled",
    "ActivityCommandsDisabled",
)
"""The Web UI's settings that take from it what goes round hanwave's verbs, by their names in its API."""


def list_link(ui: str, namespace: str, view: View) -> str:
    """The link that shows a view's list, and saves nothing."""
    return f"{_workflows(ui, namespace)}?{urlencode({'query': view.query}, quote_via=quote)}"


def save_link(ui: str, namespace: str, view: View) -> str:
    """The link that shows a view's list, and saves it in the browser that opens it: to be opened once."""
    return f"{list_link(ui, namespace, view)}&{urlencode({'savedQuery': view.name}, quote_via=quote)}"


def start_link(ui: str, namespace: str) -> str:
    """The link to the page that starts a campaign, its task queue and its type filled in."""
    given = {"taskQueue": names.CAMPAIGN_QUEUE, "workflowType": names.CAMPAIGN_WORKFLOW}
    return f"{_workflows(ui, namespace)}/start-workflow?{urlencode(given)}"


def _workflows(ui: str, namespace: str) -> str:
    return f"{ui.rstrip('/')}/namespaces/{quote(namespace, safe='')}/workflows"


def variable(setting: str) -> str:
    """The environment variable by which the Web UI's own server takes a setting of TAKEN."""
    return "TEMPORAL" + re.sub(r"([A-Z])", r"_\1", setting).upper()
