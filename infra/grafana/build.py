"""Grafana's JSON of the dashboards, by Grafana's own SDK, whose types are its published schema."""

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from infra.grafana import Board, Panel, Shape

SOURCE = DataSourceRef(type_val="prometheus", uid="hanwave-prometheus")
_HEIGHT = 8


def document(board: Board) -> str:
    """A dashboard as Grafana takes it: JSON, with a line break at its end."""
    made = JSONEncoder(sort_keys=True, indent=2).encode(_built(board))
    return json.dumps(json.loads(made), indent=1, sort_keys=True) + "\n"


def _built(board: Board) -> Any:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["hanwave"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .readonly()
    )
    if board.by_campaign:
        made.with_variable(_campaigns())
    for title, panels in board.rows.items():
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(_panel(panel))
    return made.build()


def _campaigns() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("campaign")
        .label("Campaign")
        .datasource(SOURCE)
        .query("label_values(hanwave_campaign_info, campaign)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _panel(panel: Panel) -> Any:
    made = _drawn(panel.shape).title(panel.title).description(panel.description)
    made.unit(panel.unit).datasource(SOURCE).span(panel.width).height(_HEIGHT)
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id("ABCDEFGH"[number]).datasource(SOURCE)
        if query.legend:
            target.legend_format(query.legend)
        if query.now:
            target.instant()
        if panel.shape is Shape.TABLE:
            target.format(PromQueryFormat.TABLE)
        made.with_target(target)
    return made


def _drawn(shape: Shape) -> Any:
    match shape:
        case Shape.NUMBER:
            return stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        case Shape.TABLE:
            return table.Panel()
        case Shape.STACK:
            stacked = StackingConfig().mode(common.StackingMode.NORMAL)
            return _lines().stacking(stacked).fill_opacity(40)
        case Shape.LINES:
            return _lines()


def _lines() -> timeseries.Panel:
    legend = VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
    return timeseries.Panel().legend(legend.show_legend(True)).min(0)
