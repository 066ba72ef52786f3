"""`hanwave campaign plan` and `start`."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console

from hanwave.cli import request_option
from hanwave.cli.campaign.look import show
from hanwave.cli.campaign.options import Name, run
from hanwave.cli.ledger_option import Actor, Database
from hanwave.cli.output import AsJson, emit
from hanwave.cli.request_option import read_forecast, read_request

if TYPE_CHECKING:
    from hanwave.client import Client
    from hanwave.ledger.progress import Progress


def plan(
    file: request_option.File = None,
    name: request_option.Name = "plan",
    release: request_option.Release = None,
    region: request_option.Region = None,
    model: request_option.Model = None,
    from_: request_option.From = None,
    device: request_option.Device = None,
    fallback: request_option.Fallback = None,
    policy: request_option.Policy = None,
    approvals: request_option.Approvals = None,
    forecast: request_option.Forecast = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Show what a campaign would do, to whom, and why not to others. Nothing is changed."""
    given = read_forecast(forecast) if forecast else None
    options = {"release": release, "region": region, "model": model, "from_": from_, "device": device}
    request = read_request(file, policy, actor, **options, fallback=fallback, approvals=approvals)
    from hanwave.cli.campaign.draft_view import draft_json, draft_page  # noqa: PLC0415
    from hanwave.rollout.statement import over_forecast  # noqa: PLC0415

    draft = run(database, lambda client: client.plan(name, request))
    over = None if given is None else over_forecast(draft.statement, given)
    if as_json:
        emit(draft_json(draft, over), as_json=True)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(draft_page(draft, over))


def start(
    name: Name,
    file: request_option.File = None,
    release: request_option.Release = None,
    region: request_option.Region = None,
    model: request_option.Model = None,
    from_: request_option.From = None,
    device: request_option.Device = None,
    fallback: request_option.Fallback = None,
    policy: request_option.Policy = None,
    approvals: request_option.Approvals = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Freeze a campaign's plan, and start it. The same again changes nothing."""
    options = {"release": release, "region": region, "model": model, "from_": from_, "device": device}
    request = read_request(file, policy, actor, **options, fallback=fallback, approvals=approvals)

    async def begin(client: "Client") -> "Progress":
        return await (await client.start(name, request)).status()

    show(run(database, begin), as_json=as_json)
