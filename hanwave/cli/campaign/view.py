"""How a campaign looks on a terminal: its page, and its line in a log."""

from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hanwave.ledger.overview import WaveView
from hanwave.ledger.progress import Progress, TimeLeft


def page(progress: Progress) -> RenderableType:
    """Waves, funnel, what stops it, what it waits for, and the time left."""
    heading = Text.assemble((progress.name, "bold"), f": {progress.release}, {progress.status}, by {progress.author}")
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(progress):
        facts.add_row(Text(name), Text(value))
    return Group(heading, Text(""), _waves(progress), Text(""), _funnel(progress), Text(""), facts)


def _facts(progress: Progress) -> list[tuple[str, str]]:
    facts = [("plan", progress.digest)]
    if progress.approvals:
        facts.append(("approved by", f"{', '.join(progress.approvers) or 'nobody'} ({progress.approvals} needed)"))
    facts += [("stopped by", stop) for stop in progress.stops]
    if progress.restoring:
        facts.append(("rolled back by", ", ".join(progress.restoring)))
    if progress.time_left:
        facts.append(("time left", time_left(progress.time_left)))
    facts += [("seen instead", f"{n} devices: {what}") for what, n in progress.seen.items()]
    facts += [("on the way", f"{n} devices in {hop}") for hop, n in progress.hops.items()]
    facts += [("forecast", str(held)) for held in progress.forecast]
    facts.append(("waits for", progress.waits_for or "nothing: it is over"))
    return facts


def _waves(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("wave", "devices", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    for wave in progress.waves:
        table.add_row(str(wave.number), str(wave.size), Text(verdict(wave)))
    return table


def _funnel(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("state")
    table.add_column("devices", justify="right")
    for state, n in progress.funnel.items():
        table.add_row(Text(state), str(n))
    return table


def verdict(wave: WaveView) -> str:
    """How a wave was judged, or where it is."""
    if wave.verdict is None:
        return "running" if wave.opened else "not begun"
    return f"{wave.verdict}: {wave.reason}" + (f" (passed by {wave.passed_by})" if wave.passed_by else "")


def time_left(left: TimeLeft) -> str:
    """The estimate, with what it rests on."""
    return (
        f"about {duration(left.left)} for wave {left.wave}, if its last {left.open} devices end at the rate of the"
        f" {left.ended} so far ({left.per_hour:g} an hour); the last one ended {duration(left.quiet)} ago"
    )


def duration(span: timedelta) -> str:
    """Two units at most: 3 days 4 h, 12 min."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "days"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    said = [f"{n} {unit}" for n, unit in parts if n]
    return " ".join(said[:2]) or "0 s"


def line(progress: Progress) -> str:
    """All of it in one line, for a log."""
    waves = ", ".join(
        f"wave {w.number} {w.verdict or ('running' if w.opened else 'not begun')}" for w in progress.waves
    )
    funnel = ", ".join(f"{n} {state}" for state, n in progress.funnel.items())
    left = f"; {duration(progress.time_left.left)} left of wave {progress.time_left.wave}" if progress.time_left else ""
    return f"{progress.name}: {waves}; {funnel}; {f'waits for {progress.waits_for}' if progress.waits_for else 'over'}{left}"
