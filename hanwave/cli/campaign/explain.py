"""`hanwave campaign explain`: each judged wave's verdict again, from nothing but what was kept with it."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hanwave.cli.ledger_option import Database, check_own, open_ledger
from hanwave.cli.output import AsJson, emit
from hanwave.errors import HanwaveError

if TYPE_CHECKING:
    from hanwave.ledger.judging import Explained
    from hanwave.rollout.gate import Finding


def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The campaign.")],
    wave: Annotated[int | None, typer.Option(help="One wave alone (default: every judged one).")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Judge a campaign's waves again from their kept inputs: every bound, every stratum; 1 where a verdict differs."""
    from hanwave.ledger import judging  # noqa: PLC0415
    from hanwave.ledger.database import connect  # noqa: PLC0415

    with open_ledger(database) as ledger, connect(ledger) as connection:
        check_own(connection, name)
        numbers = [wave] if wave is not None else judging.judged_waves(connection, name)
        found = [judging.recompute(connection, name, number) for number in numbers]
    if as_json:
        emit({"campaign": name, "waves": [_facts(each) for each in found]}, as_json=True)
    else:
        shown = Group(*map(_shown, found)) if found else Text(f"no wave of {name} was judged yet")
        Console(width=None if sys.stdout.isatty() else 200).print(shown)
    if different := [each.wave for each in found if not each.equal]:
        raise HanwaveError(
            f"the kept verdict of wave {different[0]} of {name} is not what its inputs give: the ledger was changed, or the rule"
        )


def _facts(found: "Explained") -> dict[str, Any]:
    return asdict(found) | {"gate": found.gate.model_dump(mode="json"), "equal": found.equal}


def _shown(found: "Explained") -> RenderableType:
    said = f"wave {found.wave}: {found.stored.verdict}: {found.stored.reason}"
    same = (
        "the same from its inputs"
        if found.equal
        else f"but its inputs give {found.again.verdict}: {found.again.reason}"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("test", "counted", "of", "at least", "at most", "tolerable", "says"):
        table.add_column(column, justify="left" if column in ("test", "says") else "right")
    for each in found.findings:
        table.add_row(*map(Text, _row(each)))
    reports = [
        Text(
            f"outage {r['reference']} ({r['scope']}) began {r['after_seconds']:.0f} s after the activation of {r['eui']}"
        )
        for r in found.outages
    ]
    return Group(Text(f"{said} ({same})", style="bold"), table, *reports, Text())


def _row(finding: "Finding") -> tuple[str, ...]:
    bounds = (finding.low, finding.high, finding.limit)
    shares = ("-" if bound is None else f"{bound:.2%}" for bound in bounds)
    says = finding.verdict.value + (f": {finding.reason}" if finding.reason else "")
    return finding.test, str(finding.counted), str(finding.of), *shares, says
