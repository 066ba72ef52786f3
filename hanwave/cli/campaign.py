"""`hanwave campaign`: plan, start, watch and steer campaigns."""

import asyncio
import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.live import Live

from hanwave.cli import request_option
from hanwave.cli.explain import explain
from hanwave.cli.ledger_option import Actor, Database, actor_or_user
from hanwave.cli.output import AsJson, emit
from hanwave.cli.plan_diff import plan_diff
from hanwave.cli.request_option import read_forecast, read_request
from hanwave.cli.when import when
from hanwave.errors import HanwaveError

# The ledger's and the engine's libraries take a second, which the help of these commands need not wait for.
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hanwave.client import Campaign, Client, Halted
    from hanwave.ledger.progress import Progress

app = typer.Typer(no_args_is_help=True, help="Plan, start, watch and steer campaigns.")
app.command(epilog="Example: hanwave campaign when spring-e470")(when)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign.")]
# Not required by typer, so that the refusal is one sentence like every other.
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept, and shown.")]
Leg = Annotated[str | None, typer.Option(help="distribute or activate alone (default: both).")]
Key = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Your name of this act: the same again under it is done once.")
]
Digest = Annotated[
    str,
    typer.Option(metavar="HEX", help="The plan that you have read: its digest, or the 16 digits that status shows."),
]
_T = TypeVar("_T")
app.command(epilog="Example: hanwave campaign explain spring-e470 --wave 1")(explain)


def run(database: str | None, act: "Callable[[Client], Awaitable[_T]]") -> _T:
    """Do something with a client."""
    from hanwave.client import Client  # noqa: PLC0415

    async def inside() -> _T:
        async with Client.connect(dsn=database) as client:
            return await act(client)

    return asyncio.run(inside())


