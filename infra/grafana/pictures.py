"""`python -m infra.grafana.pictures PROMETHEUS-URL FOLDER` draws every dashboard's panels from what Prometheus has.

There is no Grafana in the package registries: these pictures show the real queries' data, in the dashboards' own layout, and
not Grafana's face.
"""

import re
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infra.grafana import Board, Panel, Query, Shape
from infra.grafana.boards import BOARDS

_VARIABLES = {"$campaign": ".+", "$__rate_interval": "1m"}
_POINTS = 120
_MOST = 14  # series in a legend
_COLUMNS = 24
_OF_PROMETHEUS = ("__name__", "instance", "job")


class Prometheus:
    """Prometheus' HTTP API, as much of it as panels need; what it refuses raises httpx.HTTPStatusError."""

    def __init__(self, url: str) -> None:
        """Of the server at that URL."""
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def now(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query at this moment."""
        return self._ask("query", expr)

    def since(self, expr: str, seconds: float) -> list[dict[str, Any]]:
        """The series of a query over so many seconds until now."""
        end = time.time()
        return self._ask("query_range", expr, start=end - seconds, end=end, step=max(1.0, seconds / _POINTS))

    def _ask(self, how: str, expr: str, **more: float) -> list[dict[str, Any]]:
        for name, value in _VARIABLES.items():
            expr = expr.replace(name, value)
        answer = self._client.get(f"/api/v1/{how}", params={"query": expr, **more})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def draw(board: Board, prometheus: Prometheus, path: Path, seconds: float) -> None:
    """One dashboard as a PNG: every panel with its queries' data of the last so many seconds."""
    places, rows = _layout(board)
    mpl.rcParams.update({"font.size": 6, "axes.titlesize": 7, "axes.titleweight": "bold"})
    figure = Figure(figsize=(10, 1.9 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, _COLUMNS)
    for panel, row, column in places:
        axes = figure.add_subplot(grid[row, column : column + panel.width])
        axes.set_title(panel.title, loc="left")
        _DRAWN[panel.shape](axes, panel, prometheus, seconds)
    figure.suptitle(board.title, fontsize=9)
    figure.savefig(path, dpi=80, metadata={"Software": None}, pil_kwargs={"optimize": True})


def _layout(board: Board) -> tuple[list[tuple[Panel, int, int]], int]:
    places, row, column = [], -1, _COLUMNS
    for panels in board.rows.values():
        column = _COLUMNS
        for panel in panels:
            if column + panel.width > _COLUMNS:
                row, column = row + 1, 0
            places.append((panel, row, column))
            column += panel.width
    return places, row + 1


def legend(query: Query, labels: dict[str, str]) -> str:
    """What a series is called: Grafana's {{label}} filled."""
    if not query.legend:
        return " ".join(value for name, value in sorted(labels.items()) if name not in _OF_PROMETHEUS)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), query.legend).strip()


def _series(panel: Panel, prometheus: Prometheus, seconds: float) -> list[tuple[str, list[float], list[float]]]:
    return [
        (
            legend(query, each["metric"]),
            [float(at) for at, _ in each["values"]],
            [float(value) for _, value in each["values"]],
        )
        for query in panel.queries
        for each in prometheus.since(query.expr, seconds)
    ]


def _lines(axes: Axes, panel: Panel, prometheus: Prometheus, seconds: float) -> None:
    for number, (name, at, values) in enumerate(_series(panel, prometheus, seconds)):
        axes.plot(_minutes(at), values, lw=1, label=name if number < _MOST else None)
    _finish(axes)


def _stack(axes: Axes, panel: Panel, prometheus: Prometheus, seconds: float) -> None:
    found = _series(panel, prometheus, seconds)
    times = sorted({at for _, ats, _ in found for at in ats})
    heights = [[dict(zip(at, values, strict=True)).get(each, 0.0) for each in times] for _, at, values in found]
    if times:
        axes.stackplot(_minutes(times), *heights, labels=[name for name, _, _ in found][:_MOST])
    _finish(axes)


def _minutes(times: list[float]) -> list[float]:
    """Before now: a picture for a page of documentation has no date worth reading."""
    now = time.time()
    return [(at - now) / 60 for at in times]


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes", fontsize=5, loc="right")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=4.5, frameon=False)


def _words(panel: Panel, prometheus: Prometheus) -> list[str]:
    return [
        f"{legend(query, each['metric'])}  {_value(float(each['value'][1]), panel.unit)}".strip()
        for query in panel.queries
        for each in prometheus.now(query.expr)
    ]


def _value(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value:.0%}"
        case "dateTimeAsIso":
            return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M}"
        case "s":
            return f"{value:,.0f} s"
        case _:
            return f"{value:g}"


def _number(axes: Axes, panel: Panel, prometheus: Prometheus, _: float) -> None:
    axes.axis("off")
    words = _words(panel, prometheus)
    axes.text(0.0, 0.85, "\n".join(words[:_MOST]), va="top", fontsize=14 if len(words) == 1 else 7)


def _table(axes: Axes, panel: Panel, prometheus: Prometheus, _: float) -> None:
    axes.axis("off")
    axes.text(0.0, 0.95, "\n".join(sorted(_words(panel, prometheus))[:_MOST]), va="top", fontsize=5.5)


_DRAWN = {Shape.LINES: _lines, Shape.STACK: _stack, Shape.NUMBER: _number, Shape.TABLE: _table}


def draw_all(prometheus: Prometheus, folder: Path, seconds: float) -> list[Path]:
    """Every dashboard, as <uid>.png in the folder."""
    paths = []
    for board in BOARDS:
        paths.append(folder / f"{board.uid}.png")
        draw(board, prometheus, paths[-1], seconds)
    return paths


if __name__ == "__main__":
    with closing(Prometheus(sys.argv[1])) as asked:
        draw_all(asked, Path(sys.argv[2]), 600)
