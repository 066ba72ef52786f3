"""The report's pictures, as SVG to stand in its page: devices settled over time, and what each gate's tests found."""

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from hanwave.ledger.report import Report, Wave

if TYPE_CHECKING:
    from hanwave.rollout.gate import Finding

_COLOURS = {"pass": "#2a7d46", "fail": "#b3261e", "not enough evidence": "#b07a00"}
_TESTS = 12
"""Of a gate, drawn; the table beside it has all."""


def settled(report: Report) -> str:
    """Devices settled over time, a line a wave; empty where none has settled."""
    if not report.by_time:
        return ""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    for wave in report.waves:
        here = [(at, n) for at, number, n in report.by_time if number == wave.view.number]
        if here:
            began = [(wave.opened_at, 0)] if wave.opened_at else []
            # Level until the wave closed, or now: a line that ends says nothing of what came after.
            after = [(wave.closed_at or report.heading.made_at, here[-1][1])]
            times, counts = zip(*began, *here, *after, strict=True)
            axes.step(times, counts, where="post", label=f"wave {wave.view.number} of {wave.view.size:,}")
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set(ylabel="devices settled", ylim=(0, None), xlabel="UTC")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return _svg(figure)


def gate(wave: Wave) -> str:
    """Each test's two bounds against what is tolerable; empty where the wave was not judged by bounds."""
    found = [each for each in wave.explained.findings if each.high is not None] if wave.explained else []
    if not found:
        return ""
    drawn = sorted(found, key=lambda each: (each.verdict == "pass", -(each.low or 0)))[:_TESTS]
    figure = Figure(figsize=(8, 0.9 + 0.33 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    for row, finding in enumerate(reversed(drawn)):
        _bar(axes, row, finding)
    axes.set_yticks(range(len(drawn)), [each.test[:60] for each in reversed(drawn)])
    axes.set(xlim=(0, None), xlabel="share of devices: proven at least, to at most; | tolerable")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.1%}")
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _bar(axes: "mpl.axes.Axes", row: int, finding: "Finding") -> None:
    low, high = finding.low or 0.0, finding.high or 0.0
    axes.barh(row, high - low, left=low, height=0.5, color=_COLOURS[finding.verdict])
    if finding.limit is not None:
        axes.vlines(finding.limit, row - 0.4, row + 0.4, color="black", linewidth=2)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    # The text stays text, so that a reader can find and copy it; and the same facts make the same picture.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hanwave"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
