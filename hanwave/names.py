"""The names by which hanwave's parts find one another in the engine: workflow ids, task queues, signals.

Ids read as paths, so that an operator finds a device's workflow by typing what is printed in every report.
"""

import re
from dataclasses import dataclass

from hanwave.rollout.route import DCC

CAMPAIGN_QUEUE = "campaign"
"""Workflows, and the activities that ask the ledger and the engine."""
GATEWAY_QUEUE = "gateway"
"""The activities that speak to the DCC."""

HANWAVE = "hanwave"
"""Who opens a breaker, and rolls back what its plan says: no person did."""
CAMPAIGN_WORKFLOW = "FirmwareCampaign"
CAMPAIGN_SUMMARY = "a rollout of firmware: the current details say how it stands"
"""Of every campaign's workflow: the Web UI's Start Workflow gives the next one that of the last, so it names none."""
WAVE_WORKFLOW = "RolloutWave"
DEVICE_WORKFLOW = "DeviceUpdate"
DESK_WORKFLOW = "BenchDesk"

WAKE = "wake"
"""The one signal of a device's workflow: its turn has come, or evidence decides; it carries a Wake."""
NUDGE = "nudge"
"""The one signal of a wave's workflow: look at the ledger now; it carries nothing."""

WAVE_STOPPED = "wave_stopped"
"""A campaign's wave says that it is stopped, and why; or, with an empty text, that it goes on."""


def queue_of(route: str) -> str:
    """Where a route's activities are done: the gateway's queue, or the bench's own ("bench/lab")."""
    return GATEWAY_QUEUE if route == DCC else route


def bench_id(bench: str, number: str) -> str:
    """bench/<name>/desk/<number>: a question to a bench, or an order."""
    return f"bench/{bench}/desk/{number}"


def campaign_id(campaign: str) -> str:
    """campaign/<name>."""
    return f"campaign/{campaign}"


def wave_id(campaign: str, wave: int) -> str:
    """campaign/<name>/wave/<number>."""
    return f"campaign/{campaign}/wave/{wave}"


def device_id(campaign: str, eui: str) -> str:
    """campaign/<name>/device/<EUI-64>."""
    return f"campaign/{campaign}/device/{eui}"


_DEVICE_ID = re.compile(r"campaign/([a-z0-9][a-z0-9._-]*)/device/([0-9A-F]{2}(?:-[0-9A-F]{2}){7})", re.ASCII)


def of_device_id(workflow_id: str) -> tuple[str, str] | None:
    """The campaign and the EUI-64 of a device's workflow; None for an id that none of ours has: anybody may start one by hand."""
    found = _DEVICE_ID.fullmatch(workflow_id)
    return (found[1], found[2]) if found else None


@dataclass(frozen=True)
class Wake:
    """Why a device's workflow is woken: the state that the ledger has, and whether nothing more is to be done."""

    state: str
    ended: bool = False
    outcome: str | None = None
    """How the update ended, where it did not end well."""
    reason: str = ""
    """Why it stands so, or why it ended so."""
