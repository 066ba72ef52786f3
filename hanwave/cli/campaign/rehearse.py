"""`hanwave campaign rehearse`: a plan in virtual time, before anybody approves it."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hanwave.cli import request_option
from hanwave.cli.campaign.options import run
from hanwave.cli.ledger_option import Actor, Database
from hanwave.cli.output import AsJson, emit, read_file, write_file
from hanwave.cli.request_option import read_request
from hanwave.errors import HanwaveError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hanwave.client.rehearsing import How
    from hanwave.rollout.rehearsal.behaviour import Profile
    from hanwave.rollout.rehearsal.forecast import Forecast, Interval, Scenario


def rehearse(
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
    runs: Annotated[int, typer.Option(min=1, max=1000, help="How often each kind of image is rehearsed.")] = 50,
    harm: Annotated[
        list[float] | None,
        typer.Option(metavar="SHARE", min=0, max=1, help="A bad image that silences that share. May be given again."),
    ] = None,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="How devices behave, YAML.")] = None,
    learn: Annotated[bool, typer.Option("--learn", help="Learn how they behave from the campaigns so far.")] = False,
    plots: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it there, SVG or PNG by its ending.")] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Run a campaign's rules in virtual time: how long, how many requests, which verdicts, how many exposed to a bad image.

    Nothing is sent. The forecast is kept with the plan's digest, and `status` holds the campaign against it.
    """
    if learn and profile:
        raise HanwaveError("give --profile or --learn, not both: each says how devices behave")
    options = {"release": release, "region": region, "model": model, "from_": from_, "device": device}
    request = read_request(file, policy, actor, **options, fallback=fallback, approvals=approvals)
    if plots and plots.suffix.lower() not in (".svg", ".png"):
        raise HanwaveError(f"the plots' file {str(plots)[-60:]!r} should end in .svg or .png")
    given = _profile(profile) if profile else None
    found = run(database, lambda client: client.rehearse(name, request, _how(given, harm, runs, learn=learn)))
    if plots:
        from hanwave.cli.campaign.plots import draw  # noqa: PLC0415

        write_file(plots, draw(found, plots.suffix[1:].lower()), "the plots")
    if as_json:
        emit(asdict(found), as_json=True)
    else:
        _print(found)
        _warn(found, request.policy.gate.harm)


def _how(profile: "Profile | None", harms: list[float] | None, runs: int, *, learn: bool) -> "How":
    from hanwave.client.rehearsing import HARMS, How  # noqa: PLC0415

    return How(profile, learn, tuple(harms) if harms else HARMS, runs)


def _profile(path: Path) -> "Profile":
    from hanwave.plain_yaml import read_yaml  # noqa: PLC0415
    from hanwave.rollout.rehearsal.behaviour import BehaviourError, read_profile  # noqa: PLC0415

    try:
        return read_profile(read_yaml(read_file(path, "the profile"), "it", BehaviourError))
    except BehaviourError as error:
        raise BehaviourError(f"{path}: {error}") from error


def _print(found: "Forecast") -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(f"{found.devices} devices, {found.good.runs} runs of each kind of image; behaviour: {found.source}")
    for scenario in found.scenarios:
        console.print(_shown(scenario))


def _warn(found: "Forecast", borne: float) -> None:
    """Say which images passed that do more harm than the policy's gate bears."""
    for bad in found.scenarios:
        if bad.harm > borne and bad.passed:
            typer.echo(
                f"\nWarning: an image that harms {bad.harm:.1%} passed {bad.passed} of {bad.runs} runs, and the gate bears"
                f" {borne:.1%}. A longer soak sees more of what falls silent late; greater first waves see rarer harm."
            )


def _shown(scenario: "Scenario") -> "RenderableType":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from hanwave.client.rehearsing import HALF_SILENT  # noqa: PLC0415

    image = "a good image"
    if scenario.harm:
        image = f"an image that harms {scenario.harm:.1%} of its devices: half of these are silent within {HALF_SILENT}"
    table = Table(box=None, show_header=False, pad_edge=False, title=f"\n{image}", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for fact, value in _facts(scenario):
        table.add_row(Text(fact), Text(value))
    return table


def _until(days: "Interval") -> tuple[str, str]:
    """In minutes where it is less than a day: policies for trying it out have seconds."""
    if days.high >= 1:
        return "days until its end", str(days)
    return "minutes until its end", str(replace(days, **{k: v * 1440 for k, v in asdict(days).items()}))


def _facts(scenario: "Scenario") -> list[tuple[str, str]]:
    verdicts = ", ".join(f"{n} of {scenario.runs} {verdict}" for verdict, n in scenario.verdicts.items())
    busiest = ", ".join(f"SR {variant} {some}" for variant, some in scenario.busiest_day.items())
    return [
        ("passed", f"{scenario.passed} of {scenario.runs} runs"),
        ("last verdicts", verdicts),
        _until(scenario.days),
        ("devices exposed by then", str(scenario.exposed)),
        ("exposed at one time", str(scenario.most_exposed)),
        *((f"ended {end}", str(some)) for end, some in scenario.ended.items()),
        *((f"SR {variant} in all", str(some)) for variant, some in scenario.requests.items()),
        ("on the busiest day", busiest),
    ]
