"""The `hanwave` command: gathers the groups, and turns every refusal into one sentence and an exit code.

A group's module is imported when one of its commands is asked for: the ledger's and the engine's libraries take a second
that `hanwave --help` need not wait.
"""

import inspect
import json
import os
import sys
from importlib.metadata import entry_points
from importlib.metadata import version as version_of
from operator import attrgetter
from pkgutil import resolve_name
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from hanwave.errors import HanwaveError

Commands = dict[str, tuple[str, str]]
"""By name: where the command is ("module:attribute", a Typer or a function), and its line in the help."""

COMMANDS: Commands = {
    "campaign": ("hanwave.cli.campaign:app", "Plan, start, watch and steer campaigns."),
    "device": (
        "hanwave.cli.device:device",
        "Tell one device's whole story: what was done to it and learnt of it, when, by whose word.",
    ),
    "lookup": (
        "hanwave.cli.lookup:lookup",
        "Tell what was done to a home, when, and what comes next, in a customer's words.",
    ),
    "release": ("hanwave.cli.release:app", "Import, sign, list and show releases."),
    # release.py adds `import` to the CPL's commands, which without it need no ledger.
    "cpl": ("hanwave.cli.release:cpl_commands.app", "Check a Central Products List (CPL) file, and import it."),
    "adopt": (
        "hanwave.cli.adopt:adopt",
        "Take over how far each device is, from the records of a campaign that was begun by other means.",
    ),
    "fleet": ("hanwave.cli.fleet:app", "Bring the supplier's devices into the ledger, and show what they run."),
    "hold": ("hanwave.cli.hold:app", "Keep updates away from a device, a model, a region, a hub or a home."),
    "incident": ("hanwave.cli.incident:app", "Record the DCC's maintenance and incidents."),
    "budget": ("hanwave.cli.budget:app", "Service Requests against the supplier's anomaly-detection thresholds."),
    "quarantine": ("hanwave.cli.quarantine:app", "Requests that the DCC holds above an anomaly-detection threshold."),
    "outage": ("hanwave.cli.outage:app", "Network operators' reports of outages of supply."),
    "webhook": ("hanwave.cli.webhook:app", "Tell the supplier's own systems of campaigns, by signed HTTPS requests."),
    "audit": ("hanwave.cli.audit:app", "Export the audit chain, and verify an export."),
    "inbox": ("hanwave.cli.inbox:app", "Messages that could not be verified or understood."),
    "bench": ("hanwave.cli.bench:app", "Devices on a bench's ZigBee coordinator, and their updates."),
    "image": ("hanwave.cli.image:app", "Inspect, build, sign and verify OTA Upgrade Images."),
    "console": ("hanwave.cli.console:app", "Temporal's Web UI as the operators' console: saved views, settings."),
    "duis": ("hanwave.cli.duis:app", "Read, build and verify DUIS messages."),
    "gbcs": ("hanwave.cli.gbcs:app", "Read GBCS messages; make the pre-command of an activation."),
}


_EXAMPLE = "\n\nExample: "


class _Lazy(TyperGroup):
    """Commands by name, of this table and of every installed package's `hanwave.commands`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.known: Commands = dict(COMMANDS)
        for table in entry_points(group="hanwave.commands"):
            self.known |= table.load()
        # What the help lists, and what a slip of the pen is compared with.
        self.commands = {name: TyperCommand(name, help=line) for name, (_, line) in self.known.items()}
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        return list(self.known)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        if cmd_name not in self.known:
            return None
        return self.commands[cmd_name] if self._listing else _load(self.known[cmd_name][0])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        _without_type_of_flags(self)
        super().format_help(ctx, formatter)


def _load(where: str) -> Any:
    module, _, attribute = where.partition(":")
    found = attrgetter(attribute)(resolve_name(module))
    if isinstance(found, typer.Typer):
        return _without_type_of_flags(get_group(found))
    # A command that stands alone has its example where the others have an epilog: as its docstring's last paragraph.
    told, _, example = (inspect.getdoc(found) or "").partition(_EXAMPLE)
    alone = typer.Typer(add_completion=False)
    alone.command(help=told, epilog=(_EXAMPLE + example).strip() if example else None)(found)
    return _without_type_of_flags(get_command(alone))


def _without_type_of_flags(command: Any) -> Any:
    """The command, whose help does not show a flag as if a <bool> were to be given with it."""
    for option in command.get_params(typer.Context(command)):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for each in getattr(command, "commands", {}).values():
        _without_type_of_flags(each)
    return command


app = typer.Typer(name="hanwave", cls=_Lazy, no_args_is_help=True, pretty_exceptions_enable=False)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"hanwave {version_of('hanwave')}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 done; 1 refused or failed, as one sentence on standard error says; 2 the command line itself is wrong;"
    " 130 interrupted."
)
def _hanwave(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Tell hanwave's version.")
    ] = False,
) -> None:
    """Roll firmware out to Great Britain's smart-meter devices, in waves, with proof."""


def main() -> None:
    """Run the command line; a HanwaveError ends with its sentence and code 1."""
    try:
        app(prog_name="hanwave")
    except HanwaveError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.stderr.write(f"hanwave: {error}\n")
        sys.exit(1)


def leave() -> NoReturn:
    """The console script: `main`, and then the process ends at once.

    The engine's client has native threads, which now and then abort an interpreter that is winding down (exit code 134)
    after all was said and done.
    """
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
