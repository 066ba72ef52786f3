"""How long things take: a profile of ranges, a speed that divides them, and a draw from the seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from hanwave.plain_yaml import read_yaml
from infra.emulator.draw import between
from infra.emulator.errors import EmulatorError

Range = tuple[float, float]
LEGS = frozenset(
    {"deliver", "transfer", "install", "answer", "reboot", "timeout", "retry", "hold", "late", "reorder", "dark"},
)
_PROFILES = TypeAdapter(dict[str, dict[str, Range]])


@dataclass(frozen=True, slots=True)
class Delays:
    """A profile at a speed."""

    seed: str
    ranges: Mapping[str, Range]
    speed: float = 1.0

    @classmethod
    def load(cls, profile: str, seed: str, speed: float = 1.0, file: Path | None = None) -> Self:
        """A profile of the packaged table, or of a file of the same form; EmulatorError when it is not there."""
        name = str(file) if file else "delays.yaml"
        try:
            text = (file or files("infra.emulator").joinpath("delays.yaml")).read_bytes()
            profiles = _PROFILES.validate_python(read_yaml(text, f"the file of delays {name}", EmulatorError))
        except OSError as error:
            raise EmulatorError(f"the delays in {name} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise EmulatorError(f"{name} should map profiles to legs, and legs to [least, most] seconds") from error
        if profile not in profiles:
            raise EmulatorError(f"the delay profile {profile!r} is none of {', '.join(profiles)} in {name}")
        if missing := LEGS - profiles[profile].keys():
            raise EmulatorError(f"the delay profile {profile!r} in {name} lacks {', '.join(sorted(missing))}")
        return cls(seed, profiles[profile], speed)

    def draw(self, leg: str, device_type: str, *question: object) -> float:
        """Seconds that a leg takes this time."""
        low, high = self.ranges.get(f"{leg} {device_type}") or self.ranges[leg]
        return between(low, high, self.seed, "delay", leg, *question) / self.speed
