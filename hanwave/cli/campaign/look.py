"""`hanwave campaign list`, `status` and `watch`."""

import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from hanwave.cli.campaign.options import Name, run
from hanwave.cli.ledger_option import Database
from hanwave.cli.output import AsJson, emit

if TYPE_CHECKING:
    from hanwave.client import Client
    from hanwave.ledger.progress import Progress


def list_(database: Database = None, as_json: AsJson = False) -> None:
    """List the campaigns, newest first."""
    found = run(database, lambda client: client.campaigns())
    emit({"campaigns": [asdict(each) for each in found]}, as_json=as_json)


def status(name: Name, database: Database = None, as_json: AsJson = False) -> None:
    """Show how a campaign stands: waves, funnel, verdicts, what stops it, what it waits for."""
    show(run(database, lambda client: client.campaign(name).status()), as_json=as_json)


def show(progress: "Progress", *, as_json: bool) -> None:
    """Print how a campaign stands."""
    if as_json:
        emit(asdict(progress), as_json=True)
    else:
        from hanwave.cli.campaign.view import page  # noqa: PLC0415

        Console(width=None if sys.stdout.isatty() else 200).print(page(progress))


def watch(
    name: Name,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Look again after so many seconds.")] = 2.0,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Watch a campaign until it is over: a live view, or a line whenever something changes where nobody sees a screen."""
    from hanwave.cli.campaign.view import page  # noqa: PLC0415

    async def follow(client: "Client") -> None:
        console = Console()
        if as_json or not console.is_terminal:
            async for progress in client.campaign(name).watch(every):
                _tell(progress, as_json=as_json)
            return
        with Live(console=console, auto_refresh=False) as live:
            async for progress in client.campaign(name).watch(every):
                live.update(page(progress), refresh=True)

    try:
        run(database, follow, prints=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _tell(progress: "Progress", *, as_json: bool) -> None:
    if as_json:
        emit(asdict(progress), as_json=True)
    else:
        from hanwave.cli.campaign.view import line  # noqa: PLC0415

        sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S} {line(progress)}\n")
    sys.stdout.flush()