@app.command(epilog="Example: hanwave campaign plan --release acme-e470-0200 --region South")
def plan(
    file: request_option.File = None,
    name: Annotated[str, typer.Option(help="The name it will have: who is in which wave depends on it.")] = "plan",
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
    options = {"release": release, "regions": region, "models": model, "firmware_versions": from_, "devices": device}
    request = read_request(file, options | {"fallbacks": fallback, "approvals": approvals}, policy, actor)
    from hanwave.cli.draft_view import draft_json, draft_page  # noqa: PLC0415
    from hanwave.rollout.statement import over_forecast  # noqa: PLC0415

    draft = run(database, lambda client: client.plan(name, request))
    over = None if given is None else over_forecast(draft.statement, given)
    if as_json:
        emit(draft_json(draft, over), as_json=True)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(draft_page(draft, over))


app.command("plan-diff", epilog="Example: hanwave campaign plan-diff spring-e470 changed.json")(plan_diff)


@app.command(epilog="Example: hanwave campaign start spring-e470 --release acme-e470-0200 --region South --approvals 1")
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
    options = {"release": release, "regions": region, "models": model, "firmware_versions": from_, "devices": device}
    request = read_request(file, options | {"fallbacks": fallback, "approvals": approvals}, policy, actor)

    async def begin(client: "Client") -> "Progress":
        return await (await client.start(name, request)).status()

    _show(run(database, begin), as_json=as_json)


@app.command("list")
def list_(database: Database = None, as_json: AsJson = False) -> None:
    """List the campaigns, newest first."""
    found = run(database, lambda client: client.campaigns())
    emit({"campaigns": [asdict(each) for each in found]}, as_json=as_json)


@app.command()
def status(name: Name, database: Database = None, as_json: AsJson = False) -> None:
    """Show how a campaign stands: waves, funnel, verdicts, what stops it, what it waits for."""
    _show(run(database, lambda client: client.campaign(name).status()), as_json=as_json)


def _show(progress: "Progress", *, as_json: bool) -> None:
    if as_json:
        emit(asdict(progress), as_json=True)
    else:
        from hanwave.cli.campaign_view import page  # noqa: PLC0415

        Console(width=None if sys.stdout.isatty() else 200).print(page(progress))


@app.command()
def watch(
    name: Name,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Look again after so many seconds.")] = 2.0,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Watch a campaign until it is over: a live view, or a line whenever something changes where nobody sees a screen."""
    from hanwave.cli.campaign_view import page  # noqa: PLC0415

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
        run(database, follow)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _tell(progress: "Progress", *, as_json: bool) -> None:
    if as_json:
        emit(asdict(progress), as_json=True)
    else:
        from hanwave.cli.campaign_view import line  # noqa: PLC0415

        sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S} {line(progress)}\n")
    sys.stdout.flush()


def _verb(database: str | None, name: str, act: "Callable[[Campaign], Awaitable[_T]]") -> _T:
    return run(database, lambda client: act(client.campaign(name)))


@app.command(epilog="Example: hanwave campaign approve spring-e470 --digest $(cat the.plan.that.i.read)")
def approve(
    name: Name,
    digest: Annotated[str, typer.Option(help="The digest of the plan that you have read.")] = "",
    reason: Reason = "approved",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Approve a campaign's plan. Its author cannot, and another plan's digest is refused."""
    who = actor_or_user(actor)
    n = _verb(database, name, lambda campaign: campaign.approve(digest=digest, actor=who, reason=reason, key=key))
    emit({"campaign": name, "approved_by": who, "approvals": n}, as_json=as_json)


@app.command(epilog="Example: hanwave campaign pause spring-e470 --leg activate --reason storm")
def pause(
    name: Name,
    leg: Leg = None,
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Stop a campaign's distribution, activation, or both, for a while. Works with Temporal down."""
    who = actor_or_user(actor)
    paused = _verb(database, name, lambda campaign: campaign.pause(reason=reason, actor=who, leg=leg, key=key))
    emit({"campaign": name, "paused": leg or "both legs", **asdict(paused)}, as_json=as_json)


@app.command("cancel-device", epilog="Example: hanwave campaign cancel-device spring-e470 00-DB-... --reason complaint")
def cancel_device(
    name: Name,
    eui: Annotated[str, typer.Argument(metavar="EUI", help="The device, by its EUI-64.")],
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End one device's update in a campaign. What was sent is seen through; nothing more is. Works with Temporal down."""
    who = actor_or_user(actor)
    done = _verb(database, name, lambda campaign: campaign.cancel_device(eui, reason=reason, actor=who, key=key))
    emit({"campaign": name, **asdict(done)}, as_json=as_json)


@app.command(
    epilog="Example: hanwave campaign resume spring-e470 --digest 3f0c8d21a4b96e75 --reason 'the storm is over'"
)
def resume(
    name: Name,
    digest: Digest = "",
    leg: Leg = None,
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Lift a campaign's own halts, pauses and breakers, or the pauses of one leg."""
    who = actor_or_user(actor)
    lifted = _verb(
        database,
        name,
        lambda campaign: campaign.resume(reason=reason, actor=who, digest=digest, leg=leg, key=key),
    )
    emit({"campaign": name, "lifted": lifted}, as_json=as_json)


@app.command(
    "go-on", epilog="Example: hanwave campaign go-on spring-e470 --digest 3f0c8d21a4b96e75 --reason 'looked at it'"
)
def go_on(
    name: Name,
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let the next wave begin although the gate of the last one did not pass."""
    who = actor_or_user(actor)
    done = _verb(database, name, lambda campaign: campaign.go_on(reason=reason, actor=who, digest=digest, key=key))
    emit({"campaign": name, "done": done}, as_json=as_json)


@app.command(
    "change-pace",
    epilog="Example: hanwave campaign change-pace spring-e470 2.5 --digest 3f0c8d21a4b96e75 --reason night",
)
def change_pace(
    name: Name,
    per_second: Annotated[float, typer.Argument(metavar="RATE", help="Activations a second, at most the plan's.")],
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Slow a campaign's activations down, or let them go as fast as its plan says again."""
    who = actor_or_user(actor)
    done = _verb(
        database,
        name,
        lambda campaign: campaign.change_pace(per_second, reason=reason, actor=who, digest=digest, key=key),
    )
    emit({"campaign": name, "done": done}, as_json=as_json)


@app.command(
    "roll-back",
    epilog="Example: hanwave campaign roll-back spring-e470 --digest 3f0c8d21a4b96e75 --to acme-e470-0100 --reason silence",
)
def roll_back(
    name: Name,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="RELEASE", help="Where to; each device takes the first that its model does. Again: more."),
    ] = None,
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End a campaign, and take its devices back. Without --to: to the fallbacks that its request named."""
    who = actor_or_user(actor)
    done = _verb(
        database,
        name,
        lambda campaign: campaign.roll_back(reason=reason, actor=who, digest=digest, releases=to or (), key=key),
    )
    emit({"campaign": name, **asdict(done)}, as_json=as_json)


@app.command(epilog="Example: hanwave campaign halt spring-e470 --reason 'meters fall silent'")
def halt(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The campaign.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything, of everybody.")] = False,
    user: Annotated[str | None, typer.Option(metavar="EUI", help="All that goes out under one User ID.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help='One model, as in "121D/1111".')] = None,
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="One campaign.")] = None,
    wave: Annotated[str | None, typer.Option(metavar="NAME/N", help="One wave, as in spring-e470/2.")] = None,
    reason: Reason = "no reason given",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Stop everything forward there at once, and list what is beyond recall. Needs neither Temporal nor a worker."""
    named = {"user": user, "model": model, "campaign": campaign or name, "wave": wave}
    scopes = [(kind, value) for kind, value in named.items() if value] + ([("all", "")] if everything else [])
    if len(scopes) != 1 or (campaign and name):
        raise HanwaveError("say once what to halt: a campaign's name, or --all, --user, --model or --wave")
    who = actor_or_user(actor)
    halted = run(database, lambda client: client.halt(*scopes[0], reason=reason, actor=who, key=key))
    emit(_halt_facts(halted, " ".join(scopes[0]).strip(), as_json=as_json), as_json=as_json)


def _halt_facts(halted: "Halted", scope: str, *, as_json: bool) -> dict[str, object]:
    facts: dict[str, object] = {"halted": scope, **asdict(halted)}
    if as_json:
        return facts
    quiet = halted.quiet_at or "not yet: a request may still be under way; it is waited for 60 s at most"
    beyond = [f"{each.eui} of {each.campaign}: {each.why}" for each in halted.beyond_recall]
    told = "yes" if halted.engine_told else "no: it did not answer, and its pages show the halt later; the halt holds"
    return facts | {
        "quiet_at": quiet,
        "beyond_recall": {str(number): each for number, each in enumerate(beyond, 1)} or "nothing",
        "engine_told": told,
    }
