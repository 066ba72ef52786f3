"""How the demo tells what happens: a line a campaign when a wave begins or is judged, and now and then in between."""

import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console

from hanwave.cli.campaign.view import duration
from hanwave.ledger.overview import WaveView
from hanwave.ledger.progress import Progress

_QUIET = 8.0
"""Seconds between two lines of one campaign, unless a wave begins or is judged."""
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def say(sentence: str) -> None:
    """Print a sentence with the time, UTC."""
    console.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/dim]  {sentence}", soft_wrap=True)


@dataclass(slots=True)
class Teller:
    """Tells one campaign: its name stands in a column, so that several may speak in turn."""

    name: str
    judged: int = 0
    wave: int = 0
    said: str = ""
    at: float = field(default=-_QUIET)

    def say(self, sentence: str) -> None:
        """A line of this campaign."""
        say(f"[bold]{self.name:17}[/bold] {sentence}")

    def see(self, view: Progress) -> None:
        """Tell what is new in a view of it."""
        judged = [wave for wave in view.waves if wave.verdict]
        for wave in judged[self.judged :]:
            self.say(_verdict(wave, len(view.waves)))
        self.judged = len(judged)
        for wave in view.waves:
            if wave.opened and not wave.closed:
                self._running(view, wave)

    def _running(self, view: Progress, wave: WaveView) -> None:
        line, now = _course(view, wave), time.monotonic()
        if line == self.said or (wave.number == self.wave and now < self.at + _QUIET):
            return
        self.wave, self.said, self.at = wave.number, line, now
        self.say(line)


def _verdict(wave: WaveView, waves: int) -> str:
    colour = "green" if wave.passed else "red"
    return f"[{colour}]wave {wave.number} of {waves}: {str(wave.verdict).upper()}[/{colour}], {wave.reason}"


def _course(view: Progress, wave: WaveView) -> str:
    """Devices of the whole campaign by where they are, and the time that the open wave may still take."""
    to_come = view.funnel.get("planned", 0)
    ended = {state: n for state, n in view.funnel.items() if state == "settled" or state.startswith("closed:")}
    under_way = sum(view.funnel.values()) - to_come - sum(ended.values())
    parts = [f"{n} {state.removeprefix('closed:')}" for state, n in ended.items()]
    parts += [f"{under_way} under way", f"{to_come} to come"]
    left = f"; some {duration(view.time_left.left)} left of it" if view.time_left else ""
    return f"wave {wave.number} of {len(view.waves)}: {', '.join(parts)}{left}"
