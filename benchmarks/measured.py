"""What a piece of work over a stack took: time, processor time by process, and what its histories hold and would be billed."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Temporal

from benchmarks.usage import megabytes, processor_seconds
from infra.stack.stack import Stack

CORES = os.cpu_count() or 1
_RESTING = 0.1  # core-seconds a second: Temporal alone polls at some 0.05
_SAMPLED = 100  # histories read a shape: each is one RPC, and they are all alike


def say(sentence: str) -> None:
    print(sentence, flush=True)


@dataclass
class Measured:
    """One run of one shape."""

    devices: int
    seconds: float
    cpu: dict[str, float]
    """Core-milliseconds a device, by process."""
    events: float = 0.0
    actions: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Devices a second."""
        return self.devices / self.seconds

    @property
    def own_rate(self) -> float:
        """The same with the emulator's share taken out."""
        return self.devices / (self.seconds - self.cpu.get("emulator", 0.0) * self.devices / 1000 / CORES)

    @property
    def own_cpu(self) -> float:
        """Core-milliseconds a device of everything but the emulator."""
        return sum(self.cpu.values()) - self.cpu.get("emulator", 0.0)

    def show(self, name: str) -> None:
        """Print it."""
        shares = ", ".join(f"{each} {ms:.1f}" for each, ms in sorted(self.cpu.items(), key=lambda x: -x[1]))
        say(
            f"{name}: {self.devices} devices in {self.seconds:.1f} s: {self.rate:.1f}/s ({self.own_rate:.1f}/s without"
            f" the emulator); {self.events:.1f} events, {self.actions:.1f} actions a device\n"
            f"    core-ms a device: {self.own_cpu:.1f} without the emulator; {shares}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For the last line."""
        numbers = {
            "devices": self.devices,
            "seconds": self.seconds,
            "devices_per_s": self.rate,
            "devices_per_s_without_emulator": self.own_rate,
            "events": self.events,
            "actions": self.actions,
            "core_ms_without_emulator": self.own_cpu,
            "core_ms": {name: round(ms, 2) for name, ms in self.cpu.items()},
            **self.more,
        }
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in numbers.items()}


def processes(stack: Stack) -> dict[str, int]:
    """The ids of a stack's processes, and ours."""
    rows = stack.state().processes.items()
    return {"driver": os.getpid()} | {name: row.identity.pid for name, row in rows if row.identity and row.is_up}


async def _at_rest(pids: dict[str, int]) -> None:
    """Wait until everything has started: a process runs long before it has read its modules."""
    used = processor_seconds(pids)
    for _ in range(20):
        await asyncio.sleep(1)
        last, used = used, processor_seconds(pids)
        if all(used[name] - last[name] < _RESTING for name in pids):
            return


async def measure(stack: Stack, devices: int, work: Callable[[], Awaitable[None]]) -> Measured:
    """Time and processor time of a piece of work."""
    pids = processes(stack)
    await _at_rest(pids)
    before, began = processor_seconds(pids), time.monotonic()
    await work()
    seconds, after = time.monotonic() - began, processor_seconds(pids)
    return Measured(devices, seconds, {name: (after[name] - before[name]) * 1000 / devices for name in pids})


async def watch_memory(stack: Stack, most: dict[str, float]) -> None:
    """Keep the largest memory of each process, looked at each five seconds."""
    while True:
        for name, size in (await asyncio.to_thread(megabytes, processes(stack))).items():
            most[name] = max(most.get(name, 0.0), size)
        await asyncio.sleep(5)


# Histories.

_ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 1,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: 1,
}
"""What Temporal bills, by the event that shows it. An activity that is tried again shows its last attempt's number."""


async def count_history(client: Temporal, workflow_id: str) -> tuple[int, int, Counter[str]]:
    """Events, billable actions and the kinds of events of a workflow's latest run."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    kinds = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events)
    actions = sum(
        _ACTIONS.get(event.event_type, 0) * max(1, event.activity_task_started_event_attributes.attempt)
        for event in history.events
    )
    return len(history.events), actions, kinds


async def count_histories(client: Temporal, measured: Measured, ids: list[str]) -> None:
    """Fill in events and actions: the means over a sample, spread over all."""
    chosen = ids[:: max(1, len(ids) // _SAMPLED)]
    found = [await count_history(client, workflow_id) for workflow_id in chosen]
    measured.events = statistics.mean(events for events, _, _ in found)
    measured.actions = statistics.mean(actions for _, actions, _ in found)
    measured.more["most_events"] = max(events for events, _, _ in found)
