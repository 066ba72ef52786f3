"""`hanwave bench`: devices on a ZigBee coordinator, and their updates. The bench worker may be on another machine."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from hanwave.cli.campaign.look import show
from hanwave.cli.campaign.options import run
from hanwave.cli.ledger_option import Actor, Database, actor_or_user, check_own, now, open_ledger
from hanwave.cli.output import AsJson, emit, shown
from hanwave.rollout.route import LAB

if TYPE_CHECKING:
    from hanwave.client import Client
    from hanwave.client.bench import Transfer
    from hanwave.ledger.progress import Progress

_TWO_MINUTES = 120
app = typer.Typer(no_args_is_help=True, help="Devices on a bench's ZigBee coordinator, and their updates.")
Bench = Annotated[str, typer.Option(metavar="NAME", help="The bench, by its name.")]
Device = Annotated[str, typer.Argument(metavar="EUI-64", help="The device.")]


@app.command(epilog="Example: hanwave bench devices --bench lab")
def devices(bench: Bench = LAB, database: Database = None, as_json: AsJson = False) -> None:
    """List the devices on the bench's network."""
    found = run(database, lambda client: client.bench(bench).devices())
    emit({"bench": bench, "devices": [asdict(each) for each in found]}, as_json=as_json)


@app.command("permit-join", epilog="Example: hanwave bench permit-join --seconds 240")
def permit_join(
    seconds: Annotated[int, typer.Option(min=1, max=254, help="For how long.")] = 240,
    bench: Bench = LAB,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let devices join the bench's network for some time; then `hanwave bench devices` lists them."""
    who = actor_or_user(actor)
    done = run(database, lambda client: client.bench(bench).permit_join(seconds, actor=who))
    emit({"bench": bench, "joining_for": done}, as_json=as_json)


@app.command(epilog="Example: hanwave bench forget 00-DB-12-34-56-78-90-A0")
def forget(
    device: Device, bench: Bench = LAB, database: Database = None, actor: Actor = None, as_json: AsJson = False
) -> None:
    """Take a device off the bench's network; it is not updated here any more."""
    who = actor_or_user(actor)
    run(database, lambda client: client.bench(bench).forget(device, actor=who))
    emit({"bench": bench, "forgotten": device}, as_json=as_json)


@app.command(epilog="Example: hanwave bench update acme-ppmid-0401 00-DB-12-34-56-78-90-A0")
def update(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="The release; its hash must have been verified.")],
    device: Device,
    bench: Bench = LAB,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The campaign's name (default: of the device and the time).")
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Update one device to one release: a campaign of one, watched to its end. Interrupted, it goes on by itself."""
    from hanwave.client.bench import name_of, one_device  # noqa: PLC0415

    request = one_device(release, device, bench, actor_or_user(actor))
    console = Console(stderr=True)

    async def follow(client: "Client") -> "Progress":
        campaign = await client.start(name or name_of(device), request)
        console.print(f"campaign {campaign.name}: `hanwave bench watch` tells how far it is", highlight=False)
        async for progress in campaign.watch():
            last = progress
        return last

    ended = run(database, follow, prints=True)
    show(ended, as_json=as_json)
    if set(ended.funnel) != {"settled"}:
        raise typer.Exit(1)


@app.command("pass", epilog="Example: hanwave bench pass lab-ppmid-0401")
def pass_(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="A campaign of a bench that is over.")],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Take a bench campaign whose gates all passed as the evidence that its release passed the lab (lab_passed)."""
    from hanwave.ledger import releases  # noqa: PLC0415
    from hanwave.settings import Environment, load  # noqa: PLC0415

    training = load().environment is Environment.EMULATOR
    with open_ledger(database) as ledger, ledger.begin() as connection:
        check_own(connection, campaign)
        release = releases.pass_lab(connection, campaign, actor_or_user(actor), now(), training=training)
    emit({"release": release, "stage": "lab_passed", "evidence": campaign}, as_json=as_json)


@app.command(epilog="Example: hanwave bench watch --every 5")
def watch(
    bench: Bench = LAB,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Look again after so many seconds.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Watch the updates on a bench until there is none: how far each is, how fast, and what it waits for."""
    from hanwave.client.bench import watched  # noqa: PLC0415

    async def follow(client: "Client") -> None:
        console = Console()
        if as_json or once or not console.is_terminal:
            async for found in watched(client.bench(bench), every):
                _tell(found, bench, as_json=as_json)
                if once:
                    return
            return
        with Live(console=console, auto_refresh=False) as live:
            async for found in watched(client.bench(bench), every):
                live.update(_table(found), refresh=True)

    run(database, follow, prints=True)


def _tell(found: "list[Transfer]", bench: str, *, as_json: bool) -> None:
    if as_json:
        emit({"bench": bench, "transfers": [asdict(each) for each in found]}, as_json=True)
    else:
        Console(width=200).print(_table(found))
    sys.stdout.flush()


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < _TWO_MINUTES else f"{seconds / 60:.0f} min"


def _table(found: "list[Transfer]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("campaign", "device", "stage", "done", "octets/s", "left", "waits for"):
        table.add_column(heading)
    for each in found:
        done = f"{each.offset / each.size:.0%} of {each.size}" if each.size else "-"
        left, rate = _left(each.seconds_left), f"{each.rate:.0f}"
        cells = (each.campaign, each.eui, each.stage, done, rate, left, each.waits_for or "-")
        table.add_row(*map(shown, cells))
    return table
