"""The air between one coordinator and its devices: latency, loss, one shared channel, and children that sleep.

Guarantee: with one seed and one order of frames, the same frames are lost. Frames are lost and delayed, never changed;
two frames of one device may overtake each other only where `jitter` says so.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from hanwave.identifiers import EUI64
from infra.zigbee.frames import Frame

INDIRECT_TIMEOUT = 7.68
"""Seconds that a parent keeps a frame for a sleeping child (Zigbee PRO, nwkTransactionPersistenceTime)."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How good the air is. Times are in seconds, shares from 0 to 1."""

    latency: float = 0.0
    jitter: float = 0.0
    airtime: float = 0.0
    """What one frame takes of the channel that all share."""
    loss_up: float = 0.0
    loss_down: float = 0.0
    ack_loss: float = 0.0
    """The share of frames that arrive at the device and whose acknowledgement does not come back."""


PERFECT = Conditions()


class Node(Protocol):
    """A device, as the air sees it."""

    address: int
    eui: EUI64

    async def is_listening(self) -> bool:
        """Wait until the device can hear, at most INDIRECT_TIMEOUT; whether it can."""

    def hear(self, frame: Frame) -> None:
        """Take a frame."""

    def admitted(self) -> None:
        """Learn that the coordinator let it join."""


class Coordinator(Protocol):
    """What hears the devices' frames: a virtual radio, or an emulated co-processor."""

    def hear(self, frame: Frame) -> None:
        """Take a frame from a device."""

    def asked_to_join(self, address: int, eui: EUI64) -> bool:
        """Learn that a device asks to join; whether it may."""


class Air:
    """One channel and who is on it."""

    def __init__(self, conditions: Conditions = PERFECT, seed: int = 1) -> None:
        self.conditions = conditions
        self.random = Random(seed)
        self.nodes: dict[int, Node] = {}
        self.coordinator: Coordinator | None = None
        self.frames = 0
        self.encrypted = 0
        self.lost = 0
        self._free_at = 0.0
        self._flying: set[asyncio.Task[None]] = set()

    def join(self, node: Node) -> bool:
        """Let a device ask the coordinator for a place on the network; whether it got one."""
        self.nodes[node.address] = node
        if self.coordinator is None or not self.coordinator.asked_to_join(node.address, node.eui):
            del self.nodes[node.address]
            return False
        node.admitted()
        return True

    def leave(self, node: Node) -> None:
        """Let a device be on the network no more."""
        self.nodes.pop(node.address, None)

    async def down(self, frame: Frame) -> bool:
        """Carry a frame from the coordinator; whether its acknowledgement came back."""
        await self._fly(frame)
        if frame.is_broadcast:
            for each in list(self.nodes.values()):
                self._start(self._hand_over(each, frame))
            return True
        node = self.nodes.get(frame.destination)
        if node is None or self._loses(self.conditions.loss_down) or not await node.is_listening():
            self.lost += 1
            return False
        node.hear(frame)
        return not self._loses(self.conditions.ack_loss)

    def up(self, frame: Frame) -> None:
        """Carry a frame to the coordinator, some time from now; nobody learns whether it arrived."""
        self._start(self._carry_up(frame))

    async def _carry_up(self, frame: Frame) -> None:
        await self._fly(frame)
        if self.coordinator is None or self._loses(self.conditions.loss_up):
            self.lost += 1
            return
        self.coordinator.hear(frame)

    async def _hand_over(self, node: Node, frame: Frame) -> None:
        if await node.is_listening():
            node.hear(frame)

    async def _fly(self, frame: Frame) -> None:
        self.frames += 1
        self.encrypted += frame.encrypted
        held = self.conditions
        delay = held.latency + (self.random.random() * held.jitter if held.jitter else 0.0)
        if held.airtime:
            now = asyncio.get_running_loop().time()
            self._free_at = max(self._free_at, now) + held.airtime
            delay += self._free_at - now
        if delay:
            await asyncio.sleep(delay)

    def _loses(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def _start(self, flight: Coroutine[Any, Any, None]) -> None:
        # The loop keeps only weak references to its tasks.
        task = asyncio.get_running_loop().create_task(flight)
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)
