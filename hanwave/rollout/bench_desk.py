"""What a person asks of a bench that is no update of a device: who is on its network, let more join, forget one.

The bench does it; here are the words that it, its workflow and whoever asks have in common.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

DESK = "desk"
"""The bench's activity."""


class Verb(StrEnum):
    """What is asked."""

    DEVICES = "devices"
    PERMIT_JOIN = "permit_join"
    FORGET = "forget"


@checked(frozen=True)
class DeskOrder:
    """A question to a bench, by its name, or an order."""

    bench: str
    verb: Verb = Verb.DEVICES
    actor: str = ""
    device: str | None = None
    """The EUI-64 of the one to be forgotten."""
    seconds: Annotated[int, Field(ge=1, le=254)] = 240
    """For how long devices may join (Zigbee: at most 254)."""


@dataclass(frozen=True)
class OnBench:
    """A device on the bench's network."""

    eui: str
    manufacturer: str
    model: str
    ready: bool
    """Whether it has said what it is; one that has not cannot be updated yet."""
    sleeps: bool
    updating: bool


@dataclass(frozen=True)
class DeskAnswer:
    """What a bench answered."""

    bench: str
    radio: str
    devices: list[OnBench] = field(default_factory=list)
    joining_for: int = 0
    """Seconds for which devices may join from now."""
