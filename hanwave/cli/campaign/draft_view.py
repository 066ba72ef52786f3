"""How the plan of a campaign that is not kept yet looks on a terminal: the statement that a person approves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hanwave.ledger.draft import Draft
from hanwave.rollout.policy import OnHarm
from hanwave.rollout.statement import Over
from hanwave.rollout.timetable import Days

_PARTS = 20
_AN_HOUR = 1 / 24  # of a day


def draft_json(draft: Draft, over: Sequence[Over] | None) -> dict[str, Any]:
    """A drawn plan, whole, for a program; over: where it exceeds the demand forecast that was given."""
    facts = asdict(draft) | {"policy": draft.policy.model_dump(mode="json"), "requests": draft.requests}
    thresholds = [asdict(each) | {"period": each.period.total_seconds()} for each in draft.thresholds]
    return facts | {
        "thresholds": thresholds,
        "over_forecast": None if over is None else [asdict(each) for each in over],
    }


def draft_page(draft: Draft, over: Sequence[Over] | None) -> RenderableType:
    """A drawn plan, for a person."""
    stated = draft.statement
    heading = Text.assemble(
        *(
            (draft.name, "bold"),
            f": {draft.release} ({draft.device_type}, {draft.version}) for {stated.devices} devices",
        ),
        f" in {stated.homes} homes, over {_days(stated.ends)} if no gate waits for a person",
    )
    sections: list[RenderableType] = [heading, _waves(draft), _members(draft), *_ways(draft), _requests(draft)]
    if over is not None:
        sections.append(_forecast(over))
    sections += [_undo(draft), *_notices(draft), _left_out(draft), _end(draft)]
    return Group(*(each for section in sections for each in (section, Text(""))))


def _table(title: str, *columns: str, rows: Iterable[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _waves(draft: Draft) -> Table:
    columns = (
        "wave",
        "devices",
        "homes",
        "from day",
        "over on day",
        "its gate sees harm of",
        "tolerates",
        "at most hurt",
    )
    return _table(
        "Waves",
        *columns,
        rows=(
            (
                *(wave.number, wave.devices, wave.homes, f"{wave.begins:.1f}", _days(wave.ends)),
                *(f"{wave.smallest_harm:.2%} at {wave.confidence:.0%}", f"{wave.tolerable_harm:.2%}", wave.most_hurt),
            )
            for wave in draft.waves
        ),
    )


def _days(days: Days) -> str:
    if days.latest < _AN_HOUR:
        return "less than an hour"
    return f"{days.soonest:.1f} to {days.latest:.1f} days"


def _members(draft: Draft) -> Table:
    parts: Counter[tuple[str, str, str, str]] = Counter()
    for wave in draft.waves:
        for part in wave.parts:
            parts[(part.model, part.version, part.region, part.protected_class or "-")] += part.devices
    rows: list[Sequence[object]] = [(*key, n) for key, n in parts.most_common(_PARTS)]
    if len(parts) > _PARTS:
        rows.append((f"and {len(parts) - _PARTS} more: --json gives all", "", "", "", ""))
    title = f"Devices ({draft.statement.suspended} of them suspended)"
    return _table(title, "model", "from version", "region", "class", "devices", rows=rows)


def _ways(draft: Draft) -> Iterable[Table]:
    if draft.longer:
        rows = ((" -> ".join(way.releases), len(way.releases), way.devices) for way in draft.statement.ways)
        yield _table("Ways to the release, hop by hop", "releases", "hops", "devices", rows=rows)


def _requests(draft: Draft) -> Table:
    limits = {
        each.variant: f"{each.limit} in {each.period}, {each.days_needed:.3g} days at least"
        for each in draft.thresholds
    }
    return _table(
        "Service Requests, if nothing goes wrong",
        *("SR", "requests", "most devices a day", "by month", "threshold"),
        rows=(
            (
                load.variant,
                load.requests,
                load.a_day,
                ", ".join(map(str, load.by_month)),
                limits.get(load.variant, "none"),
            )
            for load in draft.statement.loads
        ),
    )


def _forecast(over: Sequence[Over]) -> RenderableType:
    if not over:
        return Text("The demand forecast covers it.")
    rows = ((each.variant, each.month, each.requests, each.forecast) for each in over)
    return _table("More than the demand forecast", "SR", "month", "requests", "forecast", rows=rows)


def _undo(draft: Draft) -> Table:
    stated = draft.statement
    rows = (
        (each.model, each.hardware, each.version, each.devices, each.release or f"no: {each.why_not}")
        for each in stated.undo
    )
    alone = ", and begins by itself once harm is proven" if draft.policy.on_harm is OnHarm.ROLL_BACK else ""
    title = f"What a rollback takes back, in {_days(stated.undo_days)}{alone}"
    return _table(title, "model", "hardware", "running", "devices", "to release", rows=rows)


def _notices(draft: Draft) -> Iterable[Table]:
    if notices := draft.statement.notices:
        rows = (
            (each.area, each.wave, each.devices, each.first_day, each.last_day, max(each.by_day)) for each in notices
        )
        title = "Notice to network operators: activations that may cut the power for a moment"
        yield _table(
            title, "distributor or region", "wave", "devices", "first day", "last day", "most a day", rows=rows
        )


def _left_out(draft: Draft) -> RenderableType:
    if not draft.left_out:
        return Text("Nobody is left out.")
    return _table("Left out", "devices", "reason", rows=((n, reason) for reason, n in draft.left_out.items()))


def _end(draft: Draft) -> Table:
    late = "join as the last wave opens" if draft.policy.late_joiners == "last_wave" else "are not in the campaign"
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("late joiners", f"devices that enter the cohort from now on {late}")
    table.add_row("approvals", str(draft.approvals))
    table.add_row("digest", draft.digest)
    return table
