"""What is known of one running update: how far it is, how fast, and when the device was last heard."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client import Counter

from hanwave.rollout.bench import BenchReport, Outcome

BLOCKS = Counter("hanwave_bench_blocks", "Blocks that devices acknowledged")
REPEATS = Counter("hanwave_bench_repeats", "Those of them that their device had acknowledged before")
OCTETS = Counter("hanwave_bench_octets", "Octets of all of them")


class Stage(StrEnum):
    """Where an update is, for people."""

    QUEUED = "queued"
    PROBING = "probing"
    NOTIFIED = "notified"
    OFFERED = "offered"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    CONFIRMING = "confirming"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an update. Times are in seconds."""

    stage: Stage
    offset: int
    """Octets that the device has acknowledged, or held before."""
    size: int
    blocks: int
    repeats: int
    silent_for: float
    rate: float
    """Octets a second since the first block of this session, pauses included; 0: there was none."""
    seconds_left: float | None
    """At that rate, until it has the whole image; None: nobody knows, or it has it."""


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Transfer:
    """The books of one session."""

    size: int
    stage: Stage = Stage.QUEUED
    offset: int = 0
    furthest: int = 0
    first_offset: int | None = None
    blocks: int = 0
    repeats: int = 0
    octets: int = 0
    began_at: float = field(default_factory=_now)
    heard_at: float = field(default_factory=_now)
    first_block_at: float | None = None
    last_block_at: float = float("-inf")
    version_before: int | None = None
    version_after: int | None = None
    device_status: int | None = None
    was_told: bool = False
    was_released: bool = False
    """The word to install went out, whether or not it arrived."""
    offer_is_open: bool = False
    """An offer arrived, and no octet of it was asked for since."""

    def hear(self) -> None:
        """Note that the device asked for something, or acknowledged it."""
        self.heard_at = _now()

    @property
    def silent_for(self) -> float:
        """Seconds since the device was heard; at first, since the session began."""
        return _now() - self.heard_at

    def see_version(self, version: int | None) -> None:
        """Note what the device reports that it runs."""
        if version is not None:
            self.version_before = version if self.version_before is None else self.version_before
            self.version_after = version

    def sent(self, offset: int, octets: int) -> None:
        """Note a block that the device acknowledged."""
        self.hear()
        if self.first_offset is None:
            self.first_offset = self.furthest = offset
            self.first_block_at = _now()
        self.stage, self.offer_is_open = Stage.DOWNLOADING, False
        is_repeat = offset < self.furthest
        self.blocks += 1
        self.octets += octets
        self.repeats += is_repeat
        BLOCKS.inc()
        OCTETS.inc(octets)
        REPEATS.inc(is_repeat)
        self.offset = offset + octets
        self.furthest = max(self.furthest, self.offset)
        self.last_block_at = _now()

    def progress(self) -> Progress:
        """How it stands now."""
        elapsed = 0.0 if self.first_block_at is None else _now() - self.first_block_at
        rate = self.octets / elapsed if elapsed > 0 else 0.0
        left = (self.size - self.offset) / rate if rate and self.offset < self.size else None
        return Progress(self.stage, self.offset, self.size, self.blocks, self.repeats, self.silent_for, rate, left)

    def report(self, outcome: Outcome) -> BenchReport:
        """The end."""
        return BenchReport(
            outcome=outcome,
            version_before=self.version_before,
            version_after=self.version_after,
            device_status=self.device_status,
            first_offset=self.first_offset,
            blocks=self.blocks,
            repeats=self.repeats,
            octets=self.octets,
            seconds=_now() - self.began_at,
            was_told=self.was_told,
        )
