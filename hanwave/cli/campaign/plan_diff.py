"""`hanwave campaign plan-diff`: what changed from one plan to another."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hanwave.cli.ledger_option import Database, check_own, open_ledger
from hanwave.cli.output import AsJson, emit, read_file
from hanwave.errors import HanwaveError
from hanwave.plain_json import read_json
from hanwave.rollout.difference import Change, Difference, Side, difference

if TYPE_CHECKING:
    from sqlalchemy import Engine

_SHOWN = 20
Plan = Annotated[
    str, typer.Argument(metavar="PLAN", help="A campaign's name, or a file of `hanwave campaign plan --json`.")
]


def plan_diff(first: Plan, second: Plan, database: Database = None, as_json: AsJson = False) -> None:
    """Compare two plans: policy, and who moved, came or went. Ends with code 1 if they differ."""
    found = difference(*_sides((first, second), database))
    emit(asdict(found) if as_json else _facts(found), as_json=as_json)
    if not found.is_none:
        raise typer.Exit(1)


def _sides(plans: tuple[str, str], database: str | None) -> tuple[Side, Side]:
    files = [Path(plan) if Path(plan).is_file() else None for plan in plans]
    if all(files):
        one, other = (_of_file(file) for file in files if file)
        return one, other
    with open_ledger(database) as ledger:
        one, other = (_of_file(f) if f else _of_ledger(ledger, p) for f, p in zip(files, plans, strict=True))
    return one, other


def _of_ledger(ledger: "Engine", name: str) -> Side:
    from hanwave.ledger.database import connect  # noqa: PLC0415 - takes a second, which files need not wait for
    from hanwave.ledger.draft import kept_side  # noqa: PLC0415

    with connect(ledger) as connection:
        check_own(connection, name)
        return kept_side(connection, name)


def _of_file(path: Path) -> Side:
    try:
        plan = read_json(read_file(path, "the plan"))
        members = {eui: number for number, wave in enumerate(plan["members"], 1) for eui in wave}
        sides = (plan["policy"], members, plan["left_out_devices"], plan["longer"])
        return Side(plan["name"], plan["digest"], plan["release"], *sides)
    except (ValueError, KeyError, TypeError) as error:
        raise HanwaveError(f"{path} is no plan: it should be what `hanwave campaign plan --json` printed") from error


def _facts(found: Difference) -> dict[str, Any]:
    if found.is_none:
        return {"plans": _arrow(found.names), "digest": f"the same: {found.digests.before}"}
    return {
        "plans": _arrow(found.names),
        "digest": _arrow(found.digests),
        "release": found.releases.before if found.releases.before == found.releases.after else _arrow(found.releases),
        "policy": {name: _arrow(change) for name, change in found.policy.items()} or "the same",
        "moved": _few({eui: f"wave {_arrow(change)}" for eui, change in found.moved.items()}),
        "by another way": _few({eui: _way(change) for eui, change in found.rerouted.items()}),
        "added": _few({eui: f"wave {wave}" for eui, wave in found.added.items()}),
        "gone": _few(found.gone),
        "left out for another reason": _few({eui: _arrow(change) for eui, change in found.other_reason.items()}),
    }


def _arrow(change: Change) -> str:
    return f"{change.before} -> {change.after}"


def _way(change: Change) -> str:
    before, after = (" + ".join(map(str, way)) for way in (change.before, change.after) if isinstance(way, list))
    return f"{before} -> {after}"


def _few(changes: Mapping[str, str]) -> Mapping[str, Any] | str:
    """The first of them, and how many there are in all."""
    if not changes:
        return "nobody"
    shown = dict(list(changes.items())[:_SHOWN])
    return {"devices": len(changes), **shown} | ({"more": "--json gives all"} if len(changes) > _SHOWN else {})
