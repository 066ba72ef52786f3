"""Recorded histories replay: what runs in production goes on under this version. tests/workflow/record.py makes them."""

import copy
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from workflows.campaign import FirmwareCampaign
from workflows.device import DeviceUpdate
from workflows.wave import RolloutWave

pytestmark = pytest.mark.workflow

HISTORIES = Path(__file__).parent / "histories"
RECORDED = {
    "campaign-three-waves": {"START_CHILD_WORKFLOW_EXECUTION_INITIATED": 3},
    "campaign-approved": {"WORKFLOW_EXECUTION_UPDATE_COMPLETED": 3},
    "campaign-rolled-back": {"WORKFLOW_EXECUTION_UPDATE_COMPLETED": 1, "START_CHILD_WORKFLOW_EXECUTION_INITIATED": 2},
    "campaign-rollback": {"START_CHILD_WORKFLOW_EXECUTION_INITIATED": 1},
    "wave": {"WORKFLOW_EXECUTION_COMPLETED": 1},
    "wave-stopped-and-resumed": {"SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": 3, "WORKFLOW_EXECUTION_SIGNALED": 1},
    "wave-continued-first-run": {"WORKFLOW_EXECUTION_CONTINUED_AS_NEW": 1},
    "wave-continued-last-run": {"WORKFLOW_EXECUTION_COMPLETED": 1},
    "device-esme": {"ACTIVITY_TASK_COMPLETED": 1},
    "device-ppmid": {"ACTIVITY_TASK_COMPLETED": 0},
    "device-unknown-then-read": {"ACTIVITY_TASK_COMPLETED": 2},
    "device-retried": {"ACTIVITY_TASK_COMPLETED": 3},
}
"""Each history, and what it must have gone through for its replay to show something."""


def replayer() -> Replayer:
    """As the campaign worker runs them: under the sandbox."""
    return Replayer(
        workflows=[FirmwareCampaign, RolloutWave, DeviceUpdate],
        data_converter=pydantic_data_converter,
        debug_mode=False,
    )


def read(name: str) -> tuple[str, dict[str, object]]:
    document = json.loads((HISTORIES / f"{name}.json").read_text())
    return document.pop("workflow_id"), document


def test_every_recorded_history_is_replayed():
    assert {path.stem for path in HISTORIES.glob("*.json")} == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_history_replays_under_the_sandbox(name):
    workflow_id, document = read(name)
    seen = [event["eventType"].removeprefix("EVENT_TYPE_") for event in document["events"]]
    assert {kind: seen.count(kind) for kind in RECORDED[name]} == RECORDED[name]
    await replayer().replay_workflow(WorkflowHistory.from_json(workflow_id, document))


@pytest.mark.parametrize(
    ("name", "was", "now"),
    [
        ("device-esme", "advance", "another"),
        ("wave", "sweep_wave", "open_wave"),
        ("campaign-three-waves", "RolloutWave", "FirmwareCampaign"),
    ],
)
async def test_a_history_of_another_course_does_not_replay(name, was, now):
    workflow_id, document = read(name)
    other = json.loads(json.dumps(copy.deepcopy(document)).replace(f'"name": "{was}"', f'"name": "{now}"'))
    assert other != document
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json(workflow_id, other))
