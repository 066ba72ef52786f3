"""`hanwave device`: one device's whole story."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanwave.cli.ledger_option import Database, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit

if TYPE_CHECKING:
    from hanwave.ledger.story import Story, StoryUpdate

_WHOLE = 270
"""Columns in which a story's widest table stands unbroken: two times, a request's id and an image's hash."""

_EVIDENCE = {
    "ours": "hanwave did it",
    "dcc": "the DCC says so",
    "device": "the device says so",
    "read_back": "read from the device",
    "observed": "seen in its service",
    "imported": "from other records",
}


def device(
    eui: Annotated[str, typer.Argument(metavar="EUI", help="Its EUI-64, with or without hyphens.")],
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="In this campaign only.")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Tell one device's whole story: what was done to it and learnt of it, when, by whose word, and what comes next.

    A screen of less than 270 columns has no room for the requests' ids: into a file or a pipe, and with --json, all of it is written.

    Example: hanwave device 00-DB-12-34-56-78-90-A0
    """
    from hanwave.ledger.database import connect  # noqa: PLC0415
    from hanwave.ledger.story import story  # noqa: PLC0415

    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = story(connection, eui, campaign, own_user_id())
    if as_json:
        emit(asdict(found), as_json=True)
    else:
        _print(found)


def _print(found: "Story") -> None:
    emit({"device": found.eui, **_fleet(found)}, as_json=False)
    # Nobody pipes a table to have its times broken at 80 columns.
    console = Console(width=None if Console().is_terminal else _WHOLE)
    for update in found.updates:
        console.print()
        console.print(Text(_headline(update), style="bold"))
        if console.width < _WHOLE:
            console.print(_short(update))
        else:
            console.print(_events(update))
            console.print(_requests(update))
    if not found.updates:
        console.print("No campaign has this device.")


def _fleet(found: "Story") -> dict[str, Any]:
    facts = found.device or {"fleet": "it is not in the fleet"}
    return {
        **{name: value for name, value in facts.items() if value is not None},
        "left_out_of": found.left_out or None,
        "holds": found.holds,
        "notes": [f"{_time(n.at)} {n.actor}, {n.verb}: {n.reason}" for n in found.notes],
    }


def _headline(update: "StoryUpdate") -> str:
    where = f"{update.campaign}, wave {update.wave}, to {update.version} ({update.release})"
    if update.path:
        where += f" by {' -> '.join(update.path)}, hop {update.hop} of {len(update.path)}"
    stands = f"{update.outcome or update.state}{f': {update.reason}' if update.reason else ''}"
    if update.next == "nothing":
        return f"{where}: {stands}"
    when = f" at {_time(update.next_at)}" if update.next_at else " for something to be heard"
    return f"{where}: {stands}; next: {update.next}{when}"


def _short(update: "StoryUpdate") -> Table:
    """Its events as a usual screen has room for them; all of it stands in a wider one, a pipe, or --json."""
    table = _table("when (UTC)", "what", "leg", "by whose word", "detail")
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[:3]:
        column.no_wrap = True
    for e in update.events:
        leg = f"{e.leg} {e.attempt}" if e.leg and e.attempt else e.leg
        detail = "; ".join(each for each in (f"hop {e.hop}" * bool(update.path), e.version, e.detail, e.reason) if each)
        _row(table, _time(e.at).removesuffix("Z"), e.kind, leg, _EVIDENCE.get(e.evidence, e.evidence), detail)
    return table


def _events(update: "StoryUpdate") -> Table:
    table = _table("when", "learnt", "what", "leg", "hop", "attempt", "by whose word", "version", "detail", "request")
    for e in update.events:
        detail = "; ".join(each for each in (e.detail, e.reason) if each)
        attempt = f"{e.attempt}" if e.attempt else ""
        word = _EVIDENCE.get(e.evidence, e.evidence)
        _row(
            table,
            _time(e.at),
            _time(e.recorded_at),
            e.kind,
            e.leg,
            *(str(e.hop), attempt, word, e.version, detail, e.request_id),
        )
    return table


def _requests(update: "StoryUpdate") -> Table:
    table = _table(
        "request", "service", "leg", "hop", "attempt", "devices", "state", "sends", "permitted", "answered", "code"
    )
    for r in update.requests:
        counts = (str(r.hop), str(r.attempt), str(r.devices), r.state, str(r.sends))
        _row(
            table, r.request_id, r.service_reference, r.leg, *counts, _time(r.granted_at), _time(r.answered_at), r.code
        )
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _row(table: Table, *cells: str | None) -> None:
    table.add_row(*(Text(cell or "") for cell in cells))


def _time(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if at else ""
